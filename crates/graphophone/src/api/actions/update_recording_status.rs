//! Graph "call: updateRecordingStatus".

use axum::body::Body;
use graphophone_call::{CallId, GroupVerb};
use graphophone_graph::{action::update_recording_status, error::ApiError};

use super::{Reply, Request};
use crate::api::participants::command;

pub(in crate::api) async fn handle(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    let (_, asked) = super::asked(request, body, id, update_recording_status::parse).await?;
    let verb = GroupVerb::UpdateRecordingStatus(asked.status);
    super::operate(request, id, command(verb, asked.client_context)).await
}
