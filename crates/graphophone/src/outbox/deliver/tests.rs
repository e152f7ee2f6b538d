//! What one attempt sends, and how it reads what comes back.

use std::{net::IpAddr, sync::Mutex};

use url::Url;

use super::*;
use crate::{
    auth::{AuthSettings, Authority, Keys, Secret},
    outbox::{
        bot::{Bot, NOW, Reply, notification},
        signature::WebhookSecret,
    },
};

fn deliverer(settings: DeliverSettings) -> Deliverer {
    deliverer_with(settings, Arc::new(|_, _| Ok(())))
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// With the secret of the application that all notifications are for.
fn signing(settings: DeliverSettings) -> Deliverer {
    deliverer(settings).signing_with(secrets())
}

fn secrets() -> WebhookSecrets {
    let app = notification(1, 1, "").app;
    WebhookSecrets::default().with(app, WebhookSecret::parse(&Secret::new(SECRET)).unwrap())
}

fn deliverer_with(settings: DeliverSettings, guard: AddressGuard) -> Deliverer {
    Deliverer::new(
        guard,
        Arc::new(|notification, now| format!("token-for-{}-at-{}", notification.sequence, now.0)),
        Arc::new(|| NOW),
        Trust::system_and(vec![]),
        settings,
    )
}

/// Redirects to everywhere.
fn following() -> DeliverSettings {
    DeliverSettings { redirects: Redirects::Allowed, ..patient() }
}

/// The defaults: where an answer comes, however late on a busy machine, it counts.
fn patient() -> DeliverSettings {
    DeliverSettings::default()
}

fn redirect(status: u16, location: &str) -> Reply {
    Reply::Raw(format!("HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"))
}

#[tokio::test]
async fn a_notification_carries_the_documented_headers_and_the_bytes_as_they_are() {
    let bot = Bot::start(|_, _| Reply::Status(202)).await;
    let record = notification(1, 1, &format!("{}/api/calls/42?ticket_id=a%2Fb", bot.origin));
    let deliverer = deliverer(patient());
    for _ in 0..2 {
        assert_eq!(deliverer.attempt(&record).await.outcome, AttemptOutcome::Delivered);
    }
    let requests = bot.requests();
    let first = &requests[0];
    assert_eq!(first.line, "POST /api/calls/42?ticket_id=a%2Fb HTTP/1.1");
    assert_eq!(first.body, *record.body);
    let id = record.id.to_string();
    for (name, value) in [
        ("authorization", "Bearer token-for-1-at-1790000000500"),
        ("content-type", "application/json; charset=utf-8"),
        ("accept", "application/json"),
        ("x-microsoft-skype-chain-id", "00000000-0000-0000-0000-000000000009"),
        ("scenario-id", "00000000-0000-0000-0000-000000000009"),
        ("x-microsoft-skype-original-message-id", &id),
        ("webhook-id", &id),
        ("webhook-timestamp", "1790000000"),
    ] {
        assert_eq!(first.header(name), Some(value), "{name}");
    }
    let agent = first.header("user-agent").unwrap();
    assert!(agent.starts_with("Microsoft-Skype/3.0,(Calling/1.0) Graphophone/"), "{agent}");

    let message_id = |request: &crate::outbox::bot::Request| {
        request.header("x-microsoft-skype-message-id").unwrap().parse::<Uuid>().unwrap()
    };
    assert_ne!(message_id(first), message_id(&requests[1]), "a fresh one per attempt");
    assert_eq!(requests[1].header("webhook-id"), Some(&*id), "the same one on each attempt");
}

/// P4: by these a bot knows a notification again, and believes it whenever it comes.
#[tokio::test]
async fn every_attempt_has_the_same_id_and_bytes_a_fresh_time_and_a_token_with_life_left() {
    let bot = Bot::start(|_, _| Reply::Status(503)).await;
    let record = notification(1, 1, &bot.origin);
    let settings = AuthSettings { auto_provision: true, ..AuthSettings::default() };
    let authority = Authority::new(settings, Keys::ephemeral().unwrap()).unwrap();
    let clock = Arc::new(Mutex::new(0));
    let deliverer = Deliverer::new(
        Arc::new(|_, _| Ok(())),
        Arc::new(move |record, now| {
            let seconds = u64::try_from(now.0 / 1_000).unwrap();
            authority.sign_notification(record.app, record.tenant, seconds)
        }),
        Arc::new({
            let clock = Arc::clone(&clock);
            move || UnixMillis(*clock.lock().unwrap() * 1_000 + 999)
        }),
        Trust::system_and(vec![]),
        patient(),
    )
    .signing_with(secrets());
    // The promised times of a day, those just before and behind a token's renewal, and a clock
    // that goes back an hour.
    let begin = 1_790_000_000;
    let mut times: Vec<i64> = crate::outbox::Schedule::default()
        .attempts_at
        .iter()
        .map(|at| i64::try_from(at.as_secs()).unwrap())
        .collect();
    times.extend([86_400 + 3_299, 86_400 + 3_301, 86_400 + 3_900, 82_800]);
    for time in &times {
        *clock.lock().unwrap() = begin + time;
        assert_eq!(deliverer.attempt(&record).await.outcome, AttemptOutcome::BotFailed);
    }
    let reference = standardwebhooks::Webhook::new(SECRET).unwrap();
    let mut tokens = std::collections::BTreeSet::new();
    for (request, time) in bot.requests().iter().zip(&times) {
        let now = begin + time;
        let header = |name: &str| request.header(name).unwrap();
        assert_eq!(header("webhook-id"), record.id.to_string());
        assert_eq!(request.body, *record.body);
        assert_eq!(header("webhook-timestamp"), now.to_string(), "fresh at each attempt");
        let signature = reference.sign(header("webhook-id"), now, &request.body).unwrap();
        assert_eq!(header("webhook-signature"), signature);
        let token = header("authorization").strip_prefix("Bearer ").unwrap();
        let claims = token.split('.').nth(1).unwrap();
        let claims =
            base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims);
        let claims: serde_json::Value = serde_json::from_slice(&claims.unwrap()).unwrap();
        let left = claims["exp"].as_i64().unwrap() - now;
        assert!(left >= 60, "{left} s of life at {time} s");
        assert!(claims["nbf"].as_i64().unwrap() <= now, "valid already at {time} s");
        tokens.insert(token.to_owned());
    }
    assert_eq!(bot.requests().len(), times.len());
    assert!(tokens.len() > 5, "{} tokens", tokens.len());
}

