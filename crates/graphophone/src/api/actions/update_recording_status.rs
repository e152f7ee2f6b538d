//! Graph "call: updateRecordingStatus".

use axum::body::Body;
use graphophone_call::{CallId, GroupVerb};
use graphophone_graph::{action::update_recording_status, error::ApiError};

use super::{Reply, Request};
use crate::api::{calls::find, participants::command};

pub(in crate::api) async fn handle(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    find(request, id)?;
    let body = request.json(body).await?;
    let asked = update_recording_status::parse(&body, request.version(), request.compat())?;
    let verb = GroupVerb::UpdateRecordingStatus(asked.status);
    super::operate(request, id, command(verb, asked.client_context)).await
}
