//! Whole calls at the edge of their media: far ends that fall silent, and what still leaves when a
//! call is over (P23, P24); and the fuse of `[dial]` (P35).

use std::time::{Duration, Instant};

use graphophone::config::Interval;
use graphophone_testkit::{
    TestCall, TestServer, WirePhone, audio::tone_wav, is_audio_active, is_terminated, patience,
    seen,
};
use serde_json::json;

use crate::line::result_of;

const SHORT: Interval = Interval(Duration::from_secs(1));

#[tokio::test]
async fn a_far_end_that_sends_no_media_ends_the_call() {
    let server = TestServer::start_with(|config| config.rtp.media_timeout = SHORT).await;
    let phone = WirePhone::start().await;
    let mut bot = server.bot().await;
    let call = bot.call(phone.identity(), &[]).await.unwrap();
    bot.until(patience(), is_audio_active).await.unwrap();
    let operation =
        bot.play(&call, &[bot.serve("a", tone_wav(440.0, 20_000))], false).await.unwrap();

    let told = bot.until(patience(), is_terminated).await.unwrap();
    let last = &told.last().unwrap().value;
    assert_eq!(last["changeType"], "deleted");
    let (code, subcode, message) = result_of(&last["resourceData"]);
    assert_eq!((code, subcode), (410, 301_005));
    assert!(message.ends_with("DiagCode: 410#301005.@"), "{message}");
    let operation = bot.operation(&call, &operation).await.unwrap();
    assert_eq!(operation["status"], "failed");
    seen("the far end is told by BYE", || async { (phone.asked("BYE") > 0).then_some(()) }).await;
}

#[tokio::test]
async fn a_far_end_that_only_reports_is_not_cut() {
    let mut call = TestCall::start_with(|config| config.rtp.media_timeout = SHORT).await;
    // The built-in phone says nothing, but its reports come four times a second.
    let operation = call.play(&[&tone_wav(440.0, 3_000)]).await;
    let ended = call.ended(&operation).await;
    assert_eq!(ended.value["resourceData"]["status"], "completed");
    assert_eq!(call.hang_up().await.value["resourceData"]["resultInfo"]["subcode"], 7000);
}

/// Waits until nothing has come for a while; gives when the last packet came.
async fn silence_of(phone: &WirePhone) -> Instant {
    seen("the wire falls silent", || async {
        phone.heard().last.filter(|last| last.elapsed() > Duration::from_millis(300))
    })
    .await
}

#[tokio::test]
async fn nothing_is_sent_any_more_once_a_call_or_a_playback_is_over() {
    let server = TestServer::start().await;
    let mut latest = Duration::ZERO;
    for hangs_up in [true, false] {
        let phone = WirePhone::start().await;
        let mut bot = server.bot().await;
        let call = bot.call(phone.identity(), &[]).await.unwrap();
        bot.until(patience(), is_audio_active).await.unwrap();
        bot.play(&call, &[bot.serve("a", tone_wav(440.0, 20_000))], false).await.unwrap();
        seen("the prompt is heard", || async { phone.heard().last }).await;
        if hangs_up {
            bot.hang_up(&call).await.unwrap();
        } else {
            bot.cancel(&call).await.unwrap();
        }
        let answered = Instant::now();
        let last = silence_of(&phone).await;
        latest = latest.max(last.saturating_duration_since(answered));
    }
    // On a busy machine the wire phone itself may be late to read what came in time.
    assert!(latest < Duration::from_millis(100), "{latest:?} after the answer");
}

#[tokio::test]
async fn an_application_dials_no_more_than_it_may() {
    let server = TestServer::start_with(|config| {
        config.dial.per_app_concurrent = 2;
        config.dial.per_app_per_minute = 3;
    })
    .await;
    let bot = server.bot().await;
    let dial = || async {
        let phone = WirePhone::start().await;
        let body = json!({
            "@odata.type": "#microsoft.graph.call",
            "tenantId": server.server().ready().tenant,
            "callbackUri": bot.callback_uri(),
            "targets": [{
                "@odata.type": "#microsoft.graph.invitationParticipantInfo",
                "identity": {
                    "@odata.type": "#microsoft.graph.identitySet",
                    "user": {
                        "@odata.type": "#microsoft.graph.identity",
                        "id": phone.identity()["user"]["id"],
                    },
                },
            }],
            "requestedModalities": ["audio"],
            "mediaConfig": {"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"},
        });
        let path = "/v1.0/communications/calls";
        let answer = bot.send(axum::http::Method::POST, path, Some(body)).await.unwrap();
        (answer.status.as_u16(), answer, phone)
    };
    let (first, second, third) = (dial().await, dial().await, dial().await);
    assert_eq!((first.0, second.0, third.0), (201, 201, 429), "{:?}", third.1.body);
    let said = |answer: &graphophone_testkit::Answer| answer.body["error"]["message"].to_string();
    assert!(said(&third.1).contains("dial.per_app_concurrent"), "{}", said(&third.1));

    bot.hang_up(first.1.body["id"].as_str().unwrap()).await.unwrap();
    let fourth = seen("a call's place is free again", || async {
        let next = dial().await;
        (next.0 == 201).then_some(next)
    })
    .await;
    bot.hang_up(fourth.1.body["id"].as_str().unwrap()).await.unwrap();
    let refused = seen("the minute is used up", || async {
        let next = dial().await;
        said(&next.1).contains("dial.per_app_per_minute").then_some(next)
    })
    .await;
    assert_eq!(refused.0, 429);
    let wait: u64 = refused.1.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
}

#[tokio::test]
async fn an_outgoing_call_ends_when_it_has_lasted_as_long_as_it_may() {
    let mut call = TestCall::start_with(|config| config.dial.max_call = SHORT).await;
    let last = call.until(is_terminated).await;
    let (code, subcode, _) = result_of(&last.value["resourceData"]);
    assert_eq!((code, subcode), (403, 10_199));
    call.phone.ended().await;
}
