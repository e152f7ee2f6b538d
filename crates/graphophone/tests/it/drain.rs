//! SIGTERM on the real binary: what plays is finished, nothing new is begun, nothing owed is lost.

use std::time::{Duration, Instant};

use axum::http::Method;
use graphophone_testkit::{
    Bot, ServerProcess, WirePhone, audio::tone_wav, is_audio_active, is_terminated, patience, seen,
    sent_ms, states,
};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_graphophone");
const CALLS: &str = "/v1.0/communications/calls";

async fn call(bot: &mut Bot, phone: &WirePhone) -> String {
    let call = bot.call(phone.identity(), &[]).await.unwrap();
    bot.until(patience(), is_audio_active).await.unwrap();
    call
}

async fn status(base: &str, path: &str) -> u16 {
    reqwest::get(format!("{base}{path}")).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_prompt_that_plays_is_finished_and_nothing_new_is_begun() {
    let data = tempfile::tempdir().unwrap();
    let patient = [("GRAPHOPHONE_SERVER__DRAIN", "60s")];
    let mut server = ServerProcess::start_with(BINARY, data.path(), &patient).await;
    let base = server.ready("http").to_owned();
    let mut bot = server.bot().await;
    let phone = WirePhone::start().await;
    let playing = call(&mut bot, &phone).await;
    let idle = WirePhone::start().await;
    call(&mut bot, &idle).await;
    let looping = WirePhone::start().await;
    let loop_call = call(&mut bot, &looping).await;
    bot.play(&loop_call, &[bot.serve("loop", tone_wav(440.0, 100))], true).await.unwrap();
    let (first, second) =
        (bot.serve("a", tone_wav(440.0, 1_000)), bot.serve("b", tone_wav(880.0, 500)));
    let one = bot.play(&playing, &[first], false).await.unwrap();
    let two = bot.play(&playing, &[second], false).await.unwrap();
    seen("it is heard", || async { (phone.heard().packets.len() > 5).then_some(()) }).await;
    assert_eq!(status(&base, "/readyz").await, 200);

    server.terminate();
    seen("readiness says so", || async { (status(&base, "/readyz").await == 503).then_some(()) })
        .await;
    assert_eq!(status(&base, "/healthz").await, 200);
    let refused = bot.send(Method::POST, CALLS, Some(bot.new_call(idle.identity(), &[]))).await;
    let refused = refused.unwrap();
    assert_eq!(
        (refused.status.as_u16(), &refused.headers["retry-after"]),
        (503, &"2".parse().unwrap())
    );
    let body = json!({"prompts": [{
        "@odata.type": "#microsoft.graph.mediaPrompt",
        "mediaInfo": {"@odata.type": "#microsoft.graph.mediaInfo", "uri": bot.serve("c", tone_wav(440.0, 10))},
    }]});
    let path = format!("{CALLS}/{playing}/playPrompt");
    let refused = bot.send(Method::POST, &path, Some(body)).await.unwrap();
    assert_eq!(refused.status, 503, "{}", refused.body);

    assert_eq!(server.ended().await, Some(0));
    // Two calls that had no end of their own, then the one that had.
    let mut ends = Vec::new();
    for _ in 0..3 {
        ends.extend(bot.until(patience(), is_terminated).await.unwrap());
    }
    let of = |id: &str| {
        ends.iter().find(|one| one.value["resourceData"]["id"] == id).expect("it is told of")
    };
    for (operation, ms) in [(&one, 1_000), (&two, 500)] {
        let told = &of(operation).value["resourceData"];
        assert_eq!((&told["status"], sent_ms(told)), (&json!("completed"), ms));
    }
    assert!(states(&ends).last().unwrap().ends_with("terminated"));
    assert_eq!(phone.heard().alaw.len(), 1_500 * 8, "every sample of both");
    for phone in [&phone, &idle, &looping] {
        assert!(phone.asked("BYE") > 0);
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_in_two_seconds_and_loses_nothing() {
    let data = tempfile::tempdir().unwrap();
    let patient = [("GRAPHOPHONE_SERVER__DRAIN", "60s")];
    let mut server = ServerProcess::start_with(BINARY, data.path(), &patient).await;
    let base = server.ready("http").to_owned();
    let mut bot = server.bot().await;
    let phone = WirePhone::start().await;
    let playing = call(&mut bot, &phone).await;
    let long = bot.play(&playing, &[bot.serve("a", tone_wav(440.0, 30_000))], false).await.unwrap();
    seen("it is heard", || async { (phone.heard().packets.len() > 5).then_some(()) }).await;
    server.terminate();
    seen("it drains", || async { (status(&base, "/readyz").await == 503).then_some(()) }).await;
    let hurry = Instant::now();
    server.terminate();
    assert_eq!(server.ended().await, Some(0));
    // The bound is the server's own, with room for a machine that does something else.
    assert!(hurry.elapsed() < Duration::from_secs(10), "{:?}", hurry.elapsed());
    seen("the phone is released", || async { (phone.asked("BYE") > 0).then_some(()) }).await;

    let _server = ServerProcess::start(BINARY, data.path()).await;
    let told = bot.until(patience(), is_terminated).await.unwrap();
    let ended = told.iter().find(|one| one.value["resourceData"]["id"] == long.as_str()).unwrap();
    assert_eq!(ended.value["resourceData"]["status"], "failed");
}
