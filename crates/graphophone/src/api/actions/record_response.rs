//! Graph "call: recordResponse", and its old name "record".

use axum::body::Body;
use graphophone_call::{CallId, Command, OperationId};
use graphophone_graph::{
    action::record_response::{self, Name},
    error::ApiError,
};
use uuid::Uuid;

use super::{Asked, Reply, Request};

pub(in crate::api) async fn handle(
    request: &Request<'_>,
    body: Body,
    id: CallId,
    name: Name,
) -> Result<Reply, ApiError> {
    let root = request.service().root;
    let parse =
        |body: &[u8], version, compat| record_response::parse(body, name, root, version, compat);
    let (asked, once) = match super::asked_once(request, body, id, parse).await? {
        Asked::Before(reply) => return Ok(reply),
        Asked::Now(asked, once) => (asked, once),
    };
    super::check_prompts(request, &asked.settings.prompts)?;
    let command = Command::RecordResponse {
        operation: OperationId::new(Uuid::new_v4()),
        settings: asked.settings.into(),
        client_context: asked.client_context,
    };
    super::operate_once(request, id, command, once).await
}
