//! The endpoints as clients use them: requests go through the router, tokens through `verify`.

use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use url::form_urlencoded;

use super::*;
use crate::auth::{
    AuthError, AuthSettings, Role,
    testing::{APP, OTHER_TENANT, SECRET, TENANT, keys, settings},
};

const SCOPE: &str = "https://graph.microsoft.com/.default";

struct Server {
    authority: Authority,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Server {
    fn new(settings: AuthSettings) -> Self {
        Self { authority: Authority::new(settings, keys()).unwrap() }
    }

    fn dev() -> Self {
        Self::new(AuthSettings { auto_provision: true, ..settings() })
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = router(self.authority.clone()).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        let body = if body.is_empty() {
            Value::Null
        } else {
            assert_eq!(parts.headers[header::CONTENT_TYPE], "application/json");
            serde_json::from_slice(&body).unwrap()
        };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).header(header::HOST, "localhost:8443");
        let request = request.extension(Scheme::Https).body(Body::empty());
        self.send(request.unwrap()).await
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = Request::post(path)
            .header(header::HOST, "localhost:8443")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form));
        self.send(request.unwrap()).await
    }

    fn caller(&self, answer: &Answer) -> Result<super::super::Caller, AuthError> {
        let token = answer.body["access_token"].as_str().unwrap();
        self.authority.verify(Some(&format!("Bearer {token}")), unix_now())
    }
}

fn good(id: &str) -> Vec<(&str, &str)> {
    vec![
        ("client_id", id),
        ("client_secret", SECRET),
        ("grant_type", "client_credentials"),
        ("scope", SCOPE),
    ]
}

fn with<'a>(id: &'a str, name: &str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut fields = good(id);
    fields.iter_mut().filter(|field| field.0 == name).for_each(|field| field.1 = value);
    fields
}

fn without<'a>(id: &'a str, name: &str) -> Vec<(&'a str, &'a str)> {
    good(id).into_iter().filter(|field| field.0 != name).collect()
}

