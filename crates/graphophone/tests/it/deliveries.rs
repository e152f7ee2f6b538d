//! The delivery log of a whole server: what it tells, replays over the admin API and by the
//! command, and the signature that a bot checks.

use std::process::Stdio;

use axum::http::Method;
use graphophone::bot::{http_client, is_terminated};
use graphophone_testkit::{TestServer, Webhook, is_audio_active, patience, seen, soon};
use serde_json::{Value, json};
use tokio::{process::Command, time::timeout_at};

/// Asks the admin API.
async fn ask(server: &TestServer, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let url = format!("{}/graphophone/v1/deliveries{path}", server.base());
    let token = server.server().ready().admin_token.clone().expect("the dev profile has one");
    let mut request = http_client().unwrap().request(method, url).bearer_auth(token);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn list(server: &TestServer, query: &str) -> Value {
    let (status, page) = ask(server, Method::GET, query, None).await;
    assert_eq!(status, 200, "{page}");
    let sum = |name: &str| page[name].as_u64().unwrap();
    assert_eq!(sum("created"), sum("delivered") + sum("pending") + sum("failed"));
    page
}

/// A call to the phone that is told of at this webhook, until it is over.
async fn call(server: &TestServer, webhook: &Webhook) -> String {
    let bot = server.bot().await;
    let mut body = bot.new_call(server.phone_identity(), &[]);
    body["callbackUri"] = json!(webhook.uri() + "?key=SECRET");
    let path = "/v1.0/communications/calls";
    let made = bot.send(Method::POST, path, Some(body)).await.unwrap().ok().unwrap();
    let phone = soon("a call", server.phone().next_call()).await;
    soon("it is up", phone.established()).await.unwrap();
    phone.hang_up();
    soon("it is over", phone.ended()).await;
    made["id"].as_str().unwrap().to_owned()
}

/// `graphophone notifications …` against this server.
async fn command(server: &TestServer, arguments: &[&str]) -> (Option<i32>, String) {
    let token = server.server().ready().admin_token.clone().expect("the dev profile has one");
    let output = Command::new(env!("CARGO_BIN_EXE_graphophone"))
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .arg("notifications")
        .args(arguments)
        .args(["--url", server.base()])
        .env("GRAPHOPHONE_ADMIN__TOKEN", token)
        .output();
    let output = timeout_at(patience(), output).await.expect("in time").expect("it runs");
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), text)
}

#[tokio::test]
async fn what_was_given_up_is_in_the_log_and_is_sent_again_when_somebody_asks() {
    let server = TestServer::start_with(|config| {
        config.callbacks.retry_at.truncate(2);
        config.callbacks.give_up_after.0 = std::time::Duration::ZERO;
    })
    .await;
    let mut webhook = Webhook::refusing();
    let id = call(&server, &webhook).await;
    let failed = seen("everything is given up", || async {
        let page = list(&server, &format!("?call={id}")).await;
        let all = page["value"].as_array().unwrap().clone();
        let is_over = all.len() >= 4 && all.iter().all(|one| one["state"] == "failed");
        is_over.then_some(all)
    })
    .await;
    for one in &failed {
        assert_eq!(one["lastError"], "HTTP 503 Service Unavailable");
        assert_eq!(one["attempts"], 1);
        assert!(one["nextAttemptAt"].is_null() && one["settledAt"].is_number(), "{one}");
        assert!(!one.to_string().contains("SECRET"), "{one}");
    }
    // In pages, by state, by application.
    let mut paged = Vec::new();
    let mut after = json!(0);
    while !after.is_null() {
        let page = list(&server, &format!("?state=failed&limit=2&after={after}")).await;
        paged.extend(page["value"].as_array().unwrap().clone());
        after = page["next"].clone();
    }
    assert_eq!(paged, failed);
    let app = failed[0]["application"].as_str().unwrap();
    assert_eq!(list(&server, &format!("?app={app}")).await["value"], json!(failed));
    let stranger = "?app=00000000-0000-0000-0000-000000000009";
    assert_eq!(list(&server, stranger).await["value"], json!([]));

    // One by itself, while the bot is still ill; then all.
    let (code, text) = command(&server, &["--state", "failed"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&id) && text.contains("HTTP 503 Service Unavailable"), "{text}");
    let told_before = failed.len();
    for _ in 0..told_before {
        assert!(!webhook.next().await.taken);
    }
    let last = failed.last().unwrap()["sequence"].to_string();
    let (status, answer) = ask(&server, Method::POST, &format!("/{last}/replay"), None).await;
    assert_eq!((status, answer), (202, json!({"replayed": 1})));
    let again = webhook.next().await;
    assert_eq!(json!(again.header("webhook-id")), failed.last().unwrap()["id"]);
    assert!(is_terminated(&again.value));
    seen("it is given up again", || async {
        let page = list(&server, &format!("?call={id}&state=failed")).await;
        (page["value"].as_array().unwrap().len() == failed.len()).then_some(())
    })
    .await;
    webhook.accept();
    let (code, text) = command(&server, &["replay", "--failed", "--call", &id]).await;
    assert_eq!((code, text.as_str()), (Some(0), "4 are owed again\n"));
    let told = webhook.taken_until(is_terminated).await;
    let ids: Vec<_> = told.iter().map(|post| json!(post.header("webhook-id"))).collect();
    let expected: Vec<_> = failed.iter().map(|one| one["id"].clone()).collect();
    assert_eq!(ids, expected, "in order, under the same ids");
    let delivered = seen("everything is delivered", || async {
        let page = list(&server, "").await;
        (page["pending"] == 0).then_some(page)
    })
    .await;
    assert_eq!((&delivered["delivered"], &delivered["failed"]), (&json!(4), &json!(0)));
}

