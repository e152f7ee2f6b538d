//! Who is in a call, as the API shows it: the roster of a group, or the two of a call between two.

use std::sync::Arc;

use graphophone_call::{
    AudioRoutingGroup, Call, CallState, Direction, Identity, IdentityKind, Participant,
    ParticipantId, RecordingStatus, Roster,
};
use graphophone_graph::resource::call::CallDetails;
use uuid::{Builder, Uuid};

use super::request::View;

/// What others see of a group without asking the call's task.
#[derive(Clone, Debug, Default)]
pub struct GroupView {
    /// Who is in it; `None` of a call between two.
    pub roster: Option<Arc<Roster>>,
    /// The bot's own routing groups.
    pub routing: Arc<[AudioRoutingGroup]>,
    /// What the bot has said of a recording it makes.
    pub recording: RecordingStatus,
}

impl GroupView {
    /// Takes over how things are now.
    pub(super) fn update(&mut self, call: &Call) {
        self.roster = call.roster().cloned();
        if *self.routing != *call.routing_groups() {
            self.routing = call.routing_groups().into();
        }
        self.recording = call.recording();
    }
}

impl View {
    /// Whether the call is a group call.
    pub fn is_group(&self) -> bool {
        self.group.roster.is_some()
    }

    /// Who is in the call.
    pub fn roster(&self) -> Arc<Roster> {
        match &self.group.roster {
            Some(roster) => Arc::clone(roster),
            None => Arc::new(self.of_two()),
        }
    }

    /// The bot, and who it talks with, once it does.
    fn of_two(&self) -> Roster {
        let details = &self.details;
        let shown = |id, identity, recording| Participant {
            id,
            identity,
            is_muted: false,
            is_on_hold: false,
            is_hidden: false,
            recording,
        };
        let bot = ParticipantId::new(details.my_participant_id);
        let mut participants =
            vec![shown(bot, Arc::new(bot_identity(details)), self.group.recording)];
        match self.state {
            CallState::Incoming | CallState::Establishing | CallState::Redirecting => {}
            CallState::Established
            | CallState::Transferring
            | CallState::TransferAccepted
            | CallState::Terminating
            | CallState::Terminated => {
                let peer = Arc::new(peer_identity(details));
                let id = peer_participant(details);
                participants.push(shown(id, peer, RecordingStatus::Unknown));
            }
        }
        Roster { sequence: 1, participants }
    }
}

/// The bot as a participant.
pub(super) fn bot_identity(details: &CallDetails) -> Identity {
    let id = Some(details.app.to_string());
    Identity { kind: IdentityKind::Application, id, display_name: None }
}

/// The far end of a call between two. Whom the bot may not know is a telephone without a number.
fn peer_identity(details: &CallDetails) -> Identity {
    let peer = match details.direction {
        Direction::Incoming => details.source.as_ref(),
        Direction::Outgoing => details.targets.first(),
    };
    peer.and_then(|peer| peer.identity.to_domain()).unwrap_or(Identity {
        kind: IdentityKind::Phone,
        id: None,
        display_name: None,
    })
}

/// The far end's id: the same at each look, and known to nobody who does not know the call's.
fn peer_participant(details: &CallDetails) -> ParticipantId {
    let mixed = Uuid::as_u128(&details.id.uuid()) ^ details.my_participant_id.as_u128();
    ParticipantId::new(Builder::from_random_bytes(mixed.to_be_bytes()).into_uuid())
}
