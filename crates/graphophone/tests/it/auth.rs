//! Who may ask: tokens that do not hold, and calls that belong to somebody else.

use axum::http::{HeaderMap, Method};
use graphophone::{
    auth::{AuthSettings, Authority, Keys, unix_now},
    bot::{Credentials, http_client},
    config::Profile,
};
use graphophone_call::{AppId, TenantId};
use graphophone_testkit::{TestServer, audio, is_terminated, patience};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::line::Line;

const CALLS: &str = "/v1.0/communications/calls";

async fn get_with(server: &TestServer, authorization: Option<&str>) -> (u16, HeaderMap, Value) {
    let mut request = http_client().unwrap().get(format!("{}{CALLS}", server.base()));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let response = request.send().await.expect("a response");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, response.json().await.expect("JSON"))
}

/// The server's own key, in other hands.
struct Forger {
    key: EncodingKey,
    header: Header,
    claims: Value,
}

impl Forger {
    fn new(server: &TestServer, good: &str) -> Self {
        let file = server.directory().join(graphophone::auth::keys::TOKEN_KEY_FILE);
        let pem = std::fs::read_to_string(file).expect("the key file");
        let end = "-----END PRIVATE KEY-----\n";
        let start = pem.find("-----BEGIN PRIVATE KEY-----").expect("a private key");
        let end = pem.find(end).expect("its end") + end.len();
        let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(good).expect("a token");
        let mut header = Header::new(Algorithm::RS256);
        header.kid = claims.header.kid.clone();
        Self {
            key: EncodingKey::from_rsa_pem(&pem.as_bytes()[start..end]).expect("a key"),
            header,
            claims: claims.claims,
        }
    }

    fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims.clone();
        change(&mut claims);
        jsonwebtoken::encode(&self.header, &claims, &self.key).expect("a token")
    }
}

#[tokio::test]
async fn a_token_that_does_not_hold_is_401_with_a_challenge_and_no_call() {
    let server = TestServer::start().await;
    let elsewhere = TestServer::start_with_keys_of_its_own().await;
    let (bot, stranger) = (server.bot().await, elsewhere.bot().await);
    let good = bot.token();
    let forger = Forger::new(&server, good);
    let now = unix_now();
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    let (head, signature) = good.rsplit_once('.').unwrap();
    let flipped: String = signature.chars().rev().collect();
    let table = [
        ("no header", None),
        ("nothing in it", Some("Bearer ".to_owned())),
        ("another scheme", Some("Basic YTpi".to_owned())),
        ("garbage", bearer("garbage")),
        ("garbage in three parts", bearer("a.b.c")),
        ("no signature", bearer(&format!("{head}."))),
        ("another signature", bearer(&format!("{head}.{flipped}"))),
        ("another server's", bearer(stranger.token())),
        ("too long", bearer(&"x".repeat(20_000))),
        (
            "expired",
            bearer(&forger.token(|claims| {
                claims["nbf"] = json!(now - 7_200);
                claims["exp"] = json!(now - 301);
            })),
        ),
        ("not yet valid", bearer(&forger.token(|claims| claims["nbf"] = json!(now + 400)))),
        (
            "for something else",
            bearer(&forger.token(|c| c["aud"] = json!("https://vault.azure.net"))),
        ),
        (
            "from another tenant",
            bearer(&forger.token(|c| c["iss"] = json!("https://sts.windows.net/x/"))),
        ),
    ];
    for (what, authorization) in table {
        let (status, headers, body) = get_with(&server, authorization.as_deref()).await;
        assert_eq!(status, 401, "{what}: {body}");
        assert_eq!(body["error"]["code"], "InvalidAuthenticationToken", "{what}");
        assert!(body["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}");
        let challenge = headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.starts_with("Bearer realm="), "{what}: {challenge}");
        assert!(headers.contains_key("request-id"), "{what}");
    }
    // The forger's tokens fail for what was changed, and for nothing else.
    let (status, ..) = get_with(&server, bearer(&forger.token(|_| {})).as_deref()).await;
    assert_eq!(status, 200);
    let (status, headers, body) =
        get_with(&server, bearer(&forger.token(|c| c["scp"] = json!("Calls.All"))).as_deref())
            .await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("Forbidden")), "of a person");
    assert!(!headers.contains_key("www-authenticate"));
}

