//! Paths, verbs, headers and bodies of the Graph API, as clients see them (spec/api.md §0).

use std::{io::Write, time::Duration};

use axum::{
    body::Bytes,
    http::{HeaderMap, Method, StatusCode, Version, header},
};
use futures::stream;
use graphophone::bot::http_client;
use graphophone_testkit::{Answer, Bot, TestServer, audio};
use serde_json::{Value, json};

use crate::line::Line;

/// An id that no call has.
pub(crate) const UNKNOWN: &str = "2e1a0b00-2db4-4022-9570-243709c565ab";

/// Sends a request that [`Bot::send`] would not: with its own headers or body.
async fn ask(
    server: &TestServer,
    bot: &Bot,
    method: Method,
    path: &str,
    shape: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
) -> (StatusCode, HeaderMap, Bytes) {
    let request = http_client()
        .unwrap()
        .request(method, format!("{}{path}", server.base()))
        .bearer_auth(bot.token())
        .timeout(Duration::from_secs(20));
    let response = shape(request).send().await.expect("a response");
    let (status, headers) = (response.status(), response.headers().clone());
    (status, headers, response.bytes().await.expect("a body"))
}

/// An error envelope with this status and code, whatever else stands in it.
#[track_caller]
pub(crate) fn assert_refused(what: &str, answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.body);
    let error = &answer.body["error"];
    assert_eq!(error["code"], code, "{what}: {}", answer.body);
    assert!(error["code"].is_string(), "{what}: clients drop numbers");
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}");
    let inner = &error["innerError"];
    assert_eq!(inner["request-id"], text(&answer.headers, "request-id"), "{what}");
    assert_eq!(inner["client-request-id"], text(&answer.headers, "client-request-id"), "{what}");
    let date = inner["date"].as_str().expect("a date");
    assert_eq!((date.len(), date.contains('Z')), (19, false), "{what}: {date}");
}

#[track_caller]
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().expect("text")
}

pub(crate) fn prompt(uri: &str) -> Value {
    let info = json!({"uri": uri});
    json!({"prompts": [{"@odata.type": "#microsoft.graph.mediaPrompt", "mediaInfo": info}]})
}

#[tokio::test]
async fn every_spelling_of_a_path_plays_and_reads() {
    let server = TestServer::start().await;
    let mut line = Line::open(&server).await;
    let call = line.call.clone();
    let undashed = call.to_uppercase().replace('-', "");
    let uri = line.bot.serve("a.wav", audio::tone_wav(500.0, 40));
    let spellings = [
        format!("/v1.0/communications/calls/{call}/playPrompt"),
        format!("/beta/communications/calls/{call}/playPrompt"),
        format!("/V1.0//Communications///CALLS/{call}//PLAYPROMPT/"),
        format!("/v1.0/communications/calls('{call}')/microsoft.graph.playPrompt"),
        format!("/BETA/communications/calls(%27{call}%27)/Microsoft.Graph.playPrompt/"),
        format!("/v1.0/communications/calls/{undashed}/microsoft.graph.playprompt"),
        format!("/app/calls/{call}/playPrompt").replace("/app", "/v1.0/app"),
        format!("/beta/app/calls/{call}/microsoft.graph.playPrompt"),
    ];
    for path in spellings {
        let answer = line.bot.send(Method::POST, &path, Some(prompt(&uri))).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let version = if path.to_lowercase().starts_with("/beta") { "beta" } else { "v1.0" };
        let id = answer.body["id"].as_str().unwrap();
        let location = text(&answer.headers, "location");
        let expected =
            format!("{}/{version}/communications/calls/{call}/operations/{id}", server.base());
        assert_eq!(location, expected, "{path}");
        let is_legacy = path.contains("/app/");
        assert_eq!(answer.headers.contains_key("deprecation"), is_legacy, "{path}");
        if is_legacy {
            let link = text(&answer.headers, "link");
            let successor = path.replace("/app/", "/communications/");
            let expected = format!("<{}{successor}>; rel=\"successor-version\"", server.base());
            assert_eq!(link, expected);
        } else {
            assert!(!answer.headers.contains_key("link"), "{path}");
        }
        let context = answer.body["@odata.context"].as_str().unwrap();
        let expected = format!("/{version}/$metadata#microsoft.graph.playPromptOperation");
        assert!(context.ends_with(&expected), "{path}: {context}");
        assert_eq!(
            answer.body.as_object().unwrap().contains_key("completionReason"),
            version == "beta"
        );
        // The Location works as it stands.
        let path = location.strip_prefix(server.base()).unwrap().to_owned();
        let id = id.to_owned();
        line.end_of(&id).await;
        let read = line.bot.send(Method::GET, &path, None).await.unwrap();
        assert_eq!((read.status.as_u16(), &read.body["status"]), (200, &json!("completed")));
        let keyed = path.replace(&format!("/operations/{id}"), &format!("/operations('{id}')"));
        let keyed = line.bot.send(Method::GET, &keyed, None).await.unwrap();
        // The receipt may have news from the far end in between.
        let stable = |answer: Answer| {
            let mut body = answer.body;
            body.as_object_mut().unwrap().remove("graphophoneReceipt").expect("a receipt");
            body
        };
        assert_eq!(stable(keyed), stable(read));
    }
}

