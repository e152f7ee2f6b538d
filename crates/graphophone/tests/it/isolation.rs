//! Nobody sees, touches or notices what belongs to somebody else (promise P26). The routes come from
//! the path table and from the router's own source, so that a new one is in here by itself.

use std::{fs, path::Path, time::Duration};

use axum::http::Method;
use graphophone::bot::{Credentials, http_client};
use graphophone_call::AppId;
use graphophone_graph::path;
use graphophone_testkit::{Bot, TestServer, audio, is_terminated, patience};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::line::Line;

const CALLS: &str = "/v1.0/communications/calls";
pub(crate) const METHODS: [Method; 5] =
    [Method::GET, Method::POST, Method::PATCH, Method::PUT, Method::DELETE];

/// Who asks, and with what.
struct Principal {
    who: &'static str,
    authorization: Option<String>,
    /// What every foreign id is answered with, if the method fits.
    status: u16,
}

/// A server, and one client for all who ask.
struct Door {
    server: TestServer,
    http: reqwest::Client,
}

impl Door {
    async fn open() -> Self {
        Self { server: TestServer::start().await, http: http_client().unwrap() }
    }
}

/// What a client can see of an answer, without what differs between any two requests.
async fn visible(
    door: &Door,
    principal: &Principal,
    (method, path, body): (&Method, &str, Option<&Value>),
) -> String {
    let mut request = door
        .http
        .request(method.clone(), format!("{}{path}", door.server.base()))
        .header("client-request-id", "same");
    if let Some(authorization) = &principal.authorization {
        request = request.header("authorization", authorization);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = request.send().await.expect("a response");
    let status = response.status();
    let mut headers = response.headers().clone();
    let own = headers.remove("request-id").map(|id| id.to_str().expect("text").to_owned());
    headers.remove("date");
    let mut text = response.text().await.expect("a body");
    if let Some(own) = own {
        text = text.replace(&own, "{request-id}");
    }
    if let Some(at) = text.find("\"date\":\"").map(|at| at + 8) {
        text.replace_range(at..at + 19, "{date}");
    }
    let mut headers: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    headers.sort();
    format!("{status}\n{}\n{text}", headers.join("\n"))
}

/// The same of a path with somebody's ids and with ids that never were; those replaced by a word.
async fn both(
    door: &Door,
    principal: &Principal,
    method: &Method,
    template: &str,
    body: Option<&Value>,
    ids: (&str, &str),
) -> (String, String) {
    let never = (Uuid::from_u128(0xdead).to_string(), Uuid::from_u128(0xbeef).to_string());
    let of = |(call, operation): (&str, &str)| {
        let path = template.replace("{call}", call).replace("{operation}", operation);
        path.replace("{participant}", operation).replace("{group}", operation)
    };
    // The path comes back in the headers of the legacy root.
    let hide = |text: String, (call, operation): (&str, &str)| {
        text.replace(call, "{call}").replace(operation, "{operation}")
    };
    let theirs = hide(visible(door, principal, (method, &of(ids), body)).await, ids);
    let never = (never.0.as_str(), never.1.as_str());
    let none = hide(visible(door, principal, (method, &of(never), body)).await, never);
    (theirs, none)
}

/// A body that the action of a template would take; nothing for the others.
fn body_for(template: &str) -> Value {
    match template.rsplit('/').next() {
        Some("playPrompt") => json!({"clientContext": "c", "prompts": [{
            "@odata.type": "#microsoft.graph.mediaPrompt",
            "mediaInfo": {"@odata.type": "#microsoft.graph.mediaInfo",
                "uri": "http://127.0.0.1:9/a.wav"},
        }]}),
        Some("answer") => json!({
            "callbackUri": "http://127.0.0.1:9/", "acceptedModalities": ["audio"],
            "mediaConfig": {"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"},
        }),
        Some("cancelMediaProcessing") => json!({"clientContext": "c"}),
        _ => json!({}),
    }
}

async fn principals(server: &TestServer, owner: &Credentials) -> Vec<Principal> {
    // The dev profile makes applications and tenants with their first token.
    let neighbour = Credentials { client_id: AppId::new(Uuid::from_u128(5)), ..owner.clone() };
    let same_app = Credentials { tenant: Uuid::from_u128(8).to_string(), ..owner.clone() };
    let foreigner = Credentials {
        tenant: Uuid::from_u128(6).to_string(),
        client_id: AppId::new(Uuid::from_u128(7)),
        client_secret: "foreign-secret".to_owned(),
    };
    let bearer = |bot: &Bot| Some(format!("Bearer {}", bot.token()));
    let mut all = Vec::new();
    for (who, credentials) in [
        ("another application", neighbour),
        ("the application in another tenant", same_app),
        ("another application in another tenant", foreigner),
    ] {
        let bot = server.bot_as(credentials).await;
        all.push(Principal { who, authorization: bearer(&bot), status: 404 });
    }
    let roleless = roleless(server).await;
    all.push(Principal { who: "one without roles", authorization: Some(roleless), status: 404 });
    all.push(Principal { who: "nobody", authorization: None, status: 401 });
    let forged = Some("Bearer a.b.c".to_owned());
    all.push(Principal { who: "a forger", authorization: forged, status: 401 });
    all
}

/// A token of an application without a calling role: Entra gives them for the Bot Framework.
async fn roleless(server: &TestServer) -> String {
    let ready = server.server().ready();
    let url = format!("{}/{}/oauth2/v2.0/token", server.base(), ready.tenant.unwrap());
    let form = [
        ("grant_type", "client_credentials".to_owned()),
        ("client_id", Uuid::from_u128(9).to_string()),
        ("client_secret", "foreign-secret".to_owned()),
        ("scope", "https://api.botframework.com/.default".to_owned()),
    ];
    let answer = http_client().unwrap().post(url).form(&form).send().await.unwrap();
    let body: Value = answer.json().await.unwrap();
    format!("Bearer {}", body["access_token"].as_str().unwrap())
}

#[tokio::test]
async fn nobody_can_tell_a_foreign_call_from_one_that_never_was_by_any_route() {
    let door = Door::open().await;
    let server = &door.server;
    let mut line = Line::open(server).await;
    let uri = line.bot.serve("a.wav", audio::tone_wav(440.0, 40));
    let operation = line.play(&[uri]).await;
    line.end_of(&operation).await;
    let owner = Credentials::of_dev(server.server().ready()).unwrap();
    let principals = principals(server, &owner).await;
    let templates = path::templates();
    assert!(templates.len() >= 25, "{templates:?}");
    let ids = (line.call.clone(), operation.clone());
    let ids = (ids.0.as_str(), ids.1.as_str());

    let mut compared = 0;
    for ended in [false, true] {
        for principal in &principals {
            for (number, template) in templates.iter().enumerate() {
                // Every route under one root, and every root with some routes.
                let root = match number % 5 {
                    0 => "/beta/communications",
                    1 => "/v1.0/app",
                    _ => "/v1.0/communications",
                };
                let template = format!("{root}{template}");
                if !template.contains("{call}") {
                    continue;
                }
                let good = body_for(&template);
                for method in &METHODS {
                    let body = (*method == Method::POST).then_some(&good);
                    let (theirs, none) = both(&door, principal, method, &template, body, ids).await;
                    let who = principal.who;
                    assert_eq!(theirs, none, "{who}: {method} {template}, ended: {ended}");
                    let (status, _) = theirs.split_once(' ').unwrap();
                    let told = [principal.status.to_string(), "405".to_owned()];
                    assert!(
                        told.iter().any(|t| t == status),
                        "{who}: {method} {template}: {theirs}"
                    );
                    compared += 1;
                }
                // A body that no action takes must not make a difference, either.
                let bad = json!({"prompts": 7, "callbackUri": []});
                let asked = (&Method::POST, template.as_str());
                let (theirs, none) =
                    both(&door, principal, asked.0, asked.1, Some(&bad), ids).await;
                assert_eq!(theirs, none, "{}: {template}, a bad body", principal.who);
                compared += 1;
            }
            assert_lists_nothing(&door, principal, ids).await;
        }
        if !ended {
            // Nothing of that has touched the call.
            let call = line.get("").await;
            assert_eq!((call.status.as_u16(), &call.body["state"]), (200, &json!("established")));
            assert_eq!(line.operations().await.len(), 1);
            line.bot.hang_up(&line.call).await.unwrap();
            line.bot.until(patience(), is_terminated).await.unwrap();
        }
    }
    assert!(compared >= 1_500, "{compared}");
    // The owner can still read how it went.
    let read = line.bot.operation(&line.call, &operation).await.unwrap();
    assert_eq!(read["status"], "completed");
}

/// Whatever a list is asked for, there is nothing of the owner's in the answer.
async fn assert_lists_nothing(door: &Door, principal: &Principal, ids: (&str, &str)) {
    let call = ids.0;
    for query in [
        String::new(),
        format!("?$filter=id eq '{call}'"),
        "?$filter=state ne 'terminated'".to_owned(),
        "?$expand=operations,participants".to_owned(),
        "?$select=id,callbackUri&$top=1000&$count=true".to_owned(),
        format!("?$search={call}"),
    ] {
        for version in ["v1.0", "beta"] {
            let path = format!("/{version}/communications/calls{query}");
            let answer = visible(door, principal, (&Method::GET, &path, None)).await;
            let secrets = [ids.1, "callbackUri", "established"];
            assert!(!secrets.iter().any(|secret| answer.contains(secret)), "{path}: {answer}");
            // The filter itself may come back in an error; the call may not.
            let is_empty = answer.contains("\"value\":[]") || !answer.starts_with("200");
            assert!(is_empty, "{}: {path}: {answer}", principal.who);
        }
    }
}

/// The routes of `.route("…", get(…).post(…))` in a source file.
pub(crate) fn routes(file: &str) -> Vec<(String, Vec<Method>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
    let source = fs::read_to_string(path).expect("the source is there");
    let found = source.split(".route(").skip(1).map(|rest| {
        let rest = rest.split(".route(").next().unwrap_or_default();
        let path = rest.split('"').nth(1).expect("a path").to_owned();
        let methods = METHODS
            .into_iter()
            .filter(|method| rest.contains(&format!("{}(", method.as_str().to_ascii_lowercase())));
        (path, methods.collect())
    });
    found.collect()
}

#[tokio::test]
async fn no_token_of_a_bot_opens_a_path_of_the_operator() {
    let door = Door::open().await;
    let server = &door.server;
    let owner = Credentials::of_dev(server.server().ready()).unwrap();
    let mut principals = principals(server, &owner).await;
    let bot = server.bot().await;
    let own = Some(format!("Bearer {}", bot.token()));
    principals.push(Principal { who: "the first application", authorization: own, status: 401 });
    let all = routes("api/mod.rs");
    // These are for everybody: health, what there is, and the dev profile's sample prompts; and a
    // recording is for whoever has its own token (record_response.rs).
    let open = [
        "/recordings/{id}",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/",
        "/graphophone/v1/samples/{name}",
    ];
    let admin: Vec<_> = all.iter().filter(|(path, _)| !open.contains(&path.as_str())).collect();
    assert!(admin.len() >= 9, "{all:?}");
    for (path, methods) in admin {
        assert!(path.starts_with("/graphophone/v1/"), "{path}");
        assert!(!methods.is_empty(), "{path}");
        let path = path.replace("{", "").replace("}", "");
        for method in methods {
            let mut answers: Vec<String> = Vec::new();
            for principal in &principals {
                let body = (*method == Method::POST).then(|| json!({}));
                let asked = (method, path.as_str(), body.as_ref());
                let answer = visible(&door, principal, asked).await;
                assert!(answer.starts_with("401"), "{}: {method} {path}: {answer}", principal.who);
                answers.push(answer);
            }
            answers.dedup();
            assert_eq!(answers.len(), 1, "{method} {path}: {answers:?}");
        }
    }
}

#[tokio::test]
async fn the_documents_of_the_token_issuer_tell_nothing_of_calls() {
    let door = Door::open().await;
    let server = &door.server;
    let line = Line::open(server).await;
    let ready = server.server().ready();
    let routes = routes("auth/token_endpoint.rs");
    assert!(routes.len() >= 8, "{routes:?}");
    for (path, methods) in routes {
        let path = path
            .replace("{tenant}", &ready.tenant.unwrap().to_string())
            .replace("{document}", "keys");
        let nobody = Principal { who: "nobody", authorization: None, status: 0 };
        for method in methods {
            let answer = visible(&door, &nobody, (&method, &path, None)).await;
            let secret = ready.client_secret.as_deref().unwrap();
            assert!(!answer.contains(&line.call) && !answer.contains(secret), "{path}: {answer}");
        }
    }
}

/// Adds how long a GET takes, in nanoseconds.
async fn timed(door: &Door, token: &str, path: &str, times: &mut Vec<u64>) {
    let url = format!("{}{path}", door.server.base());
    let begun = Instant::now();
    let answer = door.http.get(url).bearer_auth(token).send().await;
    answer.unwrap().bytes().await.unwrap();
    times.push(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
}

#[tokio::test]
#[ignore = "a measurement: cargo test --release -p graphophone --test it foreign_ids_take -- --ignored --nocapture"]
async fn foreign_ids_take_as_long_as_those_that_never_were() {
    let door = Door::open().await;
    let server = &door.server;
    let mut line = Line::open(server).await;
    let uri = line.bot.serve("a.wav", audio::tone_wav(440.0, 40));
    let operation = line.play(&[uri]).await;
    line.end_of(&operation).await;
    let owner = Credentials::of_dev(server.server().ready()).unwrap();
    let other = Credentials { client_id: AppId::new(Uuid::from_u128(5)), ..owner };
    let other = server.bot_as(other).await;
    for tail in ["/{c}", "/{c}/operations", "/{c}/operations/{o}"] {
        let (mut theirs, mut never) = (Vec::new(), Vec::new());
        for _ in 0..10_000 {
            let path = |call: &str, operation: &str| {
                format!("{CALLS}{tail}").replace("{c}", call).replace("{o}", operation)
            };
            timed(&door, other.token(), &path(&line.call, &operation), &mut theirs).await;
            let (call, operation) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
            timed(&door, other.token(), &path(&call, &operation), &mut never).await;
        }
        let middle = |times: &mut Vec<u64>| {
            times.sort_unstable();
            Duration::from_nanos(times[times.len() / 2])
        };
        let (theirs, never) = (middle(&mut theirs), middle(&mut never));
        let difference = theirs.abs_diff(never);
        println!("GET {tail}: foreign {theirs:?}, never was {never:?}, difference {difference:?}");
        assert!(difference < Duration::from_micros(200));
    }
}
