//! Graph "call: redirect".

use axum::{body::Body, http::StatusCode};
use graphophone_call::CallId;
use graphophone_graph::{
    action::redirect, error::ApiError, resource::call::CallDetails,
    resource::identity::IdentityKind,
};

use super::{Reply, Request};
use crate::{api::calls, auth::Role};

pub(in crate::api) async fn handle(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    let (view, asked) = super::asked(request, body, id, redirect::parse).await?;
    if !request.caller.has(Role::Initiate) {
        return Err(ApiError::BotRoleMissing);
    }
    let mut details = (*view.details).clone();
    if let Some(uri) = &asked.callback_uri {
        calls::check_callback(request, uri)?;
        details.callback_uri.clone_from(uri);
    }
    let targets = asked
        .targets
        .iter()
        .map(|target| calls::target_of(target, "targets"))
        .collect::<Result<Vec<_>, _>>()?;
    let (calls, owner) = (request.state.calls(), request.owner());
    let from = match caller(&details) {
        Some(from) if !asked.mask_caller => from,
        Some(_) | None => (owner.1.to_string(), None),
    };
    let hold = calls.outbox().hold(id);
    calls
        .redirect(owner, id, &targets, asked.ring_for, Some(details), from)
        .await
        .map_err(|error| calls::not_handed_on(error, "targets"))?;
    Ok(Reply::empty(StatusCode::ACCEPTED).holding(hold))
}

/// Who calls, as targets may see it: a number or a user's id, and a name.
fn caller(details: &CallDetails) -> Option<(String, Option<String>)> {
    let source = &details.source.as_ref()?.identity;
    let kinds = [IdentityKind::Phone, IdentityKind::User];
    let identity = kinds.into_iter().find_map(|kind| source.get(kind))?;
    Some((identity.id.clone()?, identity.display_name.clone()))
}
