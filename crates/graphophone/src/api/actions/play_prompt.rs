//! Graph "call: playPrompt".

use axum::body::Body;
use graphophone_call::{CallId, Command, OperationId};
use graphophone_graph::{action::play_prompt, error::ApiError};
use graphophone_store::RequestRecord;
use uuid::Uuid;

use super::{Reply, Request};
use crate::{api::operations::unreadable, engine::CommandError};

pub(in crate::api) async fn handle(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    let body = request.json(body).await?;
    let once = request.once(&body);
    if let Some(known) = request.made_before(once).await? {
        return made_before(request, known).await;
    }
    super::super::calls::find(request, id)?;
    let asked = play_prompt::parse(&body, request.version(), request.compat())?;
    let calls = request.state.calls();
    for (index, prompt) in asked.prompts.iter().enumerate() {
        request.state.check_prompt(&prompt.uri).map_err(|fault| {
            ApiError::BotArgument(format!("prompts[{index}].mediaInfo.uri: {fault}"))
        })?;
    }
    let hold = calls.outbox().hold(id);
    let command = Command::PlayPrompt {
        operation: OperationId::new(Uuid::new_v4()),
        prompts: asked.prompts,
        looping: asked.looping,
        options: asked.options,
        client_context: asked.client_context,
    };
    match calls.command(request.owner(), id, command, None, once).await {
        // The same request at the same time.
        Err(CommandError::Repeated) => {
            let known = request.made_before(once).await?.ok_or(ApiError::ServerFault)?;
            made_before(request, known).await
        }
        outcome => Ok(super::made(request, id, outcome?)?.holding(hold)),
    }
}

/// The operation that an earlier request of the same id has made, as it is now.
async fn made_before(request: &Request<'_>, known: RequestRecord) -> Result<Reply, ApiError> {
    let call = known.call_id;
    let id = known.operation.ok_or(ApiError::ServerFault)?;
    let kept = request.state.calls().operation(request.owner(), call, id).await;
    let (operation, _) = kept
        .map_err(unreadable)?
        .ok_or_else(|| ApiError::BotRequestForgotten(format!("operation {id}")))?;
    super::made(request, call, Some(operation))
}
