//! `/communications/calls` and `/communications/calls/{id}`, made and ended; `read.rs` shows them.

use axum::{body::Body, http::StatusCode};
use graphophone_call::{AppId, CallId, Command, MediaPrompt};
use graphophone_graph::{
    error::ApiError,
    resource::{
        call::{CallDetails, CallView, NewCall},
        create_call::{self, CreateCall},
        identity::IdentityKind,
        media::MediaState,
        participant::Participant,
    },
};
use uuid::Uuid;

use super::{new_call, operations::unreadable, reply::Reply, request::Request};
use crate::{
    auth::Role,
    engine::{CommandError, CreateError, DialError, HandOverError, Target, View},
};

/// Graph "Create call".
pub(super) async fn create(request: &Request<'_>, body: Body) -> Result<Reply, ApiError> {
    let body = request.json(body).await?;
    let once = request.once(&body);
    if let Some(known) = request.made_before(once).await? {
        return made_before(request, known.call_id).await;
    }
    if request.state.is_stopping() {
        return Err(ApiError::ServerUnavailable);
    }
    let asked = create_call::parse(&body, request.version(), request.compat())?;
    // Real Graph says the same to a missing tenantId and to a foreign one.
    if asked.tenant != Some(request.caller.tenant) {
        return Err(ApiError::BotTenantMismatch);
    }
    let way = new_call::way(request, &asked)?;
    let may_touch_media = asked.media.is_service_hosted() || request.caller.has(Role::AccessMedia);
    if !may_touch_media || !way.roles().iter().any(|role| request.caller.has(*role)) {
        return Err(ApiError::BotRoleMissing);
    }
    check_source(&asked, request.caller.app)?;
    check_callback(request, &asked.callback_uri)?;
    let way = way.checked(request)?;

    let (tenant, app) = request.owner();
    let ids = NewCall {
        id: CallId::new(Uuid::new_v4()),
        tenant,
        app,
        my_participant_id: Uuid::new_v4(),
        chain: Uuid::new_v4(),
        scenario: request.scenario(),
    };
    let details = CallDetails::outgoing(ids, request.version(), asked);
    let calls = request.state.calls();
    let hold = calls.outbox().hold(ids.id);
    let view = match way.go(calls, details, once).await {
        Ok(view) => view,
        // The same request at the same time.
        Err(CreateError::Command(CommandError::Repeated)) => {
            let known = request.made_before(once).await?.ok_or(ApiError::ServerFault)?;
            return made_before(request, known.call_id).await;
        }
        Err(error) => return Err(error.into()),
    };
    prefetch(request, &view.details);
    let rendered = as_graph(&view).render(&request.service());
    let location = request.service().call_url(ids.id);
    Ok(Reply::json(StatusCode::CREATED, rendered).at(location).holding(hold))
}

/// The call that an earlier request of the same id has made, as it is now.
async fn made_before(request: &Request<'_>, id: CallId) -> Result<Reply, ApiError> {
    let kept = request.state.calls().kept(request.owner(), id).await;
    let view = kept
        .map_err(unreadable)?
        .ok_or_else(|| ApiError::BotRequestForgotten(format!("call {id}")))?;
    let rendered = as_graph(&view).render(&request.service());
    Ok(Reply::json(StatusCode::CREATED, rendered).at(request.service().call_url(id)))
}

/// Graph "Delete call": hang up.
pub(super) async fn delete(request: &Request<'_>, id: CallId) -> Result<Reply, ApiError> {
    let calls = request.state.calls();
    let hold = calls.outbox().hold(id);
    match calls.command(request.owner(), id, Command::HangUp, None, None).await {
        // Somebody was quicker: it is what was wanted.
        Ok(_) | Err(CommandError::Rejected(_)) => {
            Ok(Reply::empty(StatusCode::NO_CONTENT).holding(hold))
        }
        Err(error) => Err(error.into()),
    }
}

/// A live call of the caller.
pub(super) fn find(request: &Request<'_>, id: CallId) -> Result<View, ApiError> {
    request.state.calls().view(request.owner(), id).ok_or(ApiError::BotCallNotFound)
}

/// Whether notifications may be posted there.
pub(super) fn check_callback(request: &Request<'_>, uri: &str) -> Result<(), ApiError> {
    request
        .state
        .callbacks()
        .check_uri(uri)
        .map(drop)
        .map_err(|refusal| ApiError::BotArgument(format!("callbackUri: {refusal}")))
}

