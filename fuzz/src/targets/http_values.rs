//! Header values of bots' and prompt servers' responses: `Retry-After`, and what says how long a
//! prompt is fresh. No value is a wait beyond what it says, and none breaks the arithmetic.

use std::time::Duration;

use graphophone::fuzzing::{fresh_for, retry_after};
use http::{HeaderMap, HeaderValue, header};

/// 2027-01-15.
const NOW: i64 = 1_800_000_000_000;

pub(crate) fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(wait) = retry_after(text, NOW)
    {
        // The year 9999 is the last that an HTTP date can name.
        assert!(wait <= Duration::from_secs(260_000_000_000), "{wait:?}");
        let number = text.trim().parse::<u64>().ok();
        assert!(number.is_none_or(|asked| wait <= Duration::from_secs(asked)), "{text}: {wait:?}");
    }
    let names = [
        header::CACHE_CONTROL,
        header::EXPIRES,
        header::DATE,
        header::AGE,
        header::PRAGMA,
        header::ETAG,
        header::LAST_MODIFIED,
    ];
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(32) {
        let Some((name, value)) = line.split_first() else { continue };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(names[usize::from(*name) % names.len()].clone(), value);
        }
    }
    // How long is cut by the cache; that there is a figure at all is enough here.
    let _ = fresh_for(&headers);
}