#[tokio::test]
async fn answers_mean_what_the_spec_says() {
    for (status, outcome) in [
        (200, AttemptOutcome::Delivered),
        (202, AttemptOutcome::Delivered),
        (204, AttemptOutcome::Delivered),
        (303, AttemptOutcome::Rejected),
        (304, AttemptOutcome::Rejected),
        (401, AttemptOutcome::Rejected),
        (404, AttemptOutcome::Rejected),
        (410, AttemptOutcome::Gone),
        (429, AttemptOutcome::Rejected),
        (500, AttemptOutcome::BotFailed),
        (503, AttemptOutcome::BotFailed),
    ] {
        let bot = Bot::start(move |_, _| Reply::Status(status)).await;
        let attempt = deliverer(patient()).attempt(&notification(1, 1, &bot.origin)).await;
        assert_eq!(attempt.outcome, outcome, "{status}");
        assert!(attempt.cause.starts_with(&format!("HTTP {status}")), "{}", attempt.cause);
        assert_eq!(attempt.retry_after, None);
    }
}

#[tokio::test]
async fn retry_after_is_passed_on() {
    let bot = Bot::start(|_, _| {
        Reply::Raw("HTTP/1.1 429 X\r\nRetry-After: 17\r\nContent-Length: 0\r\n\r\n".into())
    })
    .await;
    let attempt = deliverer(patient()).attempt(&notification(1, 1, &bot.origin)).await;
    assert_eq!(attempt.retry_after, Some(Duration::from_secs(17)));
}

#[tokio::test]
async fn no_answer_in_time_is_a_time_out() {
    let bot = Bot::start(|_, _| Reply::Hang).await;
    let total_timeout = Duration::from_millis(100);
    let settings = DeliverSettings { total_timeout, ..patient() };
    let attempt = deliverer(settings).attempt(&notification(1, 1, &bot.origin)).await;
    assert_eq!(attempt.outcome, AttemptOutcome::TimedOut);
}

