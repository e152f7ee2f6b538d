//! `updateRecordingStatus`: what a bot says of a recording it makes.

use graphophone_call::RecordingStatus;

use super::client_context;
use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Members},
    resource::roster::RECORDING_STATUSES,
};

/// The parameters of the action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateRecordingStatus {
    /// What participants are told.
    pub status: RecordingStatus,
    /// To be echoed verbatim; at most 256 UTF-16 code units.
    pub client_context: Option<String>,
}

/// Reads the body.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault.
pub fn parse(
    body: &[u8],
    version: ApiVersion,
    compat: Compat,
) -> Result<UpdateRecordingStatus, BodyError> {
    let body = json::read(body)?;
    let dialect = Dialect { version, compat };
    let declared = ["status", "clientContext"];
    let members = Members::of_body(&body, &declared, Extras::Undeclared, dialect)?;
    let status = members.require("status", "notRecording, recording or failed")?;
    Ok(UpdateRecordingStatus {
        status: status.one_of(&RECORDING_STATUSES)?,
        client_context: client_context(&members)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_one_of_graphs() {
        let read = |status: &str| {
            let body = format!(r#"{{"status":{status}}}"#);
            let parsed = parse(body.as_bytes(), ApiVersion::V1, Compat::StrictV1);
            parsed.map(|asked| asked.status).map_err(|error| error.to_string())
        };
        assert_eq!(read(r#""recording""#), Ok(RecordingStatus::Recording));
        assert_eq!(read(r#""notRecording""#), Ok(RecordingStatus::NotRecording));
        let error = read(r#""on""#).unwrap_err();
        let known = "one of unknown, notRecording, recording, failed";
        assert_eq!(error, format!("status: {known} expected, not \"on\""));
        assert!(read("null").unwrap_err().starts_with("status: required"));
    }
}
