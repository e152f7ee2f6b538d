//! The layered player: what goes beyond Graph's queue, judged by what the phone heard.

use std::time::Duration;

use axum::http::Method;
use graphophone_call::Tone;
use graphophone_graph::compat::Compat;
use graphophone_media::{
    analysis,
    codec::Codec,
    prompt::{Accept, Prompt},
};
use graphophone_testkit::{
    Answer, TestCall,
    audio::{as_heard, assert_heard, ms_to_samples, tone_wav},
    is_end_of, sent_ms,
};
use serde_json::{Value, json};

/// Latest sound of something after it was ended.
const SILENT_WITHIN_MS: usize = 100;

async fn play_with(call: &TestCall, files: &[&[u8]], members: Value) -> String {
    let mut body = call.prompts(files);
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    call.play_body("v1.0", body).await
}

async fn control(call: &TestCall, operation: &str, action: &str, body: Value) -> Answer {
    let path = format!(
        "/v1.0/communications/calls/{}/operations/{operation}/graphophone.{action}",
        call.id
    );
    call.bot.send(Method::POST, &path, Some(body)).await.expect("a response")
}

fn level(samples: &[i16], from_ms: usize, to_ms: usize, hz: f64) -> f64 {
    let piece = &samples[ms_to_samples(from_ms)..ms_to_samples(to_ms).min(samples.len())];
    analysis::tone_level_db(piece, 8_000, hz)
}

#[tokio::test]
async fn an_interrupting_prompt_replaces_what_plays_and_waits_without_a_gap() {
    let mut call = TestCall::start().await;
    let (low, high) = (tone_wav(440.0, 3_000), tone_wav(1_000.0, 400));
    let playing = call.play(&[&low]).await;
    let waiting = call.play(&[&low]).await;
    call.heard(200).await;
    let operation = play_with(&call, &[&high], json!({"graphophoneMode": "interrupt"})).await;
    for cut in [&playing, &waiting] {
        let ended = call.until(|value| is_end_of(value, cut)).await.value["resourceData"].clone();
        assert_eq!(ended["completionReason"], "mediaOperationCanceled", "{ended}");
    }
    let ended = call.ended(&operation).await.value["resourceData"].clone();
    assert_eq!(
        (&ended["status"], &ended["graphophoneMode"]),
        (&json!("completed"), &json!("interrupt"))
    );
    let cut = call.operation(&playing).await;
    let sent = sent_ms(&cut);
    let heard = call.heard(sent as usize + 400).await;
    let found = analysis::align(&heard.samples, &as_heard(&[&high], Codec::Pcmu), 8_000).unwrap();
    assert!(found.correlation >= 0.99, "{found:?}");
    assert!((found.offset_ms - sent as f64).abs() <= 20.0, "{found:?}, {sent} ms before it");
    assert_eq!(heard.samples.len(), ms_to_samples(sent as usize + 400), "no hole between them");
}

#[tokio::test]
async fn an_overlay_is_heard_over_what_plays_and_has_a_receipt_of_its_own() {
    let mut call = TestCall::start().await;
    let (low, high) = (tone_wav(440.0, 1_200), tone_wav(1_000.0, 300));
    let below = call.play(&[&low]).await;
    call.heard(300).await;
    let mut body = call.prompts(&[&high]);
    body["graphophoneMode"] = json!("overlay");
    body["prompts"][0]["graphophoneGainDb"] = json!(-6);
    let over = call.play_body("v1.0", body).await;
    let ended = call.ended(&over).await.value["resourceData"].clone();
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!(sent_ms(&ended), 300);
    assert_eq!(ended["prompts"][0]["graphophoneGainDb"], -6.0);
    let ended = call.ended(&below).await.value["resourceData"].clone();
    assert_eq!((sent_ms(&ended), &ended["status"]), (1_200, &json!("completed")));
    let heard = call.heard(1_200).await.samples;
    assert_eq!(heard.len(), ms_to_samples(1_200), "it took no time of its own");
    // The low one is there all the time, the high one for 300 ms of it.
    let high = |from| level(&heard, from, from + 40, 1_000.0) > -20.0;
    let with_it: Vec<usize> = (0..1_160).step_by(20).filter(|from| high(*from)).collect();
    let (first, last) = (with_it[0], with_it[with_it.len() - 1] + 40);
    assert!(first >= 240 && (240..=360).contains(&(last - first)), "{first} to {last}");
    assert_eq!(with_it.len(), (with_it[with_it.len() - 1] - first) / 20 + 1, "in one piece");
    for from in (0..1_160).step_by(40) {
        let there = level(&heard, from, from + 40, 440.0);
        assert!((there + 6.0).abs() < 1.0, "{there} dB at {from} ms");
    }
    let middle = level(&heard, first + 80, last - 80, 1_000.0);
    assert!((middle + 12.0).abs() < 0.5, "6 dB less than it was: {middle}");
}

