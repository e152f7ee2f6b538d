//! Options of a GET, pages, `$metadata`, and what else Graph's clients expect of an OData service.

use std::collections::BTreeSet;

use axum::http::Method;
use graphophone::{bot::http_client, config::CompatMode};
use graphophone_testkit::{Answer, TestServer, audio, is_terminated, patience};
use serde_json::{Value, json};

use crate::{
    http_surface::{UNKNOWN, assert_refused, text},
    line::Line,
};

const CALLS: &str = "/v1.0/communications/calls";

fn ids(list: &Value) -> Vec<String> {
    let items = list["value"].as_array().expect("a list");
    items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
}

/// The pages of a list, from this address on.
async fn pages(line: &Line, base: &str, first: &str) -> Vec<Value> {
    let (mut pages, mut next) = (Vec::new(), Some(format!("{base}{first}")));
    while let Some(address) = next {
        let path = address.strip_prefix(base).expect("an absolute address of this server");
        let answer = line.bot.send(Method::GET, path, None).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        next = answer.body["@odata.nextLink"].as_str().map(str::to_owned);
        pages.push(answer.body);
        assert!(pages.len() < 50, "the pages have no end");
    }
    pages
}

#[tokio::test]
async fn operations_are_read_page_by_page_with_the_options_of_the_first_request() {
    let server = TestServer::start().await;
    let mut line = Line::open(&server).await;
    let uri = line.bot.serve("a.wav", audio::tone_wav(440.0, 40));
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(line.play(std::slice::from_ref(&uri)).await);
    }
    line.end_of(&made[4]).await;

    let first = line.path("/operations?$top=2&$select=id,status");
    let pages = pages(&line, server.base(), &first).await;
    assert_eq!(pages.iter().map(|page| ids(page).len()).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(pages.iter().flat_map(ids).collect::<Vec<_>>(), made);
    for item in pages.iter().flat_map(|page| page["value"].as_array().unwrap()) {
        let names: BTreeSet<_> = item.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from(["@odata.type", "id", "status"]));
    }
    // Without options: all of them, and no link.
    let whole = line.get("/operations").await;
    assert_eq!((ids(&whole.body), whole.body.get("@odata.nextLink")), (made.clone(), None));
    let context = whole.body["@odata.context"].as_str().unwrap();
    let expected = format!("/v1.0/$metadata#communications/calls('{}')/operations", line.call);
    assert!(context.ends_with(&expected), "{context}");

    let one = line.get(&format!("/operations/{}?$select=status", made[0])).await;
    let names: Vec<_> = one.body.as_object().unwrap().keys().collect();
    assert_eq!(names, ["@odata.context", "@odata.type", "status"]);

    for (options, at_fault) in [
        ("$top=0", "$top"),
        ("$top=1000", "$top"),
        ("$top=two", "$top"),
        ("$skiptoken=x", "$skiptoken"),
        ("$skiptoken=MC4w", "$skiptoken"),
        ("$expand=call", "$expand"),
        ("$top=1&$top=2", "$top"),
    ] {
        let answer = line.get(&format!("/operations?{options}")).await;
        assert_refused(options, &answer, 400, "BadRequest");
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("{at_fault}: ")), "{message}");
    }
}

#[tokio::test]
async fn a_client_that_prefers_short_pages_gets_them_and_is_told_so() {
    let server = TestServer::start().await;
    let line = Line::open(&server).await;
    for _ in 0..3 {
        line.bot.cancel(&line.call).await.unwrap();
    }
    let url = format!("{}{}", server.base(), line.path("/operations"));
    let request = http_client().unwrap().get(url).bearer_auth(line.bot.token());
    let response = request.header("prefer", "odata.maxpagesize=2").send().await.unwrap();
    assert_eq!(text(response.headers(), "preference-applied"), "odata.maxpagesize=2");
    let body: Value = response.json().await.unwrap();
    assert_eq!(ids(&body).len(), 2);
    assert!(body["@odata.nextLink"].is_string());
}

