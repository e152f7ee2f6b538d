//! What the address guard lets through: never an address that is not public, in whatever spelling,
//! and never a URL that another reader could take for another host.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::LazyLock,
};

use graphophone::prompts::{Guard, GuardSettings};
use url::{Host, Url};

/// Every public https host, on every port.
static PUBLIC: LazyLock<Guard> = LazyLock::new(|| {
    let anywhere = "https://*:*".parse().expect("a valid rule");
    Guard::new(GuardSettings::production("prompts.allow", vec![anywhere]))
});

pub(crate) fn run(data: &[u8]) {
    if let [_, _, _, _, spelling, rest @ ..] = data {
        check_spelled(data, *spelling, rest);
    }
    let text = String::from_utf8_lossy(data);
    for uri in [text.to_string(), format!("https://{text}"), format!("https://{text}/x.wav")] {
        if let Ok(url) = PUBLIC.check_uri(&uri) {
            check_accepted(&uri, &url);
        }
    }
}

fn check_accepted(uri: &str, url: &Url) {
    assert_eq!(url.scheme(), "https", "{uri}");
    assert!(url.username().is_empty() && url.password().is_none(), "{uri}");
    match url.host().expect("an accepted URL has a host") {
        Host::Ipv4(address) => assert!(is_public(address), "{uri} is {address}"),
        Host::Ipv6(address) => {
            // Global unicast, and nothing that carries an IPv4 address.
            let segments = address.segments();
            assert_eq!(segments[0] & 0xE000, 0x2000, "{uri} is {address}");
            assert!(segments[0] != 0x2002 && segments[..2] != [0x2001, 0], "{uri} is {address}");
        }
        Host::Domain(name) => {
            // Two dots at the end are a name that nobody resolves.
            let name = name.strip_suffix('.').unwrap_or(name);
            let last = name.rsplit('.').next().unwrap_or_default();
            assert!(inet_aton(name).is_none(), "{uri} is an address to others");
            assert!(!last.eq_ignore_ascii_case("localhost"), "{uri} is this machine");
        }
    }
    // A plain reader: authority up to the first slash, question mark or hash; no user information.
    let authority = uri.split_once("://").expect("absolute").1;
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    assert!(!authority.contains(['@', '\\']), "{uri} may name another host");
    // As it is sent to the resolver it is judged the same.
    let again = Url::parse(url.as_str()).expect("a URL can be read again");
    assert_eq!(again.host(), url.host(), "{uri} read again");
    assert!(PUBLIC.check_url(&again).is_ok(), "{uri} read again");
}

/// An address out of the first octets, if it is not public, in one of many spellings.
fn check_spelled(octets: &[u8], spelling: u8, rest: &[u8]) {
    let address = Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]);
    if is_public(address) {
        return;
    }
    let [a, b, c, d] = address.octets();
    let number = u32::from(address);
    let low = number & 0x00FF_FFFF;
    let host = match spelling % 16 {
        0 => address.to_string(),
        1 => number.to_string(),
        2 => format!("0x{number:x}"),
        3 => format!("0{number:o}"),
        4 => format!("{a}.{low}"),
        5 => format!("0x{a:X}.0{b:o}.{}", u32::from(c) << 8 | u32::from(d)),
        6 => format!("{address}."),
        7 => format!("[::ffff:{address}]"),
        8 => format!("[::{address}]"),
        9 => format!("[64:ff9b::{address}]"),
        10 => format!("[2002:{:x}:{:x}::1]", number >> 16, number & 0xFFFF),
        11 => address.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect(),
        12 => address.to_string().replace('.', "\u{3002}"),
        13 => fullwidth(&address.to_string()),
        14 => format!("[::ffff:0:{address}]"),
        _ => format!("00{a}.{b}.{c}.{d}").replacen("00", "000", 1),
    };
    let port = match rest.first() {
        Some(port) if *port > 0 => format!(":{port}"),
        _ => String::new(),
    };
    let uri = format!("https://{host}{port}/x.wav");
    if let Ok(url) = PUBLIC.check_uri(&uri) {
        // A leading zero makes some of them octal, which is another address.
        let meant = url.host().map(|host| host.to_owned());
        let octal =
            matches!(meant, Some(Host::Ipv4(other)) if other != address && spelling % 16 == 15);
        assert!(octal, "{uri} is let through as {url}");
    }
}

fn fullwidth(text: &str) -> String {
    let wide = |c: char| match c {
        '0'..='9' => char::from_u32(u32::from(c) - u32::from('0') + 0xFF10).unwrap_or(c),
        _ => c,
    };
    text.chars().map(wide).collect()
}

/// By another list than the guard's: what std knows, and the ranges that it does not tell.
fn is_public(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let denied = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_unspecified()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
        || (a == 192 && b == 88 && c == 99);
    !denied
}

/// What the C library's `inet_aton` takes for an address.
fn inet_aton(text: &str) -> Option<IpAddr> {
    let parts: Vec<u64> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if parts.len() > 4 || first.iter().any(|part| *part > 255) {
        return None;
    }
    let room = 8 * (5 - parts.len() as u32);
    if *last >= 1 << room {
        return None;
    }
    let high =
        first.iter().enumerate().fold(0, |sum, (place, part)| sum | part << (24 - 8 * place));
    Some(Ipv4Addr::from(u32::try_from(high | last).ok()?).into())
}

fn number(part: &str) -> Option<u64> {
    let (digits, radix) = match part.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (&part[2..], 16),
        [b'0', _, ..] => (&part[1..], 8),
        [_, ..] => (part, 10),
        [] => return None,
    };
    if digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}
