//! `$batch`: each request in it is answered as if it had come alone.

use axum::http::Method;
use graphophone::{
    bot::{Answer, Bot, Credentials},
    config::CompatMode,
};
use graphophone_call::AppId;
use graphophone_testkit::{TestServer, audio, is_terminated, patience};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    http_surface::{UNKNOWN, assert_refused, prompt},
    line::{Line, times_ended},
};

fn request(id: &str, method: &str, url: &str) -> Value {
    json!({"id": id, "method": method, "url": url})
}

fn post(id: &str, url: &str, body: Value) -> Value {
    let headers = json!({"Content-Type": "application/json"});
    json!({"id": id, "method": "POST", "url": url, "headers": headers, "body": body})
}

async fn send(bot: &Bot, requests: Value) -> Answer {
    let body = json!({"requests": requests});
    bot.send(Method::POST, "/v1.0/$batch", Some(body)).await.unwrap()
}

/// The responses of a batch that is taken, by their ids.
async fn all(bot: &Bot, requests: Value) -> Vec<Value> {
    let answer = send(bot, requests).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body["responses"].is_array(), "{}", answer.body);
    answer.body["responses"].as_array().unwrap().clone()
}

/// Id, status and error code of each.
fn states(responses: &[Value]) -> Vec<(&str, u64, &str)> {
    responses
        .iter()
        .map(|response| {
            let code = response["body"]["error"]["code"].as_str().unwrap_or("-");
            (
                response["id"].as_str().expect("an id"),
                response["status"].as_u64().expect("a status"),
                code,
            )
        })
        .collect()
}

#[tokio::test]
async fn a_batch_plays_reads_and_hangs_up_in_the_order_it_asks_for() {
    let server = TestServer::start().await;
    let mut line = Line::open(&server).await;
    let uri = line.bot.serve("a.wav", audio::tone_wav(440.0, 40));
    let call = format!("/communications/calls/{}", line.call);
    let mut hang_up = request("bye", "DELETE", &call);
    hang_up["dependsOn"] = json!(["again"]);
    let mut again = request("again", "GET", &format!("{call}?$select=state"));
    again["dependsOn"] = json!(["play"]);
    let responses = all(
        &line.bot,
        json!([
            hang_up,
            post("play", &format!("{call}/playPrompt"), prompt(&uri)),
            again,
            request("none", "GET", &format!("/communications/calls/{UNKNOWN}")),
        ]),
    )
    .await;
    let expected =
        [("bye", 204, "-"), ("play", 200, "-"), ("again", 200, "-"), ("none", 404, "8522")];
    assert_eq!(states(&responses), expected);
    assert_eq!(responses[2]["body"]["state"], "established", "it was read before the hang-up");
    assert_eq!(responses[0].get("body"), None);
    let play = &responses[1];
    let location = play["headers"]["location"].as_str().expect("where the operation is");
    let id = play["body"]["id"].as_str().expect("an id").to_owned();
    assert!(location.starts_with(server.base()) && location.ends_with(&id), "{location}");
    let kind = play["headers"]["content-type"].as_str().unwrap();
    assert!(kind.starts_with("application/json"), "{kind}");
    let told = line.bot.until(patience(), is_terminated);
    let told: Vec<_> = told.await.unwrap().into_iter().map(|received| received.value).collect();
    assert!(times_ended(&told, &id) <= 1);
}

#[tokio::test]
async fn what_depends_on_a_request_that_failed_is_not_carried_out() {
    let server = TestServer::start().await;
    let line = Line::open(&server).await;
    let call = format!("/communications/calls/{}", line.call);
    let mut second = post("2", &format!("{call}/cancelMediaProcessing"), json!({}));
    second["dependsOn"] = json!(["1"]);
    let mut third = request("3", "DELETE", &call);
    third["dependsOn"] = json!(["2"]);
    let first = post("1", &format!("{call}/playPrompt"), json!({"prompts": []}));
    let last = request("4", "GET", &call);
    let responses = all(&line.bot, json!([first, second, third, last])).await;
    let expected = [
        ("1", 400, "8523"),
        ("2", 424, "FailedDependency"),
        ("3", 424, "FailedDependency"),
        ("4", 200, "-"),
    ];
    assert_eq!(states(&responses), expected);
    assert_eq!(line.get("").await.body["state"], "established");
    assert_eq!(line.operations().await.len(), 0);
}

