//! Graph "call: playPrompt".

use axum::body::Body;
use graphophone_call::{CallId, Command, OperationId};
use graphophone_graph::{action::play_prompt, error::ApiError};
use uuid::Uuid;

use super::{Asked, Reply, Request};

pub(in crate::api) async fn handle(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    let (asked, once) = match super::asked_once(request, body, id, play_prompt::parse).await? {
        Asked::Before(reply) => return Ok(reply),
        Asked::Now(asked, once) => (asked, once),
    };
    super::check_prompts(request, &asked.prompts)?;
    let command = Command::PlayPrompt {
        operation: OperationId::new(Uuid::new_v4()),
        prompts: asked.prompts,
        looping: asked.looping,
        options: asked.options,
        client_context: asked.client_context,
    };
    super::operate_once(request, id, command, once).await
}
