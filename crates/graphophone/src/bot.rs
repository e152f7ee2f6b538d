//! A small bot: serves prompts on loopback, receives and checks notifications, speaks the API.
//! What `graphophone demo`, `graphophone play` and the tests share.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::{Context, anyhow, bail, ensure};
use axum::{
    Router,
    body::Bytes,
    extract::{Path as UrlPath, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use graphophone_call::AppId;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, time::Instant};

use crate::{
    auth::{keys::Jwks, signer::verify_notification, unix_now},
    server::Ready,
};

/// Longest a response may take.
const RESPONSE_WITHIN: Duration = Duration::from_secs(15);

/// A file to be played.
#[derive(Clone, Debug)]
pub struct PromptFile {
    /// For people.
    pub name: String,
    /// The whole file.
    pub bytes: Bytes,
}

impl PromptFile {
    /// The two prompts that ship in the binary.
    pub fn built_in() -> Vec<Self> {
        let file = |name: &str, bytes: &'static [u8]| Self {
            name: name.to_owned(),
            bytes: Bytes::from_static(bytes),
        };
        vec![
            file("demo-1.wav", include_bytes!("../assets/demo-1.wav")),
            file("demo-2.wav", include_bytes!("../assets/demo-2.wav")),
        ]
    }

    /// Reads files.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub fn read_all(paths: &[PathBuf]) -> anyhow::Result<Vec<Self>> {
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path)
            .with_context(|| format!("the prompt {} cannot be read", path.display()))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Self { name: name.unwrap_or_default(), bytes: bytes.into() })
    }
}

/// Who the bot is.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Tenant id.
    pub tenant: String,
    /// Application id.
    pub client_id: AppId,
    /// Client secret.
    pub client_secret: String,
}

impl Credentials {
    /// Those of the dev profile's first application; `None` in production.
    pub fn of_dev(ready: &Ready) -> Option<Self> {
        Some(Self {
            tenant: ready.tenant?.to_string(),
            client_id: AppId::new(ready.client_id?),
            client_secret: ready.client_secret.clone()?,
        })
    }
}

/// A notification that reached the bot.
#[derive(Clone, Debug)]
pub struct Received {
    /// When it came.
    pub at: Instant,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The body as it came: what a signature by Standard Webhooks is over.
    pub bytes: Bytes,
    /// `value[0]` of the body.
    pub value: Value,
    /// Whether its token is good; the text says why not.
    pub signature: Result<(), String>,
}

/// A response of the API.
#[derive(Clone, Debug)]
pub struct Answer {
    /// When its last byte was read.
    pub at: Instant,
    /// HTTP status.
    pub status: StatusCode,
    /// Response headers.
    pub headers: HeaderMap,
    /// The body; null if it is empty or not JSON.
    pub body: Value,
}

impl Answer {
    /// The body of a success.
    ///
    /// # Errors
    /// The error's message, for any other status.
    pub fn ok(self) -> anyhow::Result<Value> {
        let error = &self.body["error"];
        ensure!(
            self.status.is_success(),
            "{} {}: {}",
            self.status,
            error["code"].as_str().unwrap_or("?"),
            error["message"].as_str().unwrap_or("no message")
        );
        Ok(self.body)
    }
}

/// The bot.
pub struct Bot {
    http: reqwest::Client,
    base: String,
    token: String,
    tenant: String,
    address: SocketAddr,
    files: Files,
    notifications: mpsc::Receiver<Received>,
}

type Files = Arc<RwLock<BTreeMap<String, Bytes>>>;

struct Host {
    files: Files,
    app: AppId,
    jwks: Jwks,
    notifications: mpsc::Sender<Received>,
}

impl Bot {
    /// Starts the bot's own HTTP server on `listener` and gets a token from `base`.
    ///
    /// # Errors
    /// When the server does not answer or gives no token.
    pub async fn start(
        base: &str,
        credentials: Credentials,
        listener: TcpListener,
    ) -> anyhow::Result<Self> {
        let Credentials { tenant, client_id, client_secret } = credentials;
        let http = http_client()?;
        let token = fetch_token(base, &tenant, &client_id.to_string(), &client_secret).await?;
        let token = token["access_token"].as_str().context("no access_token")?.to_owned();
        let openid = format!("{base}/v1/.well-known/OpenIdConfiguration");
        let openid: Value = http.get(openid).send().await?.json().await?;
        let jwks = openid["jwks_uri"].as_str().context("no jwks_uri")?;
        let jwks = http.get(jwks).send().await?.json().await?;

        let address = listener.local_addr()?;
        let (sender, notifications) = mpsc::channel(4096);
        let files = Files::default();
        let host = Host { files: files.clone(), app: client_id, jwks, notifications: sender };
        let router = Router::new()
            .route("/prompts/{name}", get(send_prompt))
            .route("/callback", post(take_notification))
            .with_state(Arc::new(host));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let base = base.to_owned();
        Ok(Self { http, base, token, tenant, address, files, notifications })
    }

