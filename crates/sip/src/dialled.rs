//! A SIP URI as the rules of dialling must see it: read by the parser that the call itself uses, so
//! that what is permitted and what is dialled cannot differ.

use sipx_sip::Host;

use crate::{endpoint::transport_of, registrar::callable};

/// Who and where a SIP URI really names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialledUri {
    /// `sip:user@host:port`, user and port only if the URI has them, without parameters.
    pub address: String,
    /// User part, escapes undone; empty if the URI has none.
    pub user: String,
    /// The host is a loopback address or `localhost`.
    pub is_loopback: bool,
}

impl DialledUri {
    /// Reads a URI that a call can be placed to; `None` for anything else, and for whatever
    /// another parser might read differently (a second `@`, escapes that need not be, parameters
    /// inside the user part) or that names another host (`maddr`).
    pub fn parse(uri: &str) -> Option<Self> {
        let parsed = callable(uri)?;
        transport_of(&parsed)?;
        let diverts = parsed.params().is_some_and(|params| params.contains("maddr"));
        if uri.matches('@').count() > 1 || parsed.password().is_some() || diverts {
            return None;
        }
        if parsed.user().is_some_and(is_veiled) {
            return None;
        }
        let host = parsed.host()?;
        let is_loopback = match host {
            Host::Ip(ip) => ip.to_canonical().is_loopback(),
            Host::Name(name) => name.as_bytes().eq_ignore_ascii_case(b"localhost"),
        };
        let written = parsed.user().map(|user| format!("{}@", String::from_utf8_lossy(user)));
        let port = parsed.port().map(|port| format!(":{port}"));
        let (written, port) = (written.unwrap_or_default(), port.unwrap_or_default());
        let user = parsed.decoded_user().unwrap_or_default();
        let user = String::from_utf8_lossy(&user).into_owned();
        Some(Self { address: format!("sip:{written}{host}{port}"), user, is_loopback })
    }
}

/// Whether a user part hides who it names: escapes what needs none (RFC 3261 §25.1 `user`), or has
/// parameters of a telephone number (`;phone-context`, RFC 3966), which patterns cannot judge.
fn is_veiled(user: &[u8]) -> bool {
    let needs_none =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte);
    let mut escapes = user.split(|byte| *byte == b'%').skip(1).map(|rest| {
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        u8::from_str_radix(digits, 16).ok()
    });
    user.contains(&b';') || escapes.any(|byte| byte.is_none_or(needs_none))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_reduced_to_who_and_where() {
        for (uri, address, is_loopback) in [
            ("sip:bob@127.0.0.1:5080;transport=tcp", "sip:bob@127.0.0.1:5080", true),
            ("SIP:bob@Pbx.Example;user=phone", "sip:bob@Pbx.Example", false),
            ("sip:127.0.0.2", "sip:127.0.0.2", true),
            ("sip:b@[::1]:5060", "sip:b@[::1]:5060", true),
            ("sip:b@[::ffff:127.0.0.1]", "sip:b@[::ffff:127.0.0.1]", true),
            ("sip:b@LocalHost", "sip:b@LocalHost", true),
            ("sip:b@localhost.example", "sip:b@localhost.example", false),
            ("sip:b@127.0.0.1.example", "sip:b@127.0.0.1.example", false),
            ("sip:b%40127.0.0.1@evil.example", "sip:b%40127.0.0.1@evil.example", false),
        ] {
            let seen = DialledUri::parse(uri).unwrap();
            assert_eq!((seen.address.as_str(), seen.is_loopback), (address, is_loopback), "{uri}");
        }
    }

    #[test]
    fn what_could_mean_another_place_is_no_target() {
        for uri in [
            "sip:v@127.0.0.2:5060;x=@127.0.0.1:1",
            "sip:v@evil.example@127.0.0.1",
            "sip:v:p@127.0.0.1",
            "sip:v@127.0.0.1;maddr=203.0.113.1",
            "sip:v@127.0.0.1?Route=%3Csip:evil%3E",
            "sip:v@127.0.0.1;transport=tls",
            "sips:v@127.0.0.1",
            "sip:+19%30%305550100@127.0.0.1",
            "sip:%2B19005550100@127.0.0.1",
            "sip:+1555;phone-context=+1900@127.0.0.1",
            "sip:",
            "bob",
        ] {
            assert_eq!(DialledUri::parse(uri), None, "{uri}");
        }
    }
}
