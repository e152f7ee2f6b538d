//! Who may ask: tokens that do not hold, names that lead here, and old TLS. Whose calls are whose
//! is in `isolation.rs`.

use axum::http::HeaderMap;
use graphophone::{
    auth::{AuthSettings, Authority, Keys, unix_now},
    bot::http_client,
    config::Profile,
};
use graphophone_call::{AppId, TenantId};
use graphophone_testkit::{TestServer, soon};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

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

/// The status of a request that names this host.
async fn asked_as(server: &TestServer, host: &str, path: &str) -> u16 {
    let http = http_client().unwrap();
    let answer = http.get(format!("{}{path}", server.base())).header("host", host).send().await;
    answer.expect("a response").status().as_u16()
}

#[tokio::test]
async fn a_web_page_whose_name_leads_to_the_dev_server_gets_nothing_from_it() {
    let server = TestServer::start().await;
    let tenant = server.server().ready().tenant.unwrap();
    let configuration = format!("/{tenant}/v2.0/.well-known/openid-configuration");
    let paths = ["/healthz", CALLS, "/graphophone/v1/load", configuration.as_str(), "/nowhere"];
    for path in paths {
        for host in
            ["rebind.example:8080", "127.0.0.1.nip.io", "localhost.evil.example", "10.0.0.1"]
        {
            assert_eq!(asked_as(&server, host, path).await, 421, "{host}{path}");
        }
        for host in ["localhost:1", "127.0.0.1", "bot.localhost", "graph.microsoft.com"] {
            assert_ne!(asked_as(&server, host, path).await, 421, "{host}{path}");
        }
    }
    // Even with everything that such a page could know.
    let token = format!("{}/{tenant}/oauth2/v2.0/token", server.base());
    let ready = server.server().ready();
    let form = [
        ("grant_type", "client_credentials".to_owned()),
        ("client_id", ready.client_id.unwrap().to_string()),
        ("client_secret", ready.client_secret.clone().unwrap()),
        ("scope", "https://graph.microsoft.com/.default".to_owned()),
    ];
    for (host, expected) in [("rebind.example", 421), ("localhost", 200)] {
        let request = http_client().unwrap().post(&token).header("host", host).form(&form);
        assert_eq!(request.send().await.unwrap().status(), expected, "{host}");
    }
    // In production nothing is known, and names are the business of whoever runs it.
    let server = TestServer::start_with(|config| config.profile = Profile::Production).await;
    assert_eq!(asked_as(&server, "calls.example.com", "/healthz").await, 200);
}

#[tokio::test]
async fn no_browser_of_another_origin_is_told_that_it_may() {
    let server = TestServer::start().await;
    for path in ["/healthz", CALLS, "/v1/.well-known/keys", "/graphophone/v1/load"] {
        for method in [reqwest::Method::GET, reqwest::Method::OPTIONS] {
            let request = http_client()
                .unwrap()
                .request(method, format!("{}{path}", server.base()))
                .header("origin", "https://evil.example")
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "authorization");
            let headers = request.send().await.unwrap().headers().clone();
            let cors = headers.keys().find(|name| name.as_str().starts_with("access-control-"));
            assert_eq!(cors, None, "{path}");
        }
    }
}

/// A ClientHello that offers no version above `version` (RFC 5246 §7.4.1.2).
fn client_hello(version: [u8; 2]) -> Vec<u8> {
    let suites = [0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x14, 0xc0, 0x13, 0x00, 0x2f, 0x00, 0x35];
    let mut body = version.to_vec();
    body.extend([7; 32]); // random
    body.push(0); // no session
    body.extend([0, u8::try_from(suites.len()).unwrap()]);
    body.extend(suites);
    body.extend([1, 0]); // no compression
    // supported_groups (x25519, secp256r1), ec_point_formats, signature_algorithms (RSA-PKCS1 and
    // ECDSA with SHA-256, RSA-PSS), RFC 8422 and RFC 8446.
    let extensions: [&[u8]; 3] = [
        &[0, 10, 0, 6, 0, 4, 0, 29, 0, 23],
        &[0, 11, 0, 2, 1, 0],
        &[0, 13, 0, 8, 0, 6, 4, 1, 4, 3, 8, 4],
    ];
    let extensions = extensions.concat();
    body.extend([0, u8::try_from(extensions.len()).unwrap()]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).unwrap();
    let handshake = [&[1, 0, 0, length][..], &body].concat();
    [&[22, 3, 1, 0, length + 4][..], &handshake].concat()
}

#[tokio::test]
async fn tls_below_1_2_is_refused() {
    let server = TestServer::start().await;
    let https = server.server().ready().https.clone().unwrap();
    let port: u16 = https.rsplit(':').next().unwrap().parse().unwrap();
    // Record types: 21 is an alert, 22 the handshake going on. The last alert is protocol_version.
    for (version, expected) in [([3, 0], 21), ([3, 1], 21), ([3, 2], 21), ([3, 3], 22)] {
        let mut connection = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        connection.write_all(&client_hello(version)).await.unwrap();
        let mut answer = [0; 7];
        soon("an answer", connection.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer[0], expected, "{version:?}: {answer:?}");
        if expected == 21 {
            assert_eq!(answer[6], 70, "{version:?}: protocol_version (RFC 8446 §6.2)");
        }
    }
}
