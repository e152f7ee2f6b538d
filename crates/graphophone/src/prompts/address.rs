//! What kind of network address something is; everything that is not plainly public has a name.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The part an IP address plays, by the IANA special-purpose registries (RFC 6890 and updates).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressKind {
    /// Globally reachable unicast.
    Public,
    /// This host itself: 127/8 and ::1.
    Loopback,
    /// 0/8 and ::, which many systems take for this host.
    Unspecified,
    /// RFC 1918, fc00::/7 and the old site-local fec0::/10.
    Private,
    /// 169.254/16 and fe80::/10; clouds serve their credentials there.
    LinkLocal,
    /// 100.64/10, carrier-grade NAT (RFC 6598).
    SharedNat,
    /// 224/4 and ff00::/8.
    Multicast,
    /// 255.255.255.255.
    Broadcast,
    /// An IPv6 address that carries an IPv4 one: mapped, compatible, NAT64, 6to4, Teredo. Refused
    /// whatever it carries: no public host needs to be written so.
    Transition,
    /// Documentation, benchmarking, discard and unassigned ranges.
    Reserved,
}

impl AddressKind {
    /// Sorts an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [0, ..] => Self::Unspecified,
            [127, ..] => Self::Loopback,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Self::Private,
            [169, 254, ..] => Self::LinkLocal,
            [100, 64..=127, ..] => Self::SharedNat,
            [224..=239, ..] => Self::Multicast,
            [255, 255, 255, 255] => Self::Broadcast,
            // IETF protocol assignments, TEST-NET-1, 6to4 relays, benchmarking, TEST-NET-2 and -3.
            [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [198, 18..=19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            | [240..=255, ..] => Self::Reserved,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] => Self::Unspecified,
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            // Compatible ::a.b.c.d, mapped ::ffff:a.b.c.d, translated ::ffff:0:a.b.c.d (RFC 2765).
            [0, 0, 0, 0, 0, 0, _, _]
            | [0, 0, 0, 0, 0, 0xffff, _, _]
            | [0, 0, 0, 0, 0xffff, 0, _, _] => Self::Transition,
            // NAT64 (RFC 6052, RFC 8215), Teredo, 6to4.
            [0x64, 0xff9b, ..] | [0x2001, 0, ..] | [0x2002, ..] => Self::Transition,
            [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Self::Private,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            [0xff00..=0xffff, ..] => Self::Multicast,
            // The rest of 2001::/23 (ORCHID, benchmarking …) and the documentation prefixes.
            [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Self::Reserved,
            // Only 2000::/3 is assigned as global unicast.
            [0x2000..=0x3fff, ..] => Self::Public,
            _ => Self::Reserved,
        }
    }
}

impl fmt::Display for AddressKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "a public address",
            Self::Loopback => "a loopback address",
            Self::Unspecified => "an unspecified address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
            Self::SharedNat => "a carrier-grade NAT address",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "the broadcast address",
            Self::Transition => "an IPv6 address that carries an IPv4 address",
            Self::Reserved => "a reserved address",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_sorted_by_the_special_purpose_registries() {
        use AddressKind::*;
        let table: &[(AddressKind, &[&str])] = &[
            (Public, &["8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.0.1"]),
            (Public, &["100.128.0.1", "192.0.1.1", "198.17.0.1", "223.255.255.255"]),
            (Public, &["2600::1", "2a00:1450::1", "2001:4860:4860::8888", "2003::1"]),
            (Loopback, &["127.0.0.1", "127.255.255.255", "::1"]),
            (Unspecified, &["0.0.0.0", "0.1.2.3", "::"]),
            (Private, &["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1"]),
            (Private, &["fc00::1", "fd00:ec2::254", "fec0::1", "feff::1"]),
            (LinkLocal, &["169.254.169.254", "fe80::1", "febf::1"]),
            (SharedNat, &["100.64.0.1", "100.127.255.255"]),
            (Multicast, &["224.0.0.1", "239.255.255.255", "ff02::1"]),
            (Broadcast, &["255.255.255.255"]),
            (Transition, &["::127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1"]),
            (Transition, &["64:ff9b::7f00:1", "64:ff9b:1::1", "2001::1", "2002:7f00:1::"]),
            (Reserved, &["192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.9"]),
            (Reserved, &["240.0.0.1", "192.88.99.1", "2001:db8::1", "2001:2::1", "3fff::1"]),
            (Reserved, &["100::1", "4000::1", "5f00::1"]),
        ];
        for (kind, addresses) in table {
            for address in *addresses {
                assert_eq!(AddressKind::of(address.parse().unwrap()), *kind, "{address}");
            }
        }
    }
}