#[tokio::test]
async fn a_key_ends_a_prompt_that_asked_for_it_and_no_other() {
    let mut call = TestCall::start().await;
    let (low, high) = (tone_wav(440.0, 5_000), tone_wav(1_000.0, 300));
    let stop_on = json!({"graphophoneStopOn": {"tones": ["tone5", "pound"]}, "loop": true});
    let menu = play_with(&call, &[&low], stop_on).await;
    let next = call.play(&[&high]).await;
    call.heard(300).await;
    call.phone.press(&[Tone::Tone1]).unwrap();
    call.phone.press(&[Tone::Pound]).unwrap();
    let ended = call.ended(&menu).await.value["resourceData"].clone();
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!(ended["completionReason"], "unknownFutureValue");
    assert_eq!(ended["graphophoneEndedBy"], "pound");
    assert_eq!(ended["resultInfo"]["code"], 200);
    let prompt = &ended["graphophoneReceipt"]["prompts"][0];
    assert_eq!(prompt["reason"], "stopped");
    let sent = sent_ms(&ended) as usize;
    assert!((300..3_000).contains(&sent), "{sent}");
    assert_eq!(call.operation(&menu).await["graphophoneEndedBy"], "pound");
    let ended = call.ended(&next).await.value["resourceData"].clone();
    assert_eq!(ended["completionReason"], "completedSuccessfully");
    let heard = call.heard(sent + 300).await;
    let found = analysis::align(&heard.samples, &as_heard(&[&high], Codec::Pcmu), 8_000).unwrap();
    assert!(found.correlation >= 0.99, "{found:?}");
    let gap = found.offset_ms - sent as f64;
    assert!((-20.0..=SILENT_WITHIN_MS as f64).contains(&gap), "{gap} ms between them");
}

#[tokio::test]
async fn speech_ends_a_prompt_that_asked_for_it() {
    let mut call = TestCall::start().await;
    let low = tone_wav(440.0, 1_000);
    let stop_on = json!({"graphophoneStopOn": {"speech": true}, "loop": true});
    let menu = play_with(&call, &[&low], stop_on).await;
    // Nobody says anything: it plays on.
    call.heard(1_500).await;
    assert_eq!(call.operation(&menu).await["status"], "running");
    let prompt = |wav: &[u8]| Prompt::decode(wav, Accept::Any).unwrap();
    let said = std::process::Command::new("espeak-ng")
        .args(["--stdout", "Hello, I would like to talk to somebody, please."])
        .output()
        .expect("espeak-ng is installed (test.sh does that)");
    call.phone.say(&prompt(&said.stdout)).unwrap();
    let ended = call.ended(&menu).await.value["resourceData"].clone();
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!(ended["completionReason"], "unknownFutureValue");
    assert_eq!(ended["graphophoneEndedBy"], "speech");
    assert_eq!(ended["graphophoneReceipt"]["prompts"][0]["reason"], "stopped");
    let sent = sent_ms(&ended);
    assert!((1_500..8_000).contains(&sent), "{sent} ms");
}

