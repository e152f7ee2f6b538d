//! Graph "call: transfer".

use axum::{body::Body, http::StatusCode};
use graphophone_call::{CallId, ParticipantId, Rejection, Roster};
use graphophone_graph::{action::transfer, error::ApiError, resource::participant::Participant};

use super::{Reply, Request};
use crate::{api::calls, auth::Role};

pub(in crate::api) async fn handle(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    let (view, asked) = super::asked(request, body, id, transfer::parse).await?;
    if !request.caller.has(Role::Initiate) {
        return Err(ApiError::BotRoleMissing);
    }
    let (calls, owner) = (request.state.calls(), request.owner());
    let transferee = match &asked.transferee {
        Some(named) if view.is_group() => Some(find(&view.roster(), named)?),
        Some(_) | None => None,
    };
    let hold = calls.outbox().hold(id);
    match asked.replaces {
        Some(other) => calls.transfer_to_call(owner, id, transferee, other).await,
        None => {
            let target = calls::target_of(&asked.target, "transferTarget")?;
            calls.transfer(owner, id, transferee, &target).await
        }
    }
    .map_err(|error| calls::not_handed_on(error, "transferTarget"))?;
    Ok(Reply::empty(StatusCode::ACCEPTED).holding(hold))
}

/// Whom of a group a transferee names: by `participantId`, or as somebody of whom there is one only.
fn find(roster: &Roster, named: &Participant) -> Result<ParticipantId, ApiError> {
    let absent = || ApiError::from(Rejection::ParticipantAbsent);
    if let Some(id) = named.text("participantId") {
        return id.parse().map_err(|_| absent());
    }
    let identity = named.identity.to_domain().ok_or_else(absent)?;
    let is_it =
        |of: &graphophone_call::Identity| (of.kind, &of.id) == (identity.kind, &identity.id);
    let mut found = roster.participants.iter().filter(|shown| is_it(&shown.identity));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.id),
        (Some(_), Some(_)) => {
            let text = "transferee: several participants are this one, send its participantId";
            Err(ApiError::BotArgument(text.to_owned()))
        }
        (None, _) => Err(absent()),
    }
}
