//! Syntax of the http URIs that bots give us: prompts and callbacks.
//!
//! Only syntax. Which addresses may be contacted is decided by the server's guard, which must
//! judge the [`Url`] that [`parse_http`] gives and not parse the text anew: two parsers that
//! disagree about the host are how a guard is walked around.

use url::{ParseError, Url};

/// Most characters of a URI.
pub const MAX_URI: usize = 8192;

/// Most characters between two dots of a host, as it is written. Its ASCII form has 63 octets at most
/// (RFC 1035 §2.3.4), and turning a label into that takes time in proportion to its square.
const MAX_LABEL: usize = 255;

/// Why a text is not a URI that we take. The texts say what to send instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriFault {
    /// Nothing there.
    #[error("empty, send an absolute http or https URI")]
    Empty,
    /// Above [`MAX_URI`].
    #[error("longer than {MAX_URI} characters")]
    TooLong,
    /// A character that URL parsers strip, swap or split at.
    #[error("has a space, control character or backslash, percent-encode it")]
    ForbiddenCharacter,
    /// Relative, or of another scheme.
    #[error(
        "not an absolute http or https URI, send one such as https://cdn.example.com/hello.wav"
    )]
    NotHttp,
    /// User or password before the host.
    #[error("has credentials before the host, leave them out")]
    Userinfo,
    /// Port 0 or above 65535.
    #[error("the port is not in 1 to 65535")]
    Port,
    /// No host, or one that is no name and no address.
    #[error("the host is not valid")]
    Host,
}

/// Reads an absolute http or https URI. A fragment is allowed; it is never sent.
///
/// # Errors
/// [`UriFault`], by the first fault found.
pub fn parse_http(text: &str) -> Result<Url, UriFault> {
    if text.is_empty() {
        return Err(UriFault::Empty);
    }
    if text.chars().nth(MAX_URI).is_some() {
        return Err(UriFault::TooLong);
    }
    // The WHATWG algorithm strips tabs and newlines and reads '\' as '/': refused before it runs.
    if text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err(UriFault::ForbiddenCharacter);
    }
    let (scheme, rest) = text.split_once("://").ok_or(UriFault::NotHttp)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(UriFault::NotHttp);
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() {
        // The WHATWG algorithm would skip more slashes and find a host behind them.
        return Err(UriFault::Host);
    }
    if authority.contains('@') {
        return Err(UriFault::Userinfo);
    }
    if has_long_label(authority) {
        return Err(UriFault::Host);
    }
    let url = Url::parse(text).map_err(|error| {
        if error == ParseError::InvalidPort { UriFault::Port } else { UriFault::Host }
    })?;
    if url.port() == Some(0) {
        return Err(UriFault::Port);
    }
    Ok(url)
}

/// Whether a host with its port has a label that no name has, and that would be long to read.
pub fn has_long_label(authority: &str) -> bool {
    authority.split('.').any(|label| label.chars().nth(MAX_LABEL).is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_label_that_no_name_has_is_refused_before_it_is_read() {
        for label in ["a".repeat(256), "\u{fc}".repeat(256), format!("xn--{}", "tda".repeat(99))] {
            assert!(has_long_label(&format!("cdn.{label}.com:8080")));
            assert_eq!(parse_http(&format!("https://{label}.com/")), Err(UriFault::Host));
        }
        assert!(!has_long_label(&format!("{}.com", "a.".repeat(500))));
    }

    #[test]
    fn absolute_http_uris_are_taken_and_all_else_is_named() {
        let table = [
            ("https://cdn.contoso.com/beep.wav", None),
            ("HTTP://127.0.0.1:8080/x?sig=a%2Fb&y=[1]#frag", None),
            ("https://[::1]:65535/", None),
            ("https://cdn.example.invalid#@127.0.0.1/x.wav", None),
            ("https://cdn.example.invalid/a@b?c@d", None),
            ("https://\u{441}dn.example.invalid/x.wav", None),
            ("", Some(UriFault::Empty)),
            ("/beep.wav", Some(UriFault::NotHttp)),
            ("//cdn/beep.wav", Some(UriFault::NotHttp)),
            ("cdn.contoso.com/beep.wav", Some(UriFault::NotHttp)),
            ("https:cdn.contoso.com/beep.wav", Some(UriFault::NotHttp)),
            ("file:///etc/passwd", Some(UriFault::NotHttp)),
            ("data:audio/wav;base64,UklGRg==", Some(UriFault::NotHttp)),
            ("https:///cdn/x.wav", Some(UriFault::Host)),
            ("https://?x", Some(UriFault::Host)),
            ("https://:443/x", Some(UriFault::Host)),
            ("https://a b/", Some(UriFault::ForbiddenCharacter)),
            ("https://a/\u{a0}", Some(UriFault::ForbiddenCharacter)),
            ("ht\ttps://a/", Some(UriFault::ForbiddenCharacter)),
            (" https://a/", Some(UriFault::ForbiddenCharacter)),
            ("https://a\\@b/", Some(UriFault::ForbiddenCharacter)),
            ("https://@a/", Some(UriFault::Userinfo)),
            ("https://user:pw@a/", Some(UriFault::Userinfo)),
            ("https://a:0/", Some(UriFault::Port)),
            ("https://a:65536/", Some(UriFault::Port)),
            ("https://a:+1/", Some(UriFault::Port)),
            ("https://[::1/", Some(UriFault::Host)),
            ("https://1.2.3.256/", Some(UriFault::Host)),
        ];
        for (text, fault) in table {
            assert_eq!(parse_http(text).err(), fault, "{text:?}");
        }
    }

    #[test]
    fn the_limit_counts_characters() {
        let prefix = "https://a/";
        let fill = MAX_URI - prefix.len();
        assert!(parse_http(&format!("{prefix}{}", "é".repeat(fill))).is_ok());
        let longer = format!("{prefix}{}", "a".repeat(fill + 1));
        assert_eq!(parse_http(&longer), Err(UriFault::TooLong));
    }

    #[test]
    fn disguised_addresses_come_out_as_addresses_for_the_guard() {
        let disguises =
            ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "１２７.0.0.1", "①②⑦.0.0.1"];
        for host in disguises {
            let url = parse_http(&format!("https://{host}/x.wav")).expect("it is http");
            assert_eq!(url.host_str(), Some("127.0.0.1"), "{host}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_has_a_host_and_no_credentials(text in r"(https?://)?[a-z0-9@:/?#\[\].%\\ -]{0,30}") {
            if let Ok(url) = parse_http(&text) {
                prop_assert!(url.has_host() && url.username().is_empty() && url.password().is_none());
                prop_assert!(url.port() != Some(0));
            }
        }
    }
}
