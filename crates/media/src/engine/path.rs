//! Which addresses a stream takes packets from and sends them to.
//!
//! Packets are taken only from the IP address that signalling named. A phone behind a port
//! translator sends from another port than the one it named: the port of the first valid packet
//! is latched and answered to (symmetric RTP, RFC 4961), after which only it and the named port
//! are heard, until a packet comes from the named port: then no other is. Another IP address never
//! is: whoever guesses our port could else take the call over.

use std::net::SocketAddr;

/// One way to the far end: RTP, or RTCP on its own port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    signalled: SocketAddr,
    latched: Option<SocketAddr>,
}

impl Path {
    pub(super) fn new(signalled: SocketAddr) -> Self {
        Self { signalled, latched: None }
    }

    /// Takes a newly signalled address; the same address keeps what was latched.
    pub(super) fn signal(&mut self, signalled: SocketAddr) {
        if signalled != self.signalled {
            *self = Self::new(signalled);
        }
    }

    /// Where to send; `None` while the far end has no address (`0.0.0.0`, port 0).
    pub(super) fn target(&self) -> Option<SocketAddr> {
        let known = !self.signalled.ip().is_unspecified() && self.signalled.port() != 0;
        known.then(|| self.latched.unwrap_or(self.signalled))
    }

    /// Whether packets from `from` may be heard.
    pub(super) fn accepts(&self, from: SocketAddr) -> bool {
        self.signalled.ip().to_canonical() == from.ip().to_canonical()
            && (from.port() == self.signalled.port()
                || self.latched.is_none_or(|latched| latched.port() == from.port()))
    }

    /// Whether a new source may be heard from here at once: nobody was heard since the address was
    /// signalled, or only somebody else than the named port.
    pub(super) fn is_open_to(&self, from: SocketAddr) -> bool {
        self.latched.is_none_or(|latched| {
            from.port() == self.signalled.port() && latched.port() != from.port()
        })
    }

    /// Notes that a valid packet came from an accepted address. The named one has the last word:
    /// somebody else behind the same address may have been quicker.
    pub(super) fn confirm(&mut self, from: SocketAddr) {
        if from.port() == self.signalled.port() {
            self.latched = Some(from);
        } else {
            self.latched.get_or_insert(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_port_is_latched_and_others_are_refused() {
        let mut path = Path::new(address("192.0.2.1:4000"));
        assert_eq!(path.target(), Some(address("192.0.2.1:4000")));
        assert!(path.accepts(address("192.0.2.1:5000")));
        assert!(!path.accepts(address("192.0.2.2:4000")));
        path.confirm(address("192.0.2.1:5000"));
        assert_eq!(path.target(), Some(address("192.0.2.1:5000")));
        assert!(path.accepts(address("192.0.2.1:5000")));
        assert!(path.accepts(address("192.0.2.1:4000")));
        assert!(!path.accepts(address("192.0.2.1:6000")));
    }

    #[test]
    fn a_packet_from_the_named_port_ends_what_was_latched_before() {
        let mut path = Path::new(address("192.0.2.1:4000"));
        path.confirm(address("192.0.2.1:5000"));
        assert!(path.is_open_to(address("192.0.2.1:4000")));
        path.confirm(address("192.0.2.1:4000"));
        assert!(!path.is_open_to(address("192.0.2.1:4000")));
        assert_eq!(path.target(), Some(address("192.0.2.1:4000")));
        assert!(!path.accepts(address("192.0.2.1:5000")));
        path.confirm(address("192.0.2.1:4000"));
        assert_eq!(path.target(), Some(address("192.0.2.1:4000")));
    }

    #[test]
    fn a_reinvite_with_the_same_address_keeps_the_latch_and_a_new_one_drops_it() {
        let mut path = Path::new(address("192.0.2.1:4000"));
        path.confirm(address("192.0.2.1:5000"));
        path.signal(address("192.0.2.1:4000"));
        assert_eq!(path.target(), Some(address("192.0.2.1:5000")));
        path.signal(address("192.0.2.7:4000"));
        assert_eq!(path.target(), Some(address("192.0.2.7:4000")));
    }

    #[test]
    fn a_far_end_without_an_address_is_neither_heard_nor_sent_to() {
        let path = Path::new(address("0.0.0.0:4000"));
        assert_eq!(path.target(), None);
        assert!(!path.accepts(address("192.0.2.1:4000")));
    }

    #[test]
    fn an_ipv4_peer_is_known_on_a_dual_stack_socket() {
        let path = Path::new(address("192.0.2.1:4000"));
        assert!(path.accepts(address("[::ffff:192.0.2.1]:4000")));
    }
}