#[tokio::test]
async fn tokens_outlive_their_server_but_not_their_hour_or_their_application() {
    let server = TestServer::start_with(|config| config.profile = Profile::Production).await;
    let config = graphophone_testkit::dev_config(&server.directory());
    let app = &config.apps[0];
    // Another process on the same data directory, as after a restart.
    let keys = Keys::open(&server.directory()).unwrap();
    let authority = Authority::new(AuthSettings::default(), keys).unwrap();
    let mint = |app, now| {
        let token =
            authority.access_token(AppId::new(app), TenantId::new(config.tenants[0].id), [], now);
        // RFC 6750 has the scheme in any case.
        format!("bearer {token}")
    };
    let now = unix_now();
    for (what, token, expected, named) in [
        ("fresh", mint(app.id, now), 200, ""),
        ("expired", mint(app.id, now - 3_599 - 301), 401, "expired"),
        ("of an unknown app", mint(uuid::Uuid::from_u128(9), now), 401, "not registered"),
    ] {
        let (status, _, body) = get_with(&server, Some(&token)).await;
        assert_eq!(status, expected, "{what}: {body}");
        let message = body["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(named), "{what}: {message}");
    }
}

/// What a client can see of a refusal, without what differs between any two requests.
async fn seen(server: &TestServer, token: &str, method: Method, path: &str) -> String {
    let body = json!({"prompts": []});
    let mut request = http_client()
        .unwrap()
        .request(method.clone(), format!("{}{path}", server.base()))
        .bearer_auth(token)
        .header("client-request-id", "same");
    if method == Method::POST {
        request = request.json(&body);
    }
    let response = request.send().await.expect("a response");
    let status = response.status();
    let mut headers = response.headers().clone();
    let own = headers.remove("request-id").expect("an id");
    let own = own.to_str().expect("text");
    headers.remove("date");
    let mut text = response.text().await.expect("a body").replace(own, "{request-id}");
    let date = text.find("\"date\":\"").map(|at| at + 8);
    if let Some(at) = date {
        text.replace_range(at..at + 19, "{date}");
    }
    let mut headers: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    headers.sort();
    format!("{status}\n{}\n{text}", headers.join("\n"))
}

#[tokio::test]
async fn another_application_cannot_tell_a_call_from_one_that_never_was() {
    let server = TestServer::start().await;
    let mut line = Line::open(&server).await;
    let uri = line.bot.serve("a.wav", audio::tone_wav(440.0, 40));
    let operation = line.play(&[uri]).await;
    line.end_of(&operation).await;

    // The dev profile makes applications and tenants with their first token.
    let owner = Credentials::of_dev(server.server().ready()).unwrap();
    let neighbour = Credentials { client_id: AppId::new(uuid::Uuid::from_u128(5)), ..owner };
    let foreigner = Credentials {
        tenant: uuid::Uuid::from_u128(6).to_string(),
        client_id: AppId::new(uuid::Uuid::from_u128(7)),
        client_secret: "foreign-secret".to_owned(),
    };
    let others = [server.bot_as(neighbour).await, server.bot_as(foreigner).await];
    let never =
        (uuid::Uuid::from_u128(0xdead).to_string(), uuid::Uuid::from_u128(0xbeef).to_string());
    let routes = [
        (Method::GET, "/{c}"),
        (Method::DELETE, "/{c}"),
        (Method::PATCH, "/{c}"),
        (Method::GET, "('{c}')"),
        (Method::GET, "/{c}/operations"),
        (Method::GET, "/{c}/operations/{o}"),
        (Method::GET, "/{c}/participants"),
        (Method::POST, "/{c}/playPrompt"),
        (Method::POST, "/{c}/cancelMediaProcessing"),
        (Method::POST, "/{c}/keepAlive"),
        (Method::POST, "/{c}/answer"),
        (Method::POST, "/{c}/mute"),
        (Method::POST, "/{c}/recordResponse"),
        (Method::POST, "/{c}/transfer"),
    ];
    for after_the_end in [false, true] {
        for other in &others {
            for (method, route) in &routes {
                let path = |call: &str, operation: &str| {
                    format!("{CALLS}{route}").replace("{c}", call).replace("{o}", operation)
                };
                let theirs = path(&line.call, &operation);
                let theirs = seen(&server, other.token(), method.clone(), &theirs).await;
                let none = path(&never.0, &never.1);
                let none = seen(&server, other.token(), method.clone(), &none).await;
                assert_eq!(theirs, none, "{method} {route}, after the end: {after_the_end}");
                if *method != Method::PATCH {
                    assert!(theirs.starts_with("404") && theirs.contains("\"8522\""), "{theirs}");
                }
            }
            let list = other.send(Method::GET, CALLS, None).await.unwrap();
            assert_eq!(list.body["value"], json!([]));
        }
        if !after_the_end {
            // Nothing of that has touched the call.
            let call = line.get("").await;
            assert_eq!((call.status.as_u16(), &call.body["state"]), (200, &json!("established")));
            assert_eq!(line.operations().await.len(), 1);
            line.bot.hang_up(&line.call).await.unwrap();
            line.bot.until(patience(), is_terminated).await.unwrap();
        }
    }
    // The owner can still read how it went.
    let read = line.bot.operation(&line.call, &operation).await.unwrap();
    assert_eq!(read["status"], "completed");
}
