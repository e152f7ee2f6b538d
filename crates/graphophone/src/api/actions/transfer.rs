//! Graph "call: transfer".

use axum::{body::Body, http::StatusCode};
use graphophone_call::CallId;
use graphophone_graph::{action::transfer, error::ApiError};

use super::{Reply, Request};
use crate::{api::calls, auth::Role};

pub(in crate::api) async fn handle(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    let (_, asked) = super::asked(request, body, id, transfer::parse).await?;
    if !request.caller.has(Role::Initiate) {
        return Err(ApiError::BotRoleMissing);
    }
    let (calls, owner) = (request.state.calls(), request.owner());
    let hold = calls.outbox().hold(id);
    match asked.replaces {
        Some(other) => calls.transfer_to_call(owner, id, other).await,
        None => {
            let target = calls::target_of(&asked.target, "transferTarget")?;
            calls.transfer(owner, id, &target).await
        }
    }
    .map_err(|error| calls::not_handed_on(error, "transferTarget"))?;
    Ok(Reply::empty(StatusCode::ACCEPTED).holding(hold))
}
