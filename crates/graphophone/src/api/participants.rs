//! `/communications/calls/{id}/participants`: who is in a call, and what is done with them.

use std::sync::Arc;

use axum::{body::Body, http::StatusCode};
use graphophone_call::{
    CallId, CallState, Command, GroupCommand, GroupVerb, Invitation, OperationId, ParticipantId,
    Rejection,
};
use graphophone_graph::{
    action::{configure_mixer, context_only, invite, mute_all, start_hold_music},
    compat::{ApiVersion, Compat},
    error::ApiError,
    odata::{self, query::Shape},
    path::{ParticipantAction, ParticipantsAction},
    resource::{participant::Participant, roster},
};
use serde_json::Value;
use uuid::Uuid;

use super::{actions, calls, lists, reply::Reply, request::Request};
use crate::{
    auth::Role,
    engine::{Once, Target, View},
};

/// Graph "List participants".
pub(super) fn list(request: &Request<'_>, id: CallId) -> Result<Reply, ApiError> {
    let view = calls::find(request, id)?;
    let items = all(&view).into_iter().map(|item| (0, item)).collect();
    lists::whole(request, &format!("calls/{id}/participants"), items)
}

/// All who are in a call, as they are shown.
pub(super) fn all(view: &View) -> Vec<Value> {
    roster::render_all(&view.roster())
}

/// Graph "Get participant".
pub(super) fn get(
    request: &Request<'_>,
    id: CallId,
    participant: ParticipantId,
) -> Result<Reply, ApiError> {
    let query = request.options(Shape::Object(&[]))?;
    let roster = calls::find(request, id)?.roster();
    let found = roster.get(participant).filter(|found| !found.is_hidden);
    let found = found.ok_or(Rejection::ParticipantAbsent)?;
    let rendered = roster::render(&request.service(), id, found, roster.sequence);
    Ok(Reply::json(StatusCode::OK, odata::select(rendered, &query.selection)))
}

/// Graph "Delete participant".
pub(super) async fn delete(
    request: &Request<'_>,
    id: CallId,
    participant: ParticipantId,
) -> Result<Reply, ApiError> {
    calls::find(request, id)?;
    let calls = request.state.calls();
    let hold = calls.outbox().hold(id);
    let command = Command::Group(GroupCommand::Remove(participant));
    calls.command(request.owner(), id, command, None, None).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT).holding(hold))
}

/// An id that nobody can have.
pub(super) fn absent(request: &Request<'_>, id: CallId) -> ApiError {
    match calls::find(request, id) {
        Ok(_) => Rejection::ParticipantAbsent.into(),
        Err(error) => error,
    }
}

/// An action on all participants.
pub(super) async fn act_on_all(
    request: &Request<'_>,
    body: Body,
    id: CallId,
    action: ParticipantsAction,
) -> Result<Reply, ApiError> {
    calls::find(request, id)?;
    let body = request.json(body).await?;
    let once = request.once(&body);
    if let Some(reply) = actions::made_before(request, once).await? {
        return Ok(reply);
    }
    let (version, compat) = (request.version(), request.compat());
    if !is_known(action, version, compat) {
        let text = format!("The metadata of this version has no action {}", action.name());
        return Err(ApiError::BotWantsUnsupported(text.into()));
    }
    let (verb, client_context) = match action {
        ParticipantsAction::Invite => {
            if !request.caller.has(Role::InitiateGroupCall) {
                return Err(ApiError::BotRoleMissing);
            }
            let asked = invite::parse(&body, version, compat)?;
            if let Some(other) = asked.replaces {
                check_other(request, other)?;
            }
            let list = &asked.participants;
            let invited = invitations(request, list, "participants", asked.replaces)?;
            (GroupVerb::Invite(invited.into()), asked.client_context)
        }
        ParticipantsAction::MuteAll => {
            let asked = mute_all::parse(&body, version, compat)?;
            (GroupVerb::MuteAll(asked.participants.into()), asked.client_context)
        }
        ParticipantsAction::ConfigureMixer => {
            let asked = configure_mixer::parse(&body, version, compat)?;
            (GroupVerb::ConfigureMixer(asked.levels.into()), asked.client_context)
        }
    };
    operate(request, id, verb, client_context, once).await
}

/// Whether somebody can be moved to a group from this call: one between two, of the same bot, that is
/// established. A foreign one is like none.
fn check_other(request: &Request<'_>, other: CallId) -> Result<(), ApiError> {
    let member = "participants[0].replacesCallId";
    let wrong = |what| Err(ApiError::BotArgument(format!("{member}: {what}")));
    let view = calls::find(request, other)?;
    match view.state {
        _ if view.is_group() => wrong("a call between two expected, and this is a group call"),
        CallState::Established => Ok(()),
        CallState::Incoming
        | CallState::Establishing
        | CallState::Transferring
        | CallState::TransferAccepted
        | CallState::Redirecting
        | CallState::Terminating
        | CallState::Terminated => wrong("the call is not established"),
    }
}