    /// Serves a file; where, comes back.
    pub fn serve(&self, name: &str, bytes: impl Into<Bytes>) -> String {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        files.insert(name.to_owned(), bytes.into());
        format!("http://{}/prompts/{name}", self.address)
    }

    /// Where its notifications go.
    pub fn callback_uri(&self) -> String {
        format!("http://{}/callback", self.address)
    }

    /// Its access token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Creates a call to a Graph identity (`{"user": {"id": …}}` or `{"phone": …}`); its id comes
    /// back.
    ///
    /// # Errors
    /// The API's refusal.
    pub async fn call(&self, identity: Value, prefetch: &[String]) -> anyhow::Result<String> {
        let body = self.new_call(identity, prefetch);
        let call = self.send(Method::POST, "/v1.0/communications/calls", Some(body)).await?.ok()?;
        call["id"].as_str().map(str::to_owned).context("the call has no id")
    }

    /// The body of a create.
    pub fn new_call(&self, identity: Value, prefetch: &[String]) -> Value {
        json!({
            "@odata.type": "#microsoft.graph.call",
            "callbackUri": self.callback_uri(),
            "requestedModalities": ["audio"],
            "tenantId": self.tenant,
            "mediaConfig": {
                "@odata.type": "#microsoft.graph.serviceHostedMediaConfig",
                "preFetchMedia": prefetch.iter().map(|uri| media_info(uri)).collect::<Vec<_>>(),
            },
            "targets": [{
                "@odata.type": "#microsoft.graph.invitationParticipantInfo",
                "identity": identity,
            }],
        })
    }

    /// Plays prompts as one operation; its id comes back.
    ///
    /// # Errors
    /// The API's refusal.
    pub async fn play(&self, call: &str, uris: &[String], looping: bool) -> anyhow::Result<String> {
        let prompt = |uri: &String| json!({"@odata.type": "#microsoft.graph.mediaPrompt", "mediaInfo": media_info(uri)});
        let prompts: Vec<Value> = uris.iter().map(prompt).collect();
        let body = json!({"prompts": prompts, "loop": looping, "clientContext": "graphophone"});
        let path = format!("/v1.0/communications/calls/{call}/playPrompt");
        let operation = self.send(Method::POST, &path, Some(body)).await?.ok()?;
        ensure!(operation["status"] == "running", "the operation is {}", operation["status"]);
        operation["id"].as_str().map(str::to_owned).context("the operation has no id")
    }

    /// Cancels all media operations of a call.
    ///
    /// # Errors
    /// The API's refusal.
    pub async fn cancel(&self, call: &str) -> anyhow::Result<Answer> {
        let path = format!("/v1.0/communications/calls/{call}/cancelMediaProcessing");
        let answer = self.send(Method::POST, &path, Some(json!({}))).await?;
        answer.clone().ok()?;
        Ok(answer)
    }

    /// An operation as it is now, with its receipt.
    ///
    /// # Errors
    /// The API's refusal.
    pub async fn operation(&self, call: &str, id: &str) -> anyhow::Result<Value> {
        let path = format!("/v1.0/communications/calls/{call}/operations/{id}");
        self.send(Method::GET, &path, None).await?.ok()
    }

    /// Hangs up, unless the far end was quicker.
    ///
    /// # Errors
    /// The API's refusal.
    pub async fn hang_up(&self, call: &str) -> anyhow::Result<()> {
        let path = format!("/v1.0/communications/calls/{call}");
        let answer = self.send(Method::DELETE, &path, None).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        answer.ok().map(drop)
    }

    /// Sends a request with its token.
    ///
    /// # Errors
    /// When no response comes.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Answer> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(body) = &body {
            request = request.json(body);
        }
        self.finish(request.bearer_auth(&self.token)).await
    }

    /// Sends any body with its token.
    ///
    /// # Errors
    /// When no response comes.
    pub async fn post_bytes(
        &self,
        path: &str,
        content_type: Option<&str>,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Answer> {
        let mut request = self.http.post(format!("{}{path}", self.base)).body(body.into());
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        self.finish(request.bearer_auth(&self.token)).await
    }

    async fn finish(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
        let response = request.timeout(RESPONSE_WITHIN).send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Answer { at: Instant::now(), status, headers, body })
    }

    /// The next notification, which must be signed well.
    ///
    /// # Errors
    /// When none comes in time, or its signature is not good.
    pub async fn next(&mut self, deadline: Instant) -> anyhow::Result<Received> {
        let next = tokio::time::timeout_at(deadline, self.notifications.recv()).await;
        let received = next
            .map_err(|_| anyhow!("no notification came in time"))?
            .context("the bot's own server has stopped")?;
        if let Err(reason) = &received.signature {
            bail!("a notification is not signed well: {reason}");
        }
        Ok(received)
    }

    /// Takes notifications until `wanted` says so; all of them come back.
    ///
    /// # Errors
    /// When the call ends before that, with its reason, or nothing comes in time.
    pub async fn until(
        &mut self,
        deadline: Instant,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Vec<Received>> {
        let mut all = Vec::new();
        loop {
            let received = self.next(deadline).await?;
            let data = &received.value["resourceData"];
            let is_wanted = wanted(&received.value);
            let ended = is_terminated(&received.value).then(|| data["resultInfo"].clone());
            all.push(received);
            if is_wanted {
                return Ok(all);
            }
            if let Some(result) = ended {
                bail!(
                    "the call ended: {} ({}/{})",
                    result["message"].as_str().unwrap_or("no reason given"),
                    result["code"],
                    result["subcode"]
                );
            }
        }
    }
}

