//! Responses with Graph's headers, and the moment they are written.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header},
};
use graphophone_call::Rejection;
use graphophone_graph::{
    error::{ApiError, RequestIds},
    odata,
};
use http_body_util::Full;
use serde_json::Value;
use time::OffsetDateTime;

use super::request::Ids;
use crate::outbox::HoldGuard;

/// A body, by its type.
pub(super) enum Content {
    Json(Value),
    Xml(String),
}

/// What a handler answers when all went well.
#[derive(Default)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Option<Content>,
    /// Keep the notifications that this request caused back until the response is written.
    pub(super) holds: Vec<HoldGuard>,
}

/// A response whose body is not written out yet.
pub(super) struct Rendered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Content>,
    pub(super) holds: Vec<HoldGuard>,
}

impl Reply {
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, ..Self::default() }
    }

    pub(super) fn json(status: StatusCode, body: Value) -> Self {
        Self { status, body: Some(Content::Json(body)), ..Self::default() }
    }

    pub(super) fn xml(body: String) -> Self {
        Self { body: Some(Content::Xml(body)), ..Self::default() }
    }

    pub(super) fn at(self, location: String) -> Self {
        self.with(header::LOCATION, location)
    }

    pub(super) fn with(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn holding(mut self, hold: HoldGuard) -> Self {
        self.holds.push(hold);
        self
    }

    pub(super) fn render(self, ids: &Ids) -> Rendered {
        let mut headers = common_headers(ids, self.body.as_ref());
        for (name, value) in self.headers {
            insert(&mut headers, name, &value);
        }
        Rendered { status: self.status, headers, body: self.body, holds: self.holds }
    }
}

impl Rendered {
    /// The response, written out.
    pub(super) fn write(self) -> Response<Body> {
        let bytes = match self.body {
            Some(Content::Json(body)) => to_bytes(&body),
            Some(Content::Xml(text)) => text.into(),
            None => Bytes::new(),
        };
        let held = HeldBody { inner: Full::new(bytes), _holds: self.holds };
        let mut response = Response::new(Body::new(held));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// An error, and the headers that belong to it.
pub(super) struct Refusal {
    pub(super) error: ApiError,
    pub(super) challenge: Option<&'static str>,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self { error, challenge: None }
    }
}

impl Refusal {
    pub(super) fn render(&self, ids: &Ids) -> Rendered {
        let names =
            RequestIds { request_id: &ids.request_id, client_request_id: &ids.client_request_id };
        let body = Some(Content::Json(self.error.render(OffsetDateTime::now_utc(), names)));
        let status =
            StatusCode::from_u16(self.error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut headers = common_headers(ids, body.as_ref());
        if let Some(challenge) = self.challenge {
            insert(&mut headers, header::WWW_AUTHENTICATE, challenge);
        }
        if let ApiError::BotTooManyCalls { retry_after, .. } = self.error {
            insert(&mut headers, header::RETRY_AFTER, &retry_after.to_string());
        } else if self.error == ApiError::BotRejected(Rejection::QueueFull) {
            // A place is free when a playback has ended, and prompts are seconds long.
            insert(&mut headers, header::RETRY_AFTER, "1");
        } else if self.error == ApiError::BotContentEncoding {
            // RFC 9110 §12.5.3.
            insert(&mut headers, header::ACCEPT_ENCODING, "gzip");
        } else if matches!(self.error, ApiError::ServerUnavailable | ApiError::ServerDiskFull) {
            insert(&mut headers, header::RETRY_AFTER, "2");
        }
        Rendered { status, headers, body, holds: Vec::new() }
    }
}

fn to_bytes(body: &Value) -> Bytes {
    serde_json::to_vec(body).expect("a JSON value can always be written").into()
}

fn common_headers(ids: &Ids, body: Option<&Content>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    match body {
        Some(Content::Json(_)) => insert(&mut headers, header::CONTENT_TYPE, odata::CONTENT_TYPE),
        Some(Content::Xml(_)) => insert(&mut headers, header::CONTENT_TYPE, "application/xml"),
        None => {}
    }
    insert(&mut headers, HeaderName::from_static("odata-version"), "4.0");
    insert(&mut headers, HeaderName::from_static("request-id"), &ids.request_id);
    insert(&mut headers, HeaderName::from_static("client-request-id"), &ids.client_request_id);
    insert(&mut headers, header::CACHE_CONTROL, "private");
    headers
}

pub(super) fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// A body that lets go of something when the server has taken the last of it: notifications must
/// not overtake the response of the request that caused them (spec/notifications.md §6).
struct HeldBody {
    inner: Full<Bytes>,
    _holds: Vec<HoldGuard>,
}

impl http_body::Body for HeldBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}
