//! `sendDtmfTones`: press keys towards the far end.

use std::time::Duration;

use graphophone_call::Tone;

use super::client_context;
use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Members},
    resource::tone,
};

/// Most tones of one request. Graph names no limit.
pub const MAX_TONES: usize = 100;
/// Longest silence between two tones that is waited for. Graph names no limit.
pub const MAX_DELAY: Duration = Duration::from_secs(10);
/// Silence between two tones where the bot asks for none: long enough for any decoder (ITU-T
/// Q.24 asks for 40 to 70 ms).
const DEFAULT_DELAY: Duration = Duration::from_millis(100);

/// The parameters of the action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendDtmfTones {
    /// 1 to [`MAX_TONES`], in order.
    pub tones: Vec<Tone>,
    /// Silence between two tones, up to [`MAX_DELAY`].
    pub delay: Duration,
    /// To be echoed verbatim; at most 256 UTF-16 code units.
    pub client_context: Option<String>,
}

/// Reads the body.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault.
pub fn parse(body: &[u8], version: ApiVersion, compat: Compat) -> Result<SendDtmfTones, BodyError> {
    const DECLARED: [&str; 3] = ["tones", "delayBetweenTonesMs", "clientContext"];
    let body = json::read(body)?;
    let members =
        Members::of_body(&body, &DECLARED, Extras::Undeclared, Dialect { version, compat })?;
    let list = members.require("tones", "an array such as [\"tone1\", \"pound\"]")?;
    let names = Tone::ALL.map(|tone| (tone::name(tone), tone));
    let tones =
        list.items()?.iter().map(|item| item.one_of(&names)).collect::<Result<Vec<_>, _>>()?;
    if tones.is_empty() || tones.len() > MAX_TONES {
        return Err(list.wrong(format!("{} tones, send 1 to {MAX_TONES}", tones.len())));
    }
    let delay = match members.get("delayBetweenTonesMs") {
        None => DEFAULT_DELAY,
        Some(member) => {
            let delay = u64::try_from(member.int32()?).map(Duration::from_millis);
            delay.ok().filter(|delay| *delay <= MAX_DELAY).ok_or_else(|| {
                member.unexpected(&format!("0 to {} milliseconds", MAX_DELAY.as_millis()))
            })?
        }
    };
    Ok(SendDtmfTones { tones, delay, client_context: client_context(&members)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<SendDtmfTones, BodyError> {
        parse(body.as_bytes(), ApiVersion::V1, Compat::StrictV1)
    }

    #[test]
    fn the_documented_body_is_read() {
        let sent = read(
            r#"{"tones":["tone1","star","pound","a","flash"],"delayBetweenTonesMs":300,
                "clientContext":"c"}"#,
        )
        .expect("it is documented");
        assert_eq!(sent.tones, [Tone::Tone1, Tone::Star, Tone::Pound, Tone::A, Tone::Flash]);
        assert_eq!(sent.delay, Duration::from_millis(300));
        assert_eq!(sent.client_context.as_deref(), Some("c"));
        let short = read(r#"{"tones":["tone0"],"delayBetweenTonesMs":0}"#).expect("no silence");
        assert_eq!(short.delay, Duration::ZERO);
    }

    #[test]
    fn a_wrong_member_is_named() {
        let message = |body: &str| read(body).expect_err("it is wrong").to_string();
        assert_eq!(message("{}"), "tones: required, send an array such as [\"tone1\", \"pound\"]");
        assert_eq!(message(r#"{"tones":[]}"#), "tones: 0 tones, send 1 to 100");
        assert!(message(r#"{"tones":["tone1","7"]}"#).starts_with("tones[1]: one of tone0, "));
        assert_eq!(
            message(r#"{"tones":["b"],"delayBetweenTonesMs":-1}"#),
            "delayBetweenTonesMs: 0 to 10000 milliseconds expected, not -1"
        );
    }
}