/// A client that reaches servers directly: a proxy named in the environment (`HTTP_PROXY`) would be
/// asked for loopback addresses of its own machine.
///
/// # Errors
/// None in practice: the TLS library reports its failures here.
pub fn http_client() -> anyhow::Result<reqwest::Client> {
    crate::auth::tls::install_crypto_provider();
    Ok(reqwest::Client::builder().no_proxy().build()?)
}

/// Asks the token endpoint with a client secret; the whole response comes back.
///
/// # Errors
/// When no server answers, or it refuses; with its reason.
pub async fn fetch_token(url: &str, tenant: &str, id: &str, secret: &str) -> anyhow::Result<Value> {
    let endpoint = format!("{url}/{tenant}/oauth2/v2.0/token");
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", id),
        ("client_secret", secret),
        ("scope", "https://graph.microsoft.com/.default"),
    ];
    let response = http_client()?
        .post(&endpoint)
        .form(&form)
        .timeout(RESPONSE_WITHIN)
        .send()
        .await
        .with_context(|| {
            format!("no server answers at {url} (start one with `graphophone dev`)")
        })?;
    let status = response.status();
    let body: Value = response.json().await.context("the token endpoint did not send JSON")?;
    if !status.is_success() {
        bail!("{endpoint} answers {status}: {}", body["error_description"].as_str().unwrap_or("?"));
    }
    Ok(body)
}

/// Whether a notification says that the call has audio.
pub fn is_audio_active(value: &Value) -> bool {
    value["resourceData"]["mediaState"]["audio"] == "active"
}

/// Whether a notification says that this operation is over.
pub fn is_end_of(value: &Value, operation: &str) -> bool {
    value["changeType"] == "deleted" && value["resourceData"]["id"] == operation
}

/// Whether a notification says that its call is over.
pub fn is_terminated(value: &Value) -> bool {
    value["resourceData"]["state"] == "terminated"
}

/// The receipts of an operation's prompts.
pub fn receipts(operation: &Value) -> impl Iterator<Item = &Value> {
    operation["graphophoneReceipt"]["prompts"].as_array().into_iter().flatten()
}

/// Milliseconds of audio that an operation has sent.
pub fn sent_ms(operation: &Value) -> u64 {
    receipts(operation).filter_map(|prompt| prompt["millisecondsSent"].as_u64()).sum()
}

/// Milliseconds of an operation that the far end has acknowledged, if it reports at all.
pub fn acknowledged_ms(operation: &Value) -> Option<u64> {
    receipts(operation)
        .filter(|prompt| prompt["millisecondsSent"] != 0)
        .map(|prompt| prompt["millisecondsAcknowledged"].as_u64())
        .sum()
}

fn media_info(uri: &str) -> Value {
    // The URI is the cache key, too: the same file is fetched once.
    let id: String = uri.chars().rev().take(200).collect();
    json!({"@odata.type": "#microsoft.graph.mediaInfo", "uri": uri, "resourceId": id})
}

async fn send_prompt(
    State(host): State<Arc<Host>>,
    UrlPath(name): UrlPath<String>,
) -> impl IntoResponse {
    let files = host.files.read().unwrap_or_else(PoisonError::into_inner);
    match files.get(&name) {
        Some(bytes) => Ok(([(header::CONTENT_TYPE, "audio/wav")], bytes.clone())),
        None => Err(StatusCode::NOT_FOUND),
    }
}

async fn take_notification(
    State(host): State<Arc<Host>>,
    headers: HeaderMap,
    bytes: Bytes,
) -> StatusCode {
    let at = Instant::now();
    let Ok(body) = serde_json::from_slice::<Value>(&bytes) else { return StatusCode::BAD_REQUEST };
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let signature = match token {
        Some(token) => verify_notification(token, host.app, &host.jwks, unix_now())
            .map(drop)
            .map_err(|error| error.to_string()),
        None => Err("it carries no bearer token".to_owned()),
    };
    let received = Received { at, headers, bytes, value: body["value"][0].clone(), signature };
    match host.notifications.send(received).await {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::GONE,
    }
}
