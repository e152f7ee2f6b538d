//! Snapshots of everything that is written to bots. The committed files are the contract; compare
//! them with spec/notifications.md §5 and spec/api.md §1 and §3 when they change.

use graphophone_call::{
    CallState, CompletionReason, MediaPrompt, Notification, Operation, OperationKind,
    OperationStatus, ResultInfo, Tone,
};
use graphophone_graph::{
    ApiVersion, Compat,
    action::answer,
    notification::{self, NotificationContext},
    odata::Service,
    resource::{
        call::{CallDetails, CallView, IncomingCall, NewCall},
        create_call,
        identity::{Identity, IdentityKind, IdentitySet},
        media::MediaState,
        operation,
        receipt::{PromptEnd, PromptReceipt, Receipt},
    },
};
use insta::assert_json_snapshot;
use serde_json::{Value, json};
use time::macros::datetime;
use uuid::{Uuid, uuid};

const V1: Service<'_> = Service { root: "https://calls.example.com", version: ApiVersion::V1 };
const BETA: Service<'_> = Service { root: "https://calls.example.com", version: ApiVersion::Beta };
const CHAIN: Uuid = uuid!("d8217646-3110-40b1-bae6-e9ac6c3a9f74");

/// As msgraph-sdk for Python sends it (spec/clients.md §1), with what else Graph takes.
const CREATE: &str = r##"{
    "@odata.type": "#microsoft.graph.call",
    "callbackUri": "https://bot.contoso.com/callback?ticket=7",
    "mediaConfig": {
        "@odata.type": "#microsoft.graph.serviceHostedMediaConfig",
        "preFetchMedia": [{ "resourceId": "f8971b04", "uri": "https://cdn.contoso.com/beep.wav" }]
    },
    "requestedModalities": ["audio"],
    "source": {
        "@odata.type": "#microsoft.graph.participantInfo",
        "identity": { "applicationInstance": { "displayName": "Bot", "id": "7629bdf4" } },
        "region": null
    },
    "subject": "A call",
    "targets": [{
        "@odata.type": "#microsoft.graph.invitationParticipantInfo",
        "identity": {
            "@odata.type": "#microsoft.graph.identitySet",
            "phone": { "id": "+15551234", "@odata.type": "#microsoft.graph.identity" }
        }
    }],
    "tenantId": "AA67BD4C-8475-432D-BD41-39F255720E0A",
    "operationContext": "kept",
    "ringingTimeoutInSeconds": 30
}"##;

const ANSWER: &str = r##"{
    "callbackUri": "https://bot.contoso.com/callback",
    "mediaConfig": { "@odata.type": "#microsoft.graph.serviceHostedMediaConfig" },
    "acceptedModalities": ["audio"],
    "callOptions": { "isContentSharingNotificationEnabled": true }
}"##;

#[test]
fn a_created_call_is_answered_with_the_whole_resource() {
    let details = outgoing();
    let call = CallView {
        details: &details,
        state: CallState::Establishing,
        media: None,
        result: None,
        tone: None,
    };
    assert_json_snapshot!("call_created_v1", call.render(&V1));
    assert_json_snapshot!("call_created_beta", call.render(&BETA));
}

#[test]
fn a_call_is_shown_as_it_is_now() {
    let details = outgoing();
    let result = ResultInfo::of_call(200, 560000, "The call was ended by the far end.");
    let call = CallView {
        details: &details,
        state: CallState::Terminated,
        media: Some(MediaState::Active),
        result: Some(&result),
        tone: Some((Tone::Pound, 2)),
    };
    assert_json_snapshot!("call_terminated_beta", call.render(&BETA));
    assert_eq!(call.render_item(ApiVersion::V1).get("@odata.context"), None);
}

#[test]
fn lists_have_their_context() {
    assert_json_snapshot!("calls", V1.collection("calls", Vec::new(), None));
    assert_json_snapshot!(
        "operations",
        V1.collection(&format!("calls/{}/operations", outgoing().id), vec![Value::from(1)], None)
    );
}