#[tokio::test]
async fn a_pause_is_silence_and_what_follows_it_is_where_it_was() {
    let mut call = TestCall::start().await;
    let file = tone_wav(440.0, 1_000);
    let operation = call.play(&[&file]).await;
    call.heard(200).await;
    let paused = control(&call, &operation, "pause", json!({})).await;
    assert_eq!(paused.status, 200, "{}", paused.body);
    assert_eq!(paused.body["status"], "running");
    assert_eq!(paused.body["graphophoneReceipt"]["prompts"][0]["reason"], "paused");
    let silent_since = tokio::time::Instant::now() + Duration::from_millis(SILENT_WITHIN_MS as u64);
    // Nothing of it is on its way any more when the far end answers something later.
    call.assert_nothing_more_is_told().await;
    let still = call.operation(&operation).await;
    let sent = sent_ms(&still) as usize;
    assert!((200..900).contains(&sent), "{sent}");
    let resumed = control(&call, &operation, "resume", json!({})).await;
    let resumed_at = tokio::time::Instant::now();
    assert_eq!(resumed.body["graphophoneReceipt"]["prompts"][0]["reason"], "playing");
    let ended = call.ended(&operation).await.value["resourceData"].clone();
    assert_eq!((&ended["status"], sent_ms(&ended)), (&json!("completed"), 1_000));
    let heard = call.heard(1_000).await;
    let late: Vec<_> = heard
        .packets
        .iter()
        .filter(|packet| packet.at > silent_since.into_std() && packet.at < resumed_at.into_std())
        .filter(|packet| packet.start < ms_to_samples(sent))
        .collect();
    assert!(late.is_empty(), "{late:?}");
    assert_eq!(heard.lost, 0);
    // The phone puts silence where no packet came: without it the tone is whole.
    let played: Vec<i16> = heard
        .packets
        .iter()
        .flat_map(|packet| heard.samples[packet.start..packet.start + packet.length].to_vec())
        .collect();
    assert_heard(&played, &as_heard(&[&file], Codec::Pcmu));
    // Timestamps go on with time: the silence is as long as the pause was.
    let silence = heard.samples.len() - played.len();
    assert!(silence >= ms_to_samples(150), "{silence} samples of silence");
}

#[tokio::test]
async fn a_seek_goes_to_the_place_and_the_receipt_says_what_was_left_out() {
    let mut call = TestCall::start().await;
    let files = [tone_wav(440.0, 2_000), tone_wav(1_000.0, 2_000), tone_wav(700.0, 300)];
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let operation = call.play(&files).await;
    call.heard(200).await;
    let beyond = control(&call, &operation, "seek", json!({"positionMs": 4_301})).await;
    assert_eq!(beyond.status, 400, "{}", beyond.body);
    let message = beyond.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("beyond the end of the prompts, which are 4300 ms long"), "{message}");
    let moved = control(&call, &operation, "seek", json!({"positionMs": 3_800})).await;
    assert_eq!(moved.status, 200, "{}", moved.body);
    let ended = call.ended(&operation).await.value["resourceData"].clone();
    assert_eq!(ended["status"], "completed", "{ended}");
    let prompts = ended["graphophoneReceipt"]["prompts"].as_array().unwrap();
    let reasons: Vec<&Value> = prompts.iter().map(|prompt| &prompt["reason"]).collect();
    assert_eq!(reasons, ["skipped", "skipped", "completed"]);
    let sent: Vec<u64> =
        prompts.iter().map(|prompt| prompt["millisecondsSent"].as_u64().unwrap()).collect();
    assert!((200..1_500).contains(&sent[0]), "{sent:?}");
    assert_eq!(sent[1..], [200, 300]);
    let heard = call.heard((sent[0] + 500) as usize).await.samples;
    let tail = as_heard(&files, Codec::Pcmu)[ms_to_samples(3_800)..].to_vec();
    let found = analysis::align(&heard, &tail, 8_000).unwrap();
    assert!(found.correlation >= 0.99, "{found:?}");
    assert!((found.offset_ms - sent[0] as f64).abs() < 1.0, "{found:?} and {sent:?}");
}

