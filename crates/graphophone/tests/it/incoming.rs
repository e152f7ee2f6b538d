//! Calls from outside: the bot is told, answers or not, and the caller hears or not.

use std::time::Duration;

use axum::http::Method;
use graphophone::{
    bot::{is_audio_active, is_terminated},
    config::Interval,
};
use graphophone_media::codec::Codec;
use graphophone_sip::phone::{CallStage, PhoneCall};
use graphophone_testkit::{
    Answer, Bot, TestServer,
    audio::{as_heard, assert_heard, tone_wav},
    heard, is_end_of, patience, soon, states,
};
use serde_json::{Value, json};

/// The built-in phone calls a bot; its end of the call and the first notification come back.
async fn phone_calls(server: &TestServer, bot: &mut Bot) -> (PhoneCall, Value) {
    let target = format!("sip:+15551234@{}", server.sip());
    let phone = server.phone().call(&target).await.expect("a call");
    let first = bot.next(patience()).await.expect("a notification");
    assert_eq!(states(std::slice::from_ref(&first)), ["created incoming"]);
    (phone, first.value)
}

fn id_of(notification: &Value) -> &str {
    notification["resourceUrl"].as_str().and_then(|url| url.rsplit('/').next()).expect("a path")
}

async fn answer(bot: &Bot, id: &str) -> Answer {
    let body = json!({
        "callbackUri": bot.callback_uri(),
        "acceptedModalities": ["audio"],
        "mediaConfig": {"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"},
    });
    let path = format!("/v1.0/communications/calls/{id}/answer");
    bot.send(Method::POST, &path, Some(body)).await.expect("a response")
}

#[tokio::test]
async fn a_caller_is_answered_and_hears_the_prompt() {
    let (server, mut bot) = TestServer::start_with_webhook(|_| {}).await;
    let (phone, first) = phone_calls(&server, &mut bot).await;
    let data = &first["resourceData"];
    assert_eq!(data["direction"], "incoming");
    assert_eq!(data["requestedModalities"], json!(["audio"]));
    assert_eq!(
        data["source"]["identity"]["user"]["id"],
        server.phone_identity()["user"]["id"],
        "a registered phone is its Graph user"
    );
    assert!(data["targets"].as_array().is_some_and(|targets| targets.len() == 1), "{data}");
    let id = id_of(&first).to_owned();
    assert_eq!(first["resource"], format!("/app/calls/{id}"));

    let answered = answer(&bot, &id).await;
    assert_eq!((answered.status.as_u16(), &answered.body), (202, &Value::Null));
    let told = bot.until(patience(), is_audio_active).await.unwrap();
    let wanted = ["updated establishing", "updated established", "updated established active"];
    assert_eq!(states(&told), wanted);
    soon("the call is up", phone.established()).await.unwrap();

    let file = tone_wav(660.0, 400);
    let uri = bot.serve("hello", file.clone());
    let operation = bot.play(&id, &[uri], false).await.unwrap();
    bot.until(patience(), |value| is_end_of(value, &operation)).await.unwrap();
    assert_heard(&heard(&phone, 400).await.samples, &as_heard(&[&file], Codec::Pcmu));

    phone.hang_up();
    let last = bot.until(patience(), is_terminated).await.unwrap();
    assert_eq!(last[0].value["resourceData"]["resultInfo"]["subcode"], 18503);
}

#[tokio::test]
async fn a_caller_without_registration_is_known_by_its_number() {
    let (server, mut bot) = TestServer::start_with_webhook(|_| {}).await;
    let stranger = server.unregistered_phone("+15557777").await;
    let phone = stranger.call(&format!("sip:+15551234@{}", server.sip())).await.unwrap();
    let first = bot.next(patience()).await.unwrap().value;
    let source = &first["resourceData"]["source"]["identity"];
    assert_eq!(source["phone"]["id"], "+15557777", "{source}");
    answer(&bot, id_of(&first)).await.ok().unwrap();
    soon("the call is up", phone.established()).await.unwrap();
    bot.hang_up(id_of(&first)).await.unwrap();
    soon("BYE reaches the caller", phone.ended()).await;
}

#[tokio::test]
async fn a_bot_without_a_calling_role_is_not_told_who_calls_and_may_answer() {
    let (server, mut bot) =
        TestServer::start_with_webhook(|config| config.apps[0].roles.clear()).await;
    let stranger = server.unregistered_phone("+15557777").await;
    let phone = stranger.call(&format!("sip:+15551234@{}", server.sip())).await.unwrap();
    let first = bot.next(patience()).await.unwrap().value;
    let source = first["resourceData"]["source"]["identity"].as_object().unwrap();
    assert!(source["encrypted"]["id"].is_string(), "{source:?}");
    assert!(!first.to_string().contains("5557777"), "{first}");
    answer(&bot, id_of(&first)).await.ok().unwrap();
    soon("the call is up", phone.established()).await.unwrap();
    let path = format!("/v1.0/communications/calls/{}", id_of(&first));
    let read = bot.send(Method::GET, &path, None).await.unwrap().body;
    assert_eq!(
        read["source"]["identity"]["encrypted"],
        first["resourceData"]["source"]["identity"]["encrypted"]
    );
    assert!(!read.to_string().contains("5557777"), "{read}");
}

