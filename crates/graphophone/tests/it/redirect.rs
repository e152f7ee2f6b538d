//! Redirects of incoming calls between real phones.

use std::time::{Duration, Instant};

use axum::http::Method;
use graphophone::bot::{Bot, is_terminated};
use graphophone_sip::{
    IncomingRefer,
    phone::{AnswerPolicy, PhoneCall},
};
use graphophone_testkit::{TestServer, patience, soon, states};
use serde_json::{Value, json};

use crate::transfer::{assert_hears, phone, target};

/// The built-in phone calls a bot.
async fn phone_calls(server: &TestServer, bot: &mut Bot) -> (PhoneCall, String) {
    let target = format!("sip:+15551234@{}", server.sip());
    let call = server.phone().call(&target).await.expect("a call");
    let first = bot.next(patience()).await.expect("a notification");
    let path = first.value["resourceUrl"].as_str().expect("a path");
    (call, path.rsplit('/').next().expect("an id").to_owned())
}

async fn redirect(bot: &Bot, id: &str, body: Value) -> u16 {
    let path = format!("/v1.0/communications/calls/{id}/redirect");
    bot.send(Method::POST, &path, Some(body)).await.expect("a response").status.as_u16()
}

#[tokio::test]
async fn of_several_targets_the_first_to_answer_has_the_call_and_the_others_stop_ringing() {
    let (server, mut bot) = TestServer::start_with_webhook(|_| {}).await;
    let bob = phone(&server, "bob", IncomingRefer::Decline).await;
    let carol = phone(&server, "carol", IncomingRefer::Decline).await;
    bob.set_answer(AnswerPolicy::Never);
    carol.set_answer(AnswerPolicy::Never);
    let (caller, id) = phone_calls(&server, &mut bot).await;
    let body = json!({"targets": [target(&bob), target(&carol)], "timeout": 30});
    assert_eq!(redirect(&bot, &id, body).await, 202);
    let (his, hers) =
        (soon("bob rings", bob.next_call()).await, soon("carol rings", carol.next_call()).await);
    hers.answer();
    soon("the caller is connected", caller.established()).await.unwrap();
    assert_eq!(soon("bob stops ringing", his.ended()).await.subcode, 8542);
    let told = bot.until(patience(), is_terminated).await.unwrap();
    assert_eq!(states(&told), ["deleted terminated"]);
    let data = &told[0].value["resourceData"];
    assert_eq!(data["resultInfo"]["code"], 200, "{data}");
    assert_eq!((&data["direction"], data["targets"].is_array()), (&json!("incoming"), true));
    assert!(data["source"].is_object());
    assert_hears(&caller, &hers, 440.0).await;
    assert_hears(&hers, &caller, 700.0).await;
    caller.hang_up();
    soon("both legs end together", hers.ended()).await;
}

#[tokio::test]
async fn a_busy_target_makes_the_caller_hear_busy() {
    let (server, mut bot) = TestServer::start_with_webhook(|_| {}).await;
    let bob = phone(&server, "bob", IncomingRefer::Decline).await;
    bob.set_answer(AnswerPolicy::Busy);
    let (caller, id) = phone_calls(&server, &mut bot).await;
    assert_eq!(redirect(&bot, &id, json!({"targets": [target(&bob)]})).await, 202);
    assert_eq!(soon("the caller is refused", caller.ended()).await.code, 486);
    let told = bot.until(patience(), is_terminated).await.unwrap();
    assert_eq!(told[0].value["resourceData"]["resultInfo"]["subcode"], 8539);
}

#[tokio::test]
async fn a_caller_that_gives_up_stops_the_ringing() {
    let (server, mut bot) = TestServer::start_with_webhook(|_| {}).await;
    let bob = phone(&server, "bob", IncomingRefer::Decline).await;
    bob.set_answer(AnswerPolicy::Never);
    let (caller, id) = phone_calls(&server, &mut bot).await;
    assert_eq!(redirect(&bot, &id, json!({"targets": [target(&bob)]})).await, 202);
    let his = soon("bob rings", bob.next_call()).await;
    caller.hang_up();
    assert_eq!(soon("bob stops ringing", his.ended()).await.subcode, 8542);
    bot.until(patience(), is_terminated).await.unwrap();
    let answered = redirect(&bot, &id, json!({"targets": [target(&bob)]})).await;
    assert_eq!(answered, 404, "the call is over");
}

#[tokio::test]
async fn targets_that_let_it_ring_until_the_timeout_end_the_call_as_not_answered() {
    let (server, mut bot) = TestServer::start_with_webhook(|_| {}).await;
    let bob = phone(&server, "bob", IncomingRefer::Decline).await;
    let carol = phone(&server, "carol", IncomingRefer::Decline).await;
    bob.set_answer(AnswerPolicy::Never);
    carol.set_answer(AnswerPolicy::Never);
    let (caller, id) = phone_calls(&server, &mut bot).await;
    // The shortest that Graph takes.
    let body = json!({"targets": [target(&bob), target(&carol)], "timeout": 15});
    assert_eq!(redirect(&bot, &id, body).await, 202);
    let asked = Instant::now();
    let (his, hers) =
        (soon("bob rings", bob.next_call()).await, soon("carol rings", carol.next_call()).await);
    let path = format!("/v1.0/communications/calls/{id}");
    let shown = bot.send(Method::GET, &path, None).await.unwrap();
    assert_eq!((shown.status.as_u16(), &shown.body["state"]), (200, &json!("redirecting")));

    let told = bot.until(patience(), is_terminated).await.unwrap();
    assert!(asked.elapsed() >= Duration::from_secs(14), "{:?}", asked.elapsed());
    assert_eq!(states(&told), ["deleted terminated"]);
    let data = &told[0].value["resourceData"];
    assert_eq!(data["resultInfo"]["code"], 408, "{data}");
    assert_eq!(data["resultInfo"]["subcode"], 10_057, "{data}");
    assert_eq!((&data["direction"], data["targets"].is_array()), (&json!("incoming"), true));
    assert!(data["source"].is_object());
    assert_eq!(soon("bob stops ringing", his.ended()).await.subcode, 8542);
    assert_eq!(soon("carol stops ringing", hers.ended()).await.subcode, 8542);
    assert_eq!(soon("the caller is refused", caller.ended()).await.code, 480);
    let gone = bot.send(Method::GET, &path, None).await.unwrap();
    assert_eq!((gone.status.as_u16(), &gone.body["error"]["code"]), (404, &json!("8522")));
}
