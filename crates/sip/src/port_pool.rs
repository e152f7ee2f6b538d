//! RTP ports: an even one and the odd one above it (RFC 3550 §11), bound when a call needs them.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    ops::RangeInclusive,
};

/// Most pairs tried for one call; a bind costs a few microseconds.
const MOST_TRIES: usize = 1_024;

/// Bound sockets of one stream.
#[derive(Debug)]
pub(crate) struct PortPair {
    pub(crate) rtp: UdpSocket,
    pub(crate) rtcp: UdpSocket,
    pub(crate) rtp_port: u16,
    pub(crate) rtcp_port: u16,
}

/// Hands out pairs, one after the other around the range, so that a port rests as long as possible
/// before strays of its last call could disturb a new one.
#[derive(Debug)]
pub(crate) struct PortPool {
    bind: IpAddr,
    /// First even port.
    first: u16,
    pairs: usize,
    next: usize,
}

impl PortPool {
    /// `offset` is where to begin, so that servers sharing a range rarely meet. A range that
    /// begins with 0 leaves the choice to the operating system.
    pub(crate) fn new(bind: IpAddr, ports: &RangeInclusive<u16>, offset: usize) -> Self {
        let first = ports.start().checked_add(ports.start() % 2).unwrap_or(*ports.end());
        let pairs = match ports.end().checked_sub(first) {
            Some(span) => usize::from(span).div_ceil(2),
            None => 0,
        };
        Self { bind, first, pairs, next: offset.checked_rem(pairs).unwrap_or(0) }
    }

    /// Binds the next free pair; `None` when there is none.
    pub(crate) fn take(&mut self) -> Option<PortPair> {
        if self.first == 0 {
            return (0..MOST_TRIES).find_map(|_| self.any_pair().ok());
        }
        for _ in 0..self.pairs.min(MOST_TRIES) {
            let step = u16::try_from(self.next * 2).ok()?;
            let port = self.first.checked_add(step)?;
            self.next = (self.next + 1) % self.pairs;
            if let Ok(pair) = self.pair(port) {
                return Some(pair);
            }
        }
        None
    }

    fn any_pair(&self) -> io::Result<PortPair> {
        let probe = UdpSocket::bind(SocketAddr::new(self.bind, 0))?;
        let port = probe.local_addr()?.port() & !1;
        drop(probe);
        self.pair(port)
    }

    fn pair(&self, port: u16) -> io::Result<PortPair> {
        let bind = |port| {
            let socket = UdpSocket::bind(SocketAddr::new(self.bind, port))?;
            socket.set_nonblocking(true)?;
            io::Result::Ok(socket)
        };
        let rtcp_port = port.saturating_add(1);
        Ok(PortPair { rtp: bind(port)?, rtcp: bind(rtcp_port)?, rtp_port: port, rtcp_port })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_pair_is_even_and_the_next_odd() {
        let mut pool = PortPool::new(LOOPBACK, &(0..=0), 0);
        let pair = pool.take().unwrap();
        assert_eq!(pair.rtp_port % 2, 0);
        assert_eq!(pair.rtcp_port, pair.rtp_port + 1);
    }

    #[test]
    fn an_exhausted_range_says_so_and_recovers() {
        let probe = PortPool::new(LOOPBACK, &(0..=0), 0).take().unwrap();
        let port = probe.rtp_port;
        drop(probe);
        // Another process may grab the port in between, so a few tries are allowed.
        let mut pool = PortPool::new(LOOPBACK, &(port..=port + 1), 7);
        if let Some(pair) = pool.take() {
            assert!(pool.take().is_none());
            drop(pair);
            assert!(pool.take().is_some());
        }
    }

    #[test]
    fn a_range_without_a_pair_has_none() {
        assert!(PortPool::new(LOOPBACK, &(40_001..=40_001), 3).take().is_none());
        assert!(PortPool::new(LOOPBACK, &(u16::MAX..=u16::MAX), 3).take().is_none());
    }
}
