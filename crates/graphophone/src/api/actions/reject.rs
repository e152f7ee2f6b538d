//! Graph "call: reject".

use axum::{body::Body, http::StatusCode};
use graphophone_call::{CallId, Command};
use graphophone_graph::{action::reject, error::ApiError};

use super::{Reply, Request};
use crate::api::calls;

pub(in crate::api) async fn handle(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    let (view, asked) = super::asked(request, body, id, reject::parse).await?;
    let details = match asked.callback_uri {
        Some(uri) => {
            calls::check_callback(request, &uri)?;
            let mut details = (*view.details).clone();
            details.callback_uri = uri;
            Some(details)
        }
        None => None,
    };
    let calls = request.state.calls();
    let hold = calls.outbox().hold(id);
    calls.command(request.owner(), id, Command::Reject(asked.reason), details, None).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED).holding(hold))
}