#[tokio::test]
async fn a_stop_ends_one_operation_and_the_next_follows() {
    let mut call = TestCall::start().await;
    let (low, high) = (tone_wav(440.0, 5_000), tone_wav(1_000.0, 300));
    let playing = call.play(&[&low]).await;
    let waiting = call.play(&[&low]).await;
    let last = call.play(&[&high]).await;
    call.heard(200).await;
    let stopped = control(&call, &waiting, "stop", json!({})).await;
    assert_eq!((stopped.status.as_u16(), &stopped.body["status"]), (200, &json!("failed")));
    let stopped = control(&call, &playing, "stop", json!({})).await;
    assert_eq!(stopped.body["completionReason"], "mediaOperationCanceled", "{}", stopped.body);
    let ended = call.ended(&last).await.value["resourceData"].clone();
    assert_eq!(ended["status"], "completed");
    for action in ["stop", "pause", "resume"] {
        let late = control(&call, &playing, action, json!({})).await;
        assert_eq!(late.status, 400, "{action}: {}", late.body);
        assert_eq!(late.body["error"]["code"], "8585");
    }
    let missing = control(&call, "00000000-0000-0000-0000-00000000dead", "stop", json!({})).await;
    assert_eq!(missing.status, 404);
    let sent = sent_ms(&call.operation(&playing).await) as usize;
    let heard = call.heard(sent + 300).await.samples;
    let found = analysis::align(&heard, &as_heard(&[&high], Codec::Pcmu), 8_000).unwrap();
    assert!(found.correlation >= 0.99 && found.offset_ms < 2_000.0, "{found:?}");
}

#[tokio::test]
async fn a_prompt_can_begin_later_and_be_repeated_from_there() {
    let mut call = TestCall::start().await;
    let file = tone_wav(440.0, 500);
    let mut body = call.prompts(&[&file]);
    body["prompts"][0]["graphophoneStartMs"] = json!(300);
    body["prompts"][0]["loop"] = json!(2);
    let operation = call.play_body("v1.0", body).await;
    let ended = call.ended(&operation).await.value["resourceData"].clone();
    assert_eq!((&ended["status"], sent_ms(&ended)), (&json!("completed"), 400));
    assert_eq!(ended["graphophoneReceipt"]["prompts"][0]["durationMs"], 400);
    let once = as_heard(&[&file], Codec::Pcmu)[ms_to_samples(300)..].to_vec();
    let heard = call.heard(400).await.samples;
    assert_heard(&heard, &[once.clone(), once].concat());

    let mut body = call.prompts(&[&file]);
    body["prompts"][0]["graphophoneStartMs"] = json!(500);
    let operation = call.play_body("v1.0", body).await;
    let ended = call.ended(&operation).await.value["resourceData"].clone();
    assert_eq!(ended["resultInfo"]["subcode"], 8535, "{ended}");
    let message = ended["resultInfo"]["message"].as_str().unwrap();
    assert!(message.contains("graphophoneStartMs: it is 500 ms long"), "{message}");
}

#[tokio::test]
async fn strict_modes_know_none_of_it() {
    for mode in [Compat::StrictBeta, Compat::StrictV1] {
        let mut call = TestCall::start_with(|config| {
            config.compat.mode = match mode {
                Compat::StrictBeta => graphophone::config::CompatMode::StrictBeta,
                Compat::StrictV1 | Compat::Open => graphophone::config::CompatMode::StrictV1,
            };
        })
        .await;
        let file = tone_wav(440.0, 400);
        let mut body = call.prompts(&[&file]);
        body["graphophoneMode"] = json!("overlay");
        let refused = call.act("v1.0", "playPrompt", body).await;
        assert_eq!(refused.status, 400);
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert!(message.contains("graphophoneMode: not declared here"), "{message}");
        let operation = call.play(&[&file]).await;
        assert_eq!(control(&call, &operation, "pause", json!({})).await.status, 404);
        call.ended(&operation).await;
    }
}