#[tokio::test]
async fn every_response_has_graphs_headers() {
    let server = TestServer::start().await;
    let line = Line::open(&server).await;
    let call = line.path("");
    let asked = [
        (Method::GET, "/v1.0/communications/calls".to_owned()),
        (Method::GET, call.clone()),
        (Method::GET, format!("{call}/operations")),
        (Method::POST, format!("{call}/keepAlive")),
        (Method::POST, format!("{call}/playPrompt")),
        (Method::GET, format!("/v1.0/communications/calls/{UNKNOWN}")),
        (Method::GET, "/v1.0/nothing".to_owned()),
        (Method::DELETE, call.clone()),
    ];
    for (method, path) in asked {
        let what = format!("{method} {path}");
        let own = ask(&server, &line.bot, method.clone(), &path, |request| {
            request.header("client-request-id", "my-own-id")
        });
        let (status, headers, body) = own.await;
        assert_eq!(text(&headers, "client-request-id"), "my-own-id", "{what}");
        let ours = text(&headers, "request-id");
        assert!(uuid::Uuid::try_parse(ours).is_ok(), "{what}: {ours}");
        assert_eq!(text(&headers, "odata-version"), "4.0", "{what}");
        assert_eq!(text(&headers, "cache-control"), "private", "{what}");
        assert!(headers.contains_key("date"), "{what}");
        if body.is_empty() {
            assert!(!headers.contains_key("content-type"), "{what} {status}");
        } else {
            assert_eq!(
                text(&headers, "content-type"),
                "application/json;odata.metadata=minimal;odata.streaming=true;\
                 IEEE754Compatible=false;charset=utf-8",
                "{what}"
            );
        }
        // Without one of its own, the client is told ours; never two equal ones.
        let (_, other, _) = ask(&server, &line.bot, method, &path, |request| request).await;
        assert_eq!(text(&other, "client-request-id"), text(&other, "request-id"), "{what}");
        assert_ne!(text(&other, "request-id"), ours, "{what}");
    }
}

#[tokio::test]
async fn unknown_paths_ids_and_verbs_are_told_apart() {
    let server = TestServer::start().await;
    let line = Line::open(&server).await;
    let call = line.path("");
    let unknown = format!("/v1.0/communications/calls/{UNKNOWN}");
    let table = [
        (Method::GET, "/".to_owned(), 404, "UnknownError"),
        (Method::GET, "/v2.0/communications/calls".to_owned(), 404, "UnknownError"),
        (Method::GET, "/v1.0/users".to_owned(), 404, "UnknownError"),
        (Method::POST, "/v1.0/communications/calls//playPrompt".to_owned(), 404, "UnknownError"),
        (Method::POST, format!("{call}/dance"), 404, "UnknownError"),
        (Method::GET, unknown.clone(), 404, "8522"),
        (Method::DELETE, unknown.clone(), 404, "8522"),
        (Method::GET, format!("{unknown}/operations"), 404, "8522"),
        (Method::GET, format!("{unknown}/operations/{UNKNOWN}"), 404, "8522"),
        (Method::POST, format!("{unknown}/playPrompt"), 404, "8522"),
        (Method::POST, format!("{unknown}/keepAlive"), 404, "8522"),
        (Method::POST, format!("{unknown}/cancelMediaProcessing"), 404, "8522"),
        (Method::POST, format!("{unknown}/mute"), 404, "8522"),
        (Method::GET, "/v1.0/communications/calls/xyz".to_owned(), 404, "8522"),
        (Method::POST, "/v1.0/communications/calls/xyz/playPrompt".to_owned(), 404, "8522"),
        (Method::GET, format!("{call}/operations/{UNKNOWN}"), 404, "8522"),
        (Method::GET, format!("{call}/operations/xyz"), 404, "8522"),
        (Method::GET, format!("{call}/playPrompt"), 405, "8573"),
        (Method::PUT, call.clone(), 405, "8573"),
        (Method::DELETE, "/v1.0/communications/calls".to_owned(), 405, "8573"),
        (Method::POST, format!("{call}/operations"), 405, "8573"),
        (Method::POST, format!("{call}/mute"), 400, "8548"),
        (Method::GET, format!("{call}/participants/{UNKNOWN}"), 404, "8558"),
        (Method::POST, format!("{call}/participants"), 405, "8573"),
        (Method::POST, format!("{call}/startRecording"), 405, "8520"),
        (Method::GET, format!("{call}/contentSharingSessions"), 405, "8520"),
        (Method::POST, "/v1.0/$metadata".to_owned(), 405, "8573"),
        (Method::GET, "/v1.0/$batch".to_owned(), 405, "8573"),
        (Method::GET, "/v1.0/communications/$metadata".to_owned(), 404, "UnknownError"),
    ];
    for (method, path, status, code) in table {
        let body = (method == Method::POST).then(|| prompt("http://127.0.0.1:9/a.wav"));
        let answer = line.bot.send(method.clone(), &path, body).await.unwrap();
        assert_refused(&format!("{method} {path}"), &answer, status, code);
    }
    assert_eq!(line.operations().await.len(), 0);
}