#[tokio::test]
async fn the_list_of_calls_goes_on_behind_a_call_that_has_ended() {
    let server = TestServer::start().await;
    let bot = server.bot().await;
    let mut calls = Vec::new();
    let mut lines = Vec::new();
    for user in ["ann", "bob", "cat"] {
        let phone = server.unregistered_phone(user).await;
        let target = json!({"user": {"id": phone.uri()}});
        calls.push(bot.call(target, &[]).await.unwrap());
        lines.push(phone);
    }
    let read = |path: String| {
        let bot = &bot;
        async move {
            let answer = bot.send(Method::GET, &path, None).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.body);
            answer.body
        }
    };
    let first = read(format!("{CALLS}?$top=1")).await;
    assert_eq!(ids(&first), calls[..1]);
    let next = first["@odata.nextLink"].as_str().unwrap();
    let next = next.strip_prefix(server.base()).unwrap().to_owned();
    bot.hang_up(&calls[0]).await.unwrap();
    let second = read(next.replace("$top=1", "$top=5")).await;
    assert_eq!(ids(&second), calls[1..]);
}

#[tokio::test]
async fn a_call_expands_what_hangs_on_it() {
    let server = TestServer::start().await;
    let mut line = Line::open(&server).await;
    let uri = line.bot.serve("a.wav", audio::tone_wav(440.0, 40));
    let operation = line.play(&[uri]).await;
    line.end_of(&operation).await;

    let call = line.get("?$expand=operations($select=status)&$select=state").await;
    assert_eq!(call.status, 200, "{}", call.body);
    let names: Vec<_> = call.body.as_object().unwrap().keys().collect();
    assert_eq!(names, ["@odata.context", "@odata.type", "operations", "state"]);
    let expected = json!([{
        "@odata.type": "#microsoft.graph.playPromptOperation", "status": "completed",
    }]);
    assert_eq!(call.body["operations"], expected);
    let whole = line.get("?$expand=*").await;
    assert_eq!(whole.body["operations"][0]["id"], operation);
    assert!(whole.body["callbackUri"].is_string());

    let unknown = line.get("?$expand=chats").await;
    assert_refused("chats", &unknown, 400, "BadRequest");
    let message = unknown.body["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("$expand: \"chats\" cannot be expanded"), "{message}");
    let list = line.bot.send(Method::GET, &format!("{CALLS}?$expand=operations"), None).await;
    assert_refused("a list", &list.unwrap(), 400, "BadRequest");
}

#[tokio::test]
async fn unknown_options_are_ignored_in_open_mode_and_named_in_the_strict_ones() {
    for mode in [CompatMode::Open, CompatMode::StrictBeta, CompatMode::StrictV1] {
        let server = TestServer::start_with(|config| config.compat.mode = mode).await;
        let line = Line::open(&server).await;
        for (method, path, option) in [
            (Method::GET, format!("{CALLS}?$filter=state%20eq%20'x'"), "$filter"),
            (Method::GET, format!("{CALLS}?$count=true"), "$count"),
            (Method::GET, line.path("?$top=3"), "$top"),
            (Method::GET, line.path("/operations?$orderby=id"), "$orderby"),
            (Method::POST, line.path("/keepAlive?$dance=1"), "$dance"),
        ] {
            let answer = line.bot.send(method, &path, None).await.unwrap();
            if mode == CompatMode::Open {
                assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            } else {
                assert_refused(&path, &answer, 400, "BadRequest");
                let message = answer.body["error"]["message"].as_str().unwrap();
                assert!(message.starts_with(&format!("{option}: ")), "{message}");
            }
        }
        // What is no option of OData's is nobody's business.
        let answer = line.get("?client=7").await;
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn the_metadata_of_both_versions_is_for_everybody() {
    let server = TestServer::start().await;
    let read = async |version: &str| {
        let url = format!("{}/{version}/$metadata", server.base());
        let response = http_client().unwrap().get(url).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), text(response.headers(), "content-type")),
            (200, "application/xml")
        );
        assert_eq!(text(response.headers(), "odata-version"), "4.0");
        response.text().await.unwrap()
    };
    let (v1, beta) = (read("v1.0").await, read("beta").await);
    let action = "<Action Name=\"playPrompt\" IsBound=\"true\">";
    assert!(v1.contains(action) && beta.contains(action));
    let only_beta = "<Parameter Name=\"loop\" Type=\"Edm.Boolean\" />";
    assert_eq!((v1.contains(only_beta), beta.contains(only_beta)), (false, true));
}

