//! `invite` of a call's participants: up to five are called into a group call.

use graphophone_call::CallId;

use super::client_context;
use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Members},
    resource::{
        create_call::MAX_TARGETS,
        participant::{Participant, ParticipantRole},
    },
};

/// The parameters of the action.
#[derive(Clone, Debug, PartialEq)]
pub struct Invite {
    /// 1 to [`MAX_TARGETS`]; one if it replaces a call.
    pub participants: Vec<Participant>,
    /// The call of the same bot that the first of them is in; it ends.
    pub replaces: Option<CallId>,
    /// To be echoed verbatim; at most 256 UTF-16 code units.
    pub client_context: Option<String>,
}

/// Reads the body. If the first participant names a call that is replaced, the others are not
/// looked at (Graph).
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault.
pub fn parse(body: &[u8], version: ApiVersion, compat: Compat) -> Result<Invite, BodyError> {
    let body = json::read(body)?;
    let dialect = Dialect { version, compat };
    let declared = ["participants", "clientContext"];
    let members = Members::of_body(&body, &declared, Extras::Undeclared, dialect)?;
    let list = members.require("participants", "an array of 1 to 5 invitationParticipantInfo")?;
    let items = list.items()?;
    if items.is_empty() {
        return Err(list.wrong("empty, send whom to invite"));
    }
    if items.len() > MAX_TARGETS {
        return Err(list.wrong(format!("more than {MAX_TARGETS} participants")));
    }
    let mut participants = items
        .iter()
        .map(|item| Participant::parse(item, ParticipantRole::Target))
        .collect::<Result<Vec<_>, _>>()?;
    let replaces = match participants[0].text("replacesCallId") {
        None | Some("") => None,
        Some(text) => Some(text.parse().map_err(|_| {
            BodyError::argument("participants[0].replacesCallId", "the id of a call expected")
        })?),
    };
    if replaces.is_some() {
        participants.truncate(1);
    }
    Ok(Invite { participants, replaces, client_context: client_context(&members)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Invite, String> {
        parse(body.as_bytes(), ApiVersion::V1, Compat::Open).map_err(|error| error.to_string())
    }

    #[test]
    fn one_to_five_are_invited() {
        let body = |count: usize| {
            let one = r#"{"identity":{"user":{"id":"u"}},"hidden":true}"#;
            format!(r#"{{"participants":[{}],"clientContext":"c"}}"#, vec![one; count].join(","))
        };
        let invite = read(&body(5)).expect("five may be invited");
        assert_eq!((invite.participants.len(), invite.replaces), (5, None));
        assert_eq!(invite.client_context.as_deref(), Some("c"));
        assert!(invite.participants[0].flag("hidden"));
        assert_eq!(read(&body(6)).unwrap_err(), "participants: more than 5 participants");
        assert_eq!(read(&body(0)).unwrap_err(), "participants: empty, send whom to invite");
        let error = read("{}").unwrap_err();
        assert!(error.starts_with("participants: required"), "{error}");
        let error = read(r#"{"participants":[{"identity":{}}]}"#).unwrap_err();
        assert!(error.starts_with("participants[0].identity: names nobody"), "{error}");
    }

    #[test]
    fn who_comes_from_another_call_comes_alone() {
        let body = |id: &str| {
            let who = r#""identity":{"user":{"id":"u"}}"#;
            format!(r#"{{"participants":[{{{who},"replacesCallId":"{id}"}},{{{who}}}]}}"#)
        };
        let invite = read(&body("2e1a0b00-2db4-4022-9570-243709c565ab")).expect("it is a GUID");
        assert_eq!(invite.participants.len(), 1);
        assert!(invite.replaces.is_some());
        let error = read(&body("x")).unwrap_err();
        assert_eq!(error, "participants[0].replacesCallId: the id of a call expected");
        assert_eq!(read(&body("")).expect("none is named").participants.len(), 2);
    }
}
