//! One GET of a prompt into a spool file: redirects by hand, every phase bounded in time and bytes.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{
        ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap,
        HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LOCATION, TRANSFER_ENCODING,
        USER_AGENT,
    },
};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use tempfile::TempPath;
use tokio::{
    fs::File,
    io::AsyncWriteExt,
    time::{Instant, timeout, timeout_at},
};
use url::Url;

use super::{
    connect::{Connector, roots},
    fetch_error::{FetchError, explain, is_lost, malformed},
    freshness::{CachePolicy, Validators},
    guard::{Guard, Refusal},
};

/// Bytes hyper may buffer per connection, which is also the limit for response headers. With one
/// buffer being written to disk and one in the file's hands it keeps a fetch below 64 KiB.
const READ_BUFFER: usize = 16 * 1024;
const AGENT: &str = concat!("Graphophone/", env!("CARGO_PKG_VERSION"));
const ACCEPTED: &str = "audio/wav, audio/x-wav, audio/*;q=0.9, */*;q=0.1";
/// First bytes of a body that are kept for messages.
const BEGINNING: usize = 48;
/// Connections kept for the next GET to the same host, and how long: Node's servers close after 5 s.
const IDLE_PER_HOST: usize = 4;
const IDLE_FOR: Duration = Duration::from_secs(4);

/// Bounds of one fetch.
#[derive(Clone, Debug)]
pub struct FetchLimits {
    /// Name look-up, TCP and TLS of one hop. Default 5 s.
    pub connect: Duration,
    /// From the request of one hop to its response headers, connecting included. Default 10 s.
    pub first_byte: Duration,
    /// From the wish to the last byte, waiting for a free slot included. Default 30 s.
    pub total: Duration,
    /// Least progress of a body, in bytes per second. Default 1000.
    pub floor: u64,
    /// Time over which `floor` is measured. Default 5 s.
    pub floor_window: Duration,
    /// Longest body in bytes. Default 32 MiB.
    pub max_bytes: u64,
    /// Redirects followed. Default 3.
    pub max_redirects: u32,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(10),
            total: Duration::from_secs(30),
            floor: 1_000,
            floor_window: Duration::from_secs(5),
            max_bytes: 32 * 1024 * 1024,
            max_redirects: 3,
        }
    }
}

/// A fetched body on disk; the file goes with the last owner.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) file: TempPath,
    pub(crate) length: u64,
    /// SHA-256 of the file as received.
    pub(crate) digest: [u8; 32],
    pub(crate) content_type: Option<String>,
    /// Whether HTTP said how long it is. A body that ends with its connection may have been cut.
    pub(crate) framed: bool,
}

pub(crate) enum Fetched {
    Body(Body, CachePolicy),
    NotModified(CachePolicy),
}

/// Makes GETs; cheap to clone.
#[derive(Clone)]
pub(crate) struct Fetcher {
    guard: Guard,
    client: Client<Connector, Full<Bytes>>,
    limits: Arc<FetchLimits>,
    directory: Arc<PathBuf>,
}

