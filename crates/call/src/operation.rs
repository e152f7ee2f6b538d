//! `commsOperation` and what becomes of it.

use std::{sync::Arc, time::Duration};

use crate::{
    conference::GroupVerb,
    ids::OperationId,
    play_options::{PlayOptions, Shaping},
    recording::{RecordSettings, Recorded},
    tones::Tone,
};

/// A media operation that a bot asked for and that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its Graph id.
    pub id: OperationId,
    /// What was asked.
    pub kind: OperationKind,
    /// How far it is.
    pub status: OperationStatus,
    /// Echoed verbatim; `None` if the bot sent none or null.
    pub client_context: Option<String>,
    /// Why it ended; `None` while it runs.
    pub completion_reason: Option<CompletionReason>,
    /// How it ended; `None` while it runs.
    pub result: Option<ResultInfo>,
}

impl Operation {
    /// An operation that has just been accepted.
    pub(crate) fn running(
        id: OperationId,
        kind: OperationKind,
        client_context: Option<String>,
    ) -> Self {
        Self {
            id,
            kind,
            status: OperationStatus::Running,
            client_context,
            completion_reason: None,
            result: None,
        }
    }

    /// The operation as it ends.
    pub(crate) fn ended(
        self,
        status: OperationStatus,
        reason: Option<CompletionReason>,
        result: ResultInfo,
    ) -> Self {
        Self { status, completion_reason: reason, result: Some(result), ..self }
    }

    /// The operation as it fails.
    pub(crate) fn failed(self, reason: CompletionReason, result: ResultInfo) -> Self {
        self.ended(OperationStatus::Failed, Some(reason), result)
    }
}

/// One variant per operation type of Graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// `playPromptOperation`.
    PlayPrompt {
        /// 1 to 20 prompts, played back to back; shared, because operations are copied at each step.
        prompts: Arc<[MediaPrompt]>,
        /// Repeat the whole list until cancelled.
        looping: bool,
        /// How it is played; Graph knows one way only.
        options: PlayOptions,
    },
    /// `recordOperation`.
    RecordResponse {
        /// What was asked; shared, because operations are copied at each step.
        settings: Arc<RecordSettings>,
        /// What came of it; `None` while it runs, and if it failed.
        recorded: Option<Recorded>,
    },
    /// `cancelMediaProcessingOperation`.
    CancelMediaProcessing,
    /// `subscribeToToneOperation`.
    SubscribeToTone,
    /// `sendDtmfTonesOperation`.
    SendDtmfTones {
        /// At least one, in order; shared, because operations are copied at each step.
        tones: Arc<[Tone]>,
        /// Silence between two of them.
        delay: Duration,
    },
    /// An action on a group call.
    Group(GroupVerb),
}

/// Graph `mediaPrompt` with its `mediaInfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPrompt {
    /// Absolute http or https URI of an audio file, or a `graphophone:` URI.
    pub uri: String,
    /// Cache key within one application; `None` if absent or empty.
    pub resource_id: Option<String>,
    /// Times this prompt is played in a row, at least 1 (beta member `mediaPrompt.loop`).
    pub repeat: u32,
    /// Beyond Graph: how much louder, and from where on.
    pub shaping: Shaping,
}

/// Graph `operationStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationStatus {
    /// Accepted; queued or playing. A notification will follow.
    Running,
    /// Ended well.
    Completed,
    /// Ended otherwise; `result` says why.
    Failed,
}

impl OperationStatus {
    /// Whether nothing more will happen to the operation.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// Graph `playPromptCompletionReason` and `recordCompletionReason`; where both have a word for the same,
/// it is one here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompletionReason {
    /// It failed; `ResultInfo` has the details.
    Unknown,
    /// Played to the last sample.
    CompletedSuccessfully,
    /// Cut by cancelMediaProcessing, or by the end of the call.
    MediaOperationCanceled,
    /// Ended by a key that it was asked to end at. Not Graph's.
    StoppedByTone(Tone),
    /// Ended by speech that it was asked to end at. Not Graph's.
    StoppedBySpeech,
    /// The far end pressed a stop tone.
    StopToneDetected,
    /// The recording has become as long as it may.
    MaxRecordDurationReached,
    /// Nobody spoke.
    InitialSilenceTimeout,
    /// Nobody spoke any more.
    MaxSilenceTimeout,
    /// The prompt of a recording could not be played.
    PlayPromptFailed,
    /// The beep could not be played.
    PlayBeepFailed,
    /// Nothing was heard of the far end, not even silence.
    MediaReceiveTimeout,
}

