//! Graph "call: sendDtmfTones".

use axum::body::Body;
use graphophone_call::{CallId, Command, OperationId};
use graphophone_graph::{action::send_dtmf_tones, error::ApiError};
use uuid::Uuid;

use super::{Asked, Reply, Request};

pub(in crate::api) async fn handle(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    let (asked, once) = match super::asked_once(request, body, id, send_dtmf_tones::parse).await? {
        Asked::Before(reply) => return Ok(reply),
        Asked::Now(asked, once) => (asked, once),
    };
    let command = Command::SendDtmfTones {
        operation: OperationId::new(Uuid::new_v4()),
        tones: asked.tones,
        delay: asked.delay,
        client_context: asked.client_context,
    };
    super::operate_once(request, id, command, once).await
}
