//! `graphophone.pause`, `.resume`, `.seek` and `.stop` on an operation: ours, not Graph's.

use std::time::Duration;

use graphophone_call::PlayControl;

use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Map, Members},
    path::ControlAction,
};

/// Furthest place to go to, a week.
const MAX_POSITION_MS: i32 = 7 * 24 * 3_600 * 1_000;

/// Reads the body: `positionMs` of `seek`; nothing else is asked for, and it may be empty.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault.
pub fn parse(
    action: ControlAction,
    body: &[u8],
    version: ApiVersion,
) -> Result<PlayControl, BodyError> {
    let body = if body.is_empty() { Map::new() } else { json::read(body)? };
    let dialect = Dialect { version, compat: Compat::Open };
    let declared: &[&'static str] = match action {
        ControlAction::Seek => &["positionMs"],
        ControlAction::Pause | ControlAction::Resume | ControlAction::Stop => &[],
    };
    let members = Members::of_body(&body, declared, Extras::Undeclared, dialect)?;
    Ok(match action {
        ControlAction::Pause => PlayControl::Pause,
        ControlAction::Resume => PlayControl::Resume,
        ControlAction::Stop => PlayControl::Stop,
        ControlAction::Seek => {
            let what = "milliseconds from the beginning of the first prompt";
            let position = members.require("positionMs", what)?;
            match position.int32()? {
                ms @ 0..=MAX_POSITION_MS => {
                    PlayControl::Seek(Duration::from_millis(ms.unsigned_abs().into()))
                }
                _ => return Err(position.unexpected(&format!("0 to {MAX_POSITION_MS}"))),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_seek_asks_for_something() {
        let read = |action, body: &str| parse(action, body.as_bytes(), ApiVersion::V1);
        for body in ["", "{}", r#"{"x":1}"#] {
            assert_eq!(read(ControlAction::Pause, body), Ok(PlayControl::Pause));
            assert_eq!(read(ControlAction::Resume, body), Ok(PlayControl::Resume));
            assert_eq!(read(ControlAction::Stop, body), Ok(PlayControl::Stop));
        }
        let seek = PlayControl::Seek(Duration::from_millis(1_500));
        assert_eq!(read(ControlAction::Seek, r#"{"positionMs":1500}"#), Ok(seek));
        for (body, what) in [
            ("", "positionMs: required, send milliseconds"),
            (r#"{"positionMs":-1}"#, "positionMs: 0 to 604800000 expected, not -1"),
            (r#"{"positionMs":"1"}"#, "positionMs: a whole number"),
            ("{", "malformed"),
        ] {
            let error = read(ControlAction::Seek, body).unwrap_err().to_string();
            assert!(what == "malformed" || error.starts_with(what), "{error}");
        }
    }
}
