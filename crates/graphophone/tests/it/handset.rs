//! What a test in any language can ask the dev profile: the built-in phone and the delivery log.

use graphophone::bot::http_client;
use graphophone_media::{
    codec::Codec,
    prompt::{Accept, Prompt},
};
use graphophone_testkit::{
    TestServer,
    audio::{as_heard, tone_wav},
    is_audio_active, is_end_of, is_terminated, patience, seen,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const TOKEN: &str = "dev-admin-token-not-for-production";

async fn ask(
    server: &TestServer,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> reqwest::Response {
    let url = format!("{}/graphophone/v1/{path}", server.base());
    let mut request = http_client().unwrap().request(method, url).bearer_auth(TOKEN);
    if let Some(body) = body {
        request = request.json(&body);
    }
    request.send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_hears_over_http_what_the_phone_heard() {
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    assert_eq!(
        ask(&server, Method::GET, "phone/heard.wav", None).await.status(),
        StatusCode::NOT_FOUND
    );
    let call = bot.call(server.phone_identity(), &[]).await.unwrap();
    bot.until(patience(), is_audio_active).await.unwrap();
    let file = tone_wav(700.0, 400);
    let uri = bot.serve("tone.wav", file.clone());
    let operation = bot.play(&call, &[uri], false).await.unwrap();
    bot.until(patience(), |value| is_end_of(value, &operation)).await.unwrap();

    let sent = as_heard(&[&file], Codec::Pcmu);
    let heard = seen("the last packet", async || {
        let response = ask(&server, Method::GET, "phone/heard.wav", None).await;
        assert_eq!(response.headers()["content-type"], "audio/wav");
        let heard = Prompt::decode(&response.bytes().await.unwrap()[..], Accept::Any).unwrap();
        (heard.samples.len() >= sent.len()).then_some(heard)
    })
    .await;
    assert_eq!(heard.samples, sent);
    let status: Value = ask(&server, Method::GET, "phone", None).await.json().await.unwrap();
    assert_eq!(status["call"]["stage"], "established");
    assert_eq!(status["call"]["heardMilliseconds"], 400);

    let hung_up = ask(&server, Method::POST, "phone/hangUp", None).await;
    assert_eq!(hung_up.status(), StatusCode::NO_CONTENT);
    bot.until(patience(), is_terminated).await.unwrap();
    let log: Value = ask(&server, Method::GET, "deliveries", None).await.json().await.unwrap();
    assert_eq!(log["created"], log["value"].as_array().unwrap().len());
    let sum: u64 = ["delivered", "pending", "failed"].iter().filter_map(|n| log[n].as_u64()).sum();
    assert_eq!(log["created"], sum);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_phone_calls_in_and_presses_keys_over_http() {
    let (server, mut bot) = TestServer::start_with_webhook(|_| {}).await;
    let dialled =
        ask(&server, Method::POST, "phone/call", Some(json!({"number": "+15551234"}))).await;
    assert_eq!(dialled.status(), StatusCode::CREATED);
    let incoming = bot.next(patience()).await.unwrap().value;
    assert_eq!(incoming["resourceData"]["state"], "incoming");
    let call = incoming["resourceData"]["id"].as_str().unwrap().to_owned();
    let answer = json!({
        "callbackUri": bot.callback_uri(),
        "acceptedModalities": ["audio"],
        "mediaConfig": {"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"},
    });
    let path = format!("/v1.0/communications/calls/{call}/answer");
    assert_eq!(
        bot.send(Method::POST, &path, Some(answer)).await.unwrap().status,
        StatusCode::ACCEPTED
    );
    bot.until(patience(), is_audio_active).await.unwrap();
    let pressed =
        ask(&server, Method::POST, "phone/press", Some(json!({"tones": ["tone1", "pound"]}))).await;
    assert_eq!(pressed.status(), StatusCode::NO_CONTENT);
    for (path, body) in [
        ("phone/press", json!({"tones": ["tone99"]})),
        ("phone/call", json!({"number": "a b\r\n"})),
    ] {
        let refused = ask(&server, Method::POST, path, Some(body)).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_admin_token_nothing_of_it_is_there_for_anybody() {
    let server = TestServer::start().await;
    let bot = server.bot().await;
    for path in ["phone", "phone/heard.wav", "deliveries", "load"] {
        let path = format!("/graphophone/v1/{path}");
        let answer = bot.send(Method::GET, &path, None).await.unwrap();
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let sample = http_client()
        .unwrap()
        .get(format!("{}/graphophone/v1/samples/demo-1.wav", server.base()))
        .send()
        .await
        .unwrap();
    assert!(Prompt::decode(&sample.bytes().await.unwrap()[..], Accept::GraphOnly).is_ok());
}
