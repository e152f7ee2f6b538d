//! What a call hears.

use std::time::Duration;

use crate::{
    command::Command, ids::OperationId, leg::LegEvent, operation::ResultInfo, recording::Recorded,
};

/// Anything the call hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The bot wants something.
    Command(Command),
    /// The leg tells something.
    Leg(LegEvent),
    /// A prompt was prepared or could not be.
    Prompt(PromptEvent),
    /// The playout tells something.
    Playout(PlayoutEvent),
    /// A recording tells something.
    Recording(RecordingEvent),
    /// The sending of tones tells something.
    Tones(TonesEvent),
    /// The far end speaks; told while [`Call::minds_speech`](crate::Call::minds_speech).
    Speech,
    /// Those who are called on behalf of the call tell something.
    Bridge(BridgeEvent),
    /// Whether another call of the bot is being transferred to this one's far end, by the two far
    /// ends themselves: then a hang-up of this one's means that it was done.
    MayBeReplaced(bool),
    /// Another call of the bot takes over this one's far end (consultative transfer).
    TakenOver,
    /// The server stops in order: the call and everything that runs in it ends now, and the bot is
    /// told why.
    ServerStops,
    /// The time of [`Call::poll_timeout`](crate::Call::poll_timeout) has come.
    Timeout,
}

/// News of who is called by [`BridgeCommand::Dial`](crate::BridgeCommand::Dial).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeEvent {
    /// One of them rings.
    Ringing,
    /// One of them has answered; the others are not called any more.
    Answered,
    /// Nobody has answered, and why.
    Failed(ResultInfo),
}

/// News of a prompt that [`Output::Fetch`](crate::Output::Fetch) asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptEvent {
    /// Fetched, decoded and encoded.
    Ready {
        /// The operation it belongs to.
        operation: OperationId,
        /// Its place in the operation's list, from 0.
        index: usize,
        /// Playing time of one repeat.
        duration: Duration,
    },
    /// Cannot be played.
    Failed {
        /// The operation it belongs to.
        operation: OperationId,
        /// Its place in the operation's list, from 0.
        index: usize,
        /// What the bot is told.
        result: ResultInfo,
    },
}

/// News of the playout that [`Output::StartPlayout`](crate::Output::StartPlayout) started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlayoutEvent {
    /// The last packet has left.
    Finished(OperationId),
    /// The engine cannot play it, or cannot go on. The operation fails, and the next one starts.
    Failed(OperationId),
}

/// News of the tones that [`Output::SendTones`](crate::Output::SendTones) asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TonesEvent {
    /// The last one has left.
    Sent(OperationId),
    /// They cannot be sent, or not to the end; the result is what the bot is told.
    Failed(OperationId, ResultInfo),
}

/// News of the recording that [`Output::StartRecording`](crate::Output::StartRecording) began. `ago`
/// is the time since it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordingEvent {
    /// Audio of the far end has come, whatever it is.
    Hearing(OperationId),
    /// Somebody speaks: the recording has begun.
    Began {
        /// The operation.
        operation: OperationId,
        /// Since its first sample.
        ago: Duration,
    },
    /// Nobody speaks any more.
    FellSilent {
        /// The operation.
        operation: OperationId,
        /// Since the last sound.
        ago: Duration,
    },
    /// Somebody speaks again.
    Spoke(OperationId),
    /// What [`Output::FinishRecording`](crate::Output::FinishRecording) asked for: the file is
    /// durable.
    Saved {
        /// The operation.
        operation: OperationId,
        /// Where it can be had.
        recorded: Recorded,
    },
    /// It cannot be made, or not be kept.
    Failed {
        /// The operation.
        operation: OperationId,
        /// What the bot is told.
        result: ResultInfo,
    },
}

impl RecordingEvent {
    /// The operation that it is about.
    pub fn operation(&self) -> OperationId {
        match self {
            Self::Hearing(operation)
            | Self::Spoke(operation)
            | Self::Began { operation, .. }
            | Self::FellSilent { operation, .. }
            | Self::Saved { operation, .. }
            | Self::Failed { operation, .. } => *operation,
        }
    }
}
