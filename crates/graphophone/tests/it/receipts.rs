//! graphophoneReceipt: what really left, what arrived, and why it ended.

use graphophone_testkit::{
    TestCall, TestServer, WirePhone, acknowledged_ms,
    audio::{tone, tone_wav},
    is_audio_active, is_end_of, patience, receipts, sent_ms,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

fn ended_receipts(notification: &Value) -> Vec<&Value> {
    receipts(&notification["resourceData"]).collect()
}

fn moment(value: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(value.as_str().expect("a time"), &Rfc3339).expect("RFC 3339")
}

#[tokio::test]
async fn a_receipt_says_what_the_phone_recorded() {
    let mut call = TestCall::start().await;
    let before = OffsetDateTime::now_utc();
    // 333 and 205 ms end within a packet.
    let operation = call.play(&[&tone_wav(440.0, 333), &tone_wav(880.0, 205)]).await;
    let ended = call.ended(&operation).await;
    let after = OffsetDateTime::now_utc();
    let heard = call.heard(540).await;
    let heard_ms = heard.samples.len() as u64 / 8;
    let prompts = ended_receipts(&ended.value);
    let sent = sent_ms(&ended.value["resourceData"]);
    assert!(sent.abs_diff(heard_ms) <= 20, "{sent} ms sent, {heard_ms} ms heard");

    for (prompt, (hz, ms)) in prompts.iter().zip([(440.0, 333), (880.0, 205)]) {
        assert_eq!(prompt["millisecondsSent"], ms);
        assert_eq!(prompt["durationMs"], ms);
        assert_eq!(prompt["reason"], "completed");
        // SHA-256 of the file's data chunk: 16-bit mono is what it says.
        let data: Vec<u8> = tone(hz, ms).iter().flat_map(|s| s.to_le_bytes()).collect();
        let digest = Sha256::digest(&data);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(prompt["sha256"], digest.as_str());
    }
    let (first, last) = (moment(&prompts[0]["firstPacket"]), moment(&prompts[1]["lastPacket"]));
    assert!(before <= first && last <= after, "{before} {first} {last} {after}");
    // The phone saw the same span; both ends' clocks run in this process, but either end's thread
    // may look late on a busy machine.
    let span = (heard.last_packet().unwrap() - heard.first_packet().unwrap()).as_millis();
    let said = (last - first).whole_milliseconds();
    assert!(said.abs_diff(span as i128) <= 200, "{said} ms said, {span} ms seen");
}

#[tokio::test]
async fn a_receipt_is_live_while_its_operation_plays() {
    let mut call = TestCall::start().await;
    let operation = call.play(&[&tone_wav(440.0, 500), &tone_wav(880.0, 300)]).await;
    let is_playing = |index: usize| {
        move |operation: &Value| {
            receipts(operation).nth(index).is_some_and(|prompt| prompt["reason"] == "playing")
        }
    };
    let first = call.operation_that(&operation, is_playing(0)).await;
    assert_eq!(first["status"], "running");
    let prompts: Vec<&Value> = receipts(&first).collect();
    let sent = prompts[0]["millisecondsSent"].as_u64().unwrap();
    assert!((1..500).contains(&sent), "{sent}");
    assert_eq!(
        (&prompts[1]["reason"], &prompts[1]["millisecondsSent"]),
        (&json!("waiting"), &json!(0))
    );
    assert_eq!(prompts[1]["durationMs"], 300, "it is ready already");

    let later = call.operation_that(&operation, |operation| sent_ms(operation) > sent).await;
    assert_eq!(later["id"], operation.as_str());
    let second = call.operation_that(&operation, is_playing(1)).await;
    assert_eq!(receipts(&second).next().unwrap()["reason"], "completed");
    let ended = call.ended(&operation).await;
    assert_eq!(sent_ms(&ended.value["resourceData"]), 800);
}

#[tokio::test]
async fn what_was_sent_is_acknowledged_and_the_last_word_is_kept() {
    let mut call = TestCall::start().await;
    let operation = call.play(&[&tone_wav(440.0, 200), &tone_wav(880.0, 110)]).await;
    call.ended(&operation).await;
    let whole =
        call.operation_that(&operation, |operation| acknowledged_ms(operation) == Some(310)).await;
    assert_eq!(sent_ms(&whole), 310);
    for prompt in receipts(&whole) {
        assert_eq!(prompt["millisecondsAcknowledged"], prompt["millisecondsSent"]);
    }
    call.hang_up().await;
    let kept = call.operation_that(&operation, |_| true).await;
    assert_eq!(kept["graphophoneReceipt"], whole["graphophoneReceipt"]);
    let path = format!("/v1.0/communications/calls/{}/operations", call.id);
    let list = call.bot.send(axum::http::Method::GET, &path, None).await.unwrap().ok().unwrap();
    assert_eq!(list["value"][0]["graphophoneReceipt"], whole["graphophoneReceipt"]);
}

#[tokio::test]
async fn each_prompt_says_why_it_ended() {
    let mut call = TestCall::start().await;
    let (low, high) = (tone_wav(440.0, 200), tone_wav(880.0, 200));
    let mut body = call.prompts(&[&low, &low, &high]);
    let missing = format!("{}/no-such-file", call.bot.callback_uri());
    body["prompts"][1]["mediaInfo"]["uri"] = json!(missing);
    let operation = call.play_body("v1.0", body).await;
    let ended = call.ended(&operation).await;
    let data = &ended.value["resourceData"];
    assert_eq!((&data["status"], &data["completionReason"]), (&json!("failed"), &json!("unknown")));
    assert_eq!(
        (&data["resultInfo"]["code"], &data["resultInfo"]["subcode"]),
        (&json!(400), &json!(8536))
    );
    let message = data["resultInfo"]["message"].as_str().unwrap();
    assert!(message.contains("404"), "{message}");
    let prompts = ended_receipts(&ended.value);
    let reasons: Vec<&Value> = prompts.iter().map(|prompt| &prompt["reason"]).collect();
    assert_eq!(reasons, ["completed", "failed", "notPlayed"]);
    let sent: Vec<&Value> = prompts.iter().map(|prompt| &prompt["millisecondsSent"]).collect();
    assert_eq!(sent, [200, 0, 0]);
    assert!(prompts[1]["sha256"].is_null(), "{}", prompts[1]);
    assert!(prompts[2]["firstPacket"].is_null(), "{}", prompts[2]);

    let operation = call.play(&[&tone_wav(440.0, 700), &high]).await;
    call.operation_that(&operation, |operation| sent_ms(operation) > 0).await;
    call.cancel().await;
    let ended = call.ended(&operation).await;
    let reasons: Vec<&Value> =
        ended_receipts(&ended.value).iter().map(|prompt| &prompt["reason"]).collect();
    assert_eq!(reasons, ["cancelled", "notPlayed"]);
    let heard = call.heard(200 + sent_ms(&ended.value["resourceData"]) as usize).await;
    let arrived: usize = heard.packets.iter().map(|packet| packet.length).sum();
    let sent = 200 + sent_ms(&ended.value["resourceData"]);
    assert!(sent.abs_diff(arrived as u64 / 8) <= 20, "{sent} ms sent, {arrived} samples arrived");
}

#[tokio::test]
async fn a_loop_counts_all_its_rounds() {
    let mut call = TestCall::start().await;
    let operation = call.play_looping(&[&tone_wav(440.0, 90), &tone_wav(880.0, 70)]).await;
    let live = call.operation_that(&operation, |operation| sent_ms(operation) > 400).await;
    for prompt in receipts(&live) {
        assert_eq!(prompt["reason"], "playing", "a round does not complete a loop");
    }
    call.cancel().await;
    let ended = call.ended(&operation).await;
    let sent = sent_ms(&ended.value["resourceData"]);
    let heard = call.heard(sent as usize).await.samples.len() as u64 / 8;
    assert!(sent.abs_diff(heard) <= 20, "{sent} ms sent, {heard} ms heard");
    let prompts = ended_receipts(&ended.value);
    assert_eq!((&prompts[0]["durationMs"], &prompts[1]["durationMs"]), (&json!(90), &json!(70)));
    let rounds = prompts[0]["millisecondsSent"].as_u64().unwrap() as f64 / 90.0
        - prompts[1]["millisecondsSent"].as_u64().unwrap() as f64 / 70.0;
    assert!((-0.01..=1.01).contains(&rounds), "{prompts:?}");
}

#[tokio::test]
async fn a_prompt_of_which_no_packet_could_be_sent_has_not_been_played() {
    let server = TestServer::start().await;
    // Our sockets are bound to loopback: the kernel refuses to send to any other network.
    let phone = WirePhone::start_with_audio_at("192.0.2.1").await;
    let mut bot = server.bot().await;
    let id = bot.call(phone.identity(), &[]).await.unwrap();
    bot.until(patience(), is_audio_active).await.unwrap();
    let uri = bot.serve("a", tone_wav(440.0, 100));
    let operation = bot.play(&id, &[uri], false).await.unwrap();
    let ended = bot.until(patience(), |value| is_end_of(value, &operation)).await.unwrap();
    let data = &ended.last().unwrap().value["resourceData"];
    assert_eq!((&data["status"], &data["completionReason"]), (&json!("failed"), &json!("unknown")));
    let result = &data["resultInfo"];
    assert_eq!((&result["code"], &result["subcode"]), (&json!(500), &json!(8511)));
    let prompt = &data["graphophoneReceipt"]["prompts"][0];
    assert_eq!((&prompt["reason"], &prompt["millisecondsSent"]), (&json!("failed"), &json!(0)));
}
