//! Our own signing keys, changed while the server is at work (promise P30).

use graphophone::bot::http_client;
use graphophone_testkit::{TestServer, audio, seen};
use serde_json::Value;

use crate::line::Line;

async fn keys(server: &TestServer, method: reqwest::Method, tail: &str) -> (u16, Value) {
    let url = format!("{}/graphophone/v1/keys{tail}", server.base());
    let token = server.server().ready().admin_token.clone().unwrap();
    let answer = http_client().unwrap().request(method, url).bearer_auth(token).send().await;
    let answer = answer.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn kids(report: &Value, purpose: &str) -> Vec<String> {
    let keys = report[purpose].as_array().unwrap();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn kid_of(notification: &Value, headers: &axum::http::HeaderMap) -> String {
    let token = headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap();
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap_or_else(|| panic!("{notification}"))
}

async fn status_of(server: &TestServer, token: &str) -> u16 {
    let url = format!("{}/v1.0/communications/calls", server.base());
    let answer = http_client().unwrap().get(url).bearer_auth(token).send().await.unwrap();
    answer.status().as_u16()
}

#[tokio::test]
async fn notifications_and_tokens_hold_while_the_keys_rotate() {
    let server = TestServer::start().await;
    let (_, before) = keys(&server, reqwest::Method::GET, "").await;
    let mut line = Line::open(&server).await;
    let old_token = line.bot.token().to_owned();
    let mut signed_by = std::collections::BTreeSet::new();
    for round in 1..=3 {
        // The bot checks every notification, and asks for the key set when it does not know a key.
        let uri = line.bot.serve(&format!("{round}.wav"), audio::tone_wav(440.0, 40));
        let operation = line.bot.play(&line.call, &[uri], false).await.unwrap();
        let is_end = |value: &Value| graphophone_testkit::is_end_of(value, &operation);
        let told = line.bot.until(graphophone_testkit::patience(), is_end).await.unwrap();
        let last = told.last().unwrap();
        signed_by.insert(kid_of(&last.value, &last.headers));
        let report = seen("a rotation", || async {
            // Two in one second are one too many.
            let (status, report) = keys(&server, reqwest::Method::POST, "/rotate?in=0s").await;
            (status == 200).then_some(report)
        })
        .await;
        assert_eq!(kids(&report, "tokens").len(), 1 + round);
        assert_eq!(kids(&report, "notifications").len(), 1 + round);
        assert_eq!(status_of(&server, &old_token).await, 200, "round {round}");
    }
    assert!(signed_by.len() >= 2, "{signed_by:?}");
    assert!(signed_by.contains(&kids(&before, "notifications")[0]));
    line.hang_up().await;

    // The key set that bots read has all of them.
    let jwks = format!("{}/v1/.well-known/keys", server.base());
    let jwks: Value = http_client().unwrap().get(jwks).send().await.unwrap().json().await.unwrap();
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 4);

    // A compromised key is another matter: nothing that it signed counts any more.
    let (status, report) = keys(&server, reqwest::Method::POST, "/rotate?compromised=true").await;
    assert_eq!((status, kids(&report, "tokens").len()), (200, 1));
    assert_eq!(status_of(&server, &old_token).await, 401);
    let line = Line::open(&server).await;
    assert_eq!(status_of(&server, line.bot.token()).await, 200);
    line.hang_up().await;
}

#[tokio::test]
async fn a_new_key_is_announced_a_day_before_it_signs_unless_told_otherwise() {
    let server = TestServer::start().await;
    let (_, before) = keys(&server, reqwest::Method::GET, "").await;
    let (status, after) = keys(&server, reqwest::Method::POST, "/rotate").await;
    assert_eq!(status, 200);
    let [now, next] = after["tokens"].as_array().unwrap().as_slice() else { panic!("{after}") };
    assert_eq!(now["kid"], before["tokens"][0]["kid"]);
    assert_eq!((&now["signs"], &next["signs"]), (&Value::Bool(true), &Value::Bool(false)));
    let starts = next["signsFrom"].as_u64().unwrap();
    let day = 24 * 60 * 60;
    let ahead = starts - graphophone::auth::unix_now();
    assert!((day - 60..=day).contains(&ahead), "{ahead}");
    let ends = now["publishedUntil"].as_u64().unwrap();
    assert_eq!(ends - starts, graphophone::auth::OVERLAP);
    let (status, error) = keys(&server, reqwest::Method::POST, "/rotate").await;
    assert_eq!(status, 409, "{error}");
    let (status, _) = keys(&server, reqwest::Method::POST, "/rotate?in=soon").await;
    assert_eq!(status, 400);
    let bot = server.bot().await;
    let url = format!("{}/graphophone/v1/keys/rotate", server.base());
    let http = http_client().unwrap();
    assert_eq!(http.post(url).bearer_auth(bot.token()).send().await.unwrap().status(), 401);
}
