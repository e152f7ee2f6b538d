//! Graph "call: playPrompt".

use axum::body::Body;
use graphophone_call::{CallId, Command, OperationId};
use graphophone_graph::{action::play_prompt, error::ApiError};
use uuid::Uuid;

use super::{Reply, Request};

pub(in crate::api) async fn handle(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    super::super::calls::find(request, id)?;
    let body = request.json(body).await?;
    let asked = play_prompt::parse(&body, request.version(), request.compat())?;
    let calls = request.state.calls();
    for (index, prompt) in asked.prompts.iter().enumerate() {
        request.state.prompt_guard().check_uri(&prompt.uri).map_err(|refusal| {
            ApiError::BotArgument(format!("prompts[{index}].mediaInfo.uri: {refusal}"))
        })?;
    }
    let hold = calls.outbox().hold(id);
    let command = Command::PlayPrompt {
        operation: OperationId::new(Uuid::new_v4()),
        prompts: asked.prompts,
        looping: asked.looping,
        client_context: asked.client_context,
    };
    let operation = calls.command(request.owner(), id, command, None).await?;
    Ok(super::made(request, id, operation)?.holding(hold))
}
