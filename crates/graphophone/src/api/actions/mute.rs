//! Graph "call: mute" and "call: unmute": of the bot itself.

use axum::body::Body;
use graphophone_call::{CallId, GroupVerb};
use graphophone_graph::{action::mute, error::ApiError};

use super::{Reply, Request};
use crate::api::{calls::find, participants::command};

pub(in crate::api) async fn handle(
    request: &Request<'_>,
    body: Body,
    id: CallId,
    verb: GroupVerb,
) -> Result<Reply, ApiError> {
    find(request, id)?;
    let body = request.json(body).await?;
    let client_context = mute::parse(&body, request.version(), request.compat())?;
    super::operate(request, id, command(verb, client_context)).await
}
