//! One request to the Graph API, as far as every handler wants it: who asks, what, and with which
//! ids.

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header, request::Parts, uri::Authority},
};
use graphophone_call::{AppId, TenantId};
use graphophone_graph::{
    compat::{ApiVersion, Compat},
    error::ApiError,
    json::{BodyError, MAX_BODY},
    odata::{
        Service,
        query::{Query, Shape},
    },
    path::GraphPath,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use uuid::Uuid;

use super::{AppState, encoding};
use crate::auth::{Caller, token_endpoint::Scheme};

/// The ids that go back with the response.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) request_id: String,
    pub(super) client_request_id: String,
}

impl Ids {
    /// A client's id is echoed if it can stand in a header and a log.
    pub(super) fn new(headers: &HeaderMap) -> Self {
        let request_id = Uuid::new_v4().to_string();
        let client = headers.get("client-request-id").and_then(|value| value.to_str().ok());
        let client = client.filter(|id| !id.is_empty() && id.len() <= 128).map(str::to_owned);
        Self { client_request_id: client.unwrap_or_else(|| request_id.clone()), request_id }
    }
}

/// An authorised request.
pub(super) struct Request<'a> {
    pub(super) state: &'a AppState,
    pub(super) caller: Caller,
    pub(super) path: GraphPath,
    pub(super) root: String,
    pub(super) parts: Parts,
}

impl<'a> Request<'a> {
    pub(super) fn new(state: &'a AppState, caller: Caller, path: GraphPath, parts: Parts) -> Self {
        let root = root(state, &parts);
        Self { state, caller, path, root, parts }
    }

    /// Owner of what this request makes and may see.
    pub(super) fn owner(&self) -> (TenantId, AppId) {
        (self.caller.tenant, self.caller.app)
    }

    pub(super) fn version(&self) -> ApiVersion {
        self.path.version
    }

    pub(super) fn compat(&self) -> Compat {
        self.state.compat()
    }

    /// The root of addresses in the response.
    pub(super) fn service(&self) -> Service<'_> {
        Service { root: &self.root, version: self.path.version }
    }

    /// The options of the query that a resource of this shape takes.
    pub(super) fn options(&self, shape: Shape) -> Result<Query, ApiError> {
        let prefer = self.parts.headers.get_all("prefer").iter();
        let prefer = prefer.filter_map(|value| value.to_str().ok());
        Query::parse(self.parts.uri.query().unwrap_or_default(), prefer, shape, self.compat())
    }

    /// The header `Scenario-Id`, if it is a GUID.
    pub(super) fn scenario(&self) -> Option<Uuid> {
        let value = self.parts.headers.get("scenario-id")?.to_str().ok()?;
        Uuid::try_parse(value.trim()).ok()
    }

    /// The body, which must be JSON in UTF-8 and of at most 1 MiB.
    pub(super) async fn json(&self, body: Body) -> Result<Bytes, ApiError> {
        let is_typed = check_content_type(&self.parts.headers)?;
        let declared = self.parts.headers.get(header::CONTENT_LENGTH);
        let declared = declared.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if declared.is_some_and(|length| length > MAX_BODY) {
            return Err(ApiError::BotBodyTooLarge);
        }
        match Limited::new(body, MAX_BODY).collect().await {
            Ok(collected) => match (collected.to_bytes(), self.compat()) {
                // Hand-written bots leave the type out. Without a body there is nothing to name.
                (bytes, _) if is_typed || bytes.is_empty() => Ok(bytes),
                (bytes, Compat::Open) => Ok(bytes),
                (_, Compat::StrictV1 | Compat::StrictBeta) => Err(ApiError::BotMediaType),
            },
            Err(error) if error.is::<LengthLimitError>() => Err(ApiError::BotBodyTooLarge),
            Err(_) => Err(BodyError::malformed(
                "The body could not be read: it was cut short or is not what Content-Encoding says",
            )
            .into()),
        }
    }
}

/// Refuses what is not JSON in UTF-8, and says whether the type stands there at all.
fn check_content_type(headers: &HeaderMap) -> Result<bool, ApiError> {
    let found = headers.get(header::CONTENT_ENCODING);
    // What could be decoded has lost this header on its way here.
    if found.is_some_and(encoding::is_unknown) {
        return Err(ApiError::BotContentEncoding);
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(false) };
    let value = value.to_str().map_err(|_| ApiError::BotMediaType)?;
    let mut parts = value.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/json"));
    let is_utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, charset)) if name.trim().eq_ignore_ascii_case("charset") => {
            let charset = charset.trim().trim_matches('"');
            ["utf-8", "utf8"].iter().any(|name| charset.eq_ignore_ascii_case(name))
        }
        Some(_) | None => true,
    });
    if is_json && is_utf8 { Ok(true) } else { Err(ApiError::BotMediaType) }
}

/// Where the client reached us: `server.public_url`, or what it says itself.
pub(super) fn root(state: &AppState, parts: &Parts) -> String {
    if let Some(url) = state.public_url() {
        return url.to_owned();
    }
    let scheme = parts.extensions.get::<Scheme>().copied().unwrap_or(Scheme::Http).name();
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    // With HTTP/2 the host is in the URI.
    let host = parts.uri.authority().map(Authority::as_str).or(host);
    host.map(|host| format!("{scheme}://{host}")).unwrap_or_default()
}
