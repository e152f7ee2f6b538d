//! cancelMediaProcessing: silence at once, and what the bot is told of it.

use std::time::Duration;

use graphophone_media::{analysis, codec::Codec};
use graphophone_sip::phone::Heard;
use graphophone_testkit::{
    TestCall,
    audio::{as_heard, assert_heard, tone_wav},
    sent_ms,
};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Latest sound after the response to a cancel.
const SILENT_WITHIN: Duration = Duration::from_millis(60);

/// Asserts the one way an operation ends that was cancelled.
fn assert_cancelled(operation: &Value) {
    assert_eq!(operation["status"], "failed");
    assert_eq!(operation["completionReason"], "mediaOperationCanceled");
    assert_eq!(operation["resultInfo"]["code"], 400);
    assert_eq!(operation["resultInfo"]["subcode"], 8508);
    assert_eq!(operation["resultInfo"]["message"], "Action failed, the operation was cancelled.");
}

/// Asserts that every packet after the cancel belongs to `marker`, which was played later; what was
/// heard before it comes back.
fn heard_before(heard: &Heard, marker: &[i16], cancelled: Instant) -> Vec<i16> {
    let found = analysis::align(&heard.samples, marker, 8_000).expect("neither is silence");
    assert!(found.correlation >= 0.99, "{found:?}");
    let start = usize::try_from(found.offset_samples).expect("it came after the other one");
    let late = heard
        .packets
        .iter()
        .find(|packet| packet.start < start && packet.at > (cancelled + SILENT_WITHIN).into_std());
    assert_eq!(late, None, "a packet of what was cancelled");
    let before: usize = heard.packets.iter().filter(|p| p.start < start).map(|p| p.length).sum();
    heard.samples[..before].to_vec()
}

#[tokio::test]
async fn a_cancelled_loop_is_silent_at_once_and_its_operation_fails() {
    let mut call = TestCall::start().await;
    let (low, high) = (tone_wav(440.0, 130), tone_wav(1_000.0, 300));
    let operation = call.play_looping(&[&low]).await;
    call.heard(300).await;
    let answer = call.cancel().await;
    assert_eq!(answer.body["@odata.type"], "#microsoft.graph.cancelMediaProcessingOperation");
    assert_eq!(answer.body["status"], "completed");
    let location = answer.headers["location"].to_str().unwrap();
    assert!(location.ends_with(answer.body["id"].as_str().unwrap()), "{location}");
    let ended = call.ended(&operation).await;
    assert_cancelled(&ended.value["resourceData"]);
    assert_cancelled(&call.operation(&operation).await);

    // Whatever was still to come of the loop would come before this.
    let marker = call.play(&[&high]).await;
    call.ended(&marker).await;
    let expected = as_heard(&[&high], Codec::Pcmu);
    let sent = sent_ms(&ended.value["resourceData"]);
    let heard = call.heard(sent as usize + 300).await;
    let before = heard_before(&heard, &expected, answer.at);
    let round = as_heard(&[&low], Codec::Pcmu);
    let looped: Vec<i16> = round.iter().copied().cycle().take(before.len()).collect();
    assert_heard(&before, &looped);
    assert!(sent.abs_diff(before.len() as u64 / 8) <= 20, "{sent} ms sent, {}", before.len());
}

#[tokio::test]
async fn a_cancel_ends_what_plays_and_what_waits_in_order() {
    let mut call = TestCall::start().await;
    let (low, high) = (tone_wav(440.0, 800), tone_wav(1_000.0, 300));
    let playing = call.play(&[&low]).await;
    let waiting = [call.play(&[&low]).await, call.play_looping(&[&low]).await];
    call.heard(100).await;
    let answer = call.cancel().await;
    let mut ended = Vec::new();
    for operation in [&playing, &waiting[0], &waiting[1]] {
        let next = call.bot.next(graphophone_testkit::patience()).await.unwrap();
        assert_eq!(next.value["resourceData"]["id"], operation.as_str());
        assert_cancelled(&next.value["resourceData"]);
        ended.push(next.value["resourceData"]["graphophoneReceipt"]["prompts"][0].clone());
    }
    assert_eq!(ended[0]["reason"], "cancelled");
    assert_eq!(ended[1]["reason"], "notPlayed");
    assert_eq!(ended[1]["millisecondsSent"], 0);
    assert_eq!(ended[2]["reason"], "notPlayed");

    let marker = call.play(&[&high]).await;
    call.ended(&marker).await;
    let sent = ended[0]["millisecondsSent"].as_u64().unwrap();
    let heard = call.heard(sent as usize + 300).await;
    let before = heard_before(&heard, &as_heard(&[&high], Codec::Pcmu), answer.at);
    assert!(before.len() < 700 * 8, "{} samples of a cancelled prompt", before.len());
    assert_heard(&before, &as_heard(&[&low], Codec::Pcmu)[..before.len()]);
}

#[tokio::test]
async fn a_cancel_with_nothing_to_cancel_completes_and_tells_nothing() {
    let mut call = TestCall::start().await;
    let body = json!({"clientContext": "nothing \u{1f4de}"});
    let answer = call.act("v1.0", "cancelMediaProcessing", body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["status"], "completed");
    assert_eq!(answer.body["clientContext"], "nothing \u{1f4de}");
    assert_eq!(answer.body["resultInfo"]["code"], 200);
    let id = answer.body["id"].as_str().unwrap();
    assert_eq!(call.operation(id).await["status"], "completed");

    call.hang_up().await;
    assert_eq!(call.states()[3..], ["updated terminating", "deleted terminated"]);
}

#[tokio::test]
async fn a_prompt_is_cancelled_while_its_file_is_awaited() {
    let mut call = TestCall::start().await;
    // Nobody ever answers there.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/never.wav", silent.local_addr().unwrap());
    let body = json!({"prompts": [{
        "@odata.type": "#microsoft.graph.mediaPrompt",
        "mediaInfo": {"@odata.type": "#microsoft.graph.mediaInfo", "uri": uri},
    }]});
    let awaited = call.play_body("v1.0", body).await;
    let next = call.play(&[&tone_wav(440.0, 200)]).await;
    call.cancel().await;
    for operation in [awaited, next] {
        let ended = call.ended(&operation).await;
        assert_cancelled(&ended.value["resourceData"]);
        let receipt = &ended.value["resourceData"]["graphophoneReceipt"]["prompts"][0];
        assert_eq!(receipt["reason"], "notPlayed");
    }
    let after = call.play(&[&tone_wav(1_000.0, 200)]).await;
    call.ended(&after).await;
    let heard = call.heard(200).await;
    assert_heard(&heard.samples, &as_heard(&[&tone_wav(1_000.0, 200)], Codec::Pcmu));
}
