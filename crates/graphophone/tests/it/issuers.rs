//! Trusted external issuers: another process gives the tokens, and changes its keys while calls go
//! on (promises P25 and P30).

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use graphophone::{
    bot::{fetch_token, http_client},
    config::{Interval, IssuerSection},
};
use graphophone_testkit::{ServerProcess, TestServer, audio, patience, seen, sent_ms};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::line::Line;

const BINARY: &str = env!("CARGO_BIN_EXE_graphophone");

/// `graphophone dev` in a process of its own, as an issuer; its key set goes through a door that
/// counts, and that can be shut.
struct Authority {
    process: ServerProcess,
    _data: tempfile::TempDir,
    door: Arc<Door>,
    keys_at: String,
}

struct Door {
    keys: String,
    fetches: AtomicUsize,
    shut: AtomicBool,
}

impl Authority {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let process = ServerProcess::start(BINARY, data.path()).await;
        let keys =
            format!("{}/{}/discovery/v2.0/keys", process.ready("http"), process.ready("tenant"));
        let door =
            Arc::new(Door { keys, fetches: AtomicUsize::new(0), shut: AtomicBool::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let keys_at = format!("http://{}/keys", listener.local_addr().unwrap());
        let router = Router::new().route("/keys", get(pass)).with_state(Arc::clone(&door));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { process, _data: data, door, keys_at }
    }

    /// A server that trusts it. Regular refreshes are far apart: what is fetched is fetched because
    /// of a token.
    async fn trusted(&self) -> TestServer {
        let section = IssuerSection {
            issuer: format!("https://sts.windows.net/{}/", self.process.ready("tenant")),
            jwks_uri: Some(self.keys_at.parse().unwrap()),
            audiences: vec!["https://graph.microsoft.com".to_owned()],
            tenant: None,
            roles_claim: "roles".to_owned(),
            refresh: "1day".parse::<Interval>().unwrap(),
            allow: Vec::new(),
        };
        let before = self.fetches();
        let server = TestServer::start_with(|config| config.issuers = vec![section]).await;
        seen("the first key set", || async { (self.fetches() > before).then_some(()) }).await;
        server
    }

    async fn token(&self) -> String {
        let of = |name| self.process.ready(name);
        let (http, tenant, secret) = (of("http"), of("tenant"), of("clientSecret"));
        let body = fetch_token(http, tenant, of("clientId"), secret).await.unwrap();
        body["access_token"].as_str().unwrap().to_owned()
    }

    /// New keys, by its own API.
    async fn rotate(&self, how: &str) -> Value {
        let url = format!("{}/graphophone/v1/keys/rotate?{how}", self.process.ready("http"));
        let token = self.process.ready("adminToken");
        let answer = http_client().unwrap().post(url).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }

    fn fetches(&self) -> usize {
        self.door.fetches.load(Ordering::SeqCst)
    }
}

async fn pass(State(door): State<Arc<Door>>) -> impl IntoResponse {
    door.fetches.fetch_add(1, Ordering::SeqCst);
    if door.shut.load(Ordering::SeqCst) {
        return Err(StatusCode::BAD_GATEWAY);
    }
    let answer = http_client().unwrap().get(&door.keys).send().await;
    Ok(answer.map_err(|_| StatusCode::BAD_GATEWAY)?.bytes().await.unwrap_or_default())
}

/// What a server says to a token.
async fn asked_with(server: &TestServer, token: &str) -> (u16, String) {
    let url = format!("{}/v1.0/communications/calls", server.base());
    let answer = http_client().unwrap().get(url).bearer_auth(token).send().await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, body["error"]["message"].as_str().unwrap_or_default().to_owned())
}

/// A token that names a key nobody has.
fn with_kid(token: &str, kid: usize) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let (_, rest) = token.split_once('.').unwrap();
    let header = format!(r#"{{"typ":"JWT","alg":"RS256","kid":"nobody-{kid}"}}"#);
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
}

