//! `answer`: take an incoming call.

use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Map, Members, Value},
    resource::{
        create_call::{MAX_KEPT_BODY, options},
        media::{MediaConfig, Modality, http_uri},
    },
};

/// The parameters of the action.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Replaces the bot's registered webhook for this call; `None` leaves that one in force.
    pub callback_uri: Option<String>,
    /// Who handles the media.
    pub media: MediaConfig,
    /// Without doubles; audio if absent.
    pub accepted_modalities: Vec<Modality>,
    /// For policy recording bots, at least 1; without effect here.
    pub participant_capacity: Option<u32>,
    /// `incomingCallOptions`, echoed.
    pub call_options: Option<Map<String, Value>>,
}

/// Reads the body.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault.
pub fn parse(body: &[u8], version: ApiVersion, compat: Compat) -> Result<Answer, BodyError> {
    const DECLARED: [&str; 5] =
        ["callbackUri", "mediaConfig", "acceptedModalities", "participantCapacity", "callOptions"];
    let body = json::read_up_to(MAX_KEPT_BODY, body)?;
    let dialect = Dialect { version, compat };
    let members = Members::of_body(&body, &DECLARED, Extras::Undeclared, dialect)?;
    let callback_uri = match members.get("callbackUri") {
        Some(member) => Some(http_uri(&member)?),
        // Optional in the documents, not nullable in the metadata.
        None if dialect.is_open() => None,
        None => return Err(members.wrong("callbackUri", "required, send an absolute http URI")),
    };
    let media = "an object with @odata.type #microsoft.graph.serviceHostedMediaConfig";
    let modalities = members.require("acceptedModalities", "[\"audio\"]");
    Ok(Answer {
        callback_uri,
        media: MediaConfig::parse(&members.require("mediaConfig", media)?)?,
        accepted_modalities: Modality::parse_list(modalities, dialect.is_open())?,
        participant_capacity: match members.get("participantCapacity") {
            Some(member) => match u32::try_from(member.int32()?) {
                Ok(capacity @ 1..) => Some(capacity),
                Ok(0) | Err(_) => return Err(member.unexpected("a number from 1")),
            },
            None => None,
        },
        call_options: options(&members, "incomingCallOptions", dialect)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r##"{"callbackUri":"https://bot/cb","acceptedModalities":["audio"],
        "mediaConfig":{"@odata.type":"#microsoft.graph.serviceHostedMediaConfig",
            "preFetchMedia":[{"uri":"https://cdn/a.wav","resourceId":"a"}]},
        "callOptions":{"@odata.type":"#microsoft.graph.incomingCallOptions",
            "isDeltaRosterEnabled":true},
        "participantCapacity":1}"##;

    fn read(body: &str, compat: Compat) -> Result<Answer, BodyError> {
        parse(body.as_bytes(), ApiVersion::V1, compat)
    }

    #[test]
    fn a_documented_body_is_taken_in_every_mode() {
        for compat in [Compat::Open, Compat::StrictBeta, Compat::StrictV1] {
            let answer = read(BODY, compat).expect("it is documented");
            assert_eq!(answer.callback_uri.as_deref(), Some("https://bot/cb"));
            assert_eq!(answer.media.prefetch().len(), 1);
            assert_eq!(answer.accepted_modalities, [Modality::Audio]);
            assert_eq!(answer.participant_capacity, Some(1));
            let options = answer.call_options.expect("there are some");
            assert_eq!(options["isDeltaRosterEnabled"], true);
        }
    }

    #[test]
    fn open_mode_forgives_what_real_bots_leave_out() {
        let body = r#"{"mediaConfig":{}}"#;
        let answer = read(body, Compat::Open).expect("open mode infers the rest");
        assert!(answer.media.is_service_hosted());
        assert_eq!(answer.accepted_modalities, [Modality::Audio]);
        assert_eq!(answer.callback_uri, None);
        assert!(read(body, Compat::StrictV1).is_err());
        assert!(read("{}", Compat::Open).is_err(), "mediaConfig decides what the call can do");
    }

    #[test]
    fn a_wrong_member_is_named() {
        let message = |from: &str, to: &str| {
            read(&BODY.replace(from, to), Compat::StrictV1).expect_err("it is wrong").to_string()
        };
        assert_eq!(
            message("serviceHosted", "serviceHasted"),
            "mediaConfig.@odata.type: #microsoft.graph.serviceHostedMediaConfig or \
             #microsoft.graph.appHostedMediaConfig expected, not serviceHastedMediaConfig"
        );
        assert_eq!(
            message("https://cdn/a.wav", "a.wav"),
            "mediaConfig.preFetchMedia[0].uri: not an absolute http or https URI, send one such as \
             https://cdn.example.com/hello.wav"
        );
        assert_eq!(
            message(r#"["audio"]"#, r#"["Audio"]"#),
            "acceptedModalities[0]: one of audio, video, videoBasedScreenSharing, data expected, \
             not \"Audio\""
        );
        assert_eq!(message(":1}", ":0}"), "participantCapacity: a number from 1 expected, not 0");
    }
}