fn claims(answer: &Answer) -> Value {
    let token = answer.body["access_token"].as_str().unwrap();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

#[tokio::test]
async fn a_client_gets_a_token_that_opens_the_api() {
    let server = Server::new(settings());
    let id = APP.to_string();
    let path = format!("/{TENANT}/oauth2/v2.0/token?client-request-id=abc");
    let answer = server.post(&path, &good(&id)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(answer.body["token_type"], "Bearer");
    assert_eq!(answer.body["expires_in"], 3599);
    assert_eq!(answer.body["ext_expires_in"], 3599);
    assert_eq!(answer.body.as_object().unwrap().len(), 4, "{}", answer.body);
    let caller = server.caller(&answer).unwrap();
    assert_eq!((caller.app, caller.tenant), (APP, TENANT));
    assert!(caller.has(Role::Initiate) && caller.has(Role::JoinGroupCall));
    assert!(!caller.has(Role::AccessMedia));
}

#[tokio::test]
async fn the_claims_are_those_of_an_application_token_of_entra() {
    let server = Server::new(settings());
    let id = APP.to_string();
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    let first = claims(&server.post(&path, &good(&id)).await);
    let second = claims(&server.post(&path, &good(&id)).await);
    let issuer = format!("https://sts.windows.net/{TENANT}/");
    for (claim, value) in [
        ("aud", json!("https://graph.microsoft.com")),
        ("iss", json!(issuer)),
        ("idp", json!(issuer)),
        ("appid", json!(id)),
        ("appidacr", json!("1")),
        ("idtyp", json!("app")),
        ("tid", json!(TENANT.to_string())),
        ("ver", json!("1.0")),
        ("roles", json!(["Calls.Initiate.All", "Calls.JoinGroupCall.All"])),
        ("oid", first["sub"].clone()),
    ] {
        assert_eq!(first[claim], value, "{claim}");
    }
    assert_eq!(first["oid"], second["oid"], "the same principal each time");
    assert_ne!(first["uti"], second["uti"], "another token each time");
    assert_eq!(first["exp"].as_u64().unwrap() - first["nbf"].as_u64().unwrap(), 3599);
    for absent in ["scp", "upn", "unique_name"] {
        assert_eq!(first[absent], Value::Null, "{absent}");
    }
}

#[tokio::test]
async fn the_body_of_msal_for_node_is_understood() {
    let server = Server::new(settings());
    let id = APP.to_string();
    let mut fields = good(&id);
    fields.extend([
        ("x-client-SKU", "msal.js.node"),
        ("x-client-VER", "5.6.0"),
        ("x-ms-lib-capability", "retry-after, h429"),
        ("x-client-current-telemetry", "5|771,2,,,|,"),
        ("client_info", "1"),
        ("claims", r#"{"access_token":{"xms_cc":{"values":["CP1"]}}}"#),
    ]);
    let answer = server.post("/organizations/oauth2/v2.0/token", &fields).await;
    assert_eq!(server.caller(&answer).unwrap().tenant, TENANT);
}

#[tokio::test]
async fn version_1_takes_a_resource_and_answers_with_quoted_numbers() {
    let server = Server::new(settings());
    let id = APP.to_string();
    let mut fields = without(&id, "scope");
    fields.push(("resource", "https://graph.microsoft.com/"));
    let answer = server.post(&format!("/{TENANT}/oauth2/token"), &fields).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.body["expires_in"], "3599");
    assert_eq!(answer.body["resource"], "https://graph.microsoft.com");
    let on: u64 = answer.body["expires_on"].as_str().unwrap().parse().unwrap();
    let from: u64 = answer.body["not_before"].as_str().unwrap().parse().unwrap();
    assert_eq!(on - from, 3599);
    assert!(server.caller(&answer).is_ok());
    fields.pop();
    fields.push(("resource", "https://vault.azure.net"));
    let refused = server.post(&format!("/{TENANT}/oauth2/token"), &fields).await;
    assert_eq!(refused.body["error"], "invalid_resource");
}

#[tokio::test]
async fn a_bot_framework_token_is_given_but_carries_no_role() {
    let server = Server::new(settings());
    let id = APP.to_string();
    let fields = with(&id, "scope", "https://api.botframework.com/.default");
    let answer = server.post("/botframework.com/oauth2/v2.0/token", &fields).await;
    assert_eq!(claims(&answer)["aud"], "https://api.botframework.com");
    assert!(server.caller(&answer).unwrap().roles.is_empty());
}

#[tokio::test]
async fn http_basic_is_as_good_as_the_form() {
    use base64::engine::general_purpose::STANDARD;
    let server = Server::new(settings());
    let secret: String = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let send = |secret: String| {
        let basic = format!("Basic {}", STANDARD.encode(format!("{APP}:{secret}")));
        let request = Request::post(format!("/{TENANT}/oauth2/v2.0/token"))
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, basic)
            .body(Body::from(format!("grant_type=client_credentials&scope={SCOPE}")));
        server.send(request.unwrap())
    };
    let answer = send(secret).await;
    assert!(server.caller(&answer).is_ok());
    let refused = send("wrong".into()).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.headers[header::WWW_AUTHENTICATE], "Basic realm=\"graphophone\"");
}

#[tokio::test]
async fn refusals_are_those_of_entra() {
    let server = Server::new(settings());
    let id = APP.to_string();
    let own = format!("/{TENANT}/oauth2/v2.0/token");
    let other = format!("/{OTHER_TENANT}/oauth2/v2.0/token");
    let unknown_app = OTHER_TENANT.to_string();
    let foreign = "https://vault.azure.net/.default";
    for (path, fields, status, error, code) in [
        (&own, with(&id, "client_secret", "wrong"), 401, "invalid_client", 7_000_215),
        (&own, without(&id, "client_secret"), 401, "invalid_client", 7_000_218),
        (&own, with(&id, "client_secret", ""), 401, "invalid_client", 7_000_218),
        (&own, with(&id, "client_id", &unknown_app), 400, "unauthorized_client", 700_016),
        (&own, with(&id, "client_id", "my-bot"), 400, "unauthorized_client", 700_016),
        (&own, without(&id, "client_id"), 400, "invalid_request", 900_144),
        (&own, without(&id, "grant_type"), 400, "invalid_request", 900_144),
        (&own, without(&id, "scope"), 400, "invalid_request", 900_144),
        (&own, with(&id, "grant_type", "password"), 400, "unsupported_grant_type", 70_003),
        (&own, with(&id, "scope", "User.Read"), 400, "invalid_scope", 1_002_012),
        (&own, with(&id, "scope", foreign), 400, "invalid_scope", 70_011),
        (&other, good(&id), 400, "invalid_request", 90_002),
        (&"/nonsense/oauth2/v2.0/token".to_owned(), good(&id), 400, "invalid_request", 90_002),
    ] {
        let answer = server.post(path, &fields).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
        assert_eq!(answer.body["error"], error, "{}", answer.body);
        assert_eq!(answer.body["error_codes"], json!([code]));
        let description = answer.body["error_description"].as_str().unwrap();
        assert!(description.starts_with(&format!("AADSTS{code}: ")), "{description}");
        assert!(description.contains(" Trace ID: "), "{description}");
        for member in ["timestamp", "trace_id", "correlation_id", "error_uri"] {
            assert!(answer.body[member].is_string(), "{member}");
        }
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
        assert!(!answer.body.to_string().contains(SECRET), "a secret came back");
    }
}