#[tokio::test]
async fn a_405_names_the_methods_that_are_allowed() {
    let server = TestServer::start().await;
    let line = Line::open(&server).await;
    let call = line.path("");
    let resources = [
        ("/v1.0/communications/calls".to_owned(), "GET, POST"),
        ("/beta/$metadata".to_owned(), "GET"),
        ("/v1.0/$batch".to_owned(), "POST"),
        ("/v1.0/communications/calls/logTeleconferenceDeviceQuality".to_owned(), "POST"),
        (format!("{call}/operations"), "GET"),
        (format!("{call}/operations/{UNKNOWN}"), "GET"),
        (format!("{call}/playPrompt"), "POST"),
        (format!("{call}/answer"), "POST"),
        (format!("{call}/keepAlive"), "POST"),
        (format!("{call}/microsoft.graph.cancelMediaProcessing"), "POST"),
        (format!("{call}/mute"), "POST"),
        (format!("{call}/participants"), "GET"),
        (format!("{call}/participants/invite"), "POST"),
    ];
    for (path, allowed) in resources {
        for method in [Method::HEAD, Method::OPTIONS, Method::PATCH, Method::PUT] {
            let what = format!("{method} {path}");
            let (status, headers, _) = ask(&server, &line.bot, method, &path, |ask| ask).await;
            assert_eq!((status.as_u16(), text(&headers, "allow")), (405, allowed), "{what}");
        }
    }
    let (_, headers, _) = ask(&server, &line.bot, Method::GET, "/v1.0/nothing", |ask| ask).await;
    assert!(!headers.contains_key("allow"), "not a 405");
}

#[tokio::test]
async fn addresses_begin_with_the_public_url_and_its_path() {
    let public = "https://calls.example.com/graph";
    let server = TestServer::start_with(|config| {
        config.server.public_url = Some(format!("{public}/").parse().unwrap());
    })
    .await;
    let line = Line::open(&server).await;
    let call = &line.call;
    let path = format!("/v1.0/app/calls/{call}/cancelMediaProcessing");
    let answer = line.bot.send(Method::POST, &path, Some(json!({}))).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let location = text(&answer.headers, "location");
    let expected = format!("{public}/v1.0/communications/calls/{call}/operations/");
    assert!(location.starts_with(&expected), "{location}");
    let successor = format!("{public}/v1.0/communications/calls/{call}/cancelMediaProcessing");
    let link = text(&answer.headers, "link");
    assert_eq!(link, format!("<{successor}>; rel=\"successor-version\""));
}

