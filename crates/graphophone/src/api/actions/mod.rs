//! One file per Graph action: request → command → response.

pub(super) mod answer;
pub(super) mod app_hosted;
pub(super) mod cancel_media_processing;
pub(super) mod control;
pub(super) mod keep_alive;
pub(super) mod log_teleconference_device_quality;
pub(super) mod mute;
pub(super) mod play_prompt;
pub(super) mod record_response;
pub(super) mod redirect;
pub(super) mod reject;
pub(super) mod send_dtmf_tones;
pub(super) mod subscribe_to_tone;
pub(super) mod transfer;
pub(super) mod update_recording_status;

use axum::{body::Body, http::StatusCode};
use graphophone_call::{CallId, Command, Operation};
use graphophone_graph::{ApiVersion, BodyError, Compat, error::ApiError, resource::operation};

use super::{calls::find, reply::Reply, request::Request};
use crate::engine::View;

/// A live call of the caller, and what is asked of it: the call must be there before the body counts.
async fn asked<T>(
    request: &Request<'_>,
    body: Body,
    call: CallId,
    parse: impl FnOnce(&[u8], ApiVersion, Compat) -> Result<T, BodyError>,
) -> Result<(View, T), ApiError> {
    let view = find(request, call)?;
    let body = request.json(body).await?;
    Ok((view, parse(&body, request.version(), request.compat())?))
}

/// Gives a command that makes an operation to its call.
pub(super) async fn operate(
    request: &Request<'_>,
    call: CallId,
    command: Command,
) -> Result<Reply, ApiError> {
    let calls = request.state.calls();
    let hold = calls.outbox().hold(call);
    let operation = calls.command(request.owner(), call, command, None, None).await?;
    Ok(made(request, call, operation)?.holding(hold))
}

/// 200 with the operation, and where it can be read.
fn made(request: &Request<'_>, call: CallId, made: Option<Operation>) -> Result<Reply, ApiError> {
    let made = made.ok_or(ApiError::ServerFault)?;
    let location = request.service().operation_url(call, made.id);
    let rendered = operation::render_response(&request.service(), &made, None);
    Ok(Reply::json(StatusCode::OK, rendered).at(location))
}