/// Whether the metadata that the request is held to has the action.
fn is_known(action: ParticipantsAction, version: ApiVersion, compat: Compat) -> bool {
    match (action, compat) {
        (ParticipantsAction::Invite, _) | (_, Compat::Open) => true,
        (ParticipantsAction::MuteAll | ParticipantsAction::ConfigureMixer, Compat::StrictBeta) => {
            version == ApiVersion::Beta
        }
        (ParticipantsAction::MuteAll | ParticipantsAction::ConfigureMixer, Compat::StrictV1) => {
            false
        }
    }
}

/// An action on one participant.
pub(super) async fn act_on_one(
    request: &Request<'_>,
    body: Body,
    (id, participant): (CallId, ParticipantId),
    action: ParticipantAction,
) -> Result<Reply, ApiError> {
    calls::find(request, id)?;
    let body = request.json(body).await?;
    let once = request.once(&body);
    let mut reply = match actions::made_before(request, once).await? {
        Some(reply) => reply,
        None => act_on_one_now(request, &body, (id, participant), action, once).await?,
    };
    match action {
        // Graph answers these as accepted, with the operation.
        ParticipantAction::StartHoldMusic | ParticipantAction::StopHoldMusic => {
            reply.status = StatusCode::ACCEPTED;
        }
        ParticipantAction::Mute | ParticipantAction::Unmute => {}
    }
    Ok(reply)
}

async fn act_on_one_now(
    request: &Request<'_>,
    body: &[u8],
    (id, participant): (CallId, ParticipantId),
    action: ParticipantAction,
    once: Option<Once>,
) -> Result<Reply, ApiError> {
    let (version, compat) = (request.version(), request.compat());
    let (verb, client_context) = match action {
        ParticipantAction::StartHoldMusic => {
            let asked = start_hold_music::parse(body, version, compat)?;
            if let Some(prompt) = &asked.custom_prompt {
                request.state.check_prompt(&prompt.uri).map_err(|fault| {
                    ApiError::BotArgument(format!("customPrompt.mediaInfo.uri: {fault}"))
                })?;
            }
            let prompt = asked.custom_prompt;
            (GroupVerb::StartHoldMusic { participant, prompt }, asked.client_context)
        }
        ParticipantAction::StopHoldMusic => {
            (GroupVerb::StopHoldMusic(participant), context_only::parse(body, version, compat)?)
        }
        ParticipantAction::Mute => {
            (GroupVerb::Mute(participant), context_only::parse(body, version, compat)?)
        }
        ParticipantAction::Unmute => {
            (GroupVerb::Unmute(participant), context_only::parse(body, version, compat)?)
        }
    };
    operate(request, id, verb, client_context, once).await
}

/// What takes time is done once for each request; what is done at once says how something is to be,
/// and may be said again.
async fn operate(
    request: &Request<'_>,
    id: CallId,
    verb: GroupVerb,
    client_context: Option<String>,
    once: Option<Once>,
) -> Result<Reply, ApiError> {
    let once = once.filter(|_| !verb.is_immediate());
    actions::operate_once(request, id, command(verb, client_context), once).await
}

/// A command that makes an operation of the group.
pub(super) fn command(verb: GroupVerb, client_context: Option<String>) -> Command {
    let operation = OperationId::new(Uuid::new_v4());
    Command::Group(GroupCommand::Act { operation, verb, client_context })
}

/// People to be called, each with an id of their own. All must be such as may be dialled: `list` is
/// the name of the member that they stand in. Who comes from another call of the bot is not dialled.
pub(super) fn invitations(
    request: &Request<'_>,
    asked: &[Participant],
    list: &str,
    replaces: Option<CallId>,
) -> Result<Vec<Invitation>, ApiError> {
    let invitation = |(index, asked): (usize, &Participant)| {
        let nobody = || {
            let text = format!("{list}[{index}]: name a user or a phone with an id");
            ApiError::BotArgument(text)
        };
        let identity = asked.identity.to_domain().ok_or_else(nobody)?;
        let target = Target::of(&identity).ok_or_else(nobody)?;
        if replaces.is_none() {
            let routed = request.state.calls().check_target(&target);
            routed.map_err(|error| calls::refused_target(&error, &format!("{list}[{index}]")))?;
        }
        Ok(Invitation {
            participant: ParticipantId::new(Uuid::new_v4()),
            identity: Arc::new(identity),
            is_hidden: asked.flag("hidden"),
            is_apart: asked.flag("removeFromDefaultAudioRoutingGroup"),
            replaces,
        })
    };
    asked.iter().enumerate().map(invitation).collect()
}
