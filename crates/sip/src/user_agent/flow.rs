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

impl LinkId {
    /// Whichever leads to the peer; the shell chooses, or opens one. No socket has this id.
    pub(crate) const ANY: Self = Self(0);
}

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

    /// The way to `remote`, where a request to this URI goes: the same socket or connection, unless
    /// the URI names another transport or the connection ends at another host.
    pub(crate) fn to(self, uri: &Uri, remote: SocketAddr) -> Self {
        let transport = match uri.transport() {
            Some(name) if name.eq_ignore_ascii_case(b"udp") => Transport::Udp,
            Some(name) if name.eq_ignore_ascii_case(b"tcp") => Transport::Tcp,
            // Many peers leave it out of a Contact they send over TCP.
            Some(_) | None => self.transport,
        };
        let leads_there = match transport {
            Transport::Udp => true,
            Transport::Tcp => remote.ip() == self.remote.ip(),
        };
        let stays = transport == self.transport && leads_there;
        Self { transport, link: if stays { self.link } else { LinkId::ANY }, remote, ..self }
    }

    /// The same way to another port or host.
    pub(crate) fn towards(self, remote: SocketAddr) -> Self {
        Self { remote, ..self }
    }
}
