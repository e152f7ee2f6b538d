//! Graph "call: cancelMediaProcessing".

use axum::body::Body;
use graphophone_call::{CallId, Command, OperationId};
use graphophone_graph::{action::cancel_media_processing, error::ApiError};
use uuid::Uuid;

use super::{Reply, Request};

pub(in crate::api) async fn handle(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    let (_, asked) = super::asked(request, body, id, cancel_media_processing::parse).await?;
    let command = Command::CancelMediaProcessing {
        operation: OperationId::new(Uuid::new_v4()),
        scope: asked.scope,
        client_context: asked.client_context,
    };
    super::operate(request, id, command).await
}
