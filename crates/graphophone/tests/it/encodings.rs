//! Packed bodies: gzip is read wherever a body is, within the limits of what it unpacks to.

use std::io::Write;

use axum::http::header;
use flate2::{Compression, write::GzEncoder};
use graphophone::bot::http_client;
use graphophone_testkit::TestServer;
use serde_json::Value;

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// Status, `Accept-Encoding` and body of the answer to a POST.
async fn post(
    url: &str,
    token: &str,
    (kind, encoding): (&str, &str),
    body: Vec<u8>,
) -> (u16, Option<String>, Value) {
    let request = http_client().unwrap().post(url).bearer_auth(token);
    let request = request.header(header::CONTENT_TYPE, kind);
    let request = request.header(header::CONTENT_ENCODING, encoding);
    let response = request.body(body).send().await.unwrap();
    let accepted = response.headers().get(header::ACCEPT_ENCODING);
    let accepted = accepted.map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    (status, accepted, response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn the_token_endpoints_unpack_gzip_and_nothing_else() {
    let server = TestServer::start().await;
    let ready = server.server().ready();
    let (tenant, client) = (ready.tenant.unwrap(), ready.client_id.unwrap());
    let secret = ready.client_secret.clone().unwrap();
    let form = format!(
        "grant_type=client_credentials&client_id={client}&client_secret={secret}\
         &scope=https%3A%2F%2Fgraph.microsoft.com%2F.default"
    );
    let kind = "application/x-www-form-urlencoded";
    let url = format!("{}/{tenant}/oauth2/v2.0/token", server.base());
    for encoding in ["gzip", "x-gzip", "GZIP"] {
        let (status, _, body) = post(&url, "", (kind, encoding), packed(form.as_bytes())).await;
        assert_eq!(status, 200, "{encoding}: {body}");
        assert!(body["access_token"].is_string());
    }
    let (status, _, body) = post(&url, "", (kind, "identity"), form.clone().into_bytes()).await;
    assert_eq!(status, 200, "{body}");
    for (encoding, body, expected) in [
        ("br", form.clone().into_bytes(), 415),
        ("gzip, gzip", packed(&packed(form.as_bytes())), 415),
        ("gzip", form.clone().into_bytes(), 400),
        // 8 MiB in 8 kB.
        ("gzip", packed(&vec![b'a'; 8 << 20]), 413),
    ] {
        let (status, _, body) = post(&url, "", (kind, encoding), body).await;
        assert_eq!((status, &body["error"]), (expected, &"invalid_request".into()), "{body}");
    }
}

#[tokio::test]
async fn the_operators_api_unpacks_gzip_and_nothing_else() {
    let server = TestServer::start().await;
    let token = server.server().ready().admin_token.clone().unwrap();
    let url = format!("{}/graphophone/v1/deliveries/replay", server.base());
    let body = br#"{"state":"failed"}"#;
    let json = "application/json";
    let (status, _, body_) = post(&url, &token, (json, "gzip"), packed(body)).await;
    assert_eq!((status, &body_["replayed"]), (202, &0.into()));
    let (status, accepted, body_) = post(&url, &token, (json, "br"), body.to_vec()).await;
    assert_eq!((status, accepted.as_deref()), (415, Some("gzip")), "{body_}");
    let (status, ..) = post(&url, &token, (json, "gzip"), packed(&vec![b' '; 8 << 20])).await;
    assert_eq!(status, 400, "2 MiB are read");
}