#[tokio::test]
async fn a_replay_of_what_is_not_there_or_not_settled_is_refused() {
    let server = TestServer::start().await;
    let webhook = Webhook::refusing();
    call(&server, &webhook).await;
    seen("the first one waits", || async {
        (list(&server, "?state=pending").await["value"][0]["attempts"] == 1).then_some(())
    })
    .await;
    for (path, body, expected) in [
        ("/1/replay", None, 409),
        ("/999/replay", None, 404),
        ("/x/replay", None, 400),
        ("/replay", Some(json!({"state": "pending"})), 400),
        ("/replay", Some(json!({"state": "failed", "call": "x"})), 400),
        ("/replay", Some(json!({"states": "failed"})), 400),
        ("/replay", Some(json!([])), 400),
        ("/replay", Some(json!({})), 202),
    ] {
        let url = format!("{}/graphophone/v1/deliveries{path}", server.base());
        let client = http_client().unwrap();
        let token = server.server().ready().admin_token.clone().unwrap();
        let request = || match &body {
            Some(body) => client.post(&url).json(body),
            None => client.post(&url),
        };
        let status = request().bearer_auth(token).send().await.unwrap().status();
        assert_eq!(status, expected, "{path} {body:?}");
        assert_eq!(request().send().await.unwrap().status(), 401, "{path} needs the token");
    }
    let (code, text) = command(&server, &["replay", "999"]).await;
    assert_eq!(code, Some(1));
    assert!(text.contains("notification 999") && text.contains("no such delivery"), "{text}");
    let (code, text) = command(&server, &["list", "--json", "--limit", "1"]).await;
    let page: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{code:?}: {text}"));
    assert_eq!(page["value"].as_array().unwrap().len(), 1);
    assert_eq!(page["next"], 1);
    assert_eq!(command(&server, &["replay"]).await.0, Some(2), "nothing is named");
}

#[tokio::test]
async fn a_bot_can_check_the_signature_with_the_reference_implementation() {
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    let secret = server.server().ready().webhook_secret.clone().expect("the dev profile has one");
    let reference = standardwebhooks::Webhook::new(&secret).unwrap();
    bot.call(server.phone_identity(), &[]).await.unwrap();
    let told = bot.until(patience(), is_audio_active).await.unwrap();
    for received in &told {
        assert!(!received.bytes.is_empty());
        reference.verify(&received.bytes, &received.headers).unwrap();
        let forged = [received.bytes.as_ref(), b" "].concat();
        assert!(reference.verify(&forged, &received.headers).is_err());
    }
}
