//! `muteAll` of a call's participants (beta, deprecated).

use graphophone_call::ParticipantId;

use super::client_context;
use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Map, Members},
    resource::audio_routing_group::participant_ids,
};

/// The parameters of the action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MuteAll {
    /// Who is to be muted; nobody named means all but the bots.
    pub participants: Vec<ParticipantId>,
    /// To be echoed verbatim; at most 256 UTF-16 code units.
    pub client_context: Option<String>,
}

/// Reads the body, which may be empty.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault.
pub fn parse(body: &[u8], version: ApiVersion, compat: Compat) -> Result<MuteAll, BodyError> {
    let body = if body.is_empty() { Map::new() } else { json::read(body)? };
    let dialect = Dialect { version, compat };
    let declared = ["participants", "clientContext"];
    let members = Members::of_body(&body, &declared, Extras::Undeclared, dialect)?;
    let participants = match members.get("participants") {
        Some(list) => participant_ids(&list)?,
        None => Vec::new(),
    };
    Ok(MuteAll { participants, client_context: client_context(&members)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_named_or_all_are_meant() {
        let read = |body: &str| parse(body.as_bytes(), ApiVersion::Beta, Compat::StrictBeta);
        assert_eq!(read("").expect("a body is optional").participants, []);
        let body = r#"{"participants":["2e1a0b00-2db4-4022-9570-243709c565ab"]}"#;
        assert_eq!(read(body).expect("it is a GUID").participants.len(), 1);
        let error = read(r#"{"participants":["x"]}"#).expect_err("it is none");
        let message = "participants[0]: the id of a participant expected, not \"x\"";
        assert_eq!(error.to_string(), message);
    }
}
