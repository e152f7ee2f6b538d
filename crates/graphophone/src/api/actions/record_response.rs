//! Graph "call: recordResponse", and its old name "record".

use axum::body::Body;
use graphophone_call::{CallId, Command, OperationId};
use graphophone_graph::{
    action::record_response::{self, Name},
    error::ApiError,
};
use uuid::Uuid;

use super::{Reply, Request};

pub(in crate::api) async fn handle(
    request: &Request<'_>,
    body: Body,
    id: CallId,
    name: Name,
) -> Result<Reply, ApiError> {
    let root = request.service().root;
    let parse =
        |body: &[u8], version, compat| record_response::parse(body, name, root, version, compat);
    let (_, asked) = super::asked(request, body, id, parse).await?;
    for (index, prompt) in asked.settings.prompts.iter().enumerate() {
        request.state.prompt_guard().check_uri(&prompt.uri).map_err(|refusal| {
            ApiError::BotArgument(format!("prompts[{index}].mediaInfo.uri: {refusal}"))
        })?;
    }
    let command = Command::RecordResponse {
        operation: OperationId::new(Uuid::new_v4()),
        settings: asked.settings.into(),
        client_context: asked.client_context,
    };
    super::operate(request, id, command).await
}
