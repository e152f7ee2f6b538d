//! `transfer`: hand the far end of a call on to somebody else.

use graphophone_call::CallId;

use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Members},
    resource::participant::{Participant, ParticipantRole},
};

/// The parameters of the action.
#[derive(Clone, Debug, PartialEq)]
pub struct Transfer {
    /// Who takes the call.
    pub target: Participant,
    /// The call on which the bot has them already (consultative transfer).
    pub replaces: Option<CallId>,
    /// Who of a group call is transferred; of a call between two there is but one far end.
    pub transferee: Option<Participant>,
}

/// Reads the body.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault.
pub fn parse(body: &[u8], version: ApiVersion, compat: Compat) -> Result<Transfer, BodyError> {
    let body = json::read(body)?;
    let dialect = Dialect { version, compat };
    // The documents' examples send the last three, which the metadata does not declare.
    const DECLARED: [&str; 5] =
        ["transferTarget", "transferee", "clientContext", "languageId", "region"];
    let members = Members::of_body(&body, &DECLARED, Extras::Undeclared, dialect)?;
    let what = "an invitationParticipantInfo that names who takes the call";
    let member = members.require("transferTarget", what)?;
    let target = Participant::parse(&member, ParticipantRole::Target)?;
    let replaces = match target.text("replacesCallId") {
        Some(id) => Some(id.parse().map_err(|_| {
            member.wrong("replacesCallId is not the id of a call, send the one you have with them")
        })?),
        None => None,
    };
    let transferee = members.get("transferee");
    let parse = |member| Participant::parse(&member, ParticipantRole::Source);
    Ok(Transfer { target, replaces, transferee: transferee.map(parse).transpose()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Transfer, BodyError> {
        parse(body.as_bytes(), ApiVersion::V1, Compat::StrictV1)
    }

    const TARGET: &str = r##"{"transferTarget":{"@odata.type":"#microsoft.graph.invitationParticipantInfo",
        "endpointType":"default","identity":{"@odata.type":"#microsoft.graph.identitySet",
        "user":{"@odata.type":"#microsoft.graph.identity","id":"550fae72","displayName":"Heidi"}},
        "languageId":"en-us","region":"amer"},"clientContext":"9e90d1c1"}"##;

    #[test]
    fn the_documents_examples_are_taken() {
        let blind = read(TARGET).expect("it is documented");
        assert_eq!((blind.replaces, blind.transferee), (None, None));
        let id = "e141b67c-90fd-455d-858b-b48a40b9cc8d";
        let named = TARGET.replace(
            r#""endpointType":"default""#,
            &format!(r#""endpointType":"default","replacesCallId":"{id}""#),
        );
        let consultative = read(&named).expect("it is documented");
        assert_eq!(consultative.replaces.map(|id| id.to_string()), Some(id.to_owned()));
    }

    #[test]
    fn a_transferee_is_named_by_a_participants_id() {
        let body = TARGET.replace(
            r#""clientContext""#,
            r#""transferee":{"identity":{"user":{"id":"751f"}},"participantId":"909c"},"clientContext""#,
        );
        let transferee = read(&body).expect("it is documented").transferee.expect("it is there");
        assert_eq!(transferee.text("participantId"), Some("909c"));
    }

    #[test]
    fn a_wrong_member_is_named() {
        for (body, named) in [
            ("{}", "transferTarget"),
            (r#"{"transferTarget":{"identity":{}}}"#, "transferTarget.identity"),
            (
                r#"{"transferTarget":{"identity":{"user":{"id":"a"}},"replacesCallId":"soon"}}"#,
                "transferTarget",
            ),
            (r#"{"transferTarget":{"identity":{"user":{"id":"a"}}},"transferee":7}"#, "transferee"),
        ] {
            let error = read(body).expect_err("it is wrong").to_string();
            assert!(error.starts_with(named), "{error}");
        }
    }
}
