//! `/healthz` and `/readyz`: for those who watch the process.

use axum::{extract::State, http::StatusCode};

use super::AppState;

/// The process answers.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// New calls are taken.
pub(super) async fn ready(State(state): State<AppState>) -> (StatusCode, &'static str) {
    if state.is_stopping() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}
