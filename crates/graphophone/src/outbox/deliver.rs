//! One attempt to deliver one notification: the POST, its headers, and what the answer means
//! (spec/notifications.md §2 and §7).

use std::{error::Error, sync::Arc, time::Duration};

use graphophone_store::{NotificationRecord, UnixMillis};
use reqwest::{
    Method, Response, StatusCode,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
        RETRY_AFTER, USER_AGENT,
    },
};
use url::Url;
use uuid::Uuid;

use super::{
    client::{AddressGuard, Clients, Trust, refusal_in},
    counters::AttemptOutcome,
    schedule::retry_after,
};

/// Makes the bearer token of one attempt (the compact JWT, without `Bearer`).
pub type Signer = Arc<dyn Fn(&NotificationRecord, UnixMillis) -> String + Send + Sync>;
/// Tells the wall-clock time.
pub type WallClock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// Read of an answer's body at most, and only to be able to use the connection again.
pub(crate) const ANSWER_LIMIT: usize = 64 * 1024;
/// How long that reading may keep the next notification waiting.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of a failure's text that are kept.
const CAUSE_LIMIT: usize = 300;

/// The limits of one attempt.
#[derive(Clone, Debug)]
pub struct DeliverSettings {
    /// For name, connection and TLS handshake.
    pub connect_timeout: Duration,
    /// For the whole attempt up to the answer's head, redirects included.
    pub total_timeout: Duration,
    /// Redirects followed at most.
    pub redirects: u32,
    /// Whether the bearer token goes along when a redirect leads to another origin. Off: such a
    /// target gets the notification without `Authorization`, so that nobody can lure a token
    /// away. Bots that move between regions by redirect, and check tokens there, need it on; then
    /// it goes to https targets only.
    pub token_follows_redirects: bool,
}

impl Default for DeliverSettings {
    /// 5 s, 15 s, 3 redirects, the token stays at its origin.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(15),
            redirects: 3,
            token_follows_redirects: false,
        }
    }
}

/// Delivers by HTTP. Knows nothing of order and retries.
pub struct Deliverer {
    clients: Clients,
    signer: Signer,
    now: WallClock,
    settings: DeliverSettings,
}

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) outcome: AttemptOutcome,
    /// For the delivery log; no URL, no token.
    pub(super) cause: String,
    /// What the bot asked for.
    pub(super) retry_after: Option<Duration>,
}

impl Attempt {
    pub(super) fn new(outcome: AttemptOutcome, cause: impl Into<String>) -> Self {
        Self { outcome, cause: cause.into(), retry_after: None }
    }
}

impl Deliverer {
    /// Delivers with tokens from `signer` to addresses that `guard` permits.
    pub fn new(
        guard: AddressGuard,
        signer: Signer,
        now: WallClock,
        trust: Trust,
        settings: DeliverSettings,
    ) -> Self {
        let clients = Clients::new(guard, trust, settings.connect_timeout);
        Self { clients, signer, now, settings }
    }

    pub(super) fn now(&self) -> UnixMillis {
        (self.now)()
    }

    /// POSTs the notification once, following redirects.
    pub(super) async fn attempt(&self, notification: &NotificationRecord) -> Attempt {
        let total = self.settings.total_timeout;
        match tokio::time::timeout(total, self.follow(notification)).await {
            Ok((attempt, answer)) => {
                if let Some(answer) = answer {
                    finish_reading(answer).await;
                }
                attempt
            }
            Err(_) => Attempt::new(AttemptOutcome::TimedOut, format!("no answer within {total:?}")),
        }
    }

    async fn follow(&self, notification: &NotificationRecord) -> (Attempt, Option<Response>) {
        let first = match parse(&notification.url) {
            Ok(url) => url,
            Err(cause) => return (Attempt::new(AttemptOutcome::BadUrl, cause), None),
        };
        let mut url = first.clone();
        let mut hops = 0;
        loop {
            let with_token = hops == 0
                || url.origin() == first.origin()
                || (self.settings.token_follows_redirects && url.scheme() == "https");
            let answer = match self.post(notification, &url, with_token).await {
                Ok(answer) => answer,
                Err(attempt) => return (attempt, None),
            };
            let status = answer.status();
            if !is_followed(status) {
                return (self.judge(status, answer.headers()), Some(answer));
            }
            hops += 1;
            let target = if hops > self.settings.redirects {
                Err(format!("more than {} redirects", self.settings.redirects))
            } else {
                redirect_target(&url, answer.headers())
            };
            match target {
                Ok(target) => url = target,
                Err(cause) => {
                    let cause = format!("{}: {cause}", describe(status));
                    return (Attempt::new(AttemptOutcome::Redirected, cause), Some(answer));
                }
            }
        }
    }

