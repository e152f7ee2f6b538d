//! `graphophone.pause`, `.resume`, `.seek` and `.stop` on an operation: ours, beyond Graph.

use axum::body::Body;
use graphophone_call::{CallId, Command, OperationId, Rejection};
use graphophone_graph::{action::control, compat::Compat, error::ApiError, path::ControlAction};

use super::{Reply, Request};
use crate::api::operations::{self, unreadable};

/// Answers with the operation as it is then.
pub(in crate::api) async fn handle(
    request: &Request<'_>,
    body: Body,
    call: CallId,
    id: OperationId,
    action: ControlAction,
) -> Result<Reply, ApiError> {
    if request.compat() != Compat::Open {
        return Err(ApiError::BotRouteUnknown);
    }
    let calls = request.state.calls();
    let found = calls.operation(request.owner(), call, id).await.map_err(unreadable)?;
    let (operation, _) = found.ok_or(ApiError::BotOperationNotFound)?;
    let control = control::parse(action, &request.json(body).await?, request.version())?;
    if operation.status.is_final() {
        return Err(Rejection::NotPlaying.into());
    }
    let hold = calls.outbox().hold(call);
    let command = Command::Control { operation: id, control };
    calls.command(request.owner(), call, command, None, None).await?;
    Ok(operations::get(request, call, id).await?.holding(hold))
}