/// Warms the cache for an accepted call; a prompt that cannot be had is not the call's fault.
pub(super) fn prefetch(request: &Request<'_>, details: &CallDetails) {
    let Some(media) = &details.media else { return };
    let allowed: Vec<MediaPrompt> = media
        .prefetch()
        .iter()
        .filter(|info| request.state.check_prompt(&info.uri).is_ok())
        .map(|info| MediaPrompt {
            uri: info.uri.clone(),
            resource_id: info.resource_id.clone(),
            repeat: 1,
            shaping: Default::default(),
        })
        .collect();
    let owner = (details.tenant, details.app);
    request.state.calls().prompts().prefetch(owner, &allowed);
}

pub(super) fn as_graph(view: &View) -> CallView<'_> {
    CallView {
        details: &view.details,
        state: view.state,
        media: view
            .media_active
            .map(|active| if active { MediaState::Active } else { MediaState::Inactive }),
        result: view.result.as_ref(),
        tone: view.tone,
    }
}

/// A source, if given, must be the token's own application.
fn check_source(asked: &CreateCall, app: AppId) -> Result<(), ApiError> {
    let Some(source) = &asked.source else { return Ok(()) };
    match source.identity.get(IdentityKind::Application).and_then(|identity| identity.id.as_ref()) {
        Some(id) if id.parse() != Ok(app) => Err(ApiError::BotSourceMismatch),
        Some(_) | None => Ok(()),
    }
}

/// Whom an `invitationParticipantInfo` means; `member` is where it stands.
pub(super) fn target_of(target: &Participant, member: &str) -> Result<Target, ApiError> {
    let id = |kind| target.identity.get(kind).and_then(|identity| identity.id.clone());
    id(IdentityKind::User)
        .map(Target::User)
        .or_else(|| id(IdentityKind::Phone).map(Target::Phone))
        .ok_or_else(|| {
            ApiError::BotArgument(format!("{member}: name a user or a phone with an id"))
        })
}

/// What a bot is told of a call that is not handed on; `member` names its targets.
pub(super) fn not_handed_on(error: HandOverError, member: &str) -> ApiError {
    match error {
        HandOverError::Dial(error @ DialError::BotBadTarget(_)) => {
            ApiError::BotArgument(format!("{member}: {error}"))
        }
        HandOverError::Dial(error) => CreateError::Dial(error).into(),
        HandOverError::Quota(limit) => CreateError::Quota(limit).into(),
        HandOverError::BotOtherCall => ApiError::BotArgument(error.to_string()),
        HandOverError::Command(error) => error.into(),
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Rejected(rejection) => rejection.into(),
            CommandError::NotFound => Self::BotCallNotFound,
            CommandError::NotStored | CommandError::Stopping => Self::ServerUnavailable,
            CommandError::NoSpace => Self::ServerDiskFull,
            // Whoever gives a request's id looks for what it has made before it comes here.
            CommandError::Repeated => Self::ServerFault,
            // A 503 would say that nothing was done (spec/clients.md §7).
            CommandError::NotReported => Self::ServerFault,
        }
    }
}

/// A target that is not dialled; `member` is where it stands.
pub(super) fn refused_target(error: &DialError, member: &str) -> ApiError {
    match error {
        DialError::BotBadTarget(_) => ApiError::BotArgument(format!("{member}: {error}")),
        DialError::ConfigDenies
        | DialError::ConfigForbids
        | DialError::ConfigDevProfile
        | DialError::ConfigNoTrunk => ApiError::BotTargetDenied(error.to_string()),
    }
}

impl From<CreateError> for ApiError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Dial(error) => refused_target(&error, "targets[0]"),
            CreateError::Quota(limit) => Self::BotTooManyCalls {
                reason: error.to_string(),
                retry_after: limit.retry_after(),
            },
            CreateError::TooManyCalls => {
                Self::BotTooManyCalls { reason: error.to_string(), retry_after: 2 }
            }
            CreateError::Overloaded { retry_after, .. } => Self::BotTooManyCalls {
                reason: error.to_string(),
                retry_after: retry_after.as_secs(),
            },
            CreateError::Command(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use graphophone_call::Rejection;

    use super::*;

    #[test]
    fn only_a_command_that_did_nothing_may_be_sent_again() {
        let status = |error: ApiError| (error.status(), error.code());
        for (error, expected) in [
            (CommandError::NotStored, (503, "ServiceUnavailable")),
            (CommandError::NotReported, (500, "UnknownError")),
            (CommandError::NotFound, (404, "8522")),
            (CommandError::Rejected(Rejection::Terminated), (400, "8528")),
        ] {
            assert_eq!(status(error.into()), expected);
        }
    }
}
