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
    if asked.options.participant.is_some() && !super::find(request, id)?.is_group() {
        let text = "graphophoneParticipant: this call is one between two: leave it out, and the \
            far end hears the prompts";
        return Err(ApiError::BotArgument(text.to_owned()));
    }
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