#[test]
fn a_running_operation_has_its_nulls_and_beta_one_more() {
    let running = play_prompt(OperationStatus::Running, None, None);
    assert_json_snapshot!("play_prompt_v1", operation::render_response(&V1, &running, None));
    assert_json_snapshot!("play_prompt_beta", operation::render_response(&BETA, &running, None));
}

/// The example of spec/api.md §3.5, seen from the real service, with our ids.
#[test]
fn a_completion_is_notified_as_production_does() {
    let mut operation = completed();
    let OperationKind::PlayPrompt { prompts, .. } = &mut operation.kind else { unreachable!() };
    *prompts = prompts[..1].into();
    let posted = posted(&outgoing(), &Notification::OperationEnded(operation), None);
    let below = "calls/2e1a0b00-2db4-4022-9570-243709c565ab/operations/\
                 0fe0623f-d628-42ed-b4bd-8ac290072cc5";
    let expected = json!({"@odata.type":"#microsoft.graph.commsNotifications","value":[
        {"@odata.type":"#microsoft.graph.commsNotification","changeType":"deleted",
        "resource":format!("/app/{below}"),"resourceUrl":format!("/communications/{below}"),
        "resourceData":{"@odata.type":"#microsoft.graph.playPromptOperation",
            "prompts":[{"@odata.type":"#microsoft.graph.mediaPrompt","mediaInfo":{
                "@odata.type":"#microsoft.graph.mediaInfo",
                "uri":"https://cdn.contoso.com/beep.wav","resourceId":"1D6DE2D4"}}],
            "completionReason":"completedSuccessfully","status":"completed",
            "clientContext":"d45324c1-fcb5-430a-902c-f20af696537c",
            "resultInfo":{"@odata.type":"#microsoft.graph.resultInfo","code":200,"subcode":0,
                "message":"Action completed successfully."},
            "id":"0fe0623f-d628-42ed-b4bd-8ac290072cc5"}}]});
    assert_eq!(posted, expected);
}

#[test]
fn an_operation_shows_its_receipt() {
    let ended = completed();
    let rendered = operation::render_entity(&V1, outgoing().id, &ended, Some(&receipt()));
    assert_json_snapshot!("play_prompt_ended_v1", rendered);
}

#[test]
fn a_cancel_is_completed_in_its_response() {
    let cancel = Operation {
        kind: OperationKind::CancelMediaProcessing,
        completion_reason: None,
        ..completed()
    };
    assert_json_snapshot!("cancel_v1", operation::render_response(&V1, &cancel, None));
    assert_json_snapshot!("cancel_beta", operation::render_response(&BETA, &cancel, None));
}

#[test]
fn notifications_of_an_outgoing_call_are_those_of_the_catalogue() {
    let details = outgoing();
    let ended = ResultInfo::of_call(200, 7000, "The call was ended by the bot.");
    let notifications = [
        ("notify_establishing", Notification::Establishing),
        ("notify_ringing", Notification::Ringing),
        ("notify_rejected", Notification::Rejected),
        ("notify_established", Notification::Established),
        ("notify_media_active", Notification::Media { active: true }),
        ("notify_media_inactive", Notification::Media { active: false }),
        ("notify_terminating", Notification::Terminating),
        ("notify_terminated", Notification::Terminated(ended)),
    ];
    for (name, notification) in notifications {
        assert_json_snapshot!(name, posted(&details, &notification, None));
    }
}

#[test]
fn notifications_of_ended_operations_say_how_and_repeat_the_prompts() {
    let details = outgoing();
    let cancelled = play_prompt(
        OperationStatus::Failed,
        Some(CompletionReason::MediaOperationCanceled),
        Some(ResultInfo::cancelled()),
    );
    let failed = Operation {
        client_context: None,
        ..play_prompt(
            OperationStatus::Failed,
            Some(CompletionReason::Unknown),
            Some(ResultInfo::download_failed("HTTP 404 (text/html).")),
        )
    };
    let receipt = receipt();
    let cases = [
        ("notify_operation_completed", completed(), Some(&receipt)),
        ("notify_operation_cancelled", cancelled, None),
        ("notify_operation_failed", failed, None),
    ];
    for (name, operation, receipt) in cases {
        let notification = Notification::OperationEnded(operation);
        assert_json_snapshot!(name, posted(&details, &notification, receipt));
    }
}

