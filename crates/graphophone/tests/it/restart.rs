//! The real binary, killed and started again on the same data; and a stop in order.

use std::{net::SocketAddr, path::Path};

use axum::http::Method;
use graphophone::bot::is_terminated;
use graphophone_sip::{IncomingRefer, phone::AnswerPolicy};
use graphophone_testkit::{
    Bot, ServerProcess, TestCall, Webhook, audio::tone_wav, is_audio_active, is_end_of, patience,
    seen, sent_ms, soon, states,
};
use serde_json::{Value, json};

use crate::transfer::{assert_hears, phone_of, target, user};

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

/// Where a server of its own listens for SIP: nobody else takes a port there while it is down.
const APART: [&str; 2] = ["udp:127.0.81.1:0", "udp:127.0.81.2:0"];

/// The server again, on the same data and where its phones know it.
async fn started_again(data: &Path, sip: SocketAddr, flags: &[&str]) -> ServerProcess {
    let listen = format!("udp:{sip}");
    let flags = [&["--sip", &listen], flags].concat();
    ServerProcess::start_as(BINARY, data, &[], &flags).await
}

async fn transfer(bot: &Bot, call: &str, target: Value) {
    let path = format!("/v1.0/communications/calls/{call}/transfer");
    let body = json!({"transferTarget": target});
    let answer = bot.send(Method::POST, &path, Some(body)).await.expect("a response");
    assert_eq!(answer.status, 202, "{}", answer.body);
}

#[tokio::test]
async fn after_a_kill_both_phones_of_a_bridge_are_released_and_the_bot_hears_nothing_new() {
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(BINARY, data.path()).await;
    let mut bot = server.bot().await;
    let alice = phone_of(server.sip(), "alice", IncomingRefer::Decline).await;
    let bob = phone_of(server.sip(), "bob", IncomingRefer::Decline).await;
    let call = bot.call(user(&alice), &[]).await.unwrap();
    let hers = soon("alice is called", alice.next_call()).await;
    bot.until(patience(), is_audio_active).await.unwrap();
    transfer(&bot, &call, target(&bob)).await;
    let told = bot.until(patience(), is_terminated).await.unwrap();
    let his = soon("bob is called", bob.next_call()).await;
    assert_hears(&hers, &his, 440.0).await;
    server.kill();

    let server = ServerProcess::start(BINARY, data.path()).await;
    soon("alice is released", hers.ended()).await;
    soon("bob is released", his.ended()).await;
    // The bot was out of it before; what it was told last may come again.
    let window = tokio::time::Instant::now() + std::time::Duration::from_millis(100);
    if let Ok(again) = bot.next(window).await {
        assert_eq!(again.value, told.last().unwrap().value, "the call was over for the bot");
    }
    // Once released, they are not bothered again.
    let again = server.bot().await.call(user(&alice), &[]).await.unwrap();
    let anew = soon("alice is called anew", alice.next_call()).await;
    soon("she answers", anew.established()).await.unwrap();
    server.kill();
    let server = ServerProcess::start(BINARY, data.path()).await;
    soon("that call is released, too", anew.ended()).await;
    let gone = read(&server.bot().await, &format!("/v1.0/communications/calls/{again}")).await;
    assert_eq!(gone["error"]["code"], "8522");
}

#[tokio::test]
async fn after_a_kill_in_a_transfer_who_was_called_and_picks_up_is_released_like_the_other() {
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start_as(BINARY, data.path(), &[], &["--sip", APART[0]]).await;
    let sip = server.sip();
    let mut bot = server.bot().await;
    let alice = phone_of(sip, "alice", IncomingRefer::Decline).await;
    let bob = phone_of(sip, "bob", IncomingRefer::Decline).await;
    bob.set_answer(AnswerPolicy::Never);
    let call = bot.call(user(&alice), &[]).await.unwrap();
    let hers = soon("alice is called", alice.next_call()).await;
    bot.until(patience(), is_audio_active).await.unwrap();
    transfer(&bot, &call, target(&bob)).await;
    let his = soon("bob rings", bob.next_call()).await;
    server.kill();

    let _server = started_again(data.path(), sip, &[]).await;
    soon("alice is released", hers.ended()).await;
    let told = bot.until(patience(), is_terminated).await.unwrap();
    assert_eq!(told.last().unwrap().value["resourceData"]["resultInfo"]["subcode"], 9999);
    his.answer();
    soon("bob is released as soon as he picks up", his.ended()).await;
}

/// The application of the dev profile, with a webhook for incoming calls.
fn with_webhook(at: &str) -> String {
    let dev = include_str!("../../config.dev.toml");
    let app = dev.split("[[app]]").nth(1).and_then(|rest| rest.split("\n\n").next());
    format!("[[app]]{}\ncalling_webhook = \"http://{at}/callback\"\n", app.expect("an app"))
}

#[tokio::test]
async fn after_a_kill_in_a_redirect_whoever_picks_up_is_released_and_so_are_two_that_talk() {
    let data = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = data.path().join("redirect.toml");
    std::fs::write(&config, with_webhook(&listener.local_addr().unwrap().to_string())).unwrap();
    let flags = ["--config", config.to_str().unwrap()];
    let first = [&["--sip", APART[1]], &flags[..]].concat();
    let server = ServerProcess::start_as(BINARY, data.path(), &[], &first).await;
    let sip = server.sip();
    let mut bot = server.bot_at(listener).await;
    let [alice, bob, carol, dave] = [
        phone_of(sip, "alice", IncomingRefer::Decline).await,
        phone_of(sip, "bob", IncomingRefer::Decline).await,
        phone_of(sip, "carol", IncomingRefer::Decline).await,
        phone_of(sip, "dave", IncomingRefer::Decline).await,
    ];
    dave.set_answer(AnswerPolicy::Never);
    let mut callers = Vec::new();
    for (caller, callee) in [(&alice, &bob), (&carol, &dave)] {
        callers.push(caller.call(&format!("sip:+15551234@{sip}")).await.unwrap());
        let incoming = bot.next(patience()).await.unwrap().value;
        assert_eq!(incoming["resourceData"]["state"], "incoming", "{incoming}");
        let path = incoming["resourceUrl"].as_str().unwrap();
        let body = json!({"targets": [target(callee)], "timeout": 60});
        let path = format!("/v1.0{path}/redirect");
        let answer = bot.send(Method::POST, &path, Some(body)).await.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
        if std::ptr::eq(callee, &bob) {
            bot.until(patience(), is_terminated).await.unwrap();
        }
    }
    let bobs = soon("bob is called", bob.next_call()).await;
    assert_hears(&callers[0], &bobs, 440.0).await;
    let daves = soon("dave rings", dave.next_call()).await;
    server.kill();

    let _server = started_again(data.path(), sip, &flags).await;
    soon("alice is released", callers[0].ended()).await;
    soon("bob is released", bobs.ended()).await;
    bot.until(patience(), is_terminated).await.unwrap();
    daves.answer();
    soon("dave is released as soon as he picks up", daves.ended()).await;
}