#[tokio::test]
async fn tokens_of_an_issuer_in_another_process_hold_while_its_keys_change_and_calls_go_on() {
    let issuer = Authority::start().await;
    let server = issuer.trusted().await;
    let old = issuer.token().await;
    let mut bot = server.bot().await;
    bot.use_token(&old);
    let mut line = Line::between(bot, server.phone()).await;
    let uri = line.bot.serve("loop.wav", audio::tone_wav(440.0, 200));
    let playing = line.bot.play(&line.call, &[uri], true).await.unwrap();
    let fetched = issuer.fetches();

    issuer.rotate("in=0s").await;
    // Until its last second ends, the old key may still sign.
    let new = seen("a token of the new key", || async {
        let token = issuer.token().await;
        let kid = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid;
        (kid(&token) != kid(&old)).then_some(token)
    })
    .await;
    // The first request with it is good, and cost one fetch; the old token is good, too.
    assert_eq!(asked_with(&server, &new).await, (200, String::new()));
    assert_eq!(issuer.fetches(), fetched + 1);
    assert_eq!(asked_with(&server, &old).await, (200, String::new()));
    let before = sent_ms(&line.bot.operation(&line.call, &playing).await.unwrap());
    line.bot.use_token(&new);
    seen("the call plays on", || async {
        let now = line.bot.operation(&line.call, &playing).await.expect("it can be read");
        (sent_ms(&now) > before).then_some(())
    })
    .await;

    // Now everybody else sends tokens with keys that do not exist.
    let mut flood = tokio::task::JoinSet::new();
    for sender in 0..20 {
        let url = format!("{}/v1.0/communications/calls", server.base());
        let new = new.clone();
        flood.spawn(async move {
            let http = http_client().unwrap();
            for number in 0..100 {
                let forged = with_kid(&new, sender * 100 + number);
                let answer = http.get(&url).bearer_auth(forged).send().await.unwrap();
                assert_eq!(answer.status(), 401);
            }
        });
    }
    while let Some(outcome) = flood.join_next().await {
        outcome.unwrap();
    }
    assert_eq!(issuer.fetches(), fetched + 1, "2,000 unknown keys within five minutes");
    assert_eq!(asked_with(&server, &new).await.0, 200);
    line.bot.cancel(&line.call).await.unwrap();
    line.end_of(&playing).await;
    line.hang_up().await;
}

#[tokio::test]
async fn a_key_that_its_issuer_took_back_is_refused_and_a_failing_issuer_takes_back_nothing() {
    let issuer = Authority::start().await;
    let old = issuer.token().await;
    let (server, failing) = (issuer.trusted().await, issuer.trusted().await);
    for server in [&server, &failing] {
        assert_eq!(asked_with(server, &old).await, (200, String::new()));
    }
    issuer.rotate("compromised=true").await;
    let new = issuer.token().await;
    // Where the issuer cannot be reached, what was known stays, and nothing comes.
    issuer.door.shut.store(true, Ordering::SeqCst);
    let before = issuer.fetches();
    assert_eq!(asked_with(&failing, &new).await.0, 401);
    assert_eq!(issuer.fetches(), before + 1, "it was asked");
    assert_eq!(asked_with(&failing, &old).await, (200, String::new()));
    // Where it answers, the new key counts and the old one does not, cached verdict or not.
    issuer.door.shut.store(false, Ordering::SeqCst);
    assert_eq!(asked_with(&server, &new).await, (200, String::new()));
    let (status, message) = asked_with(&server, &old).await;
    assert_eq!(status, 401);
    assert!(message.contains("signing key"), "{message}");
}

#[tokio::test]
async fn without_its_keys_an_issuers_tokens_are_neither_good_nor_bad() {
    let issuer = Authority::start().await;
    issuer.door.shut.store(true, Ordering::SeqCst);
    let server = issuer.trusted().await;
    let token = issuer.token().await;
    let (status, _) = asked_with(&server, &token).await;
    assert!(matches!(status, 401 | 503), "{status}");
    seen("it is told apart from a bad token", || async {
        (asked_with(&server, &token).await.0 == 503).then_some(())
    })
    .await;
    // Our own tokens do not care.
    let mut bot = server.bot().await;
    bot.call(server.phone_identity(), &[]).await.unwrap();
    bot.next(patience()).await.unwrap();
}