#[test]
fn an_incoming_call_tells_who_calls_whom() {
    let details = incoming();
    assert_json_snapshot!("notify_incoming", posted(&details, &Notification::Incoming, None));
    let established = posted(&details, &Notification::Established, None);
    assert_eq!(established["value"][0]["resourceData"]["direction"], "incoming");
}

#[test]
fn an_answer_moves_the_notifications_to_its_own_uri() {
    let mut details = incoming();
    assert!(!details.is_service_hosted());
    let answer = answer::parse(ANSWER.as_bytes(), ApiVersion::Beta, Compat::StrictBeta);
    details.answer(ApiVersion::Beta, answer.expect("it is documented"));
    assert!(details.is_service_hosted());
    assert_eq!(details.callback_uri, "https://bot.contoso.com/callback");
    assert_eq!(details.version, ApiVersion::Beta);
}

#[test]
fn a_tone_comes_without_media_state_and_chain() {
    let details = outgoing();
    let context = NotificationContext { details: &details, with_id: true };
    let tone = Notification::Tone { tone: Tone::Tone1, sequence: 1 };
    let posted = notification::render(&context, &tone, None);
    assert_json_snapshot!("notify_tone", parsed(&posted));
}

#[test]
fn the_id_of_a_call_can_be_left_out_and_that_of_an_operation_not() {
    let details = outgoing();
    let data = |notification, with_id| {
        let context = NotificationContext { details: &details, with_id };
        let posted = parsed(&notification::render(&context, notification, None));
        posted["value"][0]["resourceData"].clone()
    };
    assert_eq!(data(&Notification::Establishing, true)["id"], details.id.to_string());
    assert_eq!(data(&Notification::Establishing, false).get("id"), None);
    let ended = Notification::OperationEnded(completed());
    assert_eq!(data(&ended, false)["id"], completed().id.to_string());
}

#[test]
fn what_is_stored_comes_back_the_same() {
    for details in [outgoing(), incoming()] {
        let stored = serde_json::to_string(&details).expect("it is JSON");
        assert_eq!(serde_json::from_str::<CallDetails>(&stored).expect("as stored"), details);
    }
    let stored = serde_json::to_string(&receipt()).expect("it is JSON");
    assert_eq!(serde_json::from_str::<Receipt>(&stored).expect("as stored"), receipt());
}

#[test]
fn strict_modes_take_the_documented_create_too() {
    for compat in [Compat::StrictBeta, Compat::StrictV1] {
        let parsed = create_call::parse(CREATE.as_bytes(), ApiVersion::V1, compat);
        let call = parsed.expect("it is documented");
        let ringing = call.ringing_seconds;
        assert_eq!(ringing, None, "v1.0 does not declare it");
        assert_eq!(call.other["operationContext"], "kept");
    }
}

