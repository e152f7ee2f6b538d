//! Actions whose only parameter is `clientContext`: mute and unmute, stopHoldMusic, subscribeToTone,
//! addLargeGalleryView.

use super::client_context;
use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Map, Members},
};

/// Reads the body, which may be empty: the `clientContext`, to be echoed verbatim.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault.
pub fn parse(
    body: &[u8],
    version: ApiVersion,
    compat: Compat,
) -> Result<Option<String>, BodyError> {
    let body = if body.is_empty() { Map::new() } else { json::read(body)? };
    let dialect = Dialect { version, compat };
    let members = Members::of_body(&body, &["clientContext"], Extras::Undeclared, dialect)?;
    client_context(&members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_optional_and_its_context_is_kept() {
        let read = |body: &str| parse(body.as_bytes(), ApiVersion::V1, Compat::StrictV1);
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("{}"), Ok(None));
        assert_eq!(read(r#"{"clientContext":"c"}"#), Ok(Some("c".to_owned())));
        let error = read(r#"{"clientContext":[]}"#).expect_err("it is no text");
        assert_eq!(error.to_string(), "clientContext: a string expected, not an array");
        let error = read(r#"{"clientContext":7}"#).expect_err("it is no text");
        assert_eq!(error.to_string(), "clientContext: a string expected, not 7");
        assert!(read(r#"{"tones":[]}"#).is_err(), "strict modes know no other member");
    }
}
