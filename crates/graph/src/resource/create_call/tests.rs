//! Bodies of a create, as bots write them.

use serde_json::{Value, json};

use super::*;
use crate::resource::identity::IdentityKind;

fn minimal() -> Value {
    json!({
        "callbackUri": "https://bot/cb",
        "mediaConfig": { "@odata.type": "#microsoft.graph.serviceHostedMediaConfig" },
        "requestedModalities": ["audio"],
        "targets": [{ "identity": { "user": { "id": "alice" } } }],
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut body = minimal();
    body[name] = value;
    body
}

fn read(body: &Value, compat: Compat) -> Result<CreateCall, BodyError> {
    parse(body.to_string().as_bytes(), ApiVersion::V1, compat)
}

fn open(body: &Value) -> CreateCall {
    read(body, Compat::Open).expect("open mode takes it")
}

#[test]
fn the_least_that_a_call_needs_is_enough_in_every_mode() {
    for compat in [Compat::Open, Compat::StrictBeta, Compat::StrictV1] {
        let call = read(&minimal(), compat).expect("nothing is missing");
        assert_eq!(call.targets[0].identity.first(), Some((IdentityKind::User, "alice")));
        assert_eq!(call.tenant, None);
        assert!(call.media.is_service_hosted());
    }
}

#[test]
fn open_mode_forgives_what_strict_modes_do_not() {
    let mut without = minimal();
    without.as_object_mut().expect("an object").remove("requestedModalities");
    let cases = [
        without,
        with("mediaConfig", json!({})),
        with("requestedModalities", json!(["Audio"])),
        with(
            "mediaConfig",
            json!({
                "@odata.type": "#microsoft.graph.serviceHostedMediaConfig", "volume": 11,
            }),
        ),
        with("callOptions", json!({ "volume": 11 })),
    ];
    for body in cases {
        assert_eq!(open(&body).requested_modalities, [Modality::Audio], "{body}");
        assert!(read(&body, Compat::StrictBeta).is_err(), "{body}");
    }
}

#[test]
fn the_modality_unknown_is_betas() {
    let body = with("requestedModalities", json!(["audio", "unknown"])).to_string();
    for (version, compat, is_taken) in [
        (ApiVersion::Beta, Compat::Open, true),
        (ApiVersion::V1, Compat::Open, true),
        (ApiVersion::Beta, Compat::StrictBeta, true),
        (ApiVersion::V1, Compat::StrictBeta, false),
        (ApiVersion::Beta, Compat::StrictV1, false),
    ] {
        match parse(body.as_bytes(), version, compat) {
            Ok(call) => {
                assert!(is_taken, "{version} {compat:?}");
                assert_eq!(call.requested_modalities, [Modality::Audio, Modality::Unknown]);
            }
            Err(error) => assert!(!is_taken, "{version} {compat:?}: {error}"),
        }
    }
}

#[test]
fn app_hosted_media_is_told_by_its_tag_or_its_blob() {
    let tagged = json!({ "@odata.type": "#microsoft.graph.appHostedMediaConfig", "blob": "<b>" });
    for config in [tagged, json!({ "blob": "<b>" })] {
        let call = open(&with("mediaConfig", config));
        assert!(!call.media.is_service_hosted());
        assert_eq!(call.media.render()["blob"], "<b>");
    }
    let torn = json!({ "blob": "<b>", "preFetchMedia": [] });
    let refused = read(&with("mediaConfig", torn), Compat::Open);
    assert!(refused.is_err_and(|e| e.to_string().starts_with("mediaConfig.preFetchMedia: not a")));
}

#[test]
fn a_call_needs_targets_unless_it_joins_a_meeting() {
    for nobody in [Value::Null, json!([])] {
        assert!(read(&with("targets", nobody), Compat::Open).is_err());
    }
    let six = vec![minimal()["targets"][0].clone(); 6];
    assert!(read(&with("targets", six.into()), Compat::Open).is_err());
    let mut join = with(
        "meetingInfo",
        json!({
            "@odata.type": "#microsoft.graph.organizerMeetingInfo",
            "organizer": { "user": { "id": "bob" } },
            "allowConversationWithoutHost": true,
        }),
    );
    join["targets"] = json!([]);
    join["chatInfo"] = json!({ "threadId": "19:x", "messageId": "0" });
    let call = open(&join);
    assert!(call.targets.is_empty());
    let meeting = call.meeting_info.expect("it was sent");
    assert_eq!(meeting["@odata.type"], "#microsoft.graph.organizerMeetingInfo");
    assert_eq!(meeting["allowConversationWithoutHost"], true);
    join["meetingInfo"]["@odata.type"] = "#microsoft.graph.call".into();
    assert!(read(&join, Compat::Open).is_err());
}

#[test]
fn members_that_the_service_fills_in_are_dropped_and_unknown_ones_kept() {
    let mut body = with("state", "established".into());
    body["id"] = 7.into();
    body["direction"] = "outgoing".into();
    body["finalSilenceTimeoutInSeconds"] = json!({ "a": [1] });
    let call = open(&body);
    let kept: Vec<_> = call.other.keys().collect();
    assert_eq!(kept, ["finalSilenceTimeoutInSeconds"]);
    body["direction"] = "incoming".into();
    assert!(read(&body, Compat::Open).is_err());
}

#[test]
fn a_plain_identity_set_may_hold_a_phone() {
    let target = json!([{
        "identity": {
            "@odata.type": "#microsoft.graph.identitySet",
            "phone": { "id": "+15551234", "note": "kept" },
        },
        "replacesCallId": "x",
        "hidden": true,
    }]);
    let call = open(&with("targets", target));
    let target = &call.targets[0];
    assert_eq!(target.identity.first(), Some((IdentityKind::Phone, "+15551234")));
    assert_eq!(target.text("replacesCallId"), Some("x"));
    let rendered = target.render(ParticipantRole::Target);
    assert_eq!(rendered["hidden"], true);
    assert_eq!(rendered["identity"]["phone"]["note"], "kept");
    let tag = &rendered["identity"]["@odata.type"];
    assert_eq!(tag, "#microsoft.graph.communicationsIdentitySet");
}
