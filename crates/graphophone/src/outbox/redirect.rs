//! Which redirects of a bot are followed, and whether what proves the sender goes along. Pure.

use reqwest::StatusCode;
use serde::Deserialize;
use url::Url;

/// Redirects followed for one attempt at most.
pub(super) const HOPS: u32 = 3;

const REFUSED: &str = "redirects are not followed (callbacks.redirects)";

/// What a redirect (301, 302, 307 or 308, with a `Location`) by a bot does: `callbacks.redirects`.
///
/// Whatever it says, the target passes the address guard like any callback, https never gives way
/// to http, and the notification is posted again with the same id and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Redirects {
    /// It is a failure like any other, tried again at the first address.
    #[default]
    Refuse,
    /// Followed within the host: to the same origin, or to another port of it by https. Token and
    /// signature go along.
    SameHost,
    /// Followed to every address that callbacks may have, as for bots that move between regions.
    /// Token and signature go along to the first origin and to https targets; an http target gets
    /// the notification without, so that nobody on the way can pick them up.
    Allowed,
}

/// Where to post next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) url: Url,
    /// Whether the bearer token and the signature go along.
    pub(super) with_proof: bool,
}

/// Whether an answer of this status sends the notification elsewhere. 303 asks for a GET, which
/// would not deliver anything.
pub(super) const fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 307 | 308)
}

/// Where a redirect leads; `first` is the callback itself, `from` what answered. The error says for
/// the delivery log why it is not followed.
pub(super) fn target(
    policy: Redirects,
    first: &Url,
    from: &Url,
    location: Option<&str>,
) -> Result<Hop, String> {
    if policy == Redirects::Refuse {
        return Err(REFUSED.into());
    }
    let location = location.ok_or("no readable Location")?;
    let url = from.join(location).map_err(|error| format!("Location is no URL: {error}"))?;
    let url = parse(url.as_str())?;
    if from.scheme() == "https" && url.scheme() != "https" {
        return Err("from https to http is not followed".into());
    }
    let is_home = url.origin() == first.origin();
    let is_secure = url.scheme() == "https";
    match policy {
        Redirects::Refuse => Err(REFUSED.into()),
        Redirects::SameHost if url.host() != first.host() => {
            Err("to another host is not followed (callbacks.redirects)".into())
        }
        Redirects::SameHost if !is_home && !is_secure => {
            Err("to another port without https is not followed".into())
        }
        Redirects::SameHost => Ok(Hop { url, with_proof: true }),
        Redirects::Allowed => Ok(Hop { url, with_proof: is_home || is_secure }),
    }
}

/// Parses a URL that may be called at all. Credentials in it would displace our bearer token and
/// are dropped.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("not an http or https URL".into());
    }
    // Both fail only for URLs without a host, which http URLs have.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "https://bot.example/calls?x=1";

    /// Whether proof goes along, or why it is not followed.
    fn judge(policy: Redirects, from: &str, location: &str) -> Result<bool, String> {
        let first: Url = FIRST.parse().unwrap();
        let from = if from.is_empty() { first.clone() } else { from.parse().unwrap() };
        target(policy, &first, &from, Some(location)).map(|hop| hop.with_proof)
    }

    #[test]
    fn nothing_is_followed_unless_it_was_asked_for() {
        assert_eq!(Redirects::default(), Redirects::Refuse);
        for location in [FIRST, "/other", "https://elsewhere.example/"] {
            let refusal = judge(Redirects::Refuse, "", location).unwrap_err();
            assert!(refusal.contains("callbacks.redirects"), "{refusal}");
        }
    }

    #[test]
    fn the_token_never_goes_to_another_host_unless_every_allowed_one_may_have_it() {
        for (location, same_host, allowed) in [
            ("/other", Some(true), Some(true)),
            ("https://bot.example:8443/", Some(true), Some(true)),
            ("https://BOT.example/", Some(true), Some(true)),
            ("https://user:word@bot.example/", Some(true), Some(true)),
            ("https://eu.bot.example/", None, Some(true)),
            ("https://bot.example.evil.example/", None, Some(true)),
            ("https://bot.example@evil.example/", None, Some(true)),
            ("//evil.example/", None, Some(true)),
            ("http://bot.example/", None, None),
            ("file:///etc/passwd", None, None),
            ("https://", None, None),
        ] {
            assert_eq!(judge(Redirects::SameHost, "", location).ok(), same_host, "{location}");
            assert_eq!(judge(Redirects::Allowed, "", location).ok(), allowed, "{location}");
        }
        assert_eq!(judge(Redirects::Allowed, "", "https://user:word@x/").ok(), Some(true));
    }

    #[test]
    fn over_plain_http_proof_stays_at_home() {
        let first: Url = "http://127.0.0.1:8000/calls".parse().unwrap();
        let judge = |policy, location| {
            target(policy, &first, &first, Some(location)).map(|hop| hop.with_proof).ok()
        };
        for (location, same_host, allowed) in [
            ("/other", Some(true), Some(true)),
            ("http://127.0.0.1:8001/", None, Some(false)),
            ("https://127.0.0.1:8001/", Some(true), Some(true)),
            ("http://127.0.0.2:8000/", None, Some(false)),
        ] {
            assert_eq!(judge(Redirects::SameHost, location), same_host, "{location}");
            assert_eq!(judge(Redirects::Allowed, location), allowed, "{location}");
        }
    }

    #[test]
    fn the_way_back_home_has_the_token_again() {
        let elsewhere = "https://elsewhere.example/a/b";
        assert_eq!(judge(Redirects::Allowed, elsewhere, FIRST), Ok(true));
        assert_eq!(judge(Redirects::SameHost, "", ""), Ok(true), "an empty one means itself");
        let hop = target(
            Redirects::Allowed,
            &FIRST.parse().unwrap(),
            &elsewhere.parse().unwrap(),
            Some("c?d"),
        );
        assert_eq!(hop.unwrap().url.as_str(), "https://elsewhere.example/a/c?d");
    }
}
