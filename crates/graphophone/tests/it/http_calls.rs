//! Calls over HTTP: created, read, listed, kept alive, ended, and what is refused when
//! (spec/api.md §1 and §0.5).

use std::time::Duration;

use axum::http::Method;
use graphophone_sip::phone::AnswerPolicy;
use graphophone_testkit::{
    Bot, Credentials, TestServer, WirePhone, audio, is_audio_active, is_terminated, patience,
    prompt_host::PromptHost, seen,
};
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::{
    http_surface::{UNKNOWN, assert_refused, prompt, text},
    line::Line,
};

const CALLS: &str = "/v1.0/communications/calls";

#[tokio::test]
async fn a_call_is_created_read_listed_kept_alive_and_ended() {
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    let body = bot.new_call(server.phone_identity(), &[]);
    let created = bot.send(Method::POST, CALLS, Some(body.clone())).await.unwrap();
    assert_eq!(created.status, 201, "{}", created.body);
    let call = created.body["id"].as_str().unwrap().to_owned();
    let location = format!("{}{CALLS}/{call}", server.base());
    assert_eq!(text(&created.headers, "location"), location);
    assert_eq!(created.body["state"], "establishing");
    assert_eq!(created.body["direction"], "outgoing");
    for name in ["tenantId", "callbackUri", "requestedModalities"] {
        assert_eq!(created.body[name], body[name], "{name}");
    }
    bot.until(patience(), is_audio_active).await.unwrap();

    let one = format!("{CALLS}/{call}");
    let whole = bot.send(Method::GET, &one, None).await.unwrap();
    assert_eq!(whole.status, 200);
    let members = whole.body.as_object().unwrap();
    // Every property of v1.0, nulls included.
    for name in [
        "callbackUri",
        "callChainId",
        "callOptions",
        "callRoutes",
        "chatInfo",
        "direction",
        "id",
        "incomingContext",
        "mediaConfig",
        "mediaState",
        "meetingInfo",
        "myParticipantId",
        "requestedModalities",
        "resultInfo",
        "source",
        "state",
        "subject",
        "targets",
        "tenantId",
        "toneInfo",
        "transcription",
    ] {
        assert!(members.contains_key(name), "{name}: {}", whole.body);
    }
    assert_eq!(whole.body["state"], "established");
    assert_eq!(whole.body["@odata.type"], "#microsoft.graph.call");
    let context = whole.body["@odata.context"].as_str().unwrap();
    assert!(context.ends_with("/v1.0/$metadata#communications/calls/$entity"), "{context}");
    let keyed = bot.send(Method::GET, &format!("{CALLS}('{call}')"), None).await.unwrap();
    assert_eq!(keyed.body, whole.body);

    let picked = bot.send(Method::GET, &format!("{one}?$select=id,state"), None).await.unwrap();
    let mut names: Vec<String> = picked.body.as_object().unwrap().keys().cloned().collect();
    names.retain(|name| !name.starts_with('@'));
    assert_eq!(names, ["id", "state"]);
    assert_eq!((&picked.body["id"], &picked.body["state"]), (&json!(call), &json!("established")));

    let list = bot.send(Method::GET, CALLS, None).await.unwrap();
    let items = list.body["value"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["id"]), (1, &json!(call)));
    assert!(items[0].get("@odata.context").is_none());

    let alive = bot.send(Method::POST, &format!("{one}/keepAlive"), None).await.unwrap();
    assert_eq!((alive.status.as_u16(), text(&alive.headers, "content-length")), (200, "0"));

    let ended = bot.send(Method::DELETE, &one, None).await.unwrap();
    assert_eq!((ended.status.as_u16(), &ended.body), (204, &Value::Null));
    bot.until(patience(), is_terminated).await.unwrap();
    // What is over is like what never was.
    gone(&bot, &one).await;
    let again = bot.send(Method::DELETE, &one, None).await.unwrap();
    assert_refused("DELETE twice", &again, 404, "8522");
    for action in ["playPrompt", "cancelMediaProcessing", "keepAlive", "answer"] {
        let body = Some(prompt("http://127.0.0.1:9/a.wav"));
        let answer = bot.send(Method::POST, &format!("{one}/{action}"), body).await.unwrap();
        assert_refused(action, &answer, 404, "8522");
    }
    let list = bot.send(Method::GET, CALLS, None).await.unwrap();
    assert_eq!(list.body["value"], json!([]));
}

