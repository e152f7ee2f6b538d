//! A store that refuses for a while: nothing is promised meanwhile, nothing owed is lost, and calls go
//! on.

use std::time::Duration;

use axum::http::Method;
use graphophone_sip::phone::PhoneCall;
use graphophone_testkit::{
    FullDisk, TestCall, audio::tone_wav, is_terminated, patience, seen, soon, states,
};
use serde_json::json;

/// Waits until the phone hears nothing any more.
async fn silence(phone: &PhoneCall) {
    let quiet = Duration::from_millis(100);
    let look = || async {
        let heard = phone.heard();
        heard.packets.last().is_none_or(|last| last.at.elapsed() > quiet).then_some(())
    };
    seen("silence", look).await;
}

#[tokio::test]
async fn a_prompt_that_cannot_be_stored_is_refused_and_the_call_plays_on() {
    let mut call = TestCall::start().await;
    let (low, high) = (tone_wav(440.0, 200), tone_wav(880.0, 100));
    let looping = call.play_looping(&[&low]).await;
    call.heard(100).await;
    let disk = FullDisk::of(&call.server);
    for _ in 0..2 {
        let refused = call.act("v1.0", "playPrompt", call.prompts(&[&high])).await;
        assert_eq!(refused.status, 503);
    }
    assert_eq!(call.act("v1.0", "keepAlive", json!({})).await.status, 200);
    let before = call.phone.heard().samples.len() / 8;
    call.heard(before + 200).await;
    assert_eq!(call.operation(&looping).await["status"], "running");

    disk.freed();
    let accepted = call.play(&[&high]).await;
    call.cancel().await;
    for operation in [&looping, &accepted] {
        let ended = call.ended(operation).await;
        assert_eq!(ended.value["resourceData"]["resultInfo"]["subcode"], 8508);
    }
    call.hang_up().await;
    assert_eq!(call.states()[5..], ["updated terminating", "deleted terminated"]);
    let path = format!("/v1.0/communications/calls/{}/operations", call.id);
    let kept = call.bot.send(Method::GET, &path, None).await.unwrap().ok().unwrap();
    assert_eq!(kept["value"].as_array().unwrap().len(), 3, "two prompts and the cancel: {kept}");
}

#[tokio::test]
async fn a_cancel_that_cannot_be_stored_is_silent_at_once_and_answered_when_it_is() {
    let mut call = TestCall::start().await;
    let operation = call.play_looping(&[&tone_wav(440.0, 200)]).await;
    call.heard(100).await;
    let disk = FullDisk::of(&call.server);
    let later = async {
        silence(&call.phone).await;
        // Not durable, so not told.
        assert_eq!(call.operation(&operation).await["status"], "running");
        let second = call.act("v1.0", "cancelMediaProcessing", json!({})).await;
        assert_eq!(second.status, 503, "nothing new before that is stored");
        disk.freed();
    };
    let (answer, ()) = tokio::join!(call.cancel(), later);
    assert_eq!(answer.body["status"], "completed");
    let ended = call.ended(&operation).await;
    assert_eq!(ended.value["resourceData"]["completionReason"], "mediaOperationCanceled");
    assert_eq!(call.states()[3..], ["deleted operation failed"]);
}

#[tokio::test]
async fn what_ends_while_the_disk_is_full_is_told_in_order_when_there_is_room() {
    let mut call = TestCall::start().await;
    let looping = call.play_looping(&[&tone_wav(440.0, 200)]).await;
    let waiting = call.play(&[&tone_wav(880.0, 100)]).await;
    call.heard(100).await;
    let disk = FullDisk::of(&call.server);
    let all = json!({"all": false});
    let later = async {
        // The second one starts without waiting for the store, and plays to its end.
        seen("the second operation has been played", || async {
            let samples = call.phone.heard().samples;
            let heard = &samples[samples.len().saturating_sub(800)..];
            let pitch = graphophone_media::analysis::dominant_frequency(heard, 8_000)?;
            ((pitch - 880.0).abs() < 20.0).then_some(())
        })
        .await;
        silence(&call.phone).await;
        call.phone.hang_up();
        soon("the end at the phone", call.phone.ended()).await;
        disk.freed();
    };
    let (answer, ()) = tokio::join!(call.act("beta", "cancelMediaProcessing", all), later);
    assert_eq!(answer.status, 200);
    call.until(is_terminated).await;
    let ends = ["deleted operation failed", "deleted operation completed", "deleted terminated"];
    assert_eq!(call.states()[3..], ends);
    assert_eq!(call.told[3].value["resourceData"]["id"], looping.as_str());
    assert_eq!(call.told[4].value["resourceData"]["id"], waiting.as_str());
    call.assert_nothing_more_is_told().await;
}

#[tokio::test]
async fn a_stop_with_a_full_disk_leaves_the_report_to_the_next_start() {
    let call = TestCall::start().await;
    let operation = call.play_looping(&[&tone_wav(440.0, 200)]).await;
    call.heard(100).await;
    let disk = FullDisk::of(&call.server);
    let TestCall { server, mut bot, phone, .. } = call;
    let stopped = soon("the stop", server.stop()).await;
    soon("BYE reached the phone", phone.ended()).await;
    let window = tokio::time::Instant::now() + Duration::from_millis(100);
    assert!(bot.next(window).await.is_err(), "nothing of this is durable");
    disk.freed();
    let _server = stopped.start().await;
    let told = bot.until(patience(), is_terminated).await.unwrap();
    assert_eq!(states(&told), ["deleted operation failed", "deleted terminated"]);
    assert_eq!(told[0].value["resourceData"]["id"], operation.as_str());
    for one in told {
        assert_eq!(one.value["resourceData"]["resultInfo"]["subcode"], 9999);
    }
}