#[test]
fn a_wrong_create_names_the_member() {
    let message = |from: &str, to: &str| {
        let body = CREATE.replace(from, to);
        assert_ne!(body, CREATE, "{from} is in the body");
        let refused = create_call::parse(body.as_bytes(), ApiVersion::Beta, Compat::Open);
        refused.expect_err("it is wrong").to_string()
    };
    let table = [
        ("callbackUri", "callback", "callbackUri: required, send an absolute http or https URI"),
        (
            "https://bot.contoso.com/callback",
            "https://u:p@bot/",
            "callbackUri: has credentials before the host, leave them out",
        ),
        ("+15551234", " ", "targets[0].identity.phone.id: empty"),
        (
            "\"phone\"",
            "\"fax\"",
            "targets[0].identity: names nobody, send user, phone or application with an id",
        ),
        (
            "AA67BD4C-8475-432D-BD41-39F255720E0A",
            "contoso.com",
            "tenantId: a GUID expected, not \"contoso.com\"",
        ),
        (
            "[\"audio\"]",
            "[\"smell\"]",
            "requestedModalities[0]: one of audio, video, videoBasedScreenSharing, data, unknown \
             expected, not \"smell\"",
        ),
        (": 30", ": 116", "ringingTimeoutInSeconds: 1 to 115 seconds expected, not 116"),
        ("graph.call\"", "graph.chat\"", "@odata.type: #microsoft.graph.call expected, not chat"),
        ("\"A call\"", "1", "subject: a string expected, not 1"),
    ];
    for (from, to, expected) in table {
        assert_eq!(message(from, to), expected);
    }
    let huge = format!("\"{}\"", "x".repeat(create_call::MAX_KEPT_BODY));
    assert_eq!(message("\"kept\"", &huge), "The body is longer than 131072 bytes");
}

fn ids() -> NewCall {
    NewCall {
        id: uuid!("2e1a0b00-2db4-4022-9570-243709c565ab").into(),
        tenant: uuid!("aa67bd4c-8475-432d-bd41-39f255720e0a").into(),
        app: uuid!("dd3885da-f9ab-486b-bfae-85de3d445555").into(),
        my_participant_id: uuid!("05491616-385f-44a8-9974-18cc5f9933c1"),
        chain: CHAIN,
        scenario: None,
    }
}

fn outgoing() -> CallDetails {
    let asked = create_call::parse(CREATE.as_bytes(), ApiVersion::Beta, Compat::Open);
    let asked = asked.expect("clients send it");
    assert_eq!(asked.tenant, Some(ids().tenant));
    let details = CallDetails::outgoing(ids(), ApiVersion::Beta, asked);
    assert_eq!(details.scenario_id, CHAIN);
    details
}

fn incoming() -> CallDetails {
    CallDetails::incoming(IncomingCall {
        ids: ids(),
        calling_webhook: "https://bot.contoso.com/api/calls".to_owned(),
        caller: IdentitySet::of(IdentityKind::Phone, Identity::new("+15557654321")),
        bot_name: Some("Test bot".to_owned()),
        called_number: Some("+15551230000".to_owned()),
    })
}

fn play_prompt(
    status: OperationStatus,
    completion_reason: Option<CompletionReason>,
    result: Option<ResultInfo>,
) -> Operation {
    let prompt = |uri: &str, resource_id: Option<&str>, repeat| MediaPrompt {
        uri: uri.to_owned(),
        resource_id: resource_id.map(str::to_owned),
        repeat,
        shaping: Default::default(),
    };
    Operation {
        id: uuid!("0fe0623f-d628-42ed-b4bd-8ac290072cc5").into(),
        kind: OperationKind::PlayPrompt {
            prompts: vec![
                prompt("https://cdn.contoso.com/beep.wav", Some("1D6DE2D4"), 1),
                prompt("https://cdn.contoso.com/long.wav", None, 3),
            ]
            .into(),
            looping: false,
            options: Default::default(),
        },
        status,
        client_context: Some("d45324c1-fcb5-430a-902c-f20af696537c".to_owned()),
        completion_reason,
        result,
    }
}

fn completed() -> Operation {
    play_prompt(
        OperationStatus::Completed,
        Some(CompletionReason::CompletedSuccessfully),
        Some(ResultInfo::completed()),
    )
}

