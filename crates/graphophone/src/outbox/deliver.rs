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
use uuid::Uuid;

use super::{
    client::{AddressGuard, Clients, Trust, refusal_in},
    counters::AttemptOutcome,
    redirect::{self, Hop, Redirects},
    schedule::retry_after,
    signature::WebhookSecrets,
};

/// Makes the bearer token of one attempt (the compact JWT, without `Bearer`).
pub type Signer = Arc<dyn Fn(&NotificationRecord, UnixMillis) -> String + Send + Sync>;
/// Tells the wall-clock time.
pub type WallClock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// Signatures over id, timestamp and body, a blank between two (Standard Webhooks 1.0.0).
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

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
    /// Which redirects are followed, three for an attempt at most.
    pub redirects: Redirects,
}

impl Default for DeliverSettings {
    /// 5 s, 15 s, no redirects.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(15),
            redirects: Redirects::Refuse,
        }
    }
}

/// Delivers by HTTP. Knows nothing of order and retries.
pub struct Deliverer {
    clients: Clients,
    signer: Signer,
    secrets: WebhookSecrets,
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
        Self { clients, signer, secrets: WebhookSecrets::default(), now, settings }
    }

    /// The same with signatures by these secrets beside the token.
    #[must_use]
    pub fn signing_with(self, secrets: WebhookSecrets) -> Self {
        Self { secrets, ..self }
    }

    /// The same with another resolver than the system's for the hosts of bots.
    pub fn with_names(self, names: Arc<dyn reqwest::dns::Resolve>) -> Self {
        Self { clients: self.clients.with_names(names), ..self }
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
        let first = match redirect::parse(&notification.url) {
            Ok(url) => url,
            Err(cause) => return (Attempt::new(AttemptOutcome::BadUrl, cause), None),
        };
        let mut hop = Hop { url: first.clone(), with_proof: true };
        let mut followed = 0;
        loop {
            let answer = match self.post(notification, &hop).await {
                Ok(answer) => answer,
                Err(attempt) => return (attempt, None),
            };
            let status = answer.status();
            if !redirect::is_redirect(status) {
                return (self.judge(status, answer.headers()), Some(answer));
            }
            followed += 1;
            let next = if followed > redirect::HOPS {
                Err(format!("more than {} redirects", redirect::HOPS))
            } else {
                let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
                redirect::target(self.settings.redirects, &first, &hop.url, location)
            };
            match next {
                Ok(next) => hop = next,
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
        Hop { url, with_proof }: &Hop,
    ) -> Result<Response, Attempt> {
        self.clients
            .check_literal(url)
            .map_err(|refusal| Attempt::new(AttemptOutcome::Forbidden, refusal.to_string()))?;
        let client = self
            .clients
            .client(url)
            .map_err(|cause| Attempt::new(AttemptOutcome::Unreachable, cause))?;
        let timestamp = self.now().0.div_euclid(1_000);
        let mut headers = headers(notification, timestamp);
        if *with_proof {
            headers.insert(AUTHORIZATION, self.authorization(notification)?);
            let id = notification.id.to_string();
            let body = &notification.body;
            if let Some(value) = self.secrets.header(notification.app, &id, timestamp, body) {
                headers.insert(WEBHOOK_SIGNATURE, value);
            }
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

/// `timestamp` is in unix seconds.
fn headers(notification: &NotificationRecord, timestamp: i64) -> HeaderMap {
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
        (WEBHOOK_TIMESTAMP, HeaderValue::from(timestamp)),
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
