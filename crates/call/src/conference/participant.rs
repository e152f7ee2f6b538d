//! Who takes part in a conference, and the roster that shows it.

use std::sync::Arc;

use crate::ids::{CallId, ParticipantId};

/// What somebody is: the member of Graph's `identitySet` that names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IdentityKind {
    /// A person with an account; the id is a Graph user id or a `sip:` URI.
    User,
    /// A telephone; the id is a number or a `sip:` URI.
    Phone,
    /// A bot; the id is its application id.
    Application,
}

/// Who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What they are.
    pub kind: IdentityKind,
    /// Their id; `None` of callers that do not say who they are.
    pub id: Option<String>,
    /// For people.
    pub display_name: Option<String>,
}

/// Graph `recordingStatus` as a bot may set it: what participants are told, nothing more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordingStatus {
    /// Nobody has said anything about a recording.
    #[default]
    Unknown,
    /// There is none.
    NotRecording,
    /// The bot records.
    Recording,
    /// The bot could not record.
    Failed,
}

/// One who is to be called into a conference (Graph `invitationParticipantInfo`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// The id they will have.
    pub participant: ParticipantId,
    /// Whom to call.
    pub identity: Arc<Identity>,
    /// Not shown in rosters.
    pub is_hidden: bool,
    /// Neither heard in the default mix nor hearing it (`removeFromDefaultAudioRoutingGroup`).
    pub is_apart: bool,
    /// They are in this call of the same bot already; it ends, and they come from there.
    pub replaces: Option<CallId>,
}

/// One who is in the conference, as the roster shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// Their id.
    pub id: ParticipantId,
    /// Who they are.
    pub identity: Arc<Identity>,
    /// Muted by the server.
    pub is_muted: bool,
    /// Hears hold music and nothing else.
    pub is_on_hold: bool,
    /// Not to be shown.
    pub is_hidden: bool,
    /// What they have said of a recording they make; bots only.
    pub recording: RecordingStatus,
}

/// Everybody who is in a conference at a moment: always the whole list. Who is still being called
/// is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Graph `rosterSequenceNumber`: counts the snapshots of one conference from 1.
    pub sequence: u64,
    /// In the order they came.
    pub participants: Vec<Participant>,
}

impl Roster {
    /// One of them.
    pub fn get(&self, id: ParticipantId) -> Option<&Participant> {
        self.participants.iter().find(|participant| participant.id == id)
    }

    /// One of them who is no bot, and so has a telephone.
    pub fn person(&self, id: ParticipantId) -> Option<&Participant> {
        self.get(id).filter(|found| found.identity.kind != IdentityKind::Application)
    }
}
