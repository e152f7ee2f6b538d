//! recordResponse from the bot's side and from the caller's: what was said is in the file, in real
//! time, and each completion reason that Graph has comes of a real situation (but `none`, which never
//! comes).

use axum::http::{Method, StatusCode};
use graphophone::bot::{Received, http_client};
use graphophone_call::Tone;
use graphophone_media::{
    analysis,
    prompt::{Accept, Prompt},
    resample::resample,
    wav::WavReader,
};
use graphophone_testkit::{
    TestCall, TestServer, WirePhone, audio::tone_wav, is_audio_active, is_end_of, patience, seen,
};
use serde_json::{Value, json};

pub(crate) const RATE: u32 = 16_000;

/// A voice that says nothing: syllables of a buzz with a pitch of 140 Hz that wanders, for `ms`
/// milliseconds at 16 kHz, without a pause that is longer than 60 ms.
pub(crate) fn voice(ms: u32) -> Vec<i16> {
    let mut phase = 0.0_f64;
    (0..ms * 16)
        .map(|n| {
            let time = f64::from(n) / 16_000.0;
            let pitch = 140.0 + 25.0 * (time * 5.1).sin() + 11.0 * (time * 1.7).cos();
            phase += pitch / 16_000.0;
            let loudness = 0.35 + 0.65 * (time * 9.0).sin().abs();
            let buzz = (1..20)
                .map(|k| {
                    let k = f64::from(k);
                    (std::f64::consts::TAU * phase * k + k * k).sin() / k
                })
                .sum::<f64>();
            (buzz * loudness * 5_000.0) as i16
        })
        .collect()
}

pub(crate) fn say(call: &TestCall, samples: &[i16]) {
    let file = graphophone_media::wav::to_bytes(RATE, samples);
    let prompt = Prompt::decode(file.as_slice(), Accept::Any).unwrap();
    call.phone.say(&prompt).unwrap();
}

