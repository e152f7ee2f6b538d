//! What a call wants done, and what its bot is told.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use crate::{
    call::CallState,
    conference::{ConferenceRequest, Roster},
    ids::OperationId,
    leg::LegCommand,
    operation::{MediaPrompt, Operation, ResultInfo},
    recording::RecordSettings,
    tones::Tone,
};

/// Anything the call wants done; see the contract in the crate's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Make the call's new state durable. `result` comes with `Terminated`.
    CommitState {
        /// The new state.
        state: CallState,
        /// Why the call ended.
        result: Option<ResultInfo>,
    },
    /// Make an operation's new state durable.
    CommitOperation(Operation),
    /// Owe the bot a notification, durable together with the commits of the same input.
    Notify(Notification),
    /// Prepare these prompts and report each by its index. If there are none, as of a recording
    /// without a prompt, the first one is reported as ready.
    Fetch {
        /// The operation to report.
        operation: OperationId,
        /// The prompts.
        prompts: Arc<[MediaPrompt]>,
    },
    /// Play the first `ready` prompts of an operation, back to back, at once.
    StartPlayout {
        /// The operation.
        operation: OperationId,
        /// How many prompts, from the first.
        ready: usize,
        /// No [`Output::ExtendPlayout`] will follow.
        sealed: bool,
        /// Start over at the end, once sealed.
        looping: bool,
    },
    /// Append the prompts up to `ready` to the playout.
    ExtendPlayout {
        /// The operation.
        operation: OperationId,
        /// How many prompts in all, from the first.
        ready: usize,
        /// Nothing more will follow.
        sealed: bool,
    },
    /// Play the first `ready` prompts of an operation at once, mixed with what plays.
    StartOverlay {
        /// The operation.
        operation: OperationId,
        /// How many prompts, from the first.
        ready: usize,
        /// Start over at the end.
        looping: bool,
    },
    /// Keep a playout or an overlay silent, or let it go on from where it was.
    PausePlayout {
        /// The operation.
        operation: OperationId,
        /// Silent, or not.
        paused: bool,
    },
    /// Go on with a playout or an overlay from another place.
    SeekPlayout {
        /// The operation.
        operation: OperationId,
        /// Behind the beginning of its first prompt.
        position: Duration,
    },
    /// Stop the playout or overlay; nothing of it may be audible behind this output.
    StopPlayout(OperationId),
    /// Listen to the far end, and record from when somebody speaks.
    StartRecording {
        /// The operation.
        operation: OperationId,
        /// What was asked for.
        settings: Arc<RecordSettings>,
    },
    /// End the recording now, and make it durable.
    FinishRecording(OperationId),
    /// End the recording, and keep nothing of it.
    DropRecording(OperationId),
    /// Send these tones to the far end, in order; what plays waits for them.
    SendTones {
        /// The operation.
        operation: OperationId,
        /// At least one.
        tones: Arc<[Tone]>,
        /// Silence between two of them.
        delay: Duration,
    },
    /// Tell the leg.
    Leg(LegCommand),
    /// Ask the conference that the call has its place in.
    Conference(ConferenceRequest),
    /// Tell the bridge that the call is handed on by.
    Bridge(BridgeCommand),
}

/// What becomes of those who are called on behalf of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeCommand {
    /// Call them, or ask their call for its leg; answered by
    /// [`BridgeEvent`](crate::BridgeEvent)s.
    Dial,
    /// Connect the call's leg with the one who has answered, and with the transfer that asked for
    /// it. The leg is no longer the call's.
    Join,
    /// Call nobody any more.
    Abandon,
}

/// Commits the final state of an operation and, if `notify` says so, owes the bot its notification,
/// in that order.
pub(crate) fn end(operation: Operation, notify: bool, outputs: &mut VecDeque<Output>) {
    outputs.push_back(Output::CommitOperation(operation.clone()));
    if notify {
        outputs.push_back(Output::Notify(Notification::OperationEnded(operation)));
    }
}

/// What a bot is told, in order; each is one commsNotification (spec/notifications.md §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notification {
    /// `created`, state incoming.
    Incoming,
    /// `updated`, state establishing.
    Establishing,
    /// `updated`, state ringing; for bots of beta only (spec/state-machines.md §1).
    Ringing,
    /// `updated`, state established, without mediaState.
    Established,
    /// `updated`, state established with mediaState.
    Media {
        /// `mediaState.audio` is active, else inactive.
        active: bool,
    },
    /// `updated`, state established with toneInfo.
    Tone {
        /// The key that was pressed.
        tone: Tone,
        /// Graph `sequenceId`, from 1.
        sequence: u64,
    },
    /// `deleted` of an operation.
    OperationEnded(Operation),
    /// `updated` of the participants: all who are in the call now.
    Roster(Arc<Roster>),
    /// `updated`, state terminating; only when the bot itself hangs up.
    Terminating,
    /// `deleted`, without a state: the bot has rejected the call (Graph "call: reject").
    Rejected,
    /// `updated`, state transferring.
    Transferring,
    /// `updated`, state transferAccepted.
    TransferAccepted,
    /// `updated`, state established with resultInfo: the transfer failed, and the call goes on.
    TransferFailed(ResultInfo),
    /// `deleted`, state terminated, with 0/7015.
    Transferred {
        /// Between two calls of the bot; `terminationReason` says so.
        is_consultative: bool,
    },
    /// `deleted`, state terminated, with whom the call was for.
    Redirected(ResultInfo),
    /// `deleted`, state terminated.
    Terminated(ResultInfo),
}
