//! Graph "call: answer". No role is needed to answer a peer-to-peer call, unless the bot handles its
//! media.

use axum::{body::Body, http::StatusCode};
use graphophone_call::{CallId, Command};
use graphophone_graph::{action::answer, error::ApiError};

use super::{Reply, Request};
use crate::{api::calls, auth::Role};

pub(in crate::api) async fn handle(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    let (view, asked) = super::asked(request, body, id, answer::parse).await?;
    if let Some(uri) = &asked.callback_uri {
        calls::check_callback(request, uri)?;
    }
    let mut details = (*view.details).clone();
    details.answer(request.version(), asked);
    let service_hosted = details.is_service_hosted();
    if !(service_hosted || request.caller.has(Role::AccessMedia)) {
        return Err(ApiError::BotRoleMissing);
    }
    let hold = request.state.calls().outbox().hold(id);
    request
        .state
        .calls()
        .command(
            request.owner(),
            id,
            Command::Answer { service_hosted },
            Some(details.clone()),
            None,
        )
        .await?;
    calls::prefetch(request, &details);
    Ok(Reply::empty(StatusCode::ACCEPTED).holding(hold))
}
