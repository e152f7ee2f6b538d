//! What a response says about keeping it (RFC 9111): how long it is fresh and how to ask again.

use std::time::Duration;

use hyper::header::{AGE, CACHE_CONTROL, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED};

/// Longest validator kept, in bytes; a longer one is treated as absent.
const MAX_VALIDATOR: usize = 512;

/// What makes a request conditional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Validators {
    pub(crate) etag: Option<HeaderValue>,
    pub(crate) last_modified: Option<HeaderValue>,
}

/// How a response may be reused. We are a private cache: one per application, so `private` allows
/// and `s-maxage` says nothing. `Expires` is not read: without Cache-Control the default applies.
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

fn validator(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    headers.get(name).filter(|value| (1..=MAX_VALIDATOR).contains(&value.len())).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_control_decides_how_long_a_response_is_fresh() {
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