#[tokio::test]
async fn a_broken_or_refused_connection_is_told_without_the_url() {
    let bot = Bot::start(|_, _| Reply::Close).await;
    let url = format!("{}/calls?sig=SECRET", bot.origin);
    let record = notification(1, 1, &url);
    let attempt = deliverer(patient()).attempt(&record).await;
    assert_eq!(attempt.outcome, AttemptOutcome::Unreachable);
    assert!(!attempt.cause.contains("SECRET"), "{}", attempt.cause);

    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let record = notification(1, 1, &format!("http://{free}/calls?sig=SECRET"));
    let attempt = deliverer(patient()).attempt(&record).await;
    assert_eq!(attempt.outcome, AttemptOutcome::Unreachable);
    assert!(attempt.cause.contains("refused"), "{}", attempt.cause);
    assert!(!attempt.cause.contains("SECRET"), "{}", attempt.cause);
}

#[tokio::test]
async fn a_2xx_counts_whatever_its_body_does() {
    for body in [
        "Content-Length: 5000\r\n\r\nshort".to_owned(), // and then nothing
        format!("Content-Length: 300000\r\n\r\n{}", "x".repeat(300_000)),
        "Transfer-Encoding: chunked\r\n\r\nzzz\r\n".to_owned(),
    ] {
        let bot = Bot::start(move |_, _| Reply::Raw(format!("HTTP/1.1 200 OK\r\n{body}"))).await;
        let begin = std::time::Instant::now();
        let attempt = deliverer(patient()).attempt(&notification(1, 1, &bot.origin)).await;
        assert_eq!(attempt.outcome, AttemptOutcome::Delivered);
        assert!(begin.elapsed() < Duration::from_secs(10), "a body may not hold up the call");
    }
}

#[tokio::test]
async fn redirects_are_followed_with_the_same_body_three_times() {
    for status in [301, 302, 307, 308] {
        let bot = Bot::start(move |request, _| match request.line.split(' ').nth(1).unwrap() {
            "/0" => redirect(status, "/1"),
            "/1" => redirect(status, "2"),
            "/2" => redirect(status, "/3?x=1"),
            _ => Reply::Status(200),
        })
        .await;
        let record = notification(1, 1, &format!("{}/0", bot.origin));
        let attempt = deliverer(following()).attempt(&record).await;
        assert_eq!(attempt.outcome, AttemptOutcome::Delivered);
        let requests = bot.requests();
        assert_eq!(requests.len(), 4);
        for request in requests {
            assert!(request.line.starts_with("POST "));
            assert_eq!(request.body, *record.body);
            assert!(request.header("authorization").is_some());
        }
    }
}

#[tokio::test]
async fn a_fourth_redirect_and_a_loop_are_failures() {
    let bot = Bot::start(|_, _| redirect(302, "/again")).await;
    let attempt = deliverer(following()).attempt(&notification(1, 1, &bot.origin)).await;
    assert_eq!(attempt.outcome, AttemptOutcome::Redirected);
    assert_eq!(bot.requests().len(), 4);
}

