//! Where messages come from and go to.

use std::net::SocketAddr;

use sipx_sip::{Host, Reliability, Uri};

/// What carries a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    /// The transport's name in a Via header.
    pub(crate) const fn via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }

    pub(crate) const fn reliability(self) -> Reliability {
        match self {
            Self::Udp => Reliability::Unreliable,
            Self::Tcp => Reliability::Reliable,
        }
    }
}

/// Identifies a UDP socket or a TCP connection of the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u64);

/// One way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) transport: Transport,
    /// The socket or connection. The shell opens a closed connection again, to `remote`.
    pub(crate) link: LinkId,
    /// The peer.
    pub(crate) remote: SocketAddr,
    /// Our address as the peer is told it, in Via and Contact.
    pub(crate) local: SocketAddr,
}

impl Flow {
    /// The same way, but a closed connection is opened again to where the peer's contact says that
    /// it listens, if that is the same host: the port it came from takes no connections.
    pub(crate) fn or_listener(self, contact: &Uri) -> Self {
        match contact.host() {
            Some(Host::Ip(ip)) if self.transport == Transport::Tcp && *ip == self.remote.ip() => {
                self.towards((*ip, contact.port().unwrap_or(5060)).into())
            }
            Some(_) | None => self,
        }
    }

    /// The same way to another port or host.
    pub(crate) fn towards(self, remote: SocketAddr) -> Self {
        Self { remote, ..self }
    }
}
