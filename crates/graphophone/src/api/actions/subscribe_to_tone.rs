//! Graph "call: subscribeToTone".

use axum::body::Body;
use graphophone_call::{CallId, Command, OperationId};
use graphophone_graph::{action::subscribe_to_tone, error::ApiError};
use uuid::Uuid;

use super::{Reply, Request};
use crate::api::calls::find;

pub(in crate::api) async fn handle(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    find(request, id)?;
    let body = request.json(body).await?;
    let client_context = subscribe_to_tone::parse(&body, request.version(), request.compat())?;
    let operation = OperationId::new(Uuid::new_v4());
    super::operate(request, id, Command::SubscribeToTone { operation, client_context }).await
}
