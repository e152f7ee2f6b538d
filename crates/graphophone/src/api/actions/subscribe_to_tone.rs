//! Graph "call: subscribeToTone".

use axum::body::Body;
use graphophone_call::{CallId, Command, OperationId};
use graphophone_graph::{action::context_only, error::ApiError};
use uuid::Uuid;

use super::{Reply, Request};

pub(in crate::api) async fn handle(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    let (_, client_context) = super::asked(request, body, id, context_only::parse).await?;
    let operation = OperationId::new(Uuid::new_v4());
    super::operate(request, id, Command::SubscribeToTone { operation, client_context }).await
}
