//! What the prompts of a playPrompt may look like.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const MODES: [Compat; 3] = [Compat::Open, Compat::StrictBeta, Compat::StrictV1];

fn prompt(uri: &str) -> Value {
    json!({
        "@odata.type": "#microsoft.graph.mediaPrompt",
        "mediaInfo": { "@odata.type": "#microsoft.graph.mediaInfo", "uri": uri },
    })
}

fn read(body: &Value, version: ApiVersion, compat: Compat) -> Result<PlayPrompt, BodyError> {
    parse(body.to_string().as_bytes(), version, compat)
}

fn message(body: &Value) -> String {
    read(body, ApiVersion::V1, Compat::Open).expect_err("it is wrong").to_string()
}

#[test]
fn loop_is_read_in_all_three_forms_as_far_as_the_mode_goes() {
    let whole = json!({ "prompts": [prompt("https://a/b.wav")], "loop": true });
    let mut each = json!({ "prompts": [prompt("https://a/b.wav")] });
    each["prompts"][0]["loop"] = 3.into();
    let table = [(ApiVersion::V1, [true, false, false]), (ApiVersion::Beta, [true, true, false])];
    for (version, accepted) in table {
        for (compat, accepted) in MODES.into_iter().zip(accepted) {
            let whole = read(&whole, version, compat);
            let each = read(&each, version, compat);
            assert_eq!(whole.is_ok(), accepted, "{version} {compat:?} {whole:?}");
            assert_eq!(each.is_ok(), accepted, "{version} {compat:?} {each:?}");
            if accepted {
                assert!(whole.is_ok_and(|action| action.looping));
                assert_eq!(each.map(|action| action.prompts[0].repeat), Ok(3));
            }
        }
    }
}

#[test]
fn a_prompt_repeats_1_to_1000_times() {
    let repeat = |count: Value| {
        let mut body = json!({ "prompts": [prompt("https://a/b.wav")] });
        body["prompts"][0]["loop"] = count;
        read(&body, ApiVersion::Beta, Compat::Open).map(|action| action.prompts[0].repeat).ok()
    };
    assert_eq!(repeat(Value::Null), Some(1));
    assert_eq!(repeat(1.into()), Some(1));
    assert_eq!(repeat(1000.into()), Some(1000));
    for wrong in [json!(0), json!(-1), json!(1001), json!(i64::MAX), json!(1.0), json!(true)] {
        assert_eq!(repeat(wrong.clone()), None, "{wrong}");
    }
}

#[test]
fn errors_name_the_member_and_say_what_to_send() {
    let ok = prompt("https://a/b.wav");
    let table = [
        (json!({}), "prompts: required, send an array of 1 to 20 mediaPrompt"),
        (json!({ "prompts": [] }), "prompts: 0 prompts, send 1 to 20"),
        (json!({ "prompts": vec![ok.clone(); 21] }), "prompts: 21 prompts, send 1 to 20"),
        (json!({ "prompts": [ok, null] }), "prompts[1]: null, leave it out"),
        (json!({ "prompts": 7 }), "prompts: an array expected, not 7"),
        (
            json!({ "prompts": [prompt("https://a b/")] }),
            "prompts[0].mediaInfo.uri: has a space, control character or backslash, percent-encode it",
        ),
        (
            json!({ "prompts": [prompt("beep\u{202e}.wav")] }),
            "prompts[0].mediaInfo.uri: not an absolute http or https URI, send one such as \
             https://cdn.example.com/hello.wav",
        ),
        (json!({ "__proto__": {} }), "__proto__: not a name that is accepted"),
        (json!({ "prompts": [], "Prompts": [] }), "prompts: given in two spellings, send it once"),
    ];
    for (body, expected) in table {
        assert_eq!(message(&body), expected);
    }
}

#[test]
fn a_null_uri_is_refused_even_with_a_resource_id() {
    let body = json!({ "prompts": [{ "mediaInfo": { "uri": null, "resourceId": "cached" } }] });
    assert!(message(&body).starts_with("prompts[0].mediaInfo.uri: required"));
}

#[test]
fn an_error_repeats_at_most_256_characters_of_the_caller() {
    let long = "\u{1b}Z".repeat(5000);
    let body = json!({ "prompts": [], (long.as_str()): [long] });
    let error = read(&body, ApiVersion::V1, Compat::StrictV1).expect_err("it is not declared");
    assert!(error.to_string().matches('Z').count() <= 256);
    assert!(!error.to_string().contains(char::is_control));
}

fn media_prompt() -> impl Strategy<Value = MediaPrompt> {
    let resource_id = proptest::option::of("\\PC{1,20}");
    (r"https?://[a-z]{1,8}(:[1-9][0-9]{0,3})?/[a-z0-9?&=%._~é-]{0,20}", resource_id, 1..=MAX_REPEAT)
        .prop_map(|(uri, resource_id, repeat)| MediaPrompt {
            uri,
            resource_id,
            repeat,
            shaping: Default::default(),
        })
}

fn play_prompt() -> impl Strategy<Value = PlayPrompt> {
    let prompts = proptest::collection::vec(media_prompt(), 1..=MAX_PROMPTS);
    let context = proptest::option::of(proptest::collection::vec(any::<char>(), 0..=128));
    (prompts, any::<bool>(), context).prop_map(|(prompts, looping, context)| PlayPrompt {
        prompts,
        looping,
        options: PlayOptions::default(),
        client_context: context.map(String::from_iter),
    })
}

/// The body that asks for it, in beta's form.
fn body_of(action: &PlayPrompt) -> Value {
    let prompts: Vec<Value> = action
        .prompts
        .iter()
        .map(|prompt| {
            json!({
                "@odata.type": "#microsoft.graph.mediaPrompt",
                "mediaInfo": { "uri": prompt.uri, "resourceId": prompt.resource_id },
                "loop": prompt.repeat,
            })
        })
        .collect();
    json!({ "prompts": prompts, "loop": action.looping, "clientContext": action.client_context })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_action_is_read_back_from_its_body(action in play_prompt()) {
        let body = body_of(&action);
        for compat in [Compat::Open, Compat::StrictBeta] {
            let read_back = read(&body, ApiVersion::Beta, compat);
            prop_assert_eq!(read_back.as_ref(), Ok(&action));
        }
    }

    #[test]
    fn no_cut_or_changed_body_makes_it_panic(
        action in play_prompt(),
        cut in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = body_of(&action).to_string().into_bytes();
        let at = cut.index(body.len());
        body[at] = byte;
        let _ = parse(&body, ApiVersion::V1, Compat::Open);
        body.truncate(at);
        prop_assert!(parse(&body, ApiVersion::V1, Compat::Open).is_err());
    }
}
