//! What a response says about keeping it (RFC 9111): how long it is fresh and how to ask again.

use std::time::{Duration, SystemTime};

use hyper::header::{
    AGE, CACHE_CONTROL, DATE, ETAG, EXPIRES, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED,
    PRAGMA,
};

/// Longest validator kept, in bytes; a longer one is treated as absent.
const MAX_VALIDATOR: usize = 512;

/// What makes a request conditional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Validators {
    pub(crate) etag: Option<HeaderValue>,
    pub(crate) last_modified: Option<HeaderValue>,
}

/// How a response may be reused. We are a private cache: one per application, so `private` allows
/// and `s-maxage` says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CachePolicy {
    /// `no-store`: do not keep it at all.
    pub(crate) no_store: bool,
    /// Time until it must be revalidated; `None` if the server does not say.
    pub(crate) fresh_for: Option<Duration>,
    pub(crate) validators: Validators,
}

impl Validators {
    pub(crate) fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }
}

impl CachePolicy {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut policy = Self {
            validators: Validators {
                etag: validator(headers, &ETAG),
                last_modified: validator(headers, &LAST_MODIFIED),
            },
            ..Self::default()
        };
        let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        for directive in fields.flat_map(|field| field.split(',')) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" => policy.no_store = true,
                "no-cache" => policy.fresh_for = Some(Duration::ZERO),
                // RFC 9111 §4.2.1: the strictest of several, and nonsense is stale.
                "max-age" => {
                    let seconds = value.trim().trim_matches('"').parse().unwrap_or(0);
                    let age = Duration::from_secs(seconds);
                    policy.fresh_for = Some(policy.fresh_for.map_or(age, |other| other.min(age)));
                }
                _ => {}
            }
        }
        if !headers.contains_key(CACHE_CONTROL) && is_uncached_by_pragma(headers) {
            policy.fresh_for = Some(Duration::ZERO);
        }
        policy.fresh_for = policy.fresh_for.or_else(|| until_expiry(headers));
        let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok());
        policy.fresh_for = policy
            .fresh_for
            .map(|fresh| fresh.saturating_sub(Duration::from_secs(age.unwrap_or(0))));
        policy
    }

    /// After a 304: its headers replace the stored ones, absent ones stay (RFC 9111 §4.3.4).
    pub(crate) fn updated(&self, by: Self) -> Self {
        Self {
            no_store: by.no_store,
            fresh_for: by.fresh_for.or(self.fresh_for),
            validators: Validators {
                etag: by.validators.etag.or_else(|| self.validators.etag.clone()),
                last_modified: by
                    .validators
                    .last_modified
                    .or_else(|| self.validators.last_modified.clone()),
            },
        }
    }
}

/// HTTP/1.0's `no-cache` (RFC 9111 §5.4).
fn is_uncached_by_pragma(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(PRAGMA).iter().filter_map(|value| value.to_str().ok());
    fields
        .flat_map(|field| field.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case("no-cache"))
}

/// `Expires` by the server's own clock (RFC 9111 §4.2.1); `0` and other nonsense is the past.
fn until_expiry(headers: &HeaderMap) -> Option<Duration> {
    let read = |value: &HeaderValue| httpdate::parse_http_date(value.to_str().ok()?).ok();
    let expires = read(headers.get(EXPIRES)?);
    let date = headers.get(DATE).and_then(read).unwrap_or_else(SystemTime::now);
    Some(expires.and_then(|expires| expires.duration_since(date).ok()).unwrap_or_default())
}

fn validator(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    headers.get(name).filter(|value| (1..=MAX_VALIDATOR).contains(&value.len())).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_control_decides_how_long_a_response_is_fresh() {
        const MINUTE: &str = "Wed, 21 Oct 2015 07:29:00 GMT";
        const DATED: (&str, &str) = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        type Row = (&'static [(&'static str, &'static str)], bool, Option<u64>);
        let table: &[Row] = &[
            (&[], false, None),
            (&[("cache-control", "max-age=60")], false, Some(60)),
            (&[("cache-control", "public, Max-Age=\"60\"")], false, Some(60)),
            (&[("cache-control", "max-age=60"), ("age", "50")], false, Some(10)),
            (&[("cache-control", "max-age=60"), ("age", "61")], false, Some(0)),
            (&[("cache-control", "max-age=60, max-age=5")], false, Some(5)),
            (&[("cache-control", "max-age=60"), ("cache-control", "no-cache")], false, Some(0)),
            (&[("cache-control", "no-cache, max-age=60")], false, Some(0)),
            (&[("cache-control", "max-age=soon")], false, Some(0)),
            (&[("cache-control", "max-age=-1")], false, Some(0)),
            (&[("cache-control", "NO-STORE")], true, None),
            (&[("cache-control", "s-maxage=60")], false, None),
            (&[("pragma", "No-Cache")], false, Some(0)),
            (&[("pragma", "no-cache"), ("cache-control", "max-age=60")], false, Some(60)),
            (&[("expires", MINUTE), DATED], false, Some(60)),
            (&[("expires", MINUTE), DATED, ("age", "50")], false, Some(10)),
            (&[("expires", MINUTE), DATED, ("cache-control", "max-age=5")], false, Some(5)),
            (&[("expires", MINUTE), DATED, ("cache-control", "public")], false, Some(60)),
            (&[("expires", MINUTE), DATED, ("cache-control", "no-cache")], false, Some(0)),
            // Long ago by our own clock.
            (&[("expires", MINUTE)], false, Some(0)),
            (&[("expires", "0")], false, Some(0)),
        ];
        for (fields, no_store, fresh_for) in table {
            let mut headers = HeaderMap::new();
            for (name, value) in *fields {
                headers.append(*name, HeaderValue::from_str(value).unwrap());
            }
            let policy = CachePolicy::of(&headers);
            assert_eq!(policy.no_store, *no_store, "{fields:?}");
            assert_eq!(policy.fresh_for, fresh_for.map(Duration::from_secs), "{fields:?}");
        }
    }

    #[test]
    fn a_validator_too_long_to_keep_is_absent() {
        let mut headers = HeaderMap::new();
        headers.insert(ETAG, HeaderValue::from_str(&"e".repeat(MAX_VALIDATOR + 1)).unwrap());
        assert!(CachePolicy::of(&headers).validators.is_empty());
    }
}