/// Graph `resultInfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultInfo {
    /// HTTP-like class of the outcome, 200–699.
    pub code: u32,
    /// The calling service's own number; 0 for plain success.
    pub subcode: u32,
    /// For people; states the cause.
    pub message: String,
}

impl ResultInfo {
    /// A result with the given numbers and text.
    pub fn new(code: u32, subcode: u32, message: impl Into<String>) -> Self {
        Self { code, subcode, message: message.into() }
    }

    /// A call-level result: Graph ends those texts with the numbers (`DiagCode`).
    pub fn of_call(code: u32, subcode: u32, text: &str) -> Self {
        Self::new(code, subcode, format!("{text} DiagCode: {code}#{subcode}.@"))
    }

    /// A call whose far end was handed on (Graph "call: transfer": code 0).
    pub fn transferred() -> Self {
        Self::new(0, 7015, "GracefulTransferCompleted")
    }

    /// An operation that did what it was asked.
    pub fn completed() -> Self {
        Self::new(200, 0, "Action completed successfully.")
    }

    /// An operation cut short by cancelMediaProcessing or by the end of its call.
    pub fn cancelled() -> Self {
        Self::new(400, 8508, "Action failed, the operation was cancelled.")
    }

    /// A prompt that could not be fetched; `cause` names the status, host or limit.
    pub fn download_failed(cause: &str) -> Self {
        Self::new(400, 8536, format!("Action failed, file could not be downloaded. {cause}"))
    }

    /// Good prompts that the playout engine could not send.
    pub fn play_failed() -> Self {
        Self::new(500, 8511, "Action failed, the prompt could not be played.")
    }

    /// A prompt for one participant, who is not in the call any more.
    pub fn listener_gone() -> Self {
        Self::new(404, 8558, "Action failed, the participant is not in the call any more.")
    }

    /// A recording whose prompt could not be played; `cause` says why.
    pub fn record_prompt_failed(cause: &str) -> Self {
        Self::new(400, 8511, format!("Action failed, the prompt could not be played. {cause}"))
    }

    /// A beep that the playout engine could not send.
    pub fn beep_failed() -> Self {
        Self::new(500, 8512, "Action failed, the beep could not be played.")
    }

    /// A recording into which nobody spoke.
    pub fn initial_silence() -> Self {
        Self::new(400, 8510, "Action failed, initial silence timeout reached.")
    }

    /// A recording of a far end that sends nothing.
    pub fn no_media() -> Self {
        Self::new(400, 8513, "Action failed, no media was received from the far end.")
    }

    /// A recording that could not be made or kept; `cause` says why.
    pub fn record_failed(cause: &str) -> Self {
        Self::new(500, 9999, format!("Action failed, the recording could not be made. {cause}"))
    }

    /// A recording that is complete, for one of the three reasons for that.
    pub(crate) fn recorded(reason: CompletionReason) -> Self {
        let (subcode, text) = match reason {
            CompletionReason::StopToneDetected => (8514, "stop tone detected"),
            CompletionReason::MaxRecordDurationReached => (8515, "max record duration reached"),
            CompletionReason::MaxSilenceTimeout => (8509, "max silence timeout reached"),
            CompletionReason::Unknown
            | CompletionReason::CompletedSuccessfully
            | CompletionReason::MediaOperationCanceled
            | CompletionReason::StoppedByTone(_)
            | CompletionReason::StoppedBySpeech
            | CompletionReason::InitialSilenceTimeout
            | CompletionReason::PlayPromptFailed
            | CompletionReason::PlayBeepFailed
            | CompletionReason::MediaReceiveTimeout => return Self::completed(),
        };
        Self::new(200, subcode, format!("Action completed, {text}."))
    }

    /// Tones that could not be sent; `cause` says why.
    pub fn tones_failed(cause: &str) -> Self {
        Self::new(500, 9999, format!("Action failed, the tones could not be sent. {cause}"))
    }

    /// A prompt that is not audio we can play; `cause` names what was found instead.
    pub fn format_invalid(cause: &str) -> Self {
        Self::new(400, 8535, format!("Action failed, file format is invalid. {cause}"))
    }
}