pub(crate) fn body(call: &TestCall, prompt: Option<&[u8]>, more: Value) -> Value {
    let mut body = prompt.map_or_else(|| json!({"prompts": []}), |file| call.prompts(&[file]));
    body["clientContext"] = "recorded".into();
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

pub(crate) async fn record(call: &TestCall, prompt: Option<&[u8]>, more: Value) -> String {
    let made = call.act("v1.0", "recordResponse", body(call, prompt, more)).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    let id = made.body["id"].as_str().unwrap().to_owned();
    let location = made.headers["location"].to_str().unwrap();
    assert!(location.ends_with(&format!("/operations/{id}")), "{location}");
    assert_eq!(made.body["@odata.type"], "#microsoft.graph.recordOperation");
    assert_eq!(made.body["status"], "running");
    for name in ["recordingLocation", "recordingAccessToken", "resultInfo"] {
        assert!(made.body.as_object().unwrap()[name].is_null(), "{name}: {}", made.body);
    }
    id
}

/// Waits until the phone has heard the beep, or a prompt and the beep.
async fn beeped(call: &TestCall, ms: usize) {
    call.heard(ms).await;
}

pub(crate) async fn get(url: &str, token: Option<&str>) -> reqwest::Response {
    let mut request = http_client().unwrap().get(url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    request.send().await.unwrap()
}

/// The file that a notification names.
async fn download(ended: &Received) -> Vec<i16> {
    let data = &ended.value["resourceData"];
    let location = data["recordingLocation"].as_str().expect("a location");
    let response = get(location, data["recordingAccessToken"].as_str()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    let bytes = response.bytes().await.unwrap();
    let mut reader = WavReader::open(&bytes[..]).unwrap();
    reader.require_graph_format().unwrap();
    let mut samples = Vec::new();
    while reader.read(&mut samples).unwrap() > 0 {}
    samples
}

fn assert_end(ended: &Received, status: &str, reason: &str, code: u32, subcode: u32) {
    let data = &ended.value["resourceData"];
    assert_eq!(data["status"], status, "{data}");
    assert_eq!(data["completionReason"], reason, "{data}");
    let result = &data["resultInfo"];
    assert_eq!(
        (result["code"].as_u64(), result["subcode"].as_u64()),
        (Some(code.into()), Some(subcode.into()))
    );
    assert_eq!(data["clientContext"], "recorded");
    if status == "failed" {
        assert_eq!(data["recordingLocation"], "");
        assert_eq!(data["recordingAccessToken"], "");
    }
}

/// What the phone could say at best: its codec has 8 kHz.
fn as_spoken(samples: &[i16]) -> Vec<i16> {
    resample(&resample(samples, RATE, 8_000), 8_000, RATE)
}

#[tokio::test]
async fn a_recording_is_what_was_said_until_the_stop_tone() {
    let mut call = TestCall::start().await;
    let prompt = tone_wav(440.0, 400);
    let settings = json!({"stopTones": ["#"], "maxRecordDurationInSeconds": 30});
    let operation = record(&call, Some(&prompt), settings).await;
    beeped(&call, 700).await;
    let said = voice(3_000);
    let spoken = call.phone.packets_sent();
    say(&call, &said);
    // What is pressed while it speaks pauses the speech, so it waits for its end.
    let started = std::time::Instant::now();
    seen("all is said", || async { (call.phone.packets_sent() >= spoken + 150).then_some(()) })
        .await;
    call.phone.press(&[Tone::Pound]).unwrap();
    let ended = call.ended(&operation).await;
    assert_end(&ended, "completed", "stopToneDetected", 200, 8514);
    let elapsed = started.elapsed();

    let recorded = download(&ended).await;
    let found = analysis::align(&recorded, &as_spoken(&said), RATE).unwrap();
    let length = recorded.len() as f64 / 16.0;
    let lead = found.offset_ms;
    let tail = length - lead - 3_000.0;
    println!(
        "correlation {:.4}; {length:.0} ms = {lead:.0} ms before, 3000 ms said, {tail:.0} ms after; \
         {} ms to the notification",
        found.correlation,
        elapsed.as_millis(),
    );
    assert!(found.correlation >= 0.98, "{found:?}");
    assert!((-40.0..=340.0).contains(&lead), "speech begins at {lead} ms");
    assert!((-40.0..=400.0).contains(&tail), "{tail} ms after the last word");
    let kept = call.operation(&operation).await;
    assert_eq!(kept["recordingLocation"], ended.value["resourceData"]["recordingLocation"]);
    call.server.stop().await;
}

#[tokio::test]
async fn the_longest_recording_is_as_long_as_it_may_be_and_holds_what_was_said_then() {
    let mut call = TestCall::start().await;
    let operation = record(&call, None, json!({"maxRecordDurationInSeconds": 2})).await;
    let said = voice(6_000);
    // Somebody who does not wait for the beep.
    say(&call, &said);
    let ended = call.ended(&operation).await;
    assert_end(&ended, "completed", "maxRecordDurationReached", 200, 8515);
    let recorded = download(&ended).await;
    let length = recorded.len() as f64 / 16.0;
    // All of the recording is within what was said.
    let found = analysis::align(&as_spoken(&said), &recorded, RATE).unwrap();
    println!(
        "{length:.1} ms of 2000 ms, correlation {:.4} at {:.0} ms",
        found.correlation, found.offset_ms
    );
    assert!((length - 2_000.0).abs() <= 40.0, "{length} ms");
    assert!(found.correlation >= 0.98, "{found:?}");
}

#[tokio::test]
async fn a_pause_ends_a_recording_and_none_fails_it() {
    let mut call = TestCall::start().await;
    let settings = json!({"maxSilenceTimeoutInSeconds": 1, "maxRecordDurationInSeconds": 60});
    let operation = record(&call, None, settings).await;
    beeped(&call, 300).await;
    let said = voice(1_500);
    say(&call, &said);
    let ended = call.ended(&operation).await;
    assert_end(&ended, "completed", "maxSilenceTimeout", 200, 8509);
    let recorded = download(&ended).await;
    let found = analysis::align(&recorded, &as_spoken(&said), RATE).unwrap();
    let length = recorded.len() as f64 / 16.0;
    let silence = length - found.offset_ms - 1_500.0;
    println!(
        "{length:.0} ms, correlation {:.4}, {silence:.0} ms of silence at its end",
        found.correlation
    );
    assert!(found.correlation >= 0.98, "{found:?}");
    assert!((900.0..=1_400.0).contains(&silence), "{silence} ms");

    // The phone has been heard; now it says nothing.
    let settings = json!({"initialSilenceTimeoutInSeconds": 1, "playBeep": false});
    let operation = record(&call, None, settings).await;
    let ended = call.ended(&operation).await;
    assert_end(&ended, "failed", "initialSilenceTimeout", 400, 8510);
}

#[tokio::test]
async fn a_far_end_that_sends_nothing_is_told_from_a_silent_one() {
    let mut call = TestCall::start().await;
    let operation = record(&call, None, json!({"initialSilenceTimeoutInSeconds": 1})).await;
    let ended = call.ended(&operation).await;
    assert_end(&ended, "failed", "mediaReceiveTimeout", 400, 8513);
}

#[tokio::test]
async fn a_cancel_keeps_nothing() {
    let mut call = TestCall::start().await;
    let operation = record(&call, None, json!({"maxRecordDurationInSeconds": 60})).await;
    say(&call, &voice(4_000));
    beeped(&call, 300).await;
    let folder = call.server.directory().join("recordings");
    let files = || std::fs::read_dir(&folder).unwrap().count();
    seen("a file", || async { (files() == 1).then_some(()) }).await;
    call.cancel().await;
    let ended = call.ended(&operation).await;
    assert_end(&ended, "failed", "operationCanceled", 400, 8508);
    seen("no file", || async { (files() == 0).then_some(()) }).await;
}

#[tokio::test]
async fn a_prompt_that_cannot_be_had_fails_it_and_the_queue_goes_on() {
    let mut call = TestCall::start().await;
    let mut body = body(&call, Some(&tone_wav(440.0, 100)), json!({}));
    body["prompts"][0]["mediaInfo"]["uri"] =
        call.bot.serve("there", vec![]).replace("there", "gone").into();
    let made = call.act("v1.0", "recordResponse", body).await;
    let operation = made.body["id"].as_str().unwrap().to_owned();
    let next = call.play(&[&tone_wav(440.0, 100)]).await;
    let ended = call.ended(&operation).await;
    assert_end(&ended, "failed", "playPromptFailed", 400, 8511);
    let ended = call.ended(&next).await;
    assert_eq!(ended.value["resourceData"]["status"], "completed");
}

#[tokio::test]
async fn a_beep_that_cannot_be_sent_fails_it() {
    let server = TestServer::start().await;
    // Its description names an address that packets from 127.0.0.1 cannot go to.
    let phone = WirePhone::start_with_audio_at("192.0.2.1").await;
    let mut bot = server.bot().await;
    let call = bot.call(phone.identity(), &[]).await.unwrap();
    bot.until(patience(), is_audio_active).await.unwrap();
    let prompt = bot.serve("prompt", tone_wav(440.0, 100));
    let prompt = json!([{"mediaInfo": {"uri": prompt}}]);
    for (prompts, reason, subcode) in
        [(json!([]), "playBeepFailed", 8512), (prompt, "playPromptFailed", 8511)]
    {
        let path = format!("/v1.0/communications/calls/{call}/recordResponse");
        let body = json!({"prompts": prompts, "clientContext": "recorded"});
        let made = bot.send(Method::POST, &path, Some(body)).await.unwrap().ok().unwrap();
        let operation = made["id"].as_str().unwrap();
        let told = bot.until(patience(), |value| is_end_of(value, operation)).await.unwrap();
        assert_end(told.last().unwrap(), "failed", reason, 500, subcode);
    }
}

#[tokio::test]
async fn a_recording_that_the_disk_has_no_room_for_fails_with_the_setting_to_change() {
    let mut call = TestCall::start_with(|config| {
        config.recordings.disk_budget = graphophone::config::Bytes(100_000);
    })
    .await;
    // Counted as long as it may become: 5 s are 160 kB.
    let operation = record(&call, None, json!({})).await;
    let ended = call.ended(&operation).await;
    assert_end(&ended, "failed", "unspecifiedError", 500, 9999);
    let message = ended.value["resourceData"]["resultInfo"]["message"].as_str().unwrap();
    assert!(message.contains("recordings.disk_budget"), "{message}");
    // One that fits is made, by and by as many as one likes are not.
    for reason in ["maxRecordDurationReached", "unspecifiedError"] {
        let operation = record(&call, None, json!({"maxRecordDurationInSeconds": 2})).await;
        say(&call, &voice(4_000));
        let ended = call.ended(&operation).await;
        assert_eq!(ended.value["resourceData"]["completionReason"], reason);
    }
}

#[tokio::test]
async fn who_barges_in_cuts_what_plays_and_who_hangs_up_is_told_nothing() {
    let mut call = TestCall::start().await;
    let looping = call.play_looping(&[&tone_wav(440.0, 500)]).await;
    call.heard(200).await;
    let operation = record(&call, None, json!({"bargeInAllowed": true})).await;
    let ended = call.ended(&looping).await;
    assert_eq!(ended.value["resourceData"]["completionReason"], "mediaOperationCanceled");
    say(&call, &voice(3_000));
    let folder = call.server.directory().join("recordings");
    let files = || std::fs::read_dir(&folder).unwrap().count();
    seen("a file", || async { (files() == 1).then_some(()) }).await;
    let told = call.told.len();
    call.phone.hang_up();
    call.until(graphophone::bot::is_terminated).await;
    assert!(
        !call.told[told..].iter().any(|it| is_end_of(&it.value, &operation)),
        "{:?}",
        call.states()
    );
    seen("no file", || async { (files() == 0).then_some(()) }).await;
}

#[tokio::test]
async fn the_old_name_and_what_is_wrong_with_a_body() {
    let mut call = TestCall::start().await;
    let made = call.act("beta", "record", body(&call, None, json!({"stopTones": ["1"]}))).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    assert!(made.body["completionReason"].is_null());
    let operation = made.body["id"].as_str().unwrap().to_owned();
    beeped(&call, 300).await;
    // Nobody has spoken: the last moments are the recording.
    call.phone.press(&[Tone::Tone1]).unwrap();
    let ended = call.ended(&operation).await;
    assert_end(&ended, "completed", "stopToneDetected", 200, 8514);
    let recorded = download(&ended).await;
    assert!(recorded.len() <= 16 * 620, "{} samples", recorded.len());

    for (member, value, code) in [
        ("maxRecordDurationInSeconds", json!(0), "8523"),
        ("stopTones", json!(["x"]), "8523"),
        ("playBeep", json!("yes"), "8523"),
    ] {
        let refused =
            call.act("v1.0", "recordResponse", body(&call, None, json!({member: value}))).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert_eq!(refused.body["error"]["code"], code);
        let text = refused.body["error"]["message"].as_str().unwrap();
        assert!(text.contains(member), "{text}");
    }
    let two = call.prompts(&[&tone_wav(440.0, 100), &tone_wav(440.0, 100)]);
    let refused = call.act("v1.0", "recordResponse", two).await;
    assert_eq!(refused.body["error"]["code"], "8523", "{}", refused.body);
}

#[tokio::test]
async fn its_prompt_may_be_of_any_source_that_play_prompt_takes() {
    let mut call = TestCall::start().await;
    let admin = call.server.server().ready().admin_token.clone().unwrap();
    let url = format!("{}/graphophone/v1/prompts/hello", call.server.base());
    let put = http_client().unwrap().put(url).bearer_auth(admin);
    let put = put.body(tone_wav(700.0, 200)).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::CREATED);
    for (uri, hz) in [
        ("graphophone:tone?frequency=500&durationMs=200", 500.0),
        ("graphophone:prompts/hello", 700.0),
    ] {
        let settings = json!({
            "prompts": [{"mediaInfo": {"uri": uri}}],
            "playBeep": false,
            "initialSilenceTimeoutInSeconds": 1,
        });
        let operation = record(&call, None, settings).await;
        assert_end(&call.ended(&operation).await, "failed", "mediaReceiveTimeout", 400, 8513);
        let is_heard = || async {
            let heard = call.phone.heard().samples;
            let piece = heard.get(heard.len().checked_sub(170 * 8)?..heard.len() - 30 * 8)?;
            (analysis::tone_level_db(piece, 8_000, hz) > -30.0).then_some(())
        };
        seen(uri, is_heard).await;
    }
    for (uri, text) in [
        ("graphophone:tone?frequency=5&durationMs=200", "frequency"),
        ("graphophone:tts?text=hello", "tts.command"),
        ("graphophone:hum", "graphophone:"),
    ] {
        let body = body(&call, None, json!({"prompts": [{"mediaInfo": {"uri": uri}}]}));
        let refused = call.act("v1.0", "recordResponse", body).await;
        assert_eq!(refused.body["error"]["code"], "8523", "{}", refused.body);
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert!(message.contains("prompts[0].mediaInfo.uri"), "{message}");
        assert!(message.contains(text), "{message}");
    }
}
