//! `addLargeGalleryView`: a picture of all participants, in calls with video.

use super::client_context;
use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Map, Members},
};

/// Reads the body, which may be empty; its `clientContext` comes back.
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
    client_context(&Members::of_body(&body, &["clientContext"], Extras::Undeclared, dialect)?)
}
