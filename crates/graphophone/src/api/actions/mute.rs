//! Graph "call: mute" and "call: unmute": of the bot itself.

use axum::body::Body;
use graphophone_call::{CallId, GroupVerb};
use graphophone_graph::{action::context_only, error::ApiError};

use super::{Reply, Request};
use crate::api::participants::command;

pub(in crate::api) async fn handle(
    request: &Request<'_>,
    body: Body,
    id: CallId,
    verb: GroupVerb,
) -> Result<Reply, ApiError> {
    let (_, client_context) = super::asked(request, body, id, context_only::parse).await?;
    super::operate(request, id, command(verb, client_context)).await
}