#[tokio::test]
async fn what_the_client_sent_comes_back_short_and_harmless() {
    let server = Server::new(settings());
    let id = APP.to_string();
    let scope = format!("\u{1b}[31m\r\n{}", "x".repeat(5000));
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    let answer = server.post(&path, &with(&id, "scope", &scope)).await;
    let description = answer.body["error_description"].as_str().unwrap();
    assert!(description.len() < 600, "{}", description.len());
    assert!(!description.contains(char::is_control), "{description:?}");
}

#[tokio::test]
async fn the_clients_request_id_is_the_correlation_id_of_an_error() {
    let server = Server::new(settings());
    let request = Request::post("/common/oauth2/v2.0/token")
        .header(header::HOST, "localhost")
        .header("client-request-id", OTHER_TENANT.to_string())
        .body(Body::empty());
    let answer = server.send(request.unwrap()).await;
    assert_eq!(answer.body["correlation_id"], OTHER_TENANT.to_string());
    assert_eq!(answer.body["error_codes"], json!([900_144]));
}

#[tokio::test]
async fn bodies_that_are_no_form_are_explained() {
    let server = Server::new(settings());
    let send = |kind: &str, body: Vec<u8>| {
        let request = Request::post("/common/oauth2/v2.0/token")
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from(body));
        server.send(request.unwrap())
    };
    let json = send("application/json", b"{\"grant_type\":\"client_credentials\"}".to_vec()).await;
    assert_eq!(json.status, StatusCode::BAD_REQUEST);
    assert!(json.body["error_description"].as_str().unwrap().contains("x-www-form-urlencoded"));
    let noise = send("application/x-www-form-urlencoded", vec![0xff; 1000]).await;
    assert_eq!(noise.status, StatusCode::BAD_REQUEST);
    let huge = send("application/x-www-form-urlencoded", vec![b'a'; MAX_BODY + 1]).await;
    assert_eq!(huge.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(huge.body["error"], "invalid_request");
    let get = server.get("/common/oauth2/v2.0/token").await;
    assert_eq!(get.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(get.body["error_codes"], json!([900_561]));
    assert_eq!(get.headers[header::ALLOW], "POST");
}

#[tokio::test]
async fn the_dev_profile_makes_tenants_and_apps_as_they_come() {
    let server = Server::dev();
    let unknown = "77777777-7777-4777-8777-777777777777";
    let path = format!("/{OTHER_TENANT}/oauth2/v2.0/token");
    let answer = server.post(&path, &good(unknown)).await;
    let caller = server.caller(&answer).unwrap();
    assert_eq!(caller.tenant, OTHER_TENANT);
    assert!(Role::ALL.into_iter().all(|role| caller.has(role)));
    let refused = server.post(&path, &with(unknown, "client_secret", "another")).await;
    assert_eq!(refused.body["error_codes"], json!([7_000_215]));
    let hint = refused.body["error_description"].as_str().unwrap();
    assert!(hint.contains("dev profile"), "{hint}");
    let id = APP.to_string();
    let wrong = server.post(&path, &with(&id, "client_secret", "another")).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED, "a configured app keeps its secret");
}

