//! `changeScreenSharingRole`: of a call whose media the bot handles. No screens are shared here, so
//! nothing comes of the role.

use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Members},
};

/// Graph `screenSharingRole`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScreenSharingRole {
    /// Sees a screen.
    Viewer,
    /// Shows one.
    Sharer,
}

/// Reads the body.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault.
pub fn parse(
    body: &[u8],
    version: ApiVersion,
    compat: Compat,
) -> Result<ScreenSharingRole, BodyError> {
    let body = json::read(body)?;
    let dialect = Dialect { version, compat };
    let members = Members::of_body(&body, &["role"], Extras::Undeclared, dialect)?;
    members
        .require("role", "viewer or sharer")?
        .one_of(&[("viewer", ScreenSharingRole::Viewer), ("sharer", ScreenSharingRole::Sharer)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_is_viewer_or_sharer() {
        let read = |body: &str, compat| {
            parse(body.as_bytes(), ApiVersion::V1, compat).map_err(|error| error.to_string())
        };
        assert_eq!(read(r#"{"role":"viewer"}"#, Compat::StrictV1), Ok(ScreenSharingRole::Viewer));
        assert_eq!(read(r#"{"role":"Sharer"}"#, Compat::Open), Ok(ScreenSharingRole::Sharer));
        for (body, expected) in [
            (r#"{"role":"Sharer"}"#, "role: one of viewer, sharer expected, not \"Sharer\""),
            (r#"{"role":1}"#, "role: a string expected, not 1"),
            ("{}", "role: required, send viewer or sharer"),
        ] {
            assert_eq!(read(body, Compat::StrictV1), Err(expected.to_owned()));
        }
    }
}
