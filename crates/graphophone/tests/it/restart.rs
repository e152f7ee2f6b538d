//! The real binary, killed and started again on the same data; and a stop in order.

use axum::http::Method;
use graphophone::bot::is_terminated;
use graphophone_testkit::{
    Bot, ServerProcess, TestCall, Webhook, audio::tone_wav, is_audio_active, is_end_of, patience,
    seen, sent_ms, soon, states,
};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_graphophone");

async fn read(bot: &Bot, path: &str) -> Value {
    bot.send(Method::GET, path, None).await.expect("a response").body
}

/// Plays a tone in a loop; the operation comes back when some of it has been sent.
async fn play_loop(bot: &Bot, call: &str) -> String {
    let uri = bot.serve("loop", tone_wav(440.0, 200));
    let operation = bot.play(call, &[uri], true).await.expect("it is accepted");
    seen("the loop plays", || async {
        let now = bot.operation(call, &operation).await.expect("it can be read");
        (sent_ms(&now) > 0).then_some(())
    })
    .await;
    operation
}

fn assert_cut(operation: &Value) {
    assert_eq!(operation["status"], "failed");
    assert_eq!(operation["completionReason"], "unknown");
    assert_eq!(operation["resultInfo"]["code"], 500);
    assert_eq!(operation["resultInfo"]["subcode"], 9999);
    let message = operation["resultInfo"]["message"].as_str().expect("a message");
    assert!(message.contains("restarted"), "{message}");
    let prompt = &operation["graphophoneReceipt"]["prompts"][0];
    assert_eq!(prompt["reason"], "serverRestarted");
    assert!(prompt["millisecondsSent"].is_null(), "{prompt}");
}

#[tokio::test]
async fn after_a_kill_what_ran_is_reported_failed_and_the_call_terminated() {
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(BINARY, data.path()).await;
    let mut bot = server.bot().await;
    let call = bot.call(server.phone_identity(), &[]).await.unwrap();
    bot.until(patience(), is_audio_active).await.unwrap();
    let done = bot.play(&call, &[bot.serve("short", tone_wav(880.0, 60))], false).await.unwrap();
    bot.until(patience(), |value| is_end_of(value, &done)).await.unwrap();
    let operation = play_loop(&bot, &call).await;
    server.kill();

    let server = ServerProcess::start(BINARY, data.path()).await;
    // Signed with the same keys: the bot has not asked for new ones.
    let told = bot.until(patience(), |value| is_end_of(value, &operation)).await.unwrap();
    assert_eq!(states(&told), ["deleted operation failed"]);
    assert_cut(&told[0].value["resourceData"]);
    let last = bot.next(patience()).await.unwrap().value;
    assert!(is_terminated(&last), "{last}");
    assert_eq!(last["resource"], format!("/app/calls/{call}"));
    assert_eq!(last["resourceData"]["resultInfo"]["code"], 500);

    let later = server.bot().await;
    let path = format!("/v1.0/communications/calls/{call}");
    assert_cut(&read(&later, &format!("{path}/operations/{operation}")).await);
    let kept = read(&later, &format!("{path}/operations/{done}")).await;
    assert_eq!((&kept["status"], sent_ms(&kept)), (&json!("completed"), 60));
    assert_eq!(read(&later, &path).await["error"]["code"], "8522");

    // It is told once, not after each restart.
    server.kill();
    let server = ServerProcess::start(BINARY, data.path()).await;
    let mut third = server.bot().await;
    let fresh = third.call(server.phone_identity(), &[]).await.unwrap();
    let told = third.until(patience(), is_audio_active).await.unwrap();
    assert!(told.iter().all(|one| one.value["resource"] == format!("/app/calls/{fresh}")));
    let window = tokio::time::Instant::now() + std::time::Duration::from_millis(100);
    assert!(bot.next(window).await.is_err(), "everything was delivered before");
}