#[tokio::test]
async fn bodies_are_read_by_their_encoding_type_and_length() {
    let server = TestServer::start().await;
    let mut line = Line::open(&server).await;
    let path = line.path("/playPrompt");
    let uri = line.bot.serve("a.wav", audio::tone_wav(500.0, 40));
    let good = prompt(&uri).to_string();

    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(good.as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    let (status, _, body) = ask(&server, &line.bot, Method::POST, &path, |request| {
        request
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_ENCODING, "gzip")
            .body(packed)
    })
    .await;
    assert_eq!(status, 200, "{body:?}");
    let operation: Value = serde_json::from_slice(&body).unwrap();
    let end = line.end_of(operation["id"].as_str().unwrap()).await;
    assert_eq!(end["status"], "completed");

    // 8 MiB in 8 kB: counted as what it unpacks to.
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(&vec![b' '; 8 << 20]).unwrap();
    let bomb = packer.finish().unwrap();
    let large = vec![b' '; (1 << 20) + 1];
    let chunks: Vec<Result<Bytes, std::io::Error>> =
        large.chunks(1 << 16).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    let json = "application/json";
    type Shape = Box<dyn FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder>;
    let shaped =
        |kind: &'static str, encoding: Option<&'static str>, body: reqwest::Body| -> Shape {
            Box::new(move |mut request| {
                if let Some(encoding) = encoding {
                    request = request.header(header::CONTENT_ENCODING, encoding);
                }
                request.header(header::CONTENT_TYPE, kind).body(body)
            })
        };
    let table: [(&str, u16, &str, Shape); 10] = [
        ("1 MiB and a byte", 413, "RequestEntityTooLarge", shaped(json, None, large.into())),
        (
            "the same in chunks",
            413,
            "RequestEntityTooLarge",
            shaped(json, None, reqwest::Body::wrap_stream(stream::iter(chunks))),
        ),
        ("a bomb", 413, "RequestEntityTooLarge", shaped(json, Some("gzip"), bomb.into())),
        ("not gzip", 400, "BadRequest", shaped(json, Some("gzip"), good.clone().into())),
        ("brotli", 415, "UnsupportedMediaType", shaped(json, Some("br"), good.clone().into())),
        ("text", 415, "UnsupportedMediaType", shaped("text/plain", None, good.clone().into())),
        (
            "a form",
            415,
            "UnsupportedMediaType",
            shaped("application/x-www-form-urlencoded", None, good.clone().into()),
        ),
        (
            "latin 1",
            415,
            "UnsupportedMediaType",
            shaped("application/json; charset=iso-8859-1", None, good.clone().into()),
        ),
        ("no body", 400, "BadRequest", shaped(json, None, "".into())),
        ("half a body", 400, "BadRequest", shaped(json, None, good[..20].to_owned().into())),
    ];
    for (what, status, code, shape) in table {
        let (found, headers, body) = ask(&server, &line.bot, Method::POST, &path, shape).await;
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let at = tokio::time::Instant::now();
        assert_refused(what, &Answer { at, status: found, headers, body }, status, code);
    }
    assert_eq!(line.operations().await.len(), 1);

    // A hand-written bot leaves the type out; 1 MiB exactly is read.
    let mut padded = good.into_bytes();
    padded.resize(1 << 20, b' ');
    for (body, kind) in [(prompt(&uri).to_string().into_bytes(), None), (padded, Some(json))] {
        let answer = line.bot.post_bytes(&path, kind, body).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        let id = answer.body["id"].as_str().unwrap().to_owned();
        assert_eq!(line.end_of(&id).await["status"], "completed");
    }
}

#[tokio::test]
async fn https_serves_the_same_with_the_dev_authority_over_http_1_and_2() {
    let server = TestServer::start().await;
    let line = Line::open(&server).await;
    let ready = server.server().ready();
    let ca = std::fs::read(ready.ca.as_ref().expect("a dev CA")).unwrap();
    let ca = reqwest::Certificate::from_pem(&ca).unwrap();
    let base = ready.https.as_ref().expect("HTTPS");
    assert!(base.starts_with("https://localhost:"), "{base}");
    let client = || reqwest::Client::builder().no_proxy().tls_certs_only([ca.clone()]);
    for (client, version) in [
        (client().http1_only().build().unwrap(), Version::HTTP_11),
        (client().build().unwrap(), Version::HTTP_2),
    ] {
        let url = format!("{base}{}", line.path("/cancelMediaProcessing"));
        let request = client.post(url).bearer_auth(line.bot.token()).json(&json!({}));
        let response = request.timeout(Duration::from_secs(20)).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, version));
        // Addresses say what the client said.
        let location = text(response.headers(), "location").to_owned();
        assert!(location.starts_with(&format!("{base}/v1.0/")), "{location}");
        let read = client.get(location).bearer_auth(line.bot.token()).send().await.unwrap();
        assert_eq!(read.status(), 200);
    }
    // Nobody trusts it without being told so.
    let stranger = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    assert!(stranger.get(format!("{base}/healthz")).send().await.is_err());
}

#[tokio::test]
async fn health_and_readiness_need_no_token() {
    let server = TestServer::start().await;
    for path in ["/healthz", "/readyz"] {
        let response =
            http_client().unwrap().get(format!("{}{path}", server.base())).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }
    server.stop().await;
}
