//! reject: what the caller sees, what the bot is told, and that the call is gone then. And who is told
//! that a phone rings.

use std::time::Duration;

use axum::http::Method;
use graphophone_sip::phone::AnswerPolicy;
use graphophone_testkit::{
    Bot, TestServer, is_audio_active, is_terminated, patience, soon, states,
};
use serde_json::{Value, json};

/// The built-in phone calls the bot.
async fn incoming(
    server: &TestServer,
    bot: &mut Bot,
) -> (graphophone_sip::phone::PhoneCall, String) {
    let phone = server.phone().call(&format!("sip:+15551234@{}", server.sip())).await.unwrap();
    let first = bot.next(patience()).await.unwrap().value;
    assert_eq!(first["resourceData"]["state"], "incoming");
    let id = first["resourceUrl"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    (phone, id)
}

#[tokio::test]
async fn a_rejected_caller_sees_the_reason_and_the_bot_a_call_without_a_state() {
    let (server, mut bot) = TestServer::start_with_webhook(|_| {}).await;
    let cases = [
        ("v1.0", Some(json!({"reason": "none"})), 480),
        ("v1.0", Some(json!({"reason": "busy", "callbackUri": bot.callback_uri()})), 486),
        ("beta", Some(json!({"reason": "Forbidden"})), 403),
        ("beta", Some(json!({})), 480),
        ("v1.0", None, 480),
    ];
    for (version, body, status) in cases {
        let (phone, call) = incoming(&server, &mut bot).await;
        let path = format!("/{version}/communications/calls/{call}");
        let reject = format!("{path}/reject");
        let answer = bot.send(Method::POST, &reject, body.clone()).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body), (202, &Value::Null), "{body:?}");
        let seen = soon("the caller is refused", phone.ended()).await;
        assert_eq!(seen.code, status, "{body:?}: {seen:?}");

        let told = bot.next(patience()).await.unwrap().value;
        assert_eq!(told["changeType"], "deleted");
        assert_eq!(told["resourceUrl"], format!("/communications/calls/{call}"));
        let data = told["resourceData"].as_object().unwrap();
        assert_eq!(data["@odata.type"], "#microsoft.graph.call");
        assert!(!data.contains_key("state"), "{data:?}");
        for (method, tail) in
            [(Method::GET, ""), (Method::POST, "/answer"), (Method::POST, "/reject")]
        {
            let late = bot.send(method, &format!("{path}{tail}"), Some(json!({}))).await.unwrap();
            assert_eq!((late.status.as_u16(), &late.body["error"]["code"]), (404, &json!("8522")));
        }
    }
    let window = tokio::time::Instant::now() + Duration::from_millis(200);
    assert!(bot.next(window).await.is_err(), "each is told once");
}

#[tokio::test]
async fn a_rejection_is_told_where_it_asks_to_be_told() {
    let (server, mut bot) = TestServer::start_with_webhook(|_| {}).await;
    let mut other = server.bot().await;
    let (_phone, call) = incoming(&server, &mut bot).await;
    let body = json!({"reason": "busy", "callbackUri": other.callback_uri()});
    let path = format!("/v1.0/communications/calls/{call}/reject");
    bot.send(Method::POST, &path, Some(body)).await.unwrap().ok().unwrap();
    let told = other.next(patience()).await.unwrap().value;
    assert_eq!(told["changeType"], "deleted");
    assert_eq!(told["resourceUrl"], format!("/communications/calls/{call}"));
}

#[tokio::test]
async fn only_a_bot_of_the_beta_is_told_that_the_phone_rings_and_once() {
    let server = TestServer::start().await;
    server.phone().set_answer(AnswerPolicy::Never);
    for (version, rings) in [("beta", true), ("v1.0", false)] {
        let mut bot = server.bot().await;
        let body = bot.new_call(server.phone_identity(), &[]);
        let path = format!("/{version}/communications/calls");
        let made = bot.send(Method::POST, &path, Some(body)).await.unwrap().ok().unwrap();
        let call = made["id"].as_str().unwrap().to_owned();
        let phone = soon("the phone rings", server.phone().next_call()).await;
        let mut expected = vec!["updated establishing"];
        if rings {
            let told = bot.until(patience(), |value| value["resourceData"]["state"] == "ringing");
            assert_eq!(states(&told.await.unwrap()), ["updated establishing", "updated ringing"]);
            expected.clear();
        }
        let shown = bot.send(Method::GET, &format!("{path}/{call}"), None).await.unwrap().body;
        assert_eq!(shown["state"], "establishing", "v1.0 has no other word");
        phone.answer();
        let told = bot.until(patience(), is_audio_active).await.unwrap();
        expected.extend(["updated established", "updated established active"]);
        assert_eq!(states(&told), expected, "{version}");
        bot.hang_up(&call).await.unwrap();
        bot.until(patience(), is_terminated).await.unwrap();
    }
}