#[tokio::test]
async fn after_a_kill_all_queued_operations_are_reported_in_their_order() {
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(BINARY, data.path()).await;
    let mut bot = server.bot().await;
    let call = bot.call(server.phone_identity(), &[]).await.unwrap();
    bot.until(patience(), is_audio_active).await.unwrap();
    let mut accepted = vec![play_loop(&bot, &call).await];
    for _ in 0..4 {
        let uri = bot.serve("queued", tone_wav(880.0, 100));
        accepted.push(bot.play(&call, &[uri], false).await.unwrap());
    }
    server.kill();

    let _server = ServerProcess::start(BINARY, data.path()).await;
    let mut told = bot.until(patience(), is_terminated).await.unwrap();
    assert_eq!(told.pop().unwrap().value["changeType"], "deleted");
    let ids: Vec<&str> =
        told.iter().map(|one| one.value["resourceData"]["id"].as_str().unwrap()).collect();
    assert_eq!(ids, accepted);
    told.iter().for_each(|one| assert_cut(&one.value["resourceData"]));
}

#[tokio::test]
async fn notifications_owed_at_a_kill_are_delivered_in_order_under_their_ids() {
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(BINARY, data.path()).await;
    let bot = server.bot().await;
    let mut webhook = Webhook::refusing();
    let mut body = bot.new_call(server.phone_identity(), &[]);
    body["callbackUri"] = json!(webhook.uri());
    let made = bot.send(Method::POST, "/v1.0/communications/calls", Some(body)).await.unwrap();
    let made = made.ok().unwrap();
    let call = made["id"].as_str().unwrap();
    let path = format!("/v1.0/communications/calls/{call}");
    seen("audio", || async {
        Some(read(&bot, &path).await).filter(|call| call["mediaState"]["audio"] == "active")
    })
    .await;
    let operation = play_loop(&bot, call).await;
    let refused = webhook.next().await;
    assert_eq!(refused.value["resourceData"]["state"], "establishing");
    server.kill();

    let _server = ServerProcess::start(BINARY, data.path()).await;
    webhook.accept();
    let told = webhook.taken_until(is_terminated).await;
    let told_of: Vec<&Value> = told.iter().map(|post| &post.value["resourceData"]).collect();
    let seen: Vec<&str> = told_of
        .iter()
        .map(|data| data["state"].as_str().or(data["status"].as_str()).unwrap())
        .collect();
    assert_eq!(seen, ["establishing", "established", "established", "failed", "terminated"]);
    assert_eq!(told_of[3]["id"], operation.as_str());
    assert_eq!(told[0].header("webhook-id"), refused.header("webhook-id"));
    assert!(!refused.header("webhook-id").is_empty());
    assert_eq!(told[0].value, refused.value);
    assert_ne!(
        told[0].header("x-microsoft-skype-message-id"),
        refused.header("x-microsoft-skype-message-id")
    );
}

#[tokio::test]
async fn a_stop_in_order_hangs_up_and_tells_the_bot_of_everything_before_it_ends() {
    let call = TestCall::start().await;
    let playing = call.play_looping(&[&tone_wav(440.0, 200)]).await;
    let waiting = call.play(&[&tone_wav(440.0, 200)]).await;
    call.heard(100).await;
    let TestCall { server, mut bot, phone, .. } = call;
    soon("the stop", server.stop()).await;
    soon("BYE reached the phone", phone.ended()).await;
    let told = bot.until(patience(), is_terminated).await.unwrap();
    let ends = ["deleted operation failed", "deleted operation failed", "deleted terminated"];
    assert_eq!(states(&told), ends);
    let data: Vec<&Value> = told.iter().map(|one| &one.value["resourceData"]).collect();
    for (data, (id, reason)) in data.iter().zip([(playing, "callEnded"), (waiting, "notPlayed")]) {
        assert_eq!((&data["id"], &data["completionReason"]), (&json!(id), &json!("unknown")));
        assert_eq!(data["graphophoneReceipt"]["prompts"][0]["reason"], reason);
    }
    for data in data {
        let result = &data["resultInfo"];
        assert_eq!((&result["code"], &result["subcode"]), (&json!(500), &json!(9999)));
        assert!(result["message"].as_str().unwrap().contains("server is stopping"), "{result}");
    }
}
