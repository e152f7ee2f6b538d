//! `/communications/calls/{id}/operations` and one of them: live with its receipt, and readable for
//! a while after its end.

use axum::http::StatusCode;
use graphophone_call::{CallId, OperationId};
use graphophone_graph::{error::ApiError, resource::operation};
use tracing::error;

use super::{reply::Reply, request::Request};

pub(super) async fn get(
    request: &Request<'_>,
    call: CallId,
    id: OperationId,
) -> Result<Reply, ApiError> {
    let found = request.state.calls().operation(request.owner(), call, id).await;
    let (operation, receipt) = found.map_err(unreadable)?.ok_or(ApiError::BotOperationNotFound)?;
    let rendered = operation::render_entity(&request.service(), call, &operation, receipt.as_ref());
    Ok(Reply::json(StatusCode::OK, rendered))
}

pub(super) async fn list(request: &Request<'_>, call: CallId) -> Result<Reply, ApiError> {
    let found = request.state.calls().operations(request.owner(), call).await;
    let operations = found.map_err(unreadable)?.ok_or(ApiError::BotCallNotFound)?;
    let items = operations
        .iter()
        .map(|(operation, receipt)| {
            operation::render_item(request.version(), operation, receipt.as_ref())
        })
        .collect();
    Ok(Reply::json(StatusCode::OK, request.service().operations(call, items)))
}

/// The store cannot be read: logged here, where it stops.
pub(super) fn unreadable(error: graphophone_store::StoreError) -> ApiError {
    error!(%error, "the store cannot be read");
    ApiError::ServerUnavailable
}