impl Fetcher {
    /// Spools into `directory`, which exists and is ours.
    pub(crate) fn new(
        guard: Guard,
        limits: FetchLimits,
        directory: PathBuf,
        extra_roots: &[CertificateDer<'static>],
    ) -> Self {
        let connector = Connector::new(guard.clone(), limits.connect, roots(extra_roots));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .http1_max_buf_size(READ_BUFFER)
            .build(connector);
        Self { guard, client, limits: Arc::new(limits), directory: Arc::new(directory) }
    }

    /// Judges a URI without asking anyone.
    pub(crate) fn check(&self, uri: &str) -> Result<Url, Refusal> {
        self.guard.check_uri(uri)
    }

    /// Gets `url` until `deadline`; `name` begins the spool file's name and is safe in a path.
    pub(crate) async fn get(
        &self,
        url: Url,
        known: &Validators,
        name: &str,
        deadline: Instant,
    ) -> Result<Fetched, FetchError> {
        let mut received = 0;
        match timeout_at(deadline, self.follow(url, known, name, &mut received)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(FetchError::PeerTotalTimeout { limit: self.limits.total, received }),
        }
    }

    /// Posts a text and takes the answer as a file; no redirect is followed.
    pub(crate) async fn post(
        &self,
        url: Url,
        text: &str,
        name: &str,
        deadline: Instant,
    ) -> Result<Body, FetchError> {
        let mut received = 0;
        let host = super::guard::origin(&url);
        let request = Request::post(url.as_str())
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, ACCEPTED)
            .header(ACCEPT_ENCODING, "identity")
            .header(CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(Full::from(text.to_owned()));
        let work = async {
            let response = self.ask(request, &host).await?;
            match response.status() {
                StatusCode::OK => self.spool(response, &host, name, &mut received).await,
                status => Err(self.refused_by_status(status, host, response).await),
            }
        };
        match timeout_at(deadline, work).await {
            Ok(Ok(Fetched::Body(body, _))) => Ok(body),
            Ok(Err(error)) => Err(error),
            Ok(Ok(Fetched::NotModified(_))) | Err(_) => {
                Err(FetchError::PeerTotalTimeout { limit: self.limits.total, received })
            }
        }
    }

    async fn follow(
        &self,
        mut url: Url,
        known: &Validators,
        name: &str,
        received: &mut u64,
    ) -> Result<Fetched, FetchError> {
        let mut hops = 0;
        loop {
            let host = super::guard::origin(&url);
            let response = self.ask(request(&url, known), &host).await?;
            match response.status() {
                StatusCode::OK => return self.spool(response, &host, name, received).await,
                StatusCode::NOT_MODIFIED if !known.is_empty() => {
                    return Ok(Fetched::NotModified(CachePolicy::of(response.headers())));
                }
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    hops += 1;
                    if hops > self.limits.max_redirects {
                        let limit = self.limits.max_redirects;
                        return Err(FetchError::PeerRedirectsTooOften { host, limit });
                    }
                    url = self.target(&url, &host, &response)?;
                }
                status => return Err(self.refused_by_status(status, host, response).await),
            }
        }
    }

    async fn ask(
        &self,
        request: Result<Request<Full<Bytes>>, hyper::http::Error>,
        host: &str,
    ) -> Result<Response<Incoming>, FetchError> {
        let request = request.map_err(|source| FetchError::PeerProtocol {
            host: host.to_owned(),
            reason: source.to_string(),
        })?;
        let limit = self.limits.first_byte;
        let answer = async {
            match self.client.request(request.clone()).await {
                // A host may close a kept connection in the moment in which we use it again.
                Err(error) if is_lost(&error) => self.client.request(request).await,
                outcome => outcome,
            }
        };
        match timeout(limit, answer).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(explain(&error, host)),
            Err(_) => Err(FetchError::PeerFirstByteTimeout { host: host.to_owned(), limit }),
        }
    }

    /// Where a redirect leads, if we go there.
    fn target<B>(&self, from: &Url, host: &str, response: &Response<B>) -> Result<Url, FetchError> {
        let status = response.status();
        let invalid = || FetchError::PeerRedirectInvalid { host: host.to_owned(), status };
        let location = response.headers().get(LOCATION).ok_or_else(invalid)?;
        let location = location.to_str().map_err(|_| invalid())?;
        if location.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(invalid());
        }
        let target = from.join(location).map_err(|_| invalid())?;
        if from.scheme() == "https" && target.scheme() == "http" {
            let target = super::guard::origin(&target);
            return Err(FetchError::PeerRedirectDowngrade { host: host.to_owned(), target });
        }
        Ok(self.guard.check_uri(target.as_str())?)
    }

    async fn refused_by_status(
        &self,
        status: StatusCode,
        host: String,
        response: Response<Incoming>,
    ) -> FetchError {
        let content_type = content_type(response.headers());
        let mut body = response.into_body();
        let mut begins = Vec::new();
        // The message is worth a moment, not the whole deadline.
        let _ = timeout(self.limits.first_byte.min(Duration::from_secs(1)), async {
            while begins.len() < BEGINNING
                && let Some(Ok(frame)) = body.frame().await
            {
                note(&mut begins, frame.data_ref().map_or(&[], |data| data));
            }
        })
        .await;
        FetchError::PeerStatus { host, status, content_type, begins }
    }

    async fn spool(
        &self,
        response: Response<Incoming>,
        host: &str,
        name: &str,
        received: &mut u64,
    ) -> Result<Fetched, FetchError> {
        let headers = response.headers();
        if let Some(encoding) = encoding(headers) {
            return Err(FetchError::PeerEncoding { host: host.to_owned(), encoding });
        }
        let policy = CachePolicy::of(headers);
        let content_type = content_type(headers);
        let expected = announced(headers);
        let framed = expected.is_some() || is_chunked(headers);
        let limit = self.limits.max_bytes;
        if expected.is_some_and(|length| length > limit) {
            return Err(FetchError::PeerTooLarge { limit, announced: expected });
        }
        let (mut file, path) = create(&self.directory, name).map_err(spool_failed)?;
        let mut body = response.into_body();
        let mut digest = Sha256::new();
        let mut pace = Pace::new(&self.limits);
        loop {
            let frame = match timeout_at(pace.window_ends, body.frame()).await {
                Ok(None) => break,
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => {
                    return Err(match malformed(&error) {
                        Some(reason) => FetchError::PeerProtocol { host: host.to_owned(), reason },
                        None => FetchError::PeerTruncated { received: *received, expected },
                    });
                }
                Err(_) => {
                    pace.next_window(host)?;
                    continue;
                }
            };
            let Ok(data) = frame.into_data() else { continue };
            *received += data.len() as u64;
            if *received > limit {
                return Err(FetchError::PeerTooLarge { limit, announced: None });
            }
            pace.received += data.len() as u64;
            digest.update(&data);
            file.write_all(&data).await.map_err(spool_failed)?;
            // A steady trickle never lets the time-out above fire.
            if Instant::now() >= pace.window_ends {
                pace.next_window(host)?;
            }
        }
        file.flush().await.map_err(spool_failed)?;
        let digest = digest.finalize().into();
        let body = Body { file: path, length: *received, digest, content_type, framed };
        Ok(Fetched::Body(body, policy))
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("guard", &self.guard).field("limits", &self.limits).finish()
    }
}

