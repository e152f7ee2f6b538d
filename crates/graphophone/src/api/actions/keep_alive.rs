//! Graph "call: keepAlive".

use axum::http::StatusCode;
use graphophone_call::{CallId, Command};
use graphophone_graph::error::ApiError;

use super::{Reply, Request};

pub(in crate::api) async fn handle(request: &Request<'_>, id: CallId) -> Result<Reply, ApiError> {
    request.state.calls().command(request.owner(), id, Command::KeepAlive, None, None).await?;
    Ok(Reply::empty(StatusCode::OK))
}