#[tokio::test]
async fn a_batch_that_is_no_batch_carries_out_nothing() {
    let server = TestServer::start().await;
    let line = Line::open(&server).await;
    let call = format!("/communications/calls/{}", line.call);
    let good = post("g", &format!("{call}/cancelMediaProcessing"), json!({}));
    let many: Vec<_> = (0..21).map(|n| request(&n.to_string(), "GET", &call)).collect();
    for (bad, at_fault) in [
        (json!([]), "requests: "),
        (json!(many), "requests: "),
        (json!([good, request("g", "GET", &call)]), "requests[1].id: "),
        (
            json!([good, request("b", "GET", "https://graph.microsoft.com/v1.0/me")]),
            "requests[1].url: ",
        ),
        (json!([good, request("b", "POST", "/$batch")]), "requests[1].url: "),
        (json!([good, request("b", "BREW", &call)]), "requests[1].method: "),
    ] {
        let answer = send(&line.bot, bad).await;
        assert_refused(at_fault, &answer, 400, "8523");
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.starts_with(at_fault), "{message}");
    }
    assert_eq!(line.operations().await.len(), 0);
}

#[tokio::test]
async fn a_batch_opens_nothing_that_its_token_does_not_open() {
    let server = TestServer::start().await;
    let line = Line::open(&server).await;
    let owner = Credentials::of_dev(server.server().ready()).unwrap();
    let other = Credentials { client_id: AppId::new(Uuid::from_u128(5)), ..owner };
    let other = server.bot_as(other).await;
    let call = format!("/communications/calls/{}", line.call);
    let mut borrowed = request("borrowed", "GET", &call);
    borrowed["headers"] = json!({"Authorization": format!("Bearer {}", line.bot.token())});
    let mut own = request("own", "GET", "/communications/calls");
    own["headers"] = json!({"authorization": format!("Bearer {}", other.token())});
    let requests = json!([
        request("read", "GET", &call),
        request("end", "DELETE", &call),
        post("play", &format!("{call}/playPrompt"), prompt("http://127.0.0.1:9/a.wav")),
        request("list", "GET", "/communications/calls"),
        borrowed,
        own,
        request("admin", "GET", "/../graphophone/v1/load"),
    ]);
    let responses = all(&other, requests).await;
    let expected = [
        ("read", 404, "8522"),
        ("end", 404, "8522"),
        ("play", 404, "8522"),
        ("list", 200, "-"),
        ("borrowed", 400, "8523"),
        ("own", 200, "-"),
        ("admin", 404, "UnknownError"),
    ];
    assert_eq!(states(&responses), expected);
    assert_eq!(responses[3]["body"]["value"], json!([]));
    assert_eq!(line.get("").await.body["state"], "established");

    let mut nobody = server.bot().await;
    nobody.use_token("a.b.c");
    let answer = send(&nobody, json!([request("1", "GET", "/communications/calls")])).await;
    assert_refused("without a token", &answer, 401, "InvalidAuthenticationToken");
}

#[tokio::test]
async fn a_batch_that_comes_again_makes_nothing_twice() {
    let server = TestServer::start().await;
    let line = Line::open(&server).await;
    let uri = line.bot.serve("a.wav", audio::tone_wav(440.0, 40));
    let path = format!("/communications/calls/{}/playPrompt", line.call);
    let mut with_own = post("own", &path, prompt(&uri));
    with_own["headers"]["client-request-id"] = json!("mine");
    let body = json!({"requests": [post("a", &path, prompt(&uri)), post("b", &path, prompt(&uri)), with_own]});
    let mut made = Vec::new();
    for _ in 0..2 {
        let answer = line.bot.post_once("batch 7", "/v1.0/$batch", &body).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        let responses = answer.body["responses"].as_array().unwrap();
        let ids: Vec<_> =
            responses.iter().map(|r| r["body"]["id"].as_str().unwrap().to_owned()).collect();
        let echoed: Vec<_> =
            responses.iter().map(|r| r["headers"]["client-request-id"].clone()).collect();
        assert_eq!(echoed, ["batch 7.a", "batch 7.b", "mine"]);
        made.push(ids);
    }
    assert_eq!(made[0], made[1]);
    assert_eq!(line.operations().await.len(), 3);
}

#[tokio::test]
async fn a_request_of_a_batch_is_read_as_strictly_as_alone() {
    let server = TestServer::start_with(|config| config.compat.mode = CompatMode::StrictV1).await;
    let line = Line::open(&server).await;
    let call = format!("/communications/calls/{}", line.call);
    let mut untyped = post("untyped", &format!("{call}/cancelMediaProcessing"), json!({}));
    untyped["headers"] = json!({});
    let mut zipped = post("zipped", &format!("{call}/cancelMediaProcessing"), json!({}));
    zipped["headers"]["content-encoding"] = json!("br");
    let mut long = post("long", &format!("{call}/cancelMediaProcessing"), json!({}));
    long["headers"]["content-length"] = json!("99999999");
    let metadata = request("metadata", "GET", "/$metadata");
    let responses = all(&line.bot, json!([untyped, zipped, long, metadata])).await;
    let expected = [
        ("untyped", 415, "UnsupportedMediaType"),
        ("zipped", 415, "UnsupportedMediaType"),
        ("long", 200, "-"),
        ("metadata", 200, "-"),
    ];
    assert_eq!(states(&responses), expected);
    assert!(responses[3]["body"].as_str().unwrap().starts_with("PD94bWwg"), "XML in base64");
}