/// Whether a body still comes fast enough.
struct Pace<'a> {
    limits: &'a FetchLimits,
    window_ends: Instant,
    received: u64,
}

impl<'a> Pace<'a> {
    fn new(limits: &'a FetchLimits) -> Self {
        Self { limits, window_ends: Instant::now() + limits.floor_window, received: 0 }
    }

    fn next_window(&mut self, host: &str) -> Result<(), FetchError> {
        let FetchLimits { floor, floor_window: window, .. } = *self.limits;
        if u128::from(self.received) * 1_000 < u128::from(floor) * window.as_millis() {
            let (host, received) = (host.to_owned(), self.received);
            return Err(FetchError::PeerTooSlow { host, received, window, floor });
        }
        self.window_ends = Instant::now() + window;
        self.received = 0;
        Ok(())
    }
}

fn request(url: &Url, known: &Validators) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let mut request = Request::get(url.as_str())
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, ACCEPTED)
        .header(ACCEPT_ENCODING, "identity");
    let conditions: [(HeaderName, &Option<HeaderValue>); 2] =
        [(IF_NONE_MATCH, &known.etag), (IF_MODIFIED_SINCE, &known.last_modified)];
    for (name, value) in conditions {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    request.body(Full::default())
}

fn encoding(headers: &HeaderMap) -> Option<String> {
    let fields = headers.get_all(CONTENT_ENCODING).iter();
    fields
        .map(|field| String::from_utf8_lossy(field.as_bytes()).trim().to_ascii_lowercase())
        .find(|encoding| !matches!(encoding.as_str(), "" | "identity"))
        .map(|encoding| shown(encoding.as_bytes()))
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    headers.get(CONTENT_TYPE).map(|value| shown(value.as_bytes()))
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// By RFC 9112 §6.3 a response of another last coding ends with its connection.
fn is_chunked(headers: &HeaderMap) -> bool {
    let last = headers.get_all(TRANSFER_ENCODING).iter().next_back();
    let last = last.and_then(|field| field.to_str().ok()?.rsplit(',').next());
    last.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

/// A field's value fit for a message.
fn shown(value: &[u8]) -> String {
    value[..value.len().min(BEGINNING)].escape_ascii().to_string()
}

fn note(begins: &mut Vec<u8>, data: &[u8]) {
    let room = BEGINNING - begins.len().min(BEGINNING);
    begins.extend_from_slice(&data[..data.len().min(room)]);
}

fn create(directory: &Path, name: &str) -> io::Result<(File, TempPath)> {
    let (file, path) = create_file(directory, name)?;
    Ok((File::from_std(file), path))
}

/// A new spool file.
pub(super) fn create_file(directory: &Path, name: &str) -> io::Result<(std::fs::File, TempPath)> {
    // Created exclusively with mode 0600: never an existing file, never through a symlink.
    let file = tempfile::Builder::new()
        .prefix(name)
        .suffix(super::directory::SPOOL_SUFFIX)
        .tempfile_in(directory)?;
    Ok(file.into_parts())
}

fn spool_failed(error: io::Error) -> FetchError {
    FetchError::SpoolFailed(Arc::new(error))
}
