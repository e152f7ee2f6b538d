//! Responses with Graph's headers, and the moment they are written.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
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

/// What a handler answers when all went well.
#[derive(Default)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) location: Option<String>,
    pub(super) body: Option<Value>,
    /// Keeps the notifications that this request caused back until the response is written.
    pub(super) hold: Option<HoldGuard>,
}

impl Reply {
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, ..Self::default() }
    }

    pub(super) fn json(status: StatusCode, body: Value) -> Self {
        Self { status, body: Some(body), ..Self::default() }
    }

    pub(super) fn at(mut self, location: String) -> Self {
        self.location = Some(location);
        self
    }

    pub(super) fn holding(mut self, hold: HoldGuard) -> Self {
        self.hold = Some(hold);
        self
    }

    pub(super) fn render(self, ids: &Ids) -> Response<Body> {
        let bytes = self.body.as_ref().map(to_bytes).unwrap_or_default();
        let held = Body::new(HeldBody { inner: Full::new(bytes), _hold: self.hold });
        let mut response = Response::new(held);
        *response.status_mut() = self.status;
        add_headers(&mut response, ids, self.body.is_some());
        if let Some(location) = self.location {
            insert(&mut response, header::LOCATION, &location);
        }
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
    pub(super) fn render(&self, ids: &Ids) -> Response<Body> {
        let names =
            RequestIds { request_id: &ids.request_id, client_request_id: &ids.client_request_id };
        let body = self.error.render(OffsetDateTime::now_utc(), names);
        let mut response = Response::new(Body::from(to_bytes(&body)));
        *response.status_mut() =
            StatusCode::from_u16(self.error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        add_headers(&mut response, ids, true);
        if let Some(challenge) = self.challenge {
            insert(&mut response, header::WWW_AUTHENTICATE, challenge);
        }
        if let ApiError::BotTooManyCalls { retry_after, .. } = self.error {
            insert(&mut response, header::RETRY_AFTER, &retry_after.to_string());
        } else if self.error == ApiError::BotRejected(Rejection::QueueFull) {
            // A place is free when a playback has ended, and prompts are seconds long.
            insert(&mut response, header::RETRY_AFTER, "1");
        } else if matches!(self.error, ApiError::ServerUnavailable | ApiError::ServerDiskFull) {
            insert(&mut response, header::RETRY_AFTER, "2");
        }
        response
    }
}

fn to_bytes(body: &Value) -> Bytes {
    serde_json::to_vec(body).expect("a JSON value can always be written").into()
}

fn add_headers(response: &mut Response<Body>, ids: &Ids, has_body: bool) {
    if has_body {
        insert(response, header::CONTENT_TYPE, odata::CONTENT_TYPE);
    }
    insert(response, HeaderName::from_static("odata-version"), "4.0");
    insert(response, HeaderName::from_static("request-id"), &ids.request_id);
    insert(response, HeaderName::from_static("client-request-id"), &ids.client_request_id);
    insert(response, header::CACHE_CONTROL, "private");
}

pub(super) fn insert(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// A body that lets go of something when the server has taken the last of it: notifications must
/// not overtake the response of the request that caused them (spec/notifications.md §6).
struct HeldBody {
    inner: Full<Bytes>,
    _hold: Option<HoldGuard>,
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
