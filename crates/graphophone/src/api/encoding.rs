//! Bodies of requests that come compressed: gzip is unpacked, whatever the path; how much of it is
//! read is for the reader of the body to say, which sees it unpacked.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::Route,
};
use graphophone_graph::path;
use tower::{Layer, Service, ServiceBuilder};
use tower_http::decompression::RequestDecompressionLayer;

use super::admin::refusal;

/// Unpacks gzip and takes `Content-Encoding` away; bodies in other encodings stay as they are.
/// Kiota's Go client sends every body gzipped.
pub(super) fn decoding() -> impl Layer<
    Route,
    Service: Service<
        Request,
        Response: IntoResponse + 'static,
        Error: Into<std::convert::Infallible> + 'static,
        Future: Send + 'static,
    > + Clone
                 + Send
                 + Sync
                 + 'static,
> + Clone
+ Send
+ Sync
+ 'static {
    ServiceBuilder::new()
        .map_request(name_encoding)
        .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
        .map_request(|request: axum::http::Request<_>| request.map(Body::new))
}

/// Refuses what is packed otherwise. The Graph API and the token endpoint do that by themselves, in
/// their own form.
pub(super) async fn check(request: Request, next: Next) -> Response {
    let is_packed = request.headers().get(header::CONTENT_ENCODING).is_some_and(is_unknown);
    let is_ours = request.uri().path().starts_with("/graphophone/");
    if !is_packed || !is_ours || path::parse(request.uri().path()).is_some() {
        return next.run(request).await;
    }
    let text = "Content-Encoding must be gzip or identity";
    let mut response = refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
    // RFC 9110 §12.5.3.
    response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    response
}

/// Whether a body in this encoding is not one we read. gzip has lost its header on its way.
pub(crate) fn is_unknown(encoding: &HeaderValue) -> bool {
    !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
}

/// Gives gzip the one name that the layer knows it by (RFC 9110 §8.4.1.3: in any case, and `x-gzip`
/// is the same).
fn name_encoding(mut request: Request) -> Request {
    if let Some(encoding) = request.headers_mut().get_mut(header::CONTENT_ENCODING) {
        let is = |name: &str| encoding.as_bytes().eq_ignore_ascii_case(name.as_bytes());
        if is("gzip") || is("x-gzip") {
            *encoding = HeaderValue::from_static("gzip");
        }
    }
    request
}
