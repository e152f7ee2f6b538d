//! What goes between a bot's group call, the conference it has a place in, and who drives that.

use std::sync::Arc;

use super::{
    participant::{Identity, Invitation, RecordingStatus, Roster},
    routing::{AudioRoutingGroup, MixerLevel},
};
use crate::{
    command::ReferTo,
    ids::{OperationId, ParticipantId},
    leg::LegEvent,
    operation::{MediaPrompt, ResultInfo},
};

/// What a bot may ask of the group that its call is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupCommand {
    /// Something that makes an operation.
    Act {
        /// Id of the operation that is made.
        operation: OperationId,
        /// What is asked.
        verb: GroupVerb,
        /// Echoed on the operation.
        client_context: Option<String>,
    },
    /// Graph "Delete participant".
    Remove(ParticipantId),
    /// Graph "Create audioRoutingGroup", and its update.
    PutRoutingGroup {
        /// The group as it is to be.
        group: AudioRoutingGroup,
        /// It must be there already (`true`), or must not (`false`).
        is_update: bool,
    },
    /// Graph "Delete audioRoutingGroup".
    DeleteRoutingGroup(String),
}

impl GroupCommand {
    /// The operation that it makes, if it makes one.
    pub fn operation(&self) -> Option<OperationId> {
        match self {
            Self::Act { operation, .. } => Some(*operation),
            Self::Remove(_) | Self::PutRoutingGroup { .. } | Self::DeleteRoutingGroup(_) => None,
        }
    }
}

/// Actions on a group call that make an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupVerb {
    /// Graph "participants: invite".
    Invite(Arc<[Invitation]>),
    /// Graph "call: mute": the bot itself.
    MuteSelf,
    /// Graph "call: unmute".
    UnmuteSelf,
    /// Graph "participant: mute".
    Mute(ParticipantId),
    /// Ours: takes a mute back. In Graph only participants do that themselves, and a telephone
    /// has no way to.
    Unmute(ParticipantId),
    /// Graph beta "participants: muteAll". Nobody named means all but the bots.
    MuteAll(Arc<[ParticipantId]>),
    /// Graph beta "participants: configureMixer".
    ConfigureMixer(Arc<[MixerLevel]>),
    /// Graph "participant: startHoldMusic".
    StartHoldMusic {
        /// Who is to hear it.
        participant: ParticipantId,
        /// Instead of the built-in tune.
        prompt: Option<MediaPrompt>,
    },
    /// Graph "participant: stopHoldMusic".
    StopHoldMusic(ParticipantId),
    /// Graph "call: updateRecordingStatus"; for calls between two, too.
    UpdateRecordingStatus(RecordingStatus),
}

impl GroupVerb {
    /// Whether the operation is completed in the response already, so that no notification follows
    /// (spec/state-machines.md §2).
    pub const fn is_immediate(&self) -> bool {
        match self {
            Self::MuteSelf
            | Self::UnmuteSelf
            | Self::Mute(_)
            | Self::Unmute(_)
            | Self::MuteAll(_)
            | Self::UpdateRecordingStatus(_) => true,
            Self::Invite(_)
            | Self::ConfigureMixer(_)
            | Self::StartHoldMusic { .. }
            | Self::StopHoldMusic(_) => false,
        }
    }
}

/// What a group call asks of its conference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConferenceRequest {
    /// An accepted operation; [`ConferenceEvent::Done`] answers those that are not immediate.
    Act {
        /// Its id.
        operation: OperationId,
        /// What is asked.
        verb: GroupVerb,
    },
    /// Somebody is to go.
    Remove(ParticipantId),
    /// All routing groups of the bot, as they are now.
    Route(Vec<AudioRoutingGroup>),
    /// Somebody's telephone is to call somebody else. The answers are a leg's:
    /// [`LegEvent::ReferAccepted`] and its kin; once it has, they leave.
    Refer {
        /// Whose.
        transferee: ParticipantId,
        /// Whom.
        refer: ReferTo,
    },
}

/// What a conference tells a bot's call, beside what any leg tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConferenceEvent {
    /// Who is in it now.
    Roster(Arc<Roster>),
    /// An operation has come to its end.
    Done {
        /// Its id.
        operation: OperationId,
        /// `Ok` when it did what was asked.
        outcome: Result<(), ResultInfo>,
    },
}

/// A bot that takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BotPlace {
    /// Its participant id.
    pub participant: ParticipantId,
    /// Its application.
    pub identity: Arc<Identity>,
    /// Not in the default mix (`removeFromDefaultAudioGroup`).
    pub is_apart: bool,
    /// Whom it calls into the conference with its own call. Until the first of them answers, its
    /// own call is not answered either.
    pub targets: Arc<[Invitation]>,
}

/// Anything a conference hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConferenceInput {
    /// A bot's call comes.
    Join(BotPlace),
    /// A telephone has dialled in.
    Arrive {
        /// Its participant id.
        participant: ParticipantId,
        /// Who calls.
        identity: Arc<Identity>,
    },
    /// A bot's call asks for something.
    Ask {
        /// The bot.
        by: ParticipantId,
        /// What it asks.
        request: ConferenceRequest,
    },
    /// A bot's call is over, or gives up its place.
    Leave(ParticipantId),
    /// Somebody's leg tells something.
    Leg {
        /// Whose.
        participant: ParticipantId,
        /// What.
        event: LegEvent,
    },
    /// Somebody's leg has been taken over by a bridge.
    HandedOn(ParticipantId),
    /// The hold music of [`ConferenceOutput::StartHoldMusic`] plays, or cannot.
    HoldMusic {
        /// Who is to hear it.
        participant: ParticipantId,
        /// Whether they do.
        outcome: Result<(), ResultInfo>,
    },
    /// It has gone on without a bot for as long as it may.
    TimeIsUp,
    /// The server stops: everybody goes.
    ServerStops,
}

/// Anything a conference wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConferenceOutput {
    /// Call somebody. [`ConferenceInput::Leg`] tells how that goes, to [`LegEvent::Ended`].
    Dial {
        /// Whom.
        invitation: Invitation,
        /// The bot that wants it.
        by: ParticipantId,
    },
    /// Accept the leg of one who arrived.
    Answer(ParticipantId),
    /// Ask somebody's leg to call somebody else.
    Refer {
        /// Whose.
        participant: ParticipantId,
        /// Whom.
        refer: ReferTo,
    },
    /// End somebody's leg; nothing is heard of it any more.
    HangUp(ParticipantId),
    /// Somebody takes part in the audio from now on.
    Enter(ParticipantId),
    /// Somebody's audio is no part of it any more.
    Exit(ParticipantId),
    /// Who hears whom is another now: ask [`Conference::level`](super::Conference::level).
    Remix,
    /// Play hold music to somebody, over and over.
    StartHoldMusic {
        /// To whom.
        participant: ParticipantId,
        /// The bot whose prompt it is.
        by: ParticipantId,
        /// Instead of the built-in tune.
        prompt: Option<MediaPrompt>,
    },
    /// Silence it; nothing of it may be audible behind this output.
    StopHoldMusic(ParticipantId),
    /// Tell a bot's call.
    Tell {
        /// The bot.
        bot: ParticipantId,
        /// What.
        event: LegEvent,
    },
    /// Nobody is left, and nobody will come.
    End,
}
