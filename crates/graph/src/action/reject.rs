//! `reject`: refuse an incoming call.

use graphophone_call::RejectReason;

use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Map, Members},
    resource::media::http_uri,
};

/// The parameters of the action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// What the caller is told; nobody answers, unless the bot says otherwise.
    pub reason: RejectReason,
    /// Where the end of the call is told; `None` leaves the bot's webhook in force.
    pub callback_uri: Option<String>,
}

/// Reads the body, which may be empty.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault.
pub fn parse(body: &[u8], version: ApiVersion, compat: Compat) -> Result<Reject, BodyError> {
    const REASONS: [(&str, RejectReason); 3] = [
        ("none", RejectReason::None),
        ("busy", RejectReason::Busy),
        ("forbidden", RejectReason::Forbidden),
    ];
    // The documents print them like this.
    const PRINTED: [(&str, RejectReason); 3] = [
        ("None", RejectReason::None),
        ("Busy", RejectReason::Busy),
        ("Forbidden", RejectReason::Forbidden),
    ];
    let body = if body.is_empty() { Map::new() } else { json::read(body)? };
    let dialect = Dialect { version, compat };
    let members = Members::of_body(&body, &["reason", "callbackUri"], Extras::Undeclared, dialect)?;
    let reason = match members.get("reason") {
        Some(member) => member.one_of(&PRINTED).or_else(|_| member.one_of(&REASONS))?,
        None => RejectReason::None,
    };
    let callback_uri = members.get("callbackUri").map(|member| http_uri(&member)).transpose()?;
    Ok(Reject { reason, callback_uri })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_read_as_the_documents_and_the_metadata_spell_them() {
        let reason = |body: &str| {
            parse(body.as_bytes(), ApiVersion::V1, Compat::StrictV1).map(|reject| reject.reason)
        };
        assert_eq!(reason(""), Ok(RejectReason::None));
        assert_eq!(reason(r#"{"reason":null}"#), Ok(RejectReason::None));
        assert_eq!(reason(r#"{"reason":"busy"}"#), Ok(RejectReason::Busy));
        assert_eq!(reason(r#"{"reason":"Forbidden"}"#), Ok(RejectReason::Forbidden));
        let error = reason(r#"{"reason":"asleep"}"#).expect_err("there is none such");
        assert_eq!(
            error.to_string(),
            "reason: one of none, busy, forbidden expected, not \"asleep\""
        );
    }

    #[test]
    fn a_callback_uri_must_be_an_absolute_one() {
        let read = |body: &str| parse(body.as_bytes(), ApiVersion::Beta, Compat::Open);
        let reject = read(r#"{"callbackUri":"https://bot/cb"}"#).expect("it is absolute");
        assert_eq!(reject.callback_uri.as_deref(), Some("https://bot/cb"));
        assert!(read(r#"{"callbackUri":"/cb"}"#).is_err());
    }
}