#[tokio::test]
async fn a_patch_that_changes_nothing_is_answered_with_the_call_in_open_mode_only() {
    let server = TestServer::start().await;
    let line = Line::open(&server).await;
    let patch = async |line: &Line, body: Value| -> Answer {
        line.bot.send(Method::PATCH, &line.path(""), Some(body)).await.unwrap()
    };
    let before = line.get("").await.body;
    let harmless = json!({"requestedModalities": ["audio", "video"], "id": line.call});
    let answer = patch(&line, harmless.clone()).await;
    assert_eq!((answer.status.as_u16(), &answer.body), (200, &before));
    let answer = patch(&line, json!({"callbackUri": "http://127.0.0.1:9/"})).await;
    assert_refused("another callbackUri", &answer, 400, "8523");
    let message = answer.body["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("callbackUri: "), "{message}");
    assert_eq!(line.get("").await.body, before);
    let path = format!("{CALLS}/{UNKNOWN}");
    let unknown = line.bot.send(Method::PATCH, &path, Some(harmless.clone())).await.unwrap();
    assert_refused("no such call", &unknown, 404, "8522");
    let answer = line.bot.send(Method::PUT, &line.path(""), None).await.unwrap();
    assert_eq!(text(&answer.headers, "allow"), "GET, PATCH, DELETE");

    let strict = TestServer::start_with(|config| config.compat.mode = CompatMode::StrictV1).await;
    let line = Line::open(&strict).await;
    let answer = patch(&line, harmless).await;
    assert_refused("strict", &answer, 405, "8573");
    assert_eq!(text(&answer.headers, "allow"), "GET, DELETE");
}

#[tokio::test]
async fn reports_of_devices_are_taken_without_effect() {
    let server = TestServer::start().await;
    let bot = server.bot().await;
    let path = format!("{CALLS}/logTeleconferenceDeviceQuality");
    let quality = json!({
        "callChainId": UNKNOWN, "participantId": UNKNOWN, "mediaLegId": UNKNOWN,
        "deviceName": "TestAgent", "deviceDescription": "a device", "mediaQualityList": [],
    });
    let answer = bot.send(Method::POST, &path, Some(json!({"quality": quality}))).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body), (204, Value::Null));
    let answer = bot.send(Method::POST, &path, Some(json!({"quality": {}}))).await.unwrap();
    assert_refused("an empty report", &answer, 400, "8523");
    let answer = bot.send(Method::GET, &path, None).await.unwrap();
    assert_refused("a GET", &answer, 405, "8573");
}

