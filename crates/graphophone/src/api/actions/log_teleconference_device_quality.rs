//! Graph "call: logTeleconferenceDeviceQuality".

use axum::{body::Body, http::StatusCode};
use graphophone_graph::{action::log_teleconference_device_quality, error::ApiError};

use super::{Reply, Request};

pub(in crate::api) async fn handle(request: &Request<'_>, body: Body) -> Result<Reply, ApiError> {
    let body = request.json(body).await?;
    let chain =
        log_teleconference_device_quality::parse(&body, request.version(), request.compat())?;
    tracing::debug!(%chain, bytes = body.len(), "a conference device reports its quality");
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
