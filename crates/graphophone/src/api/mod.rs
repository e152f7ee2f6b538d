//! The HTTP surface: one router for the Graph API, the token endpoints and health.

mod actions;
mod admin;
mod calls;
mod deliveries;
mod graph;
mod health;
mod host;
pub(crate) mod incoming;
mod keys;
mod limits;
mod operations;
mod phone;
mod repeated;
mod reply;
mod request;
mod samples;
mod state;

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderValue, header},
    middleware,
    routing::{get, post},
};
use tower::ServiceBuilder;
use tower_http::decompression::RequestDecompressionLayer;

use crate::auth;

pub use state::AppState;
pub(crate) use state::{callback_guard, own_listeners, prompt_guard};

/// Gives gzip the one name that the layer below knows it by (RFC 9110 §8.4.1.3: in any case, and
/// `x-gzip` is the same).
fn name_encoding(mut request: Request) -> Request {
    if let Some(encoding) = request.headers_mut().get_mut(header::CONTENT_ENCODING) {
        let is = |name: &str| encoding.as_bytes().eq_ignore_ascii_case(name.as_bytes());
        if is("gzip") || is("x-gzip") {
            *encoding = HeaderValue::from_static("gzip");
        }
    }
    request
}

/// Everything this server answers.
pub fn router(state: AppState) -> Router {
    let graph = Router::new()
        // OData key segments such as calls('{id}') are no routes for axum: we read the path.
        .fallback(graph::serve)
        // Kiota's Go client sends every body gzipped.
        .layer(
            ServiceBuilder::new()
                .map_request(name_encoding)
                .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
                .map_request(|request: Request<_>| request.map(Body::new)),
        );
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/graphophone/v1/deliveries", get(deliveries::list))
        .route("/graphophone/v1/deliveries/replay", post(deliveries::replay_all))
        .route("/graphophone/v1/deliveries/{sequence}/replay", post(deliveries::replay_one))
        .route("/graphophone/v1/keys", get(keys::list))
        .route("/graphophone/v1/keys/rotate", post(keys::rotate))
        .route("/graphophone/v1/limits", get(limits::limits))
        .route("/graphophone/v1/load", get(admin::load))
        .route("/graphophone/v1/samples/{name}", get(samples::sample))
        .route("/graphophone/v1/phone", get(phone::status))
        .route("/graphophone/v1/phone/heard.wav", get(phone::heard))
        .route("/graphophone/v1/phone/call", post(phone::call))
        .route("/graphophone/v1/phone/hangUp", post(phone::hang_up))
        .route("/graphophone/v1/phone/press", post(phone::press))
        .fallback_service(graph.with_state(state.clone()))
        .with_state(state.clone())
        .merge(auth::token_endpoint::router(state.authority().clone()))
        .layer(middleware::from_fn_with_state(state, host::check))
}