/// The call leaves the map just after its last notification has been committed.
async fn gone(bot: &Bot, path: &str) {
    let wait = async {
        while bot.send(Method::GET, path, None).await.expect("an answer").status != 404 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout_at(patience(), wait).await.expect("the call is gone in time");
}

#[tokio::test]
async fn play_prompt_needs_an_established_service_hosted_call() {
    let server = TestServer::start().await;
    let mut bot = server.bot().await;
    server.phone().set_answer(AnswerPolicy::Never);
    let ringing = bot.call(server.phone_identity(), &[]).await.unwrap();
    let body = || Some(prompt("http://127.0.0.1:9/a.wav"));
    let early = bot.send(Method::POST, &format!("{CALLS}/{ringing}/playPrompt"), body()).await;
    assert_refused("before it is established", &early.unwrap(), 400, "8501");
    let operations = bot.send(Method::GET, &format!("{CALLS}/{ringing}/operations"), None).await;
    assert_eq!(operations.unwrap().body["value"], json!([]));
    bot.hang_up(&ringing).await.unwrap();
    bot.until(patience(), is_terminated).await.unwrap();

    server.phone().set_answer(AnswerPolicy::After(Duration::ZERO));
    let mut app_hosted = bot.new_call(server.phone_identity(), &[]);
    app_hosted["mediaConfig"] =
        json!({"@odata.type": "#microsoft.graph.appHostedMediaConfig", "blob": "x"});
    let created = bot.send(Method::POST, CALLS, Some(app_hosted)).await.unwrap();
    assert_eq!(created.status, 201, "{}", created.body);
    let call = created.body["id"].as_str().unwrap();
    let established = |value: &Value| value["resourceData"]["state"] == "established";
    bot.until(patience(), established).await.unwrap();
    let answer = bot.send(Method::POST, &format!("{CALLS}/{call}/playPrompt"), body()).await;
    assert_refused("on an app-hosted call", &answer.unwrap(), 400, "8500");
}

#[tokio::test]
async fn creates_are_refused_for_what_they_name() {
    let server = TestServer::start_with(|config| {
        let mut powerless = config.apps[0].clone();
        powerless.id = uuid::Uuid::from_u128(7);
        powerless.roles.clear();
        let mut medialess = powerless.clone();
        medialess.id = uuid::Uuid::from_u128(8);
        medialess.roles = vec!["Calls.Initiate.All".to_owned()];
        config.apps.extend([powerless, medialess]);
    })
    .await;
    let bot = server.bot().await;
    let good = || bot.new_call(server.phone_identity(), &[]);
    let with = |name: &str, value: Value| {
        let mut body = good();
        body[name] = value;
        body
    };
    let mut no_tenant = good();
    no_tenant.as_object_mut().unwrap().remove("tenantId");
    let identity = |id: Value| json!([{"@odata.type": "#microsoft.graph.invitationParticipantInfo", "identity": id}]);
    let source = |id: &str| {
        json!({"@odata.type": "#microsoft.graph.participantInfo",
            "identity": {"application": {"id": id}}})
    };
    let both = with(
        "meetingInfo",
        json!({"@odata.type": "#microsoft.graph.tokenMeetingInfo", "token": "x"}),
    );
    let mut nameless =
        with("meetingInfo", json!({"@odata.type": "#microsoft.graph.tokenMeetingInfo"}));
    nameless.as_object_mut().unwrap().remove("targets");
    let table = [
        ("no tenant", no_tenant, 403, "7505"),
        ("another tenant", with("tenantId", json!(UNKNOWN)), 403, "7505"),
        ("another source", with("source", source(UNKNOWN)), 403, "7507"),
        ("a meeting without a name", nameless, 400, "8523"),
        ("a meeting and somebody to call", both, 400, "8523"),
        (
            "a number that is not allowed",
            with("targets", identity(json!({"phone": {"id": "+15551234567"}}))),
            403,
            "7504",
        ),
        (
            "an address that is not allowed",
            with("targets", identity(json!({"phone": {"id": "sip:x@192.0.2.1"}}))),
            403,
            "7504",
        ),
        (
            "nothing to dial",
            with("targets", identity(json!({"phone": {"id": "x y"}}))),
            400,
            "8523",
        ),
        ("nobody", with("targets", json!([])), 400, "8523"),
        ("a callback elsewhere", with("callbackUri", json!("http://192.0.2.1/cb")), 400, "8523"),
        ("a callback that is none", with("callbackUri", json!("/cb")), 400, "8523"),
        ("another type", with("@odata.type", json!("#microsoft.graph.chat")), 400, "8523"),
    ];
    for (what, body, status, code) in table {
        let answer = bot.send(Method::POST, CALLS, Some(body)).await.unwrap();
        assert_refused(what, &answer, status, code);
        if code == "7504" {
            let message = answer.body["error"]["message"].as_str().unwrap();
            assert!(message.contains("dial.allow"), "{message}");
        }
    }
    let mut credentials = Credentials::of_dev(server.server().ready()).unwrap();
    credentials.client_id = uuid::Uuid::from_u128(7).into();
    let powerless = server.bot_as(credentials).await;
    let body = powerless.new_call(server.phone_identity(), &[]);
    let answer = powerless.send(Method::POST, CALLS, Some(body)).await.unwrap();
    assert_refused("no role", &answer, 403, "7504");
    let mut medialess = Credentials::of_dev(server.server().ready()).unwrap();
    medialess.client_id = uuid::Uuid::from_u128(8).into();
    let medialess = server.bot_as(medialess).await;
    let mut body = medialess.new_call(server.phone_identity(), &[]);
    body["mediaConfig"] = json!({"@odata.type": "#microsoft.graph.appHostedMediaConfig"});
    let answer = medialess.send(Method::POST, CALLS, Some(body)).await.unwrap();
    assert_refused("media of its own without the role", &answer, 403, "7504");
    assert!(server.phone().latest_call().is_none(), "nobody was dialled");
    let list = bot.send(Method::GET, CALLS, None).await.unwrap();
    assert_eq!(list.body["value"], json!([]));
}

#[tokio::test]
async fn the_list_of_calls_is_in_the_order_of_their_making() {
    let server = TestServer::start().await;
    let bot = server.bot().await;
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = json!({"user": {"id": format!("sip:x@{}", silent.local_addr().unwrap())}});
    let mut made = Vec::new();
    for _ in 0..8 {
        made.push(bot.call(target.clone(), &[]).await.unwrap());
    }
    let list = bot.send(Method::GET, CALLS, None).await.unwrap();
    let items = list.body["value"].as_array().unwrap().iter();
    assert_eq!(items.map(|item| item["id"].as_str().unwrap()).collect::<Vec<_>>(), made);
}

#[tokio::test]
async fn files_are_fetched_ahead_for_accepted_calls_only() {
    let server = TestServer::start().await;
    let host = PromptHost::serving(vec![("/good".to_owned(), audio::tone_wav(440.0, 40))]).await;
    let line = Line::open(&server).await;
    let nobody = line.bot.new_call(json!({"phone": {"id": "+15551234567"}}), &[host.uri("/1")]);
    let refused = line.bot.send(Method::POST, CALLS, Some(nobody)).await.unwrap();
    assert_refused("a create", &refused, 403, "7504");
    let answer = line.post("/answer", line.bot.new_call(json!({}), &[host.uri("/2")])).await;
    assert_refused("an answer", &answer, 400, "8585");

    line.bot.call(server.phone_identity(), &[host.uri("/good")]).await.unwrap();
    host.asked(1).await;
    let asked = host.requests();
    assert!(asked.iter().all(|request| request.starts_with("GET /good ")), "{asked:?}");
}

#[tokio::test]
async fn a_full_queue_is_a_conflict_and_the_call_plays_on() {
    let server = TestServer::start_with(|config| config.limits.queued_operations = 1).await;
    let line = Line::open(&server).await;
    let uri = line.bot.serve("a.wav", audio::tone_wav(440.0, 40));
    let playing = line.bot.play(&line.call, std::slice::from_ref(&uri), true).await.unwrap();
    let refused = line.post("/playPrompt", prompt(&uri)).await;
    assert_refused("one more", &refused, 409, "8519");
    let operations = line.operations().await;
    assert_eq!(operations.len(), 1);
    assert_eq!(
        (&operations[0]["id"], &operations[0]["status"]),
        (&json!(playing), &json!("running"))
    );
}

#[tokio::test]
async fn a_call_above_the_limit_is_asked_to_come_back() {
    let server = TestServer::start_with(|config| config.limits.calls = 1).await;
    let line = Line::open(&server).await;
    let body = line.bot.new_call(server.phone_identity(), &[]);
    let refused = line.bot.send(Method::POST, CALLS, Some(body)).await.unwrap();
    assert_refused("a second call", &refused, 429, "8516");
    assert_eq!(text(&refused.headers, "retry-after"), "2");
    let list = line.bot.send(Method::GET, CALLS, None).await.unwrap();
    assert_eq!(list.body["value"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_call_that_is_ending_and_a_server_that_is_stopping_take_nothing_more() {
    let server = TestServer::start().await;
    let base = server.base().to_owned();
    let mut bot = server.bot().await;
    let phone = WirePhone::start_deaf_to_bye().await;
    let call = bot.call(phone.identity(), &[]).await.unwrap();
    bot.until(patience(), is_audio_active).await.unwrap();
    bot.hang_up(&call).await.unwrap();
    let read = bot.send(Method::GET, &format!("{CALLS}/{call}"), None).await.unwrap();
    assert_eq!(read.body["state"], "terminating");
    for action in ["playPrompt", "cancelMediaProcessing", "keepAlive", "answer"] {
        let body = match action {
            "playPrompt" => prompt("http://127.0.0.1:9/a.wav"),
            "answer" => bot.new_call(json!({}), &[]),
            _ => json!({}),
        };
        let answer = bot.send(Method::POST, &format!("{CALLS}/{call}/{action}"), Some(body)).await;
        assert_refused(action, &answer.unwrap(), 400, "8528");
    }

    // That call keeps the server from being gone at once.
    let stop = tokio::spawn(server.stop());
    seen("the server is stopping", || async {
        let ready = reqwest::get(format!("{base}/readyz")).await.expect("it still answers");
        (ready.status() == 503).then_some(())
    })
    .await;
    let body = bot.new_call(phone.identity(), &[]);
    let refused = bot.send(Method::POST, CALLS, Some(body)).await.unwrap();
    assert_refused("a new call", &refused, 503, "ServiceUnavailable");
    assert_eq!(text(&refused.headers, "retry-after"), "2");
    stop.abort();
}