#[tokio::test]
async fn discovery_leads_back_to_where_the_client_asked() {
    let server = Server::new(settings());
    for path in ["v2.0/.well-known/openid-configuration", ".well-known/openid-configuration"] {
        let document = server.get(&format!("/{TENANT}/{path}")).await.body;
        let root = format!("https://localhost:8443/{TENANT}");
        assert_eq!(document["issuer"], format!("{root}/v2.0"));
        assert_eq!(document["token_endpoint"], format!("{root}/oauth2/v2.0/token"));
        assert_eq!(document["jwks_uri"], format!("{root}/discovery/v2.0/keys"));
        assert!(document["authorization_endpoint"].is_string());
    }
    let shared = server.get("/common/v2.0/.well-known/openid-configuration").await.body;
    assert_eq!(shared["issuer"], "https://localhost:8443/{tenantid}/v2.0");
    let path = format!("/{OTHER_TENANT}/v2.0/.well-known/openid-configuration");
    let unknown = server.get(&path).await;
    assert_eq!((unknown.status.as_u16(), &unknown.body["error_codes"]), (400, &json!([90_002])));
    let nonsense = server.get("/%2e%2e%2fx/v2.0/.well-known/openid-configuration").await;
    assert_eq!(nonsense.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn key_sets_hold_public_halves_only_and_one_purpose_each() {
    let server = Server::new(settings());
    let kid = |answer: &Answer| answer.body["keys"][0]["kid"].as_str().unwrap().to_owned();
    let mut tokens = Vec::new();
    for path in ["discovery/v2.0/keys", "discovery/keys"] {
        for tenant in [TENANT.to_string(), "common".into()] {
            let answer = server.get(&format!("/{tenant}/{path}")).await;
            let key = &answer.body["keys"][0];
            assert_eq!((&key["kty"], &key["use"]), (&json!("RSA"), &json!("sig")));
            for private in ["d", "p", "q", "dp", "dq", "qi"] {
                assert_eq!(key[private], Value::Null);
            }
            tokens.push(kid(&answer));
        }
    }
    assert!(tokens.iter().all(|kid| kid == server.authority.inner.keys.tokens.signing(0).kid()));
    let notifications = server.get("/v1/.well-known/keys").await;
    assert_eq!(kid(&notifications), server.authority.inner.keys.notifications.signing(0).kid());
}

#[tokio::test]
async fn a_bot_finds_the_keys_of_notifications_through_the_openid_document() {
    let server = Server::new(settings());
    for name in ["OpenIdConfiguration", "openidconfiguration", "openid-configuration"] {
        let answer = server.get(&format!("/v1/.well-known/{name}")).await;
        assert_eq!(answer.body["issuer"], "https://api.botframework.com");
        assert_eq!(answer.body["jwks_uri"], "https://localhost:8443/v1/.well-known/keys");
    }
    assert_eq!(server.get("/v1/.well-known/other").await.status, StatusCode::NOT_FOUND);
    let keys = server.get("/v1/.well-known/keys").await.body;
    let keys = serde_json::from_value(keys).unwrap();
    let token = server.authority.sign_notification(APP, TENANT, unix_now());
    let verified = super::super::signer::verify_notification(&token, APP, &keys, unix_now());
    assert_eq!(verified.unwrap().tenant, TENANT);
}

#[tokio::test]
async fn instance_discovery_answers_for_ourselves() {
    let server = Server::new(settings());
    let ask = |endpoint: &str| {
        let endpoint: String = form_urlencoded::byte_serialize(endpoint.as_bytes()).collect();
        format!("/common/discovery/instance?api-version=1.0&authorization_endpoint={endpoint}")
    };
    let good = server.get(&ask("https://localhost:8443/common/oauth2/v2.0/authorize")).await;
    assert_eq!(good.status, StatusCode::OK);
    assert_eq!(good.body["api-version"], "1.1");
    let evil = server.get(&ask("https://evil.example/common/oauth2/v2.0/authorize")).await;
    assert_eq!((evil.status.as_u16(), &evil.body["error"]), (400, &json!("invalid_instance")));
    let none = server.get("/common/discovery/instance").await;
    assert_eq!(none.body["error_codes"], json!([900_144]));
}
