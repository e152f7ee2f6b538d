//! recordResponse: what it asks for, and one recording being made, from the beep to its last sample.
//!
//! The prompt and the beep are a playout like any other (`media_queue.rs`). When it has left, the far
//! end is listened to: until somebody speaks, and from there until a stop tone, a silence or the
//! longest time. The end is final when the file is durable.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    ids::OperationId,
    input::RecordingEvent,
    media_queue::Context,
    operation::{
        CompletionReason, MediaPrompt, Operation, OperationKind, OperationStatus, ResultInfo,
    },
    output::Output,
    timer::Timer,
    tones::Tone,
};

/// What a recordResponse asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSettings {
    /// One prompt, or none; played before the beep.
    pub prompts: Arc<[MediaPrompt]>,
    /// Cancels what plays, records or waits on the call, instead of waiting for it.
    pub barge_in: bool,
    /// How long nobody may speak from the beep on; then it fails.
    pub initial_silence: Duration,
    /// How long a pause may be once somebody has spoken; then it is complete.
    pub max_silence: Duration,
    /// The recording is never longer.
    pub longest: Duration,
    /// A beep says when to speak.
    pub beep: bool,
    /// Keys that end it.
    pub stop_tones: Vec<Tone>,
    /// What `recordingLocation` begins with: scheme and authority of this server, without a slash.
    pub root: String,
}

/// A recording that can be downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Graph `recordingLocation`: an absolute URL.
    pub location: String,
    /// Graph `recordingAccessToken`: the bearer token of this one recording.
    pub access_token: AccessToken,
}

/// A secret that is not to be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(pub String);

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(***)")
    }
}

/// One recordResponse, from the moment its playout has left.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    settings: Arc<RecordSettings>,
    /// Audio of the far end has come, at any time before or since.
    has_heard: bool,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Nobody has spoken.
    Waiting,
    /// Somebody has spoken.
    Running,
    /// It is being written, and then is complete for this reason.
    Ending(CompletionReason),
}

/// How a recording stands after an event.
#[derive(Debug)]
pub(crate) enum Verdict {
    GoesOn,
    /// It is over: `recorded` is what became of it.
    Over {
        reason: CompletionReason,
        result: ResultInfo,
        recorded: Option<Recorded>,
    },
}

impl Recording {
    /// Begins to listen.
    pub(crate) fn begin(
        id: OperationId,
        settings: Arc<RecordSettings>,
        cx: &mut Context<'_>,
    ) -> Self {
        cx.timers.set(Timer::InitialSilence, cx.now + settings.initial_silence);
        cx.outputs
            .push_back(Output::StartRecording { operation: id, settings: Arc::clone(&settings) });
        Self { settings, has_heard: false, stage: Stage::Waiting }
    }

    /// It is given up; what there is of it is not kept.
    pub(crate) fn give_up(&self, id: OperationId, cx: &mut Context<'_>) {
        stop_timers(cx);
        cx.outputs.push_back(Output::DropRecording(id));
    }

    /// The far end pressed a key.
    pub(crate) fn tone(&mut self, id: OperationId, tone: Tone, cx: &mut Context<'_>) {
        if self.settings.stop_tones.contains(&tone) {
            self.finish(id, CompletionReason::StopToneDetected, cx);
        }
    }

    /// One of its timers has expired.
    pub(crate) fn expired(
        &mut self,
        id: OperationId,
        timer: Timer,
        cx: &mut Context<'_>,
    ) -> Verdict {
        match (&self.stage, timer) {
            (Stage::Waiting, Timer::InitialSilence) => {
                self.give_up(id, cx);
                let (reason, result) = if self.has_heard {
                    (CompletionReason::InitialSilenceTimeout, ResultInfo::initial_silence())
                } else {
                    (CompletionReason::MediaReceiveTimeout, ResultInfo::no_media())
                };
                return Verdict::Over { reason, result, recorded: None };
            }
            (Stage::Running, Timer::MaxSilence) => {
                self.finish(id, CompletionReason::MaxSilenceTimeout, cx);
            }
            (Stage::Running, Timer::MaxRecording) => {
                self.finish(id, CompletionReason::MaxRecordDurationReached, cx);
            }
            (Stage::Waiting | Stage::Running | Stage::Ending(_), _) => {}
        }
        Verdict::GoesOn
    }

    /// What is heard, and what becomes of the file.
    pub(crate) fn hear(&mut self, event: RecordingEvent, cx: &mut Context<'_>) -> Verdict {
        match (&self.stage, event) {
            (Stage::Waiting | Stage::Running, RecordingEvent::Hearing(_)) => self.has_heard = true,
            (Stage::Waiting, RecordingEvent::Began { ago, .. }) => {
                self.stage = Stage::Running;
                self.has_heard = true;
                cx.timers.stop(Timer::InitialSilence);
                let left = self.settings.longest.saturating_sub(ago);
                cx.timers.set(Timer::MaxRecording, cx.now + left);
            }
            (Stage::Running, RecordingEvent::FellSilent { ago, .. }) => {
                let left = self.settings.max_silence.saturating_sub(ago);
                cx.timers.set(Timer::MaxSilence, cx.now + left);
            }
            (Stage::Running, RecordingEvent::Spoke(_)) => cx.timers.stop(Timer::MaxSilence),
            (Stage::Ending(reason), RecordingEvent::Saved { recorded, .. }) => {
                let reason = *reason;
                let result = ResultInfo::recorded(reason);
                return Verdict::Over { reason, result, recorded: Some(recorded) };
            }
            (_, RecordingEvent::Failed { operation, result }) => {
                self.give_up(operation, cx);
                return Verdict::Over { reason: CompletionReason::Unknown, result, recorded: None };
            }
            (
                Stage::Waiting | Stage::Running | Stage::Ending(_),
                RecordingEvent::Hearing(_)
                | RecordingEvent::Began { .. }
                | RecordingEvent::FellSilent { .. }
                | RecordingEvent::Spoke(_)
                | RecordingEvent::Saved { .. },
            ) => {}
        }
        Verdict::GoesOn
    }

    fn finish(&mut self, id: OperationId, reason: CompletionReason, cx: &mut Context<'_>) {
        if !matches!(self.stage, Stage::Ending(_)) {
            self.stage = Stage::Ending(reason);
            stop_timers(cx);
            cx.outputs.push_back(Output::FinishRecording(id));
        }
    }
}

/// The operation as it ends.
pub(crate) fn ended(
    operation: Operation,
    reason: CompletionReason,
    result: ResultInfo,
    recorded: Option<Recorded>,
) -> Operation {
    let status =
        if recorded.is_some() { OperationStatus::Completed } else { OperationStatus::Failed };
    let kind = match operation.kind {
        OperationKind::RecordResponse { settings, .. } => {
            OperationKind::RecordResponse { settings, recorded }
        }
        other @ (OperationKind::PlayPrompt { .. }
        | OperationKind::CancelMediaProcessing
        | OperationKind::SubscribeToTone
        | OperationKind::Group(_)
        | OperationKind::SendDtmfTones { .. }) => other,
    };
    Operation { kind, ..operation }.ended(status, Some(reason), result)
}

fn stop_timers(cx: &mut Context<'_>) {
    for timer in [Timer::InitialSilence, Timer::MaxSilence, Timer::MaxRecording] {
        cx.timers.stop(timer);
    }
}