#[tokio::test]
async fn a_screen_sharing_role_is_for_app_hosted_calls() {
    let server = TestServer::start().await;
    let line = Line::open(&server).await;
    let answer = line.post("/changeScreenSharingRole", json!({"role": "viewer"})).await;
    assert_refused("service-hosted", &answer, 400, "8500");
    let answer = line.post("/changeScreenSharingRole", json!({"role": "star"})).await;
    assert_refused("no such role", &answer, 400, "8523");
    let message = answer.body["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("role: one of viewer, sharer"), "{message}");
    line.hang_up().await;

    let line = app_hosted(&server).await;
    let answer = line.post("/changeScreenSharingRole", json!({"role": "sharer"})).await;
    assert_eq!((answer.status.as_u16(), answer.body), (202, Value::Null));
}

#[tokio::test]
async fn a_large_gallery_needs_video() {
    let server = TestServer::start().await;
    let line = Line::open(&server).await;
    let answer = line.post("/addLargeGalleryView", json!({"clientContext": "c"})).await;
    assert_refused("service-hosted", &answer, 400, "8500");
    line.hang_up().await;
    let line = app_hosted(&server).await;
    let answer = line.post("/addLargeGalleryView", json!({})).await;
    assert_refused("no video", &answer, 405, "8520");
}

#[tokio::test]
async fn app_hosted_calls_are_signalled_and_their_media_is_refused() {
    let server = TestServer::start().await;
    let mut line = app_hosted(&server).await;
    let call = line.get("").await.body;
    assert_eq!(call["mediaConfig"]["@odata.type"], "#microsoft.graph.appHostedMediaConfig");
    assert_eq!(
        (&call["state"], &call["mediaConfig"]["blob"]),
        (&json!("established"), &json!("opaque"))
    );
    let prompt = json!({
        "@odata.type": "#microsoft.graph.mediaPrompt",
        "mediaInfo": {"uri": "http://127.0.0.1:9/a.wav"},
    });
    for (verb, body) in [
        ("playPrompt", json!({"prompts": [prompt]})),
        ("cancelMediaProcessing", json!({})),
        ("subscribeToTone", json!({})),
        ("sendDtmfTones", json!({"tones": ["star"]})),
    ] {
        let answer = line.post(&format!("/{verb}"), body).await;
        assert_refused(verb, &answer, 400, "8500");
    }
    let answer = line.post("/keepAlive", json!({})).await;
    assert_eq!(answer.status, 200);
    line.bot.hang_up(&line.call).await.unwrap();
    line.bot.until(patience(), is_terminated).await.unwrap();
}

#[tokio::test]
async fn an_incoming_call_may_be_answered_for_the_media_of_its_bot() {
    let (server, mut bot) = TestServer::start_with_webhook(|_| {}).await;
    let caller = server.phone().call(&format!("sip:+15551234@{}", server.sip())).await.unwrap();
    let created = bot.next(patience()).await.unwrap().value;
    let id = created["resourceData"]["id"].as_str().expect("an incoming call").to_owned();
    let answer = json!({
        "callbackUri": bot.callback_uri(), "acceptedModalities": ["audio"],
        "mediaConfig": {"@odata.type": "#microsoft.graph.appHostedMediaConfig", "blob": "opaque"},
    });
    let path = format!("{CALLS}/{id}");
    let answer = bot.send(Method::POST, &format!("{path}/answer"), Some(answer)).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    bot.until(patience(), |value| value["resourceData"]["state"] == "established").await.unwrap();
    let answer = bot.send(Method::POST, &format!("{path}/subscribeToTone"), None).await.unwrap();
    assert_refused("tones", &answer, 400, "8500");
    drop(caller);
}

#[tokio::test]
async fn what_graph_has_and_this_server_has_not_says_so() {
    let server = TestServer::start().await;
    let line = Line::open(&server).await;
    for (method, tail) in [
        (Method::POST, "/startRecording"),
        (Method::POST, "/stopRecording"),
        (Method::POST, "/startTranscription"),
        (Method::POST, "/stopTranscription"),
        (Method::GET, "/contentSharingSessions"),
        (Method::GET, "/contentSharingSessions/x"),
    ] {
        let path = line.path(tail).replace("/v1.0/", "/beta/");
        let answer = line.bot.send(method, &path, None).await.unwrap();
        assert_refused(tail, &answer, 405, "8520");
        let name = tail.trim_start_matches('/').trim_end_matches("/x");
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.contains(name), "{message}");
    }
}

/// An established call whose media the bot handles.
async fn app_hosted(server: &TestServer) -> Line {
    let mut bot = server.bot().await;
    let body = json!({
        "@odata.type": "#microsoft.graph.call",
        "callbackUri": bot.callback_uri(),
        "tenantId": server.server().ready().tenant,
        "requestedModalities": ["audio"],
        "mediaConfig": {"@odata.type": "#microsoft.graph.appHostedMediaConfig", "blob": "opaque"},
        "targets": [{"identity": server.phone_identity()}],
    });
    let answer = bot.send(Method::POST, CALLS, Some(body)).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.body);
    let call = answer.body["id"].as_str().expect("an id").to_owned();
    let established = |value: &Value| value["resourceData"]["state"] == "established";
    bot.until(patience(), established).await.unwrap();
    Line { bot, call, phone: server.phone().next_call().await, told: Vec::new() }
}