    async fn post(
        &self,
        notification: &NotificationRecord,
        url: &Url,
        with_token: bool,
    ) -> Result<Response, Attempt> {
        self.clients
            .check_literal(url)
            .map_err(|refusal| Attempt::new(AttemptOutcome::Forbidden, refusal.to_string()))?;
        let client = self
            .clients
            .client(url)
            .map_err(|cause| Attempt::new(AttemptOutcome::Unreachable, cause))?;
        let mut headers = headers(notification, self.now());
        if with_token {
            headers.insert(AUTHORIZATION, self.authorization(notification)?);
        }
        let body = bytes::Bytes::from_owner(Arc::clone(&notification.body));
        // Put together by hand: the builder copies the headers into a map of its own.
        let mut request = reqwest::Request::new(Method::POST, url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = Some(body.into());
        client.execute(request).await.map_err(|error| classify(&error.without_url()))
    }

    fn authorization(&self, notification: &NotificationRecord) -> Result<HeaderValue, Attempt> {
        let token = (self.signer)(notification, self.now());
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
            Attempt::new(AttemptOutcome::Unreachable, "the signer made no usable token")
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn judge(&self, status: StatusCode, headers: &HeaderMap) -> Attempt {
        let outcome = if status.is_success() {
            AttemptOutcome::Delivered
        } else if status == StatusCode::GONE {
            AttemptOutcome::Gone
        } else if status.is_server_error() {
            AttemptOutcome::BotFailed
        } else {
            AttemptOutcome::Rejected
        };
        let asked = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        Attempt {
            outcome,
            cause: describe(status),
            retry_after: asked.and_then(|value| retry_after(value, self.now())),
        }
    }
}

/// Parses a URL that may be called at all. Credentials in it would displace our bearer token and
/// are dropped.
fn parse(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("not an http or https URL".into());
    }
    // Both fail only for URLs without a host, which http URLs have.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Ok(url)
}

const fn is_followed(status: StatusCode) -> bool {
    // 303 asks for a GET, which would not deliver anything.
    matches!(status.as_u16(), 301 | 302 | 307 | 308)
}

fn redirect_target(from: &Url, headers: &HeaderMap) -> Result<Url, String> {
    let location = headers
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .ok_or("no readable Location")?;
    let target = from.join(location).map_err(|error| format!("Location is no URL: {error}"))?;
    let target = parse(target.as_str())?;
    if from.scheme() == "https" && target.scheme() != "https" {
        return Err("from https to http is not followed".into());
    }
    Ok(target)
}

fn headers(notification: &NotificationRecord, now: UnixMillis) -> HeaderMap {
    const MESSAGE_ID: HeaderName = HeaderName::from_static("x-microsoft-skype-message-id");
    const ORIGINAL_MESSAGE_ID: HeaderName =
        HeaderName::from_static("x-microsoft-skype-original-message-id");
    const CHAIN_ID: HeaderName = HeaderName::from_static("x-microsoft-skype-chain-id");
    const SCENARIO_ID: HeaderName = HeaderName::from_static("scenario-id");
    const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
    const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
    let agent =
        concat!("Microsoft-Skype/3.0,(Calling/1.0) Graphophone/", env!("CARGO_PKG_VERSION"));

    let attempt_id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
    let guid = |id: Uuid| {
        HeaderValue::try_from(id.as_hyphenated().to_string()).expect("a GUID is header text")
    };
    HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8")),
        (ACCEPT, HeaderValue::from_static("application/json")),
        (USER_AGENT, HeaderValue::from_static(agent)),
        (CHAIN_ID, guid(notification.scenario_id)),
        (SCENARIO_ID, guid(notification.scenario_id)),
        (MESSAGE_ID, guid(attempt_id)),
        (ORIGINAL_MESSAGE_ID, guid(notification.id.0)),
        (WEBHOOK_ID, guid(notification.id.0)),
        (WEBHOOK_TIMESTAMP, HeaderValue::from(now.0.div_euclid(1_000))),
    ])
}

fn describe(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("HTTP {} {reason}", status.as_u16()),
        None => format!("HTTP {}", status.as_u16()),
    }
}

fn classify(error: &reqwest::Error) -> Attempt {
    if let Some(refusal) = refusal_in(error) {
        return Attempt::new(AttemptOutcome::Forbidden, refusal.to_string());
    }
    let outcome =
        if error.is_timeout() { AttemptOutcome::TimedOut } else { AttemptOutcome::Unreachable };
    let mut cause = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        // Wrappers often repeat what they wrap.
        if !cause.ends_with(&text) {
            cause.push_str(": ");
            cause.push_str(&text);
        }
        source = error.source();
    }
    cause.truncate(cause.floor_char_boundary(CAUSE_LIMIT));
    Attempt::new(outcome, cause)
}

/// Reads a short body to its end so that its connection can serve the next notification; a long
/// or slow one is cut off with its connection.
async fn finish_reading(mut answer: Response) {
    let reading = async {
        let mut read = 0;
        while let Ok(Some(chunk)) = answer.chunk().await {
            read += chunk.len();
            if read > ANSWER_LIMIT {
                break;
            }
        }
    };
    // The verdict stands already, whatever the body does.
    let _ = tokio::time::timeout(ANSWER_PATIENCE, reading).await;
}

#[cfg(test)]
mod tests;
