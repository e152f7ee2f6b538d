//! Every parameter that the table of the metadata says is taken is read, and named when it is wrong
//! or missing.

use graphophone_graph::{
    ApiVersion, BodyError, Compat,
    action::{
        answer, cancel_media_processing, change_screen_sharing_role, configure_mixer, context_only,
        control, invite, log_teleconference_device_quality, mute_all, play_prompt, record_response,
        redirect, reject, send_dtmf_tones, start_hold_music, transfer, update_recording_status,
    },
    csdl::{ACTIONS, Action, item_of},
    path::ControlAction,
};
use serde_json::{Value, json};

type Parse = fn(&[u8], ApiVersion, Compat) -> Result<(), BodyError>;

/// Who reads the body of an action, and a body that is good.
fn reader(action: &Action) -> Option<(Parse, Value)> {
    macro_rules! reader {
        ($module:ident) => {
            |body, version, compat| $module::parse(body, version, compat).map(drop)
        };
    }
    let service_hosted = json!({ "@odata.type": "#microsoft.graph.serviceHostedMediaConfig" });
    let quality = json!({
        "callChainId": "0622673d-9f69-49b3-9d4f-5ec64f42ecce", "deviceName": "d",
        "participantId": "0622673d-9f69-49b3-9d4f-5ec64f42ecce", "deviceDescription": "d",
        "mediaLegId": "0622673d-9f69-49b3-9d4f-5ec64f42ecce", "mediaQualityList": [],
    });
    let prompt = json!({
        "@odata.type": "#microsoft.graph.mediaPrompt", "mediaInfo": { "uri": "https://cdn/a.wav" },
    });
    Some(match action.name {
        "addLargeGalleryView" | "mute" | "unmute" | "stopHoldMusic" | "subscribeToTone" => {
            (reader!(context_only), json!({}))
        }
        "answer" => (
            reader!(answer),
            json!({
                "callbackUri": "https://bot/cb", "mediaConfig": service_hosted,
                "acceptedModalities": ["audio"],
            }),
        ),
        "cancelMediaProcessing" => (reader!(cancel_media_processing), json!({})),
        "seek" => (
            |body, version, _| control::parse(ControlAction::Seek, body, version).map(drop),
            json!({ "positionMs": 7 }),
        ),
        "changeScreenSharingRole" => {
            (reader!(change_screen_sharing_role), json!({ "role": "viewer" }))
        }
        "configureMixer" => (reader!(configure_mixer), json!({ "participantMixerLevels": [] })),
        "invite" => (
            reader!(invite),
            json!({ "participants": [{ "identity": { "user": { "id": "u" } } }] }),
        ),
        "muteAll" => (reader!(mute_all), json!({})),
        "startHoldMusic" => (reader!(start_hold_music), json!({})),
        "updateRecordingStatus" => {
            (reader!(update_recording_status), json!({ "status": "recording" }))
        }
        "logTeleconferenceDeviceQuality" => {
            (reader!(log_teleconference_device_quality), json!({ "quality": quality }))
        }
        "playPrompt" => (reader!(play_prompt), json!({ "prompts": [prompt] })),
        "recordResponse" | "record" => (
            |body, version, compat| {
                let name = record_response::Name::RecordResponse;
                record_response::parse(body, name, "https://calls", version, compat).map(drop)
            },
            json!({ "prompts": [prompt] }),
        ),
        "redirect" => {
            (reader!(redirect), json!({ "targets": [{ "identity": { "user": { "id": "u" } } }] }))
        }
        "transfer" => (
            reader!(transfer),
            json!({ "transferTarget": { "identity": { "user": { "id": "u" } } } }),
        ),
        "reject" => (reader!(reject), json!({})),
        "sendDtmfTones" => (reader!(send_dtmf_tones), json!({ "tones": ["tone1"] })),
        _ => return None,
    })
}

/// A value that no parameter of a type takes.
fn wrong(of: &str) -> Value {
    match item_of(of) {
        ("Edm.String" | "Edm.Boolean" | "Edm.Int32", false) => json!({ "x": 1 }),
        (_, true) => json!("x"),
        (_, false) => json!(7.5),
    }
}

#[test]
fn every_parameter_of_an_action_is_read_and_named_when_it_is_wrong() {
    let mut parameters = 0;
    for action in ACTIONS {
        // Beta has them all; what is only taken in open mode is ours.
        let served: Vec<_> = action.served_parameters(ApiVersion::Beta).collect();
        if !action.is_served(ApiVersion::Beta) || served.is_empty() {
            continue;
        }
        let (parse, good) = reader(action)
            .unwrap_or_else(|| panic!("{}: name its reader in this test", action.name));
        let read = |body: &Value| {
            parse(body.to_string().as_bytes(), ApiVersion::Beta, Compat::Open)
                .map_err(|error| error.to_string())
        };
        assert_eq!(read(&good), Ok(()), "{}", action.name);
        for parameter in served {
            let mut body = good.clone();
            body[parameter.name] = wrong(parameter.of);
            let error = read(&body).expect_err(&format!("{}: {body}", action.name));
            let starts = [":", "[", "."].map(|next| format!("{}{next}", parameter.name));
            let names_it = starts.iter().any(|start| error.starts_with(start));
            assert!(names_it, "{} of {}: {error}", parameter.name, action.name);
            body.as_object_mut().expect("an object").remove(parameter.name);
            let missing = read(&body);
            // Graph's metadata and documents differ on this one (docs/graph-compat.md).
            let is_optional = !parameter.is_required || parameter.name == "callbackUri";
            match missing {
                Ok(()) => assert!(is_optional, "{} of {}", parameter.name, action.name),
                Err(error) => assert!(error.starts_with(&starts[0]), "{error}"),
            }
            parameters += 1;
        }
    }
    assert!(parameters >= 15, "{parameters}");
}