fn receipt() -> Receipt {
    let played = PromptReceipt {
        sha256: Some("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned()),
        duration_ms: Some(1980),
        milliseconds_sent: Some(1980),
        milliseconds_acknowledged: Some(1960),
        first_packet: Some(datetime!(2026-11-23 15:00:00.001234 UTC)),
        last_packet: Some(datetime!(2026-11-23 15:00:01.961234 UTC)),
        reason: PromptEnd::Completed,
        ..PromptReceipt::waiting("https://cdn.contoso.com/beep.wav", Some("1D6DE2D4".to_owned()))
    };
    let cut = PromptReceipt {
        reason: PromptEnd::NotPlayed,
        ..PromptReceipt::waiting("https://cdn.contoso.com/long.wav", None)
    };
    Receipt { prompts: vec![played, cut] }
}

fn posted(details: &CallDetails, notification: &Notification, receipt: Option<&Receipt>) -> Value {
    let context = NotificationContext { details, with_id: true };
    parsed(&notification::render(&context, notification, receipt))
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("it is JSON")
}

#[test]
fn what_has_no_effect_is_kept_and_comes_back() {
    let body = json!({
        "callbackUri": "https://bot/cb",
        "requestedModalities": ["audio", "video"],
        "subject": "A call",
        "callOptions": {
            "@odata.type": "#microsoft.graph.outgoingCallOptions",
            "hideBotAfterEscalation": true, "isContentSharingNotificationEnabled": false,
            "isDeltaRosterEnabled": true, "isInteractiveRosterEnabled": true,
        },
        "chatInfo": {
            "@odata.type": "#microsoft.graph.chatInfo",
            "threadId": "t", "messageId": "0", "replyChainMessageId": "r",
        },
        "mediaConfig": {
            "@odata.type": "#microsoft.graph.serviceHostedMediaConfig", "preFetchMedia": [],
            "liveCaptionOptions": { "isEnabled": true },
        },
        "source": {
            "@odata.type": "#microsoft.graph.participantInfo",
            "countryCode": "DE", "endpointType": "default", "languageId": "de-DE",
            "participantId": "p", "region": "emea", "platformId": "x",
            "identity": {
                "@odata.type": "#microsoft.graph.communicationsIdentitySet",
                "applicationInstance": { "@odata.type": "#microsoft.graph.identity", "id": "i" },
            },
        },
        "targets": [{
            "@odata.type": "#microsoft.graph.invitationParticipantInfo",
            "endpointType": "voicemail", "participantId": "q", "replacesCallId": "r",
            "hidden": true, "removeFromDefaultAudioRoutingGroup": false,
            "identity": {
                "@odata.type": "#microsoft.graph.communicationsIdentitySet",
                "user": { "@odata.type": "#microsoft.graph.identity", "id": "u" },
                "device": { "@odata.type": "#microsoft.graph.identity", "id": "d" },
                "guest": { "@odata.type": "#microsoft.graph.identity", "id": "g" },
                "onPremises": { "@odata.type": "#microsoft.graph.identity", "id": "o" },
            },
        }],
    });
    let asked = body.to_string();
    let asked = create_call::parse(asked.as_bytes(), ApiVersion::Beta, Compat::StrictBeta);
    let details = CallDetails::outgoing(ids(), ApiVersion::Beta, asked.expect("it is documented"));
    let call = rendered(&details, &BETA);
    for (name, sent) in body.as_object().expect("an object") {
        assert_eq!(call[name], *sent, "{name}");
    }
}

#[test]
fn members_that_nothing_fills_are_null() {
    let details = outgoing();
    let (v1, beta) = (rendered(&details, &V1), rendered(&details, &BETA));
    for name in ["incomingContext", "transcription"] {
        assert_eq!(
            (v1.get(name), beta.get(name)),
            (Some(&Value::Null), Some(&Value::Null)),
            "{name}"
        );
    }
    for name in ["answeredBy", "meetingCapability", "terminationReason"] {
        assert_eq!((v1.get(name), beta.get(name)), (None, Some(&Value::Null)), "{name}");
    }
    assert_eq!(beta["routingPolicies"], json!([]));
}

fn rendered(details: &CallDetails, service: &Service<'_>) -> Value {
    CallView { details, state: CallState::Establishing, media: None, result: None, tone: None }
        .render(service)
}
