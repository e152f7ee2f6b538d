//! `cancelMediaProcessing`: stop what plays and what is queued.

use graphophone_call::CancelScope;

use super::client_context;
use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Map, Members},
};

/// The parameters of the action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelMediaProcessing {
    /// What to cancel; everything, unless an old beta client says `all: false`.
    pub scope: CancelScope,
    /// To be echoed verbatim; at most 256 UTF-16 code units.
    pub client_context: Option<String>,
}

/// Reads the body. It may be empty: the action needs no parameter.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault.
pub fn parse(
    body: &[u8],
    version: ApiVersion,
    compat: Compat,
) -> Result<CancelMediaProcessing, BodyError> {
    let body = if body.is_empty() { Map::new() } else { json::read(body)? };
    let dialect = Dialect { version, compat };
    let declared: &[&'static str] =
        if dialect.is_open() { &["clientContext", "all"] } else { &["clientContext"] };
    let members = Members::of_body(&body, declared, Extras::Undeclared, dialect)?;
    let all = match members.get("all") {
        Some(member) => member.boolean()?,
        None => true,
    };
    Ok(CancelMediaProcessing {
        scope: if all { CancelScope::All } else { CancelScope::Current },
        client_context: client_context(&members)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, compat: Compat) -> Result<CancelMediaProcessing, BodyError> {
        parse(body.as_bytes(), ApiVersion::Beta, compat)
    }

    #[test]
    fn everything_is_cancelled_unless_an_open_server_is_told_otherwise() {
        let scope = |body, compat| read(body, compat).map(|cancel| cancel.scope);
        for body in ["", "{}", r#"{"clientContext":"x"}"#, r#"{"all":true}"#, r#"{"all":null}"#] {
            assert_eq!(scope(body, Compat::Open), Ok(CancelScope::All), "{body}");
        }
        assert_eq!(scope(r#"{"all":false}"#, Compat::Open), Ok(CancelScope::Current));
        assert!(scope(r#"{"all":false}"#, Compat::StrictBeta).is_err());
        assert!(scope(r#"{"all":"no"}"#, Compat::Open).is_err());
        assert!(scope("[]", Compat::Open).is_err());
    }

    #[test]
    fn the_client_context_comes_back_verbatim() {
        let context = |body| read(body, Compat::StrictV1).map(|cancel| cancel.client_context);
        assert_eq!(context(r#"{"clientContext":""}"#), Ok(Some(String::new())));
        assert_eq!(context(r#"{"clientContext":"\n\u0000"}"#), Ok(Some("\n\0".to_owned())));
        let long = format!("{{\"clientContext\":\"{}\"}}", "x".repeat(257));
        let error = context(&long).expect_err("it is too long");
        let message = "clientContext: 257 characters, at most 256 are allowed";
        assert_eq!(error.to_string(), message);
    }
}
