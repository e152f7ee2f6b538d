//! The HTTP surface: one router for the Graph API, the token endpoints and health.

mod actions;
mod admin;
mod batch;
mod calls;
mod deliveries;
pub(crate) mod encoding;
mod graph;
mod health;
mod host;
pub(crate) mod incoming;
mod keys;
mod limits;
mod lists;
mod new_call;
mod openapi;
mod operations;
mod participants;
mod patch;
mod phone;
mod prompts;
mod read;
mod recordings;
mod repeated;
mod reply;
mod request;
mod routing_groups;
mod samples;
mod state;

use axum::{
    Router, middleware,
    routing::{get, post},
};

use crate::auth;

pub use state::AppState;
pub(crate) use state::{callback_guard, own_listeners, prompt_guard};

/// Everything this server answers.
pub fn router(state: AppState) -> Router {
    // OData key segments such as calls('{id}') are no routes for axum: we read the path.
    let graph = Router::new().fallback(graph::serve);
    let document = openapi::document(state.compat());
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/openapi.json", get(move || async move { openapi::answer(document) }))
        .route("/graphophone/v1/deliveries", get(deliveries::list))
        .route("/graphophone/v1/deliveries/replay", post(deliveries::replay_all))
        .route("/graphophone/v1/deliveries/{sequence}/replay", post(deliveries::replay_one))
        .route("/graphophone/v1/keys", get(keys::list))
        .route("/graphophone/v1/keys/rotate", post(keys::rotate))
        .route("/graphophone/v1/limits", get(limits::limits))
        .route("/graphophone/v1/load", get(admin::load))
        .route("/graphophone/v1/prompts", get(prompts::list))
        .route(
            "/graphophone/v1/prompts/{name}",
            get(prompts::get).put(prompts::put).delete(prompts::delete),
        )
        .route("/graphophone/v1/samples/{name}", get(samples::sample))
        .route("/graphophone/v1/phone", get(phone::status))
        .route("/graphophone/v1/phone/heard.wav", get(phone::heard))
        .route("/graphophone/v1/phone/call", post(phone::call))
        .route("/graphophone/v1/phone/hangUp", post(phone::hang_up))
        .route("/graphophone/v1/phone/press", post(phone::press))
        .route("/recordings/{id}", get(recordings::download))
        .fallback_service(graph.with_state(state.clone()))
        .with_state(state.clone())
        .merge(auth::token_endpoint::router(state.authority().clone()))
        .layer(middleware::from_fn(encoding::check))
        .layer(encoding::decoding())
        .layer(middleware::from_fn_with_state(state, host::check))
}
