//! Where datagrams come from that leave by the raw socket: the address of the stream's own one.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};

use graphophone_datagrams::Addressed;

use super::sender::{Channel, Content, Datagram};

/// The RTP socket of a stream, as the raw socket has to know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    bound: SocketAddrV4,
    /// What routing says of a socket that is bound to all addresses: destination and source.
    route: Option<(Ipv4Addr, Ipv4Addr)>,
}

impl Origin {
    /// `None` for one that is not of IPv4.
    pub(super) fn of(socket: &UdpSocket) -> Option<Self> {
        let SocketAddr::V4(bound) = socket.local_addr().ok()? else { return None };
        Some(Self { bound, route: None })
    }

    /// RTP over IPv4 with its source. Everything else leaves by the stream's own sockets: it is
    /// rare, and the kernel tells them what became of it.
    pub(super) fn address<'a>(&mut self, datagram: &'a Datagram) -> Option<Addressed<'a>> {
        if datagram.content == Content::Report {
            // Routes may change: every few seconds is often enough to look.
            self.route = None;
            return None;
        }
        let (SocketAddr::V4(to), Channel::Rtp) = (datagram.to, datagram.channel) else {
            return None;
        };
        let bound = self.bound.ip();
        if !bound.is_unspecified() && bound.is_loopback() != to.ip().is_loopback() {
            // The kernel would let a raw socket's packet out; the stream's own is refused.
            return None;
        }
        let source = match self.route {
            _ if !bound.is_unspecified() => *bound,
            Some((destination, source)) if destination == *to.ip() => source,
            Some(_) | None => {
                let source = source_towards(to)?;
                self.route = Some((*to.ip(), source));
                source
            }
        };
        let from = SocketAddrV4::new(source, self.bound.port());
        Some(Addressed { from, to, bytes: datagram.bytes() })
    }
}

/// The address that the kernel would send from; `None` where there is no way.
fn source_towards(to: SocketAddrV4) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(to).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(address) => Some(*address.ip()),
        SocketAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sender::Batch;

    fn from(origin: &mut Origin, to: &str, content: Content) -> Option<SocketAddrV4> {
        let mut batch = Batch::new();
        let datagram = batch.push();
        (datagram.to, datagram.content) = (to.parse().unwrap(), content);
        origin.address(datagram).map(|addressed| addressed.from)
    }

    #[test]
    fn a_bound_address_is_the_source_and_else_the_one_that_routing_says() {
        for bound in [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED] {
            let socket = UdpSocket::bind((bound, 0)).unwrap();
            let port = socket.local_addr().unwrap().port();
            let mut origin = Origin::of(&socket).unwrap();
            for to in ["127.0.0.1:4000", "127.0.0.9:4000"] {
                let source = from(&mut origin, to, Content::Routine).unwrap();
                assert!(source.ip().is_loopback(), "{source}");
                assert_eq!(source.port(), port);
            }
            assert_eq!(from(&mut origin, "[::1]:4000", Content::Routine), None);
            if bound.is_loopback() {
                assert_eq!(from(&mut origin, "192.0.2.1:4000", Content::Routine), None);
            }
            assert_eq!(from(&mut origin, "127.0.0.1:4000", Content::Report), None);
        }
        assert!(Origin::of(&UdpSocket::bind("[::1]:0").unwrap()).is_none());
    }
}
