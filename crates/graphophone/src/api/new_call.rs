//! What kind of call a bot asks for: one between two, a group call, or a place in a meeting.

use graphophone_call::Invitation;
use graphophone_graph::{
    error::ApiError,
    resource::{
        call::CallDetails,
        create_call::CreateCall,
        identity::{IdentityKind, IdentitySet},
        meeting::MeetingName,
        participant::Participant,
    },
};

use super::{participants::invitations, request::Request};
use crate::{
    auth::Role,
    engine::{Calls, CreateError, MeetingKey, Once, Target, View},
};

/// How a call is to be made.
pub(super) enum Way<'a> {
    /// One is called.
    Two(Target),
    /// Several are called into a conference of their own.
    Group(&'a [Participant]),
    /// The bot joins a meeting, with the passcode that it gives.
    Meeting(MeetingKey, Option<String>),
}

/// The same, once it is known that it may be done.
pub(super) enum CheckedWay {
    Two(Target),
    Group(Vec<Invitation>),
    Meeting(MeetingKey),
}

/// Reads it out of the body.
pub(super) fn way<'a>(request: &Request<'_>, asked: &'a CreateCall) -> Result<Way<'a>, ApiError> {
    match (&asked.meeting_info, asked.targets.as_slice()) {
        (Some(meeting), []) => {
            let named = MeetingName::of(meeting, asked.chat_info.as_ref());
            let MeetingName { name, passcode } = named.map_err(ApiError::BotArgument)?;
            let key = MeetingKey { tenant: request.caller.tenant, name };
            Ok(Way::Meeting(key, passcode))
        }
        (Some(_), _) => {
            let text = "targets: send whom to call, or meetingInfo of a meeting to join, not both";
            Err(ApiError::BotArgument(text.to_owned()))
        }
        (None, [target]) => target_of(&target.identity).map(Way::Two).ok_or_else(|| {
            ApiError::BotArgument("targets[0]: name a user or a phone with an id".to_owned())
        }),
        (None, targets) => Ok(Way::Group(targets)),
    }
}

impl Way<'_> {
    /// One of these must be in the token.
    pub(super) fn roles(&self) -> &'static [Role] {
        match self {
            Self::Two(_) => &[Role::Initiate],
            Self::Group(_) => &[Role::InitiateGroupCall],
            Self::Meeting(..) => &[Role::JoinGroupCall, Role::JoinGroupCallAsGuest],
        }
    }

    /// Whether targets may be called, and a passcode is right.
    pub(super) fn checked(self, request: &Request<'_>) -> Result<CheckedWay, ApiError> {
        match self {
            Self::Two(target) => Ok(CheckedWay::Two(target)),
            Self::Group(targets) => {
                Ok(CheckedWay::Group(invitations(request, targets, "targets", None)?))
            }
            Self::Meeting(key, passcode) => {
                let passed = request.state.calls().check_passcode(&key, passcode.as_deref());
                passed.map_err(|error| ApiError::BotArgument(error.to_string()))?;
                Ok(CheckedWay::Meeting(key))
            }
        }
    }
}

impl CheckedWay {
    /// Makes the call.
    pub(super) async fn go(
        self,
        calls: &Calls,
        details: CallDetails,
        once: Option<Once>,
    ) -> Result<View, CreateError> {
        let hosted = details.is_service_hosted();
        match self {
            Self::Two(target) => calls.create(details, &target, hosted, once).await,
            Self::Group(targets) => calls.create_group(details, targets, hosted, once).await,
            Self::Meeting(key) => calls.join(details, key, hosted, once).await,
        }
    }
}

fn target_of(identity: &IdentitySet) -> Option<Target> {
    let id = |kind| identity.get(kind).and_then(|identity| identity.id.clone());
    id(IdentityKind::User).map(Target::User).or_else(|| id(IdentityKind::Phone).map(Target::Phone))
}