#[tokio::test]
async fn a_call_that_no_bot_answers_in_time_is_refused() {
    let within = Duration::from_millis(400);
    let (server, mut bot) = TestServer::start_with_webhook(|config| {
        config.calls.answer_within = Interval(within);
    })
    .await;
    let begun = tokio::time::Instant::now();
    let (phone, first) = phone_calls(&server, &mut bot).await;
    let ended = soon("the caller is refused", phone.ended()).await;
    assert_eq!(ended.code, 480, "{ended:?}");
    assert!(begun.elapsed() >= within);
    let last = bot.next(patience()).await.unwrap();
    assert_eq!(states(std::slice::from_ref(&last)), ["deleted terminated"]);
    let result = &last.value["resourceData"]["resultInfo"];
    assert_eq!((&result["code"], &result["subcode"]), (&json!(408), &json!(8587)));

    let late = answer(&bot, id_of(&first)).await;
    assert_eq!((late.status.as_u16(), &late.body["error"]["code"]), (404, &json!("8522")));
}

#[tokio::test]
async fn a_caller_that_gives_up_ends_the_call() {
    let (server, mut bot) = TestServer::start_with_webhook(|_| {}).await;
    let (phone, first) = phone_calls(&server, &mut bot).await;
    soon("it rings", phone.ringing()).await;
    phone.hang_up();
    let last = bot.next(patience()).await.unwrap();
    assert_eq!(states(std::slice::from_ref(&last)), ["deleted terminated"]);
    let result = &last.value["resourceData"]["resultInfo"];
    assert_eq!((&result["code"], &result["subcode"]), (&json!(487), &json!(8542)));
    assert_eq!(answer(&bot, id_of(&first)).await.status, 404);
}

#[tokio::test]
async fn a_bot_that_deletes_a_ringing_call_refuses_the_caller() {
    let (server, mut bot) = TestServer::start_with_webhook(|_| {}).await;
    let (phone, first) = phone_calls(&server, &mut bot).await;
    bot.hang_up(id_of(&first)).await.unwrap();
    let ended = soon("the caller is refused", phone.ended()).await;
    assert_eq!(ended.code, 480, "{ended:?}");
    let told = bot.until(patience(), is_terminated).await.unwrap();
    assert_eq!(states(&told).last().unwrap(), "deleted terminated");
}

#[tokio::test]
async fn only_the_bot_of_a_call_can_answer_it_and_only_once() {
    let (server, mut bot) = TestServer::start_with_webhook(|_| {}).await;
    let (phone, first) = phone_calls(&server, &mut bot).await;
    let id = id_of(&first).to_owned();
    // The dev profile makes unknown applications at their first token.
    let mut other = graphophone_testkit::Credentials::of_dev(server.server().ready()).unwrap();
    other.client_id = graphophone_call::AppId::new(uuid::Uuid::from_u128(7));
    other.client_secret = "another one's".into();
    let foreign = server.bot_as(other).await;
    let refused = answer(&foreign, &id).await;
    assert_eq!((refused.status.as_u16(), &refused.body["error"]["code"]), (404, &json!("8522")));
    let unknown = answer(&bot, "00000000-0000-4000-8000-000000000000").await;
    assert_eq!((unknown.status.as_u16(), &unknown.body["error"]["code"]), (404, &json!("8522")));

    assert_eq!(answer(&bot, &id).await.status, 202);
    bot.until(patience(), is_audio_active).await.unwrap();
    let again = answer(&bot, &id).await;
    assert_eq!((again.status.as_u16(), &again.body["error"]["code"]), (400, &json!("8585")));
    phone.hang_up();
    bot.until(patience(), is_terminated).await.unwrap();
    assert_eq!(answer(&bot, &id).await.status, 404);
}

#[tokio::test]
async fn a_number_that_no_route_matches_does_not_exist_and_does_not_ring() {
    let (server, _bot) = TestServer::start_with_webhook(|config| config.routes.clear()).await;
    let phone = server.phone().call(&format!("sip:+15551234@{}", server.sip())).await.unwrap();
    let first = soon("the caller is refused", phone.ringing()).await;
    let CallStage::Ended(result) = first else { panic!("{first:?}") };
    assert_eq!(result.code, 404, "{result:?}");
}

#[tokio::test]
async fn a_number_without_a_bot_is_refused() {
    let server = TestServer::start().await;
    let phone = server.phone().call(&format!("sip:+15551234@{}", server.sip())).await.unwrap();
    let ended = soon("the caller is refused", phone.ended()).await;
    assert_eq!(ended.code, 480, "{ended:?}");
}