#[tokio::test]
async fn a_redirect_without_a_usable_target_is_a_failure() {
    for location in ["", "X-Other: 1\r\n", "Location: http://\r\n", "Location: file:///etc\r\n"] {
        let head = format!("HTTP/1.1 302 X\r\n{location}Content-Length: 0\r\n\r\n");
        let bot = Bot::start(move |_, _| Reply::Raw(head.clone())).await;
        let attempt = deliverer(following()).attempt(&notification(1, 1, &bot.origin)).await;
        assert_eq!(attempt.outcome, AttemptOutcome::Redirected, "{location:?}");
        assert_eq!(bot.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_redirect_to_another_origin_does_not_get_what_proves_the_sender() {
    let other = Bot::start(|_, _| Reply::Status(200)).await;
    let target = other.origin.clone();
    let bot = Bot::start(move |_, _| redirect(302, &target)).await;
    let record = notification(1, 1, &bot.origin);
    let attempt = signing(following()).attempt(&record).await;
    assert_eq!(attempt.outcome, AttemptOutcome::Delivered);
    for name in ["authorization", "webhook-signature"] {
        assert_eq!(other.requests()[0].header(name), None, "the target is not https");
        assert!(bot.requests()[0].header(name).is_some());
    }
    let same_host = DeliverSettings { redirects: Redirects::SameHost, ..patient() };
    let attempt = signing(same_host).attempt(&record).await;
    assert_eq!(attempt.outcome, AttemptOutcome::Redirected, "{}", attempt.cause);
    assert_eq!(other.requests().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_a_failure_where_nobody_asked_for_it() {
    let bot = Bot::start(|_, _| redirect(307, "/other")).await;
    let attempt = deliverer(patient()).attempt(&notification(1, 1, &bot.origin)).await;
    assert_eq!(attempt.outcome, AttemptOutcome::Redirected);
    assert!(attempt.cause.contains("callbacks.redirects"), "{}", attempt.cause);
    assert_eq!(bot.requests().len(), 1);
}

#[tokio::test]
async fn the_guard_is_asked_before_each_connection_and_no_refused_address_is_called() {
    let forbidden = Bot::start(|_, _| Reply::Status(200)).await;
    let port: u16 = forbidden.origin.rsplit(':').next().unwrap().parse().unwrap();
    let by_name = format!("http://localhost:{port}/");
    for target in [forbidden.origin.clone(), by_name] {
        let bot = Bot::start({
            let target = target.clone();
            move |_, _| redirect(307, &target)
        })
        .await;
        let guard: AddressGuard =
            Arc::new(
                move |url: &Url, _: IpAddr| {
                    if url.port() == Some(port) { Err("own listener".into()) } else { Ok(()) }
                },
            );
        for url in [&bot.origin, &target] {
            let deliverer = deliverer_with(following(), Arc::clone(&guard));
            let attempt = deliverer.attempt(&notification(1, 1, url)).await;
            assert_eq!(attempt.outcome, AttemptOutcome::Forbidden, "{url}");
            assert!(attempt.cause.contains("own listener"), "{}", attempt.cause);
        }
    }
    assert!(forbidden.requests().is_empty());
}

#[tokio::test]
async fn what_is_no_http_url_is_not_tried() {
    for url in ["", "bot.example/calls", "ftp://bot.example/", "http://", "javascript:1"] {
        let attempt = deliverer(patient()).attempt(&notification(1, 1, url)).await;
        assert_eq!(attempt.outcome, AttemptOutcome::BadUrl, "{url}");
    }
}

#[tokio::test]
async fn credentials_in_the_url_do_not_displace_the_token() {
    let bot = Bot::start(|_, _| Reply::Status(200)).await;
    let url = bot.origin.replace("http://", "http://user:word@");
    let attempt = deliverer(patient()).attempt(&notification(1, 1, &url)).await;
    assert_eq!(attempt.outcome, AttemptOutcome::Delivered);
    let token = bot.requests()[0].header("authorization").unwrap().to_owned();
    assert!(token.starts_with("Bearer token-for-1"), "{token}");
}

#[tokio::test]
async fn https_needs_a_trusted_certificate() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = certified.cert.der().clone();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(
        vec![certificate.clone()],
        certified.signing_key.serialize_der().try_into().unwrap(),
    )
    .unwrap();
    let seen = Arc::new(Mutex::new(0));
    let app = axum::Router::new().fallback({
        let seen = Arc::clone(&seen);
        move || async move { *seen.lock().unwrap() += 1 }
    });
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = axum_server::tls_rustls::RustlsConfig::from_config(Arc::new(config));
    let server = axum_server::from_tcp_rustls(listener, tls).unwrap();
    let serving = tokio::spawn(server.serve(app.into_make_service()));

    let record = notification(1, 1, &format!("https://localhost:{port}/"));
    let refused = deliverer(patient()).attempt(&record).await;
    assert_eq!(refused.outcome, AttemptOutcome::Unreachable);
    assert!(refused.cause.contains("certificate"), "{}", refused.cause);
    assert_eq!(*seen.lock().unwrap(), 0);

    let trusting = Deliverer::new(
        Arc::new(|_, _| Ok(())),
        Arc::new(|_, _| "token".into()),
        Arc::new(|| NOW),
        Trust::system_and(vec![certificate]),
        patient(),
    );
    assert_eq!(trusting.attempt(&record).await.outcome, AttemptOutcome::Delivered);
    assert_eq!(*seen.lock().unwrap(), 1);
    serving.abort();
}
