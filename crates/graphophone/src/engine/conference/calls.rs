//! Group calls and telephones on their way to a conference.

use std::sync::Arc;

use graphophone_call::{BotPlace, Call, Identity, Invitation, ParticipantId};
use graphophone_graph::resource::call::CallDetails;
use graphophone_sip::{LegHandle, LegSinks};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Arrival, Joining, MeetingKey, NamedConference, task::sip_call_id};
use crate::engine::{
    call_task::Line,
    participants::bot_identity,
    registry::{Begun, Calls, CreateError, Shared, ring_for},
    request::{Once, View},
};

/// Why a meeting is not joined. Nothing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The conference has a passcode, and this is not it.
    #[error("meetingInfo.passcode: not the conference's")]
    BotPasscode,
}

impl Calls {
    /// Makes a group call, and calls whom it names once it is durable.
    ///
    /// # Errors
    /// [`CreateError`]; whatever goes wrong later is told by notifications.
    pub async fn create_group(
        &self,
        details: CallDetails,
        targets: Vec<Invitation>,
        service_hosted: bool,
        once: Option<Once>,
    ) -> Result<View, CreateError> {
        let shared = &self.shared;
        let now = Instant::now().into_std();
        let mut permits = Vec::new();
        for _ in &targets {
            permits.push(shared.quota.take(now, details.app)?);
        }
        shared.door.admit()?;
        let dialogs: Vec<String> = targets
            .iter()
            .map(|target| graphophone_sip::invited(&sip_call_id(target.participant)))
            .collect();
        let shared = Arc::clone(shared);
        let joining = joining(&shared, &details, targets);
        let enter = move |sinks| shared.enter(None, Joining { permits, ..joining(sinks) });
        let line = Line::Place(Box::new(enter));
        let dialog = Some(dialogs.join("\n"));
        self.begin_group(details, service_hosted, Begun { line, dialog, once, permit: None }).await
    }

    /// Whether a bot may join a meeting with this passcode.
    ///
    /// # Errors
    /// [`JoinError`].
    pub fn check_passcode(
        &self,
        key: &MeetingKey,
        passcode: Option<&str>,
    ) -> Result<(), JoinError> {
        let named = self.shared.conferences.named(key);
        let wanted = named.and_then(|named| named.passcode.as_ref());
        match wanted {
            Some(wanted) if !passcode.is_some_and(|given| wanted.matches(given)) => {
                Err(JoinError::BotPasscode)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Makes a call that takes part in a meeting, which begins with it if there is none.
    ///
    /// # Errors
    /// [`CreateError`].
    pub async fn join(
        &self,
        details: CallDetails,
        key: MeetingKey,
        service_hosted: bool,
        once: Option<Once>,
    ) -> Result<View, CreateError> {
        self.shared.door.admit()?;
        let shared = Arc::clone(&self.shared);
        let joining = joining(&shared, &details, Vec::new());
        let enter = move |sinks| shared.enter(Some(&key), joining(sinks));
        let line = Line::Place(Box::new(enter));
        let begun = Begun { line, dialog: None, once, permit: None };
        self.begin_group(details, service_hosted, begun).await
    }

    async fn begin_group(
        &self,
        details: CallDetails,
        service_hosted: bool,
        begun: Begun,
    ) -> Result<View, CreateError> {
        let mut settings = self.shared.settings.clone();
        settings.ring_for = ring_for(&settings, &details);
        let now = Instant::now().into_std();
        self.start(Call::group(now, settings, service_hosted), details, begun).await
    }

    /// The conference that a number leads to, if one does.
    pub fn conference_for(&self, number: &str) -> Option<MeetingKey> {
        self.shared.conferences.dialled(number).map(|NamedConference { key, .. }| key.clone())
    }

    /// Takes a telephone to a conference.
    ///
    /// # Errors
    /// The leg, if nobody is there to take it: it is to be refused.
    pub fn dial_in(
        &self,
        key: &MeetingKey,
        identity: Identity,
        leg: LegHandle,
        dialog: String,
    ) -> Result<(), LegHandle> {
        let participant = ParticipantId::new(Uuid::new_v4());
        let arrival = Arrival { participant, identity: Arc::new(identity), leg, dialog };
        self.shared.dial_in(key, arrival)
    }
}

/// What a bot brings to its conference, once its call's sinks are there.
fn joining(
    shared: &Shared,
    details: &CallDetails,
    targets: Vec<Invitation>,
) -> impl FnOnce(LegSinks) -> Joining + Send + use<> {
    let place = BotPlace {
        participant: ParticipantId::new(details.my_participant_id),
        identity: Arc::new(bot_identity(details)),
        is_apart: details.is_apart(),
        targets: targets.into(),
    };
    let owner = (details.tenant, details.app);
    let ring_timeout = ring_for(&shared.settings, details);
    move |sinks| Joining { place, owner, sinks, ring_timeout, permits: Vec::new() }
}
