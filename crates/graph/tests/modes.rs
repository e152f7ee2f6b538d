//! Each row of the table of the compatibility modes ([`compat::RULES`]), as far as it is decided by
//! reading a body. The other rows name tests of whole servers.

use graphophone_graph::{
    ApiVersion, Compat,
    action::{answer, cancel_media_processing, play_prompt, reject},
    compat::{Outcome, RULES, Rule},
    resource::{create_call, media::MediaConfig},
};
use serde_json::{Value, json};

const MODES: [Compat; 3] = [Compat::Open, Compat::StrictBeta, Compat::StrictV1];

fn play() -> Value {
    json!({ "prompts": [{
        "@odata.type": "#microsoft.graph.mediaPrompt",
        "mediaInfo": { "uri": "https://cdn/a.wav" },
    }] })
}

fn service_hosted() -> Value {
    json!({ "@odata.type": "#microsoft.graph.serviceHostedMediaConfig" })
}

fn taking() -> Value {
    json!({
        "callbackUri": "https://bot/cb", "acceptedModalities": ["audio"],
        "mediaConfig": service_hosted(),
    })
}

fn create() -> Value {
    json!({
        "callbackUri": "https://bot/cb", "requestedModalities": ["audio"],
        "mediaConfig": service_hosted(), "targets": [{ "identity": { "user": { "id": "u" } } }],
    })
}

/// A body with one change: a member set by its pointer, or removed by null.
fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    let (object, name) = pointer.rsplit_once('/').expect("a pointer");
    let object = body.pointer_mut(object).expect("it is there").as_object_mut().expect("an object");
    if value.is_null() {
        object.remove(name);
    } else {
        object.insert(name.to_owned(), value);
    }
    body
}

/// What came of it: an error, or a word of [`Outcome::Takes`].
type Read = Result<&'static str, String>;

fn read(rule: &Rule, version: ApiVersion, compat: Compat) -> Option<Read> {
    let played = |body: Value| play_prompt::parse(&body_of(&body), version, compat);
    let created = |body: Value| create_call::parse(&body_of(&body), version, compat);
    let answered = |body: Value| answer::parse(&body_of(&body), version, compat);
    let cancelled = |body: Value| cancel_media_processing::parse(&body_of(&body), version, compat);
    let refused = |error: graphophone_graph::BodyError| error.to_string();
    let unknown = |value: Value| with(create(), "/requestedModalities", json!([value]));
    Some(match rule.what {
        "`loop` of playPrompt" => played(with(play(), "/loop", json!(true)))
            .map(|read| if read.looping { "honoured" } else { "ignored" })
            .map_err(refused),
        "`prompts[].loop`" => played(with(play(), "/prompts/0/loop", json!(3)))
            .map(|read| if read.prompts[0].repeat == 3 { "honoured" } else { "ignored" })
            .map_err(refused),
        "modality `unknown`" => created(unknown(json!("unknown")))
            .map(|read| if read.requested_modalities.len() == 1 { "kept" } else { "ignored" })
            .map_err(refused),
        "`mediaConfig.removeFromDefaultAudioGroup`" => {
            created(with(create(), "/mediaConfig/removeFromDefaultAudioGroup", json!(true)))
                .map(|read| match read.media {
                    MediaConfig::ServiceHosted { other, .. } if !other.is_empty() => "kept",
                    MediaConfig::ServiceHosted { .. } | MediaConfig::AppHosted { .. } => "ignored",
                })
                .map_err(refused)
        }
        "`ringingTimeoutInSeconds`" => {
            created(with(create(), "/ringingTimeoutInSeconds", json!(20)))
                .map(|read| if read.ringing_seconds == Some(20) { "honoured" } else { "ignored" })
                .map_err(refused)
        }
        "an undeclared member of an action" => {
            played(with(play(), "/dance", json!(1))).map(|_| "ignored").map_err(refused)
        }
        "an undeclared member of a closed type" => {
            played(with(play(), "/prompts/0/mediaInfo/dance", json!(1)))
                .map(|_| "ignored")
                .map_err(refused)
        }
        "an undeclared member of an open type" => created(with(create(), "/dance", json!(1)))
            .map(|read| if read.other["dance"] == 1 { "kept" } else { "ignored" })
            .map_err(refused),
        "a member's name in another case" => cancelled(json!({ "clientcontext": "c" }))
            .map(|read| if read.client_context.is_some() { "read" } else { "ignored" })
            .map_err(refused),
        "a value of an enumeration in another case" => {
            created(unknown(json!("AUDIO"))).map(|_| "read").map_err(refused)
        }
        "a prompt without `@odata.type`" => {
            played(with(play(), "/prompts/0/@odata.type", Value::Null))
                .map(|_| "a mediaPrompt")
                .map_err(refused)
        }
        "a mediaConfig without `@odata.type`" => {
            created(with(create(), "/mediaConfig/@odata.type", Value::Null))
                .map(|read| if read.media.is_service_hosted() { "by its members" } else { "?" })
                .map_err(refused)
        }
        "answer without `callbackUri`" => answered(with(taking(), "/callbackUri", Value::Null))
            .map(|read| if read.callback_uri.is_none() { "the bot's webhook" } else { "?" })
            .map_err(refused),
        "answer without `acceptedModalities`" => {
            answered(with(taking(), "/acceptedModalities", Value::Null))
                .map(|read| if read.accepted_modalities.len() == 1 { "audio" } else { "?" })
                .map_err(refused)
        }
        "create without `requestedModalities`" => {
            created(with(create(), "/requestedModalities", Value::Null))
                .map(|read| if read.requested_modalities.len() == 1 { "audio" } else { "?" })
                .map_err(refused)
        }
        "`all` of cancelMediaProcessing" => cancelled(json!({ "all": false }))
            .map(|read| match read.scope {
                graphophone_call::CancelScope::Current => "honoured",
                graphophone_call::CancelScope::All => "ignored",
            })
            .map_err(refused),
        _ => return None,
    })
}

fn body_of(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

#[test]
fn each_mode_takes_and_refuses_what_its_row_says() {
    let mut read_rows = 0;
    for rule in RULES {
        for (mode, expected) in MODES.into_iter().zip(rule.outcomes) {
            for version in [ApiVersion::V1, ApiVersion::Beta] {
                if rule.on.is_some_and(|on| on != version) {
                    continue;
                }
                let Some(found) = read(rule, version, mode) else {
                    let other = "each_mode_takes_and_refuses_what_its_row_says";
                    assert_ne!(rule.test, other, "{}: nothing reads it", rule.what);
                    continue;
                };
                let what = format!("{} on {version} in {mode:?}: {found:?}", rule.what);
                match expected {
                    Outcome::Takes(how) => assert_eq!(found, Ok(how), "{what}"),
                    Outcome::Refuses => assert!(found.is_err(), "{what}"),
                }
                read_rows += 1;
            }
        }
    }
    assert!(read_rows >= 80, "{read_rows}");
}

#[test]
fn no_placeholder_of_an_enumeration_is_taken() {
    for compat in MODES {
        for version in [ApiVersion::V1, ApiVersion::Beta] {
            let modality = with(create(), "/requestedModalities", json!(["unknownFutureValue"]));
            let error =
                create_call::parse(&body_of(&modality), version, compat).expect_err("it is");
            let expected = "requestedModalities[0]: one of audio, ";
            assert!(error.to_string().starts_with(expected), "{error}");
            let reason = json!({ "reason": "unknownFutureValue" });
            let error = reject::parse(&body_of(&reason), version, compat).expect_err("it is");
            assert!(error.to_string().starts_with("reason: one of "), "{error}");
        }
    }
}
