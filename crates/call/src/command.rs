//! What a bot may ask of a call, and why it may be refused.

use std::{sync::Arc, time::Duration};

use crate::{
    conference::{GroupCommand, RoutingFault},
    ids::{OperationId, ParticipantId},
    leg::RejectReason,
    operation::MediaPrompt,
    play_options::{PlayControl, PlayOptions},
    recording::RecordSettings,
    tones::Tone,
};

/// One variant per Graph action on a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Graph "call: answer".
    Answer {
        /// With serviceHostedMediaConfig: prompts can be played.
        service_hosted: bool,
    },
    /// Graph "call: reject".
    Reject(RejectReason),
    /// Graph "call: redirect": others are called instead of the bot, at once.
    Redirect {
        /// How long they may ring.
        ring_for: Duration,
    },
    /// Graph "call: transfer".
    Transfer {
        /// Of a group call: who of it is transferred. The far end of a call between two is anyway.
        transferee: Option<ParticipantId>,
        /// What the far end is asked to do; `None` if only a bridge of ours can do it.
        refer: Option<ReferTo>,
        /// The target is on another call of the bot, which is to end with this one.
        is_consultative: bool,
    },
    /// Graph "Delete call".
    HangUp,
    /// Graph "call: keepAlive".
    KeepAlive,
    /// Graph "call: playPrompt".
    PlayPrompt {
        /// Id of the operation that is made.
        operation: OperationId,
        /// 1 to 20 prompts.
        prompts: Vec<MediaPrompt>,
        /// Repeat the list until cancelled.
        looping: bool,
        /// How it is played.
        options: PlayOptions,
        /// Echoed on the operation.
        client_context: Option<String>,
    },
    /// Ours: one operation that plays is paused, moved or ended. It makes none.
    Control {
        /// Which.
        operation: OperationId,
        /// What is to become of it.
        control: PlayControl,
    },
    /// Graph "call: recordResponse".
    RecordResponse {
        /// Id of the operation that is made.
        operation: OperationId,
        /// What is asked for.
        settings: Arc<RecordSettings>,
        /// Echoed on the operation.
        client_context: Option<String>,
    },
    /// Graph "call: cancelMediaProcessing".
    CancelMediaProcessing {
        /// Id of the operation that is made.
        operation: OperationId,
        /// What to cancel.
        scope: CancelScope,
        /// Echoed on the operation.
        client_context: Option<String>,
    },
    /// Graph "call: subscribeToTone".
    SubscribeToTone {
        /// Id of the operation that is made.
        operation: OperationId,
        /// Echoed on the operation.
        client_context: Option<String>,
    },
    /// Graph "call: sendDtmfTones".
    SendDtmfTones {
        /// Id of the operation that is made.
        operation: OperationId,
        /// At least one tone, in order.
        tones: Vec<Tone>,
        /// Silence between two tones.
        delay: Duration,
        /// Echoed on the operation.
        client_context: Option<String>,
    },
    /// Whatever concerns the group that the call is in.
    Group(GroupCommand),
}

/// Whom the far end is to call, and in place of which dialog (RFC 3515, RFC 3891).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferTo {
    /// SIP URI.
    pub target: String,
    /// Value of Replaces.
    pub replaces: Option<String>,
}

impl Command {
    /// The operation that it makes, if it makes one.
    pub fn operation(&self) -> Option<OperationId> {
        match self {
            Self::PlayPrompt { operation, .. }
            | Self::RecordResponse { operation, .. }
            | Self::CancelMediaProcessing { operation, .. }
            | Self::SubscribeToTone { operation, .. }
            | Self::SendDtmfTones { operation, .. } => Some(*operation),
            Self::Group(command) => command.operation(),
            Self::Control { .. }
            | Self::Answer { .. }
            | Self::Redirect { .. }
            | Self::Transfer { .. }
            | Self::Reject(_)
            | Self::HangUp
            | Self::KeepAlive => None,
        }
    }

    /// Who of a group call it transfers, if that is what it does.
    pub fn transferee(&self) -> Option<ParticipantId> {
        if let Self::Transfer { transferee, .. } = self { *transferee } else { None }
    }

    /// Whether nothing is done before it is durable, so that it can be taken back. Sound that a
    /// cancel or a hang-up has stopped cannot.
    pub fn can_be_taken_back(&self) -> bool {
        match self {
            Self::PlayPrompt { .. }
            | Self::SubscribeToTone { .. }
            | Self::SendDtmfTones { .. }
            | Self::Group(_)
            | Self::Answer { .. }
            | Self::Redirect { .. }
            | Self::Transfer { .. }
            | Self::Reject(_) => true,
            Self::Control { .. }
            | Self::CancelMediaProcessing { .. }
            | Self::HangUp
            | Self::KeepAlive => false,
            // One that barges in is a cancel, too.
            Self::RecordResponse { settings, .. } => !settings.barge_in,
        }
    }
}

/// How much a cancelMediaProcessing cancels (the old beta member `all`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelScope {
    /// The running operation and all queued ones.
    All,
    /// Only the running one; the next in the queue starts.
    Current,
}

/// Why a command is refused. The call is as it was before.
/// HTTP status and `error.code` of each are in `graphophone`'s `api/error.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The call is not established yet (8501).
    #[error("Call is not established: wait for the notification with state established")]
    NotEstablished,
    /// The call is ending or has ended (8528).
    #[error("Call is terminated")]
    Terminated,
    /// The call was not made with serviceHostedMediaConfig (8500).
    #[error("Action is supported only for calls with serviceHostedMediaConfig")]
    NotServiceHosted,
    /// The action does not fit the call's state (8585).
    #[error("Action is not valid in the current call state")]
    WrongState,
    /// The call's media queue is full (8519).
    #[error("Too many media operations are queued on this call: wait for one to end, or cancel")]
    QueueFull,
    /// The call is one between two (8548).
    #[error("Action is supported only for group calls")]
    NotGroupCall,
    /// Of a group call nobody is named who is to be transferred (8523).
    #[error("transferee: required, send whom of the group call is to be transferred")]
    NoTransferee,
    /// Nobody of this id is in the call (8558).
    #[error("Participant not found.")]
    ParticipantAbsent,
    /// Somebody is on hold already; one at a time (8519).
    #[error("A participant of this call is on hold already: stop their hold music first")]
    HoldMusicBusy,
    /// The participant hears no hold music (8585).
    #[error("The participant is not on hold")]
    NotOnHold,
    /// The call has no routing group of this id (8522).
    #[error("Audio routing group not found.")]
    RoutingGroupAbsent,
    /// The id of a new routing group is taken (8519).
    #[error(
        "id: the call has an audioRoutingGroup of this id already: update it, or choose another"
    )]
    RoutingGroupExists,
    /// A routing group that cannot be (8523).
    #[error("{0}")]
    BadRoutingGroup(RoutingFault),
    /// The operation waits or has ended (8585).
    #[error("The operation does not play: it waits for its turn or its prompts, or it has ended")]
    NotPlaying,
    /// There is no such place in it; its length is given (8523).
    #[error("positionMs: beyond the end of the prompts, which are {} ms long", .0.as_millis())]
    SeekBeyondEnd(Duration),
}
