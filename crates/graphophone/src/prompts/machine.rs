//! Which addresses are this machine's own, public ones included.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Whether packets to `address` stay on this machine. The routing table is asked at the moment of
/// the question, so that an address that came later counts too: a UDP socket that is connected to
/// one of the machine's own addresses has that address itself. Nothing is sent.
///
/// An address that a translation in front of this machine stands for is not known here; see
/// `sip.external_address`.
pub(super) fn owns(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // The discard port (RFC 863): only the address matters.
    let local = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((address, 9))?;
        socket.local_addr()
    };
    local().is_ok_and(|local| local.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address this machine would use towards the world, if it has any.
    fn outward() -> Option<IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
        socket.local_addr().ok().map(|local| local.ip())
    }

    #[test]
    fn the_machine_knows_its_own_addresses_from_others() {
        assert!(owns(Ipv4Addr::LOCALHOST.into()));
        for other in ["192.0.2.1", "8.8.8.8", "2001:db8::1"] {
            assert!(!owns(other.parse().unwrap()), "{other}");
        }
        // Where this runs without any network there is no more to see.
        if let Some(own) = outward() {
            assert!(owns(own), "{own}");
        }
    }
}
