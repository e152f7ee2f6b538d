//! Prompts that one participant of a group call hears alone.

use axum::http::StatusCode;
use graphophone_sip::phone::ReferOutcome;
use graphophone_testkit::{TestCall, audio::tone_wav, is_end_of, sent_ms, soon};
use serde_json::{Value, json};

use crate::conference::{Group, TONES, hears};

/// A prompt of a tone for one participant, and whether it is to be played over and over.
fn body(group: &Group, listener: &str, hz: f64, ms: u32, looping: bool) -> Value {
    let uri = group.bot.serve(&format!("{hz}.wav"), tone_wav(hz, ms));
    json!({
        "prompts": [{
            "@odata.type": "#microsoft.graph.mediaPrompt",
            "mediaInfo": {"@odata.type": "#microsoft.graph.mediaInfo", "uri": uri},
        }],
        "loop": looping,
        "graphophoneParticipant": listener,
    })
}

#[tokio::test]
async fn a_prompt_for_one_participant_is_heard_by_that_one_and_by_nobody_else() {
    let mut group = Group::of(3).await;
    group.lines[1].speak();
    group.lines[2].speak();
    let listener = group.participant(0).await;
    let first = group.post("/playPrompt", body(&group, &listener, TONES[3], 500, true)).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.body);
    assert_eq!(first.body["graphophoneParticipant"], listener.as_str());
    let first = first.body["id"].as_str().unwrap().to_owned();
    // It waits behind the one before, and is for all.
    let uri = group.bot.serve("all.wav", tone_wav(TONES[0], 60_000));
    group.bot.play(&group.id, &[uri], false).await.unwrap();
    hears(&group.lines[0].call, &[TONES[3]], &TONES[..3]).await;
    hears(&group.lines[1].call, &[TONES[2]], &[TONES[0], TONES[1], TONES[3]]).await;
    hears(&group.lines[2].call, &[TONES[1]], &[TONES[0], TONES[2], TONES[3]]).await;

    let path = format!("/operations/{first}/graphophone.stop");
    group.post(&path, json!({})).await.ok().unwrap();
    let ended = group.until(|value| is_end_of(value, &first)).await;
    assert_eq!(ended.value["resourceData"]["completionReason"], "mediaOperationCanceled");
    hears(&group.lines[0].call, &TONES[..3], &TONES[3..]).await;
    hears(&group.lines[1].call, &[TONES[0], TONES[2]], &[TONES[1], TONES[3]]).await;
}

#[tokio::test]
async fn a_prompt_for_one_participant_has_a_receipt_and_ends_with_them() {
    let mut group = Group::of(3).await;
    let listener = group.participant(0).await;
    let played = group.post("/playPrompt", body(&group, &listener, TONES[3], 700, false)).await;
    let played = played.body["id"].as_str().unwrap().to_owned();
    let ended = group.until(|value| is_end_of(value, &played)).await;
    let data = &ended.value["resourceData"];
    assert_eq!(data["completionReason"], "completedSuccessfully", "{data}");
    assert_eq!(data["graphophoneParticipant"], listener.as_str());
    assert_eq!(sent_ms(data), 700);

    // Over hold music, which goes on.
    group.post(&format!("/participants/{listener}/startHoldMusic"), json!({})).await.ok().unwrap();
    let played = group.post("/playPrompt", body(&group, &listener, TONES[3], 700, true)).await;
    let played = played.body["id"].as_str().unwrap().to_owned();
    hears(&group.lines[0].call, &[TONES[3]], &[]).await;
    group.lines[0].call.hang_up();
    let ended = group.until(|value| is_end_of(value, &played)).await;
    let result = &ended.value["resourceData"]["resultInfo"];
    assert_eq!((&result["code"], &result["subcode"]), (&json!(404), &json!(8558)), "{result}");
    // The queue goes on.
    let uri = group.bot.serve("all.wav", tone_wav(TONES[3], 400));
    let next = group.bot.play(&group.id, &[uri], false).await.unwrap();
    let ended = group.until(|value| is_end_of(value, &next)).await;
    assert_eq!(ended.value["resourceData"]["status"], "completed");
}

#[tokio::test]
async fn a_prompt_for_nobody_of_the_call_is_refused() {
    let group = Group::of(2).await;
    let absent = "0fe0623f-d628-42ed-b4bd-8ac290072cc5";
    let list = group.send(axum::http::Method::GET, "/participants", None).await.ok().unwrap();
    let bot = list["value"][0]["id"].as_str().unwrap();
    for (listener, status, code) in [(absent, 404, "8558"), (bot, 404, "8558"), ("x", 400, "8523")]
    {
        let answer = group.post("/playPrompt", body(&group, listener, 400.0, 100, false)).await;
        assert_eq!(answer.status, status, "{listener}: {}", answer.body);
        assert_eq!(answer.body["error"]["code"], code);
    }
    let call = TestCall::start().await;
    let mut alone = call.prompts(&[&tone_wav(400.0, 100)]);
    alone["graphophoneParticipant"] = absent.into();
    let answer = call.act("v1.0", "playPrompt", alone).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let message = answer.body["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("graphophoneParticipant: "), "{message}");
}

#[tokio::test]
async fn a_telephone_of_a_group_that_refers_us_to_somebody_is_told_at_once_that_nobody_is_called() {
    let group = Group::with(2, |config| {
        config.sip.incoming_refer = graphophone::config::IncomingRefer::Follow;
    })
    .await;
    let call = &group.lines[0].call;
    call.refer(&group.lines[1].phone.uri(), None);
    let outcome = soon("the REFER is answered", call.refer_outcome()).await;
    assert!(matches!(&outcome, Some(ReferOutcome::Failed(why)) if why.code == 603), "{outcome:?}");
    group.speak();
    group.each_hears(&[&[1], &[0]]).await;
}
