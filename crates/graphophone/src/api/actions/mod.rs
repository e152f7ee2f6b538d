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
use graphophone_call::{CallId, Command, MediaPrompt, Operation};
use graphophone_graph::{ApiVersion, BodyError, Compat, error::ApiError, resource::operation};

use super::{calls::find, operations::unreadable, reply::Reply, request::Request};
use crate::engine::{CommandError, Once, View};

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

/// What is asked of a live call by an action that is carried out once for each request.
enum Asked<T> {
    /// It was asked for before.
    Before(Reply),
    Now(T, Option<Once>),
}

/// As [`asked`]; what an earlier request has made is there for longer than its call.
async fn asked_once<T>(
    request: &Request<'_>,
    body: Body,
    call: CallId,
    parse: impl FnOnce(&[u8], ApiVersion, Compat) -> Result<T, BodyError>,
) -> Result<Asked<T>, ApiError> {
    let found = find(request, call);
    let read = request.json(body).await;
    let body = read.map_err(|error| found.as_ref().err().cloned().unwrap_or(error))?;
    let once = request.once(&body);
    if let Some(reply) = made_before(request, once).await? {
        return Ok(Asked::Before(reply));
    }
    found?;
    Ok(Asked::Now(parse(&body, request.version(), request.compat())?, once))
}

/// Gives a command that makes an operation to its call, each time that it is asked for.
pub(super) async fn operate(
    request: &Request<'_>,
    call: CallId,
    command: Command,
) -> Result<Reply, ApiError> {
    operate_once(request, call, command, None).await
}

/// Gives a command that makes an operation to its call, if this request has not done so before.
pub(super) async fn operate_once(
    request: &Request<'_>,
    call: CallId,
    command: Command,
    once: Option<Once>,
) -> Result<Reply, ApiError> {
    let calls = request.state.calls();
    let hold = calls.outbox().hold(call);
    match calls.command(request.owner(), call, command, None, once).await {
        // The same request at the same time.
        Err(CommandError::Repeated) => {
            made_before(request, once).await?.ok_or(ApiError::ServerFault)
        }
        outcome => Ok(made(request, call, outcome?)?.holding(hold)),
    }
}

/// The operation that an earlier request of the same id has made, as it is now.
pub(super) async fn made_before(
    request: &Request<'_>,
    once: Option<Once>,
) -> Result<Option<Reply>, ApiError> {
    let Some(known) = request.made_before(once).await? else { return Ok(None) };
    let id = known.operation.ok_or(ApiError::ServerFault)?;
    let kept = request.state.calls().operation(request.owner(), known.call_id, id).await;
    let (operation, _) = kept
        .map_err(unreadable)?
        .ok_or_else(|| ApiError::BotRequestForgotten(format!("operation {id}")))?;
    made(request, known.call_id, Some(operation)).map(Some)
}

/// Judges the prompts of an action before anything is promised.
fn check_prompts(request: &Request<'_>, prompts: &[MediaPrompt]) -> Result<(), ApiError> {
    for (index, prompt) in prompts.iter().enumerate() {
        request.state.check_prompt(&prompt.uri).map_err(|fault| {
            ApiError::BotArgument(format!("prompts[{index}].mediaInfo.uri: {fault}"))
        })?;
    }
    Ok(())
}

/// 200 with the operation, and where it can be read.
fn made(request: &Request<'_>, call: CallId, made: Option<Operation>) -> Result<Reply, ApiError> {
    let made = made.ok_or(ApiError::ServerFault)?;
    let location = request.service().operation_url(call, made.id);
    let rendered = operation::render_response(&request.service(), &made, None);
    Ok(Reply::json(StatusCode::OK, rendered).at(location))
}
