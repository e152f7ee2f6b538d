//! Domain ↔ stored form of operations and states, nothing else.

use std::time::Duration;

mod group;

use graphophone_call::{
    AccessToken, CompletionReason, MediaPrompt, Operation, OperationId, OperationKind,
    OperationStatus, ParticipantId, PlayMode, PlayOptions, RecordSettings, Recorded, ResultInfo,
    Shaping, StopOn, Tone,
};
use graphophone_graph::resource::receipt::Receipt;
use serde::{Deserialize, Serialize};

use self::group::StoredVerb;

/// An operation as JSON in the store's `body_json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredOperation {
    kind: StoredKind,
    status: StoredStatus,
    client_context: Option<String>,
    reason: Option<StoredReason>,
    result: Option<StoredResult>,
    receipt: Option<Receipt>,
}

#[derive(Debug, Serialize, Deserialize)]
enum StoredKind {
    PlayPrompt {
        prompts: Vec<StoredPrompt>,
        looping: bool,
        #[serde(default)]
        options: StoredOptions,
    },
    RecordResponse {
        settings: StoredSettings,
        recorded: Option<StoredRecording>,
    },
    CancelMediaProcessing,
    SubscribeToTone,
    Group(StoredVerb),
    /// RFC 4733 event codes, and the silence between two in milliseconds.
    SendDtmfTones {
        tones: Vec<u8>,
        delay_ms: u64,
    },
}

/// What a recordResponse asks for; times in milliseconds, tones by RFC 4733.
#[derive(Debug, Serialize, Deserialize)]
struct StoredSettings {
    prompts: Vec<StoredPrompt>,
    barge_in: bool,
    initial_silence_ms: u64,
    max_silence_ms: u64,
    longest_ms: u64,
    beep: bool,
    stop_tones: Vec<u8>,
    root: String,
}

/// The token is kept as long as the operation: who may read the one may read the other.
#[derive(Serialize, Deserialize)]
struct StoredRecording {
    location: String,
    access_token: String,
}

impl std::fmt::Debug for StoredRecording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredRecording").field("location", &self.location).finish_non_exhaustive()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredPrompt {
    uri: String,
    resource_id: Option<String>,
    repeat: u32,
    #[serde(default)]
    gain_tenths: i16,
    #[serde(default)]
    start_ms: u32,
}

#[derive(Debug, Serialize, Deserialize)]
enum StoredStatus {
    Running,
    Completed,
    Failed,
}

#[derive(Debug, Serialize, Deserialize)]
enum StoredReason {
    Unknown,
    CompletedSuccessfully,
    MediaOperationCanceled,
    StoppedByTone(u8),
    StoppedBySpeech,
    StopToneDetected,
    MaxRecordDurationReached,
    InitialSilenceTimeout,
    MaxSilenceTimeout,
    PlayPromptFailed,
    PlayBeepFailed,
    MediaReceiveTimeout,
}

/// Where a playPrompt takes its place, and what ends it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct StoredOptions {
    mode: StoredMode,
    /// Event codes.
    stop_on_tones: Vec<u8>,
    stop_on_speech: bool,
    /// Who alone hears it.
    #[serde(default)]
    participant: Option<uuid::Uuid>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
enum StoredMode {
    #[default]
    Queue,
    Interrupt,
    Overlay,
}

impl StoredOptions {
    fn new(options: PlayOptions) -> Self {
        Self {
            mode: match options.mode {
                PlayMode::Queue => StoredMode::Queue,
                PlayMode::Interrupt => StoredMode::Interrupt,
                PlayMode::Overlay => StoredMode::Overlay,
            },
            stop_on_tones: options.stop_on.tones.tones().map(Tone::event_code).collect(),
            stop_on_speech: options.stop_on.speech,
            participant: options.participant.map(ParticipantId::uuid),
        }
    }

    fn into_domain(self) -> PlayOptions {
        let tones = self.stop_on_tones.into_iter().filter_map(Tone::from_event_code).collect();
        PlayOptions {
            mode: match self.mode {
                StoredMode::Queue => PlayMode::Queue,
                StoredMode::Interrupt => PlayMode::Interrupt,
                StoredMode::Overlay => PlayMode::Overlay,
            },
            stop_on: StopOn { tones, speech: self.stop_on_speech },
            participant: self.participant.map(ParticipantId::new),
        }
    }
}

/// A `resultInfo` as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredResult {
    code: u32,
    subcode: u32,
    message: String,
}

impl StoredOperation {
    pub(super) fn new(operation: &Operation, receipt: Option<Receipt>) -> Self {
        Self {
            kind: match &operation.kind {
                OperationKind::PlayPrompt { prompts, looping, options } => StoredKind::PlayPrompt {
                    prompts: prompts.iter().map(StoredPrompt::new).collect(),
                    looping: *looping,
                    options: StoredOptions::new(*options),
                },
                OperationKind::RecordResponse { settings, recorded } => {
                    StoredKind::RecordResponse {
                        settings: StoredSettings::new(settings),
                        recorded: recorded.as_ref().map(|recorded| StoredRecording {
                            location: recorded.location.clone(),
                            access_token: recorded.access_token.0.clone(),
                        }),
                    }
                }
                OperationKind::CancelMediaProcessing => StoredKind::CancelMediaProcessing,
                OperationKind::SubscribeToTone => StoredKind::SubscribeToTone,
                OperationKind::Group(verb) => StoredKind::Group(StoredVerb::new(verb)),
                OperationKind::SendDtmfTones { tones, delay } => StoredKind::SendDtmfTones {
                    tones: tones.iter().map(|tone| tone.event_code()).collect(),
                    delay_ms: milliseconds(*delay),
                },
            },
            status: match operation.status {
                OperationStatus::Running => StoredStatus::Running,
                OperationStatus::Completed => StoredStatus::Completed,
                OperationStatus::Failed => StoredStatus::Failed,
            },
            client_context: operation.client_context.clone(),
            reason: operation.completion_reason.map(StoredReason::new),
            result: operation.result.as_ref().map(StoredResult::new),
            receipt,
        }
    }

    pub(super) fn into_domain(self, id: OperationId) -> (Operation, Option<Receipt>) {
        let operation = Operation {
            id,
            kind: match self.kind {
                StoredKind::PlayPrompt { prompts, looping, options } => OperationKind::PlayPrompt {
                    prompts: prompts.into_iter().map(StoredPrompt::into_domain).collect(),
                    looping,
                    options: options.into_domain(),
                },
                StoredKind::RecordResponse { settings, recorded } => {
                    OperationKind::RecordResponse {
                        settings: settings.into_domain().into(),
                        recorded: recorded.map(|recorded| Recorded {
                            location: recorded.location,
                            access_token: AccessToken(recorded.access_token),
                        }),
                    }
                }
                StoredKind::CancelMediaProcessing => OperationKind::CancelMediaProcessing,
                StoredKind::SubscribeToTone => OperationKind::SubscribeToTone,
                StoredKind::Group(verb) => OperationKind::Group(verb.into_domain()),
                StoredKind::SendDtmfTones { tones, delay_ms } => OperationKind::SendDtmfTones {
                    tones: tones.into_iter().filter_map(Tone::from_event_code).collect(),
                    delay: Duration::from_millis(delay_ms),
                },
            },
            status: match self.status {
                StoredStatus::Running => OperationStatus::Running,
                StoredStatus::Completed => OperationStatus::Completed,
                StoredStatus::Failed => OperationStatus::Failed,
            },
            client_context: self.client_context,
            completion_reason: self.reason.map(StoredReason::into_domain),
            result: self.result.map(StoredResult::into_domain),
        };
        (operation, self.receipt)
    }
}

impl StoredPrompt {
    fn new(prompt: &MediaPrompt) -> Self {
        Self {
            uri: prompt.uri.clone(),
            resource_id: prompt.resource_id.clone(),
            repeat: prompt.repeat,
            gain_tenths: prompt.shaping.gain_tenths,
            start_ms: prompt.shaping.start_ms,
        }
    }

    fn into_domain(self) -> MediaPrompt {
        let Self { uri, resource_id, repeat, gain_tenths, start_ms } = self;
        MediaPrompt { uri, resource_id, repeat, shaping: Shaping { gain_tenths, start_ms } }
    }
}

impl StoredSettings {
    fn new(settings: &RecordSettings) -> Self {
        Self {
            prompts: settings.prompts.iter().map(StoredPrompt::new).collect(),
            barge_in: settings.barge_in,
            initial_silence_ms: milliseconds(settings.initial_silence),
            max_silence_ms: milliseconds(settings.max_silence),
            longest_ms: milliseconds(settings.longest),
            beep: settings.beep,
            stop_tones: settings.stop_tones.iter().map(|tone| tone.event_code()).collect(),
            root: settings.root.clone(),
        }
    }

    fn into_domain(self) -> RecordSettings {
        RecordSettings {
            prompts: self.prompts.into_iter().map(StoredPrompt::into_domain).collect(),
            barge_in: self.barge_in,
            initial_silence: Duration::from_millis(self.initial_silence_ms),
            max_silence: Duration::from_millis(self.max_silence_ms),
            longest: Duration::from_millis(self.longest_ms),
            beep: self.beep,
            stop_tones: self.stop_tones.into_iter().filter_map(Tone::from_event_code).collect(),
            root: self.root,
        }
    }
}

impl StoredReason {
    fn new(reason: CompletionReason) -> Self {
        match reason {
            CompletionReason::Unknown => Self::Unknown,
            CompletionReason::CompletedSuccessfully => Self::CompletedSuccessfully,
            CompletionReason::MediaOperationCanceled => Self::MediaOperationCanceled,
            CompletionReason::StoppedByTone(tone) => Self::StoppedByTone(tone.event_code()),
            CompletionReason::StoppedBySpeech => Self::StoppedBySpeech,
            CompletionReason::StopToneDetected => Self::StopToneDetected,
            CompletionReason::MaxRecordDurationReached => Self::MaxRecordDurationReached,
            CompletionReason::InitialSilenceTimeout => Self::InitialSilenceTimeout,
            CompletionReason::MaxSilenceTimeout => Self::MaxSilenceTimeout,
            CompletionReason::PlayPromptFailed => Self::PlayPromptFailed,
            CompletionReason::PlayBeepFailed => Self::PlayBeepFailed,
            CompletionReason::MediaReceiveTimeout => Self::MediaReceiveTimeout,
        }
    }

    fn into_domain(self) -> CompletionReason {
        match self {
            Self::Unknown => CompletionReason::Unknown,
            Self::CompletedSuccessfully => CompletionReason::CompletedSuccessfully,
            Self::MediaOperationCanceled => CompletionReason::MediaOperationCanceled,
            Self::StoppedByTone(code) => Tone::from_event_code(code)
                .map_or(CompletionReason::Unknown, CompletionReason::StoppedByTone),
            Self::StoppedBySpeech => CompletionReason::StoppedBySpeech,
            Self::StopToneDetected => CompletionReason::StopToneDetected,
            Self::MaxRecordDurationReached => CompletionReason::MaxRecordDurationReached,
            Self::InitialSilenceTimeout => CompletionReason::InitialSilenceTimeout,
            Self::MaxSilenceTimeout => CompletionReason::MaxSilenceTimeout,
            Self::PlayPromptFailed => CompletionReason::PlayPromptFailed,
            Self::PlayBeepFailed => CompletionReason::PlayBeepFailed,
            Self::MediaReceiveTimeout => CompletionReason::MediaReceiveTimeout,
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl StoredResult {
    fn new(result: &ResultInfo) -> Self {
        Self { code: result.code, subcode: result.subcode, message: result.message.clone() }
    }

    fn into_domain(self) -> ResultInfo {
        ResultInfo { code: self.code, subcode: self.subcode, message: self.message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_survive_being_stored() {
        let id = OperationId::new(uuid::Uuid::from_u128(7));
        let operation = Operation {
            id,
            kind: OperationKind::PlayPrompt {
                prompts: vec![MediaPrompt {
                    uri: "https://cdn.example/a.wav?x=1".into(),
                    resource_id: Some("r \u{0}/..".into()),
                    repeat: 3,
                    shaping: Shaping { gain_tenths: -35, start_ms: 1_500 },
                }]
                .into(),
                looping: true,
                options: PlayOptions {
                    mode: PlayMode::Overlay,
                    stop_on: StopOn { tones: [Tone::Star].into_iter().collect(), speech: true },
                    participant: Some(ParticipantId::new(uuid::Uuid::from_u128(8))),
                },
            },
            status: OperationStatus::Failed,
            client_context: Some("ctx \u{1f4de}".into()),
            completion_reason: Some(CompletionReason::StoppedByTone(Tone::Star)),
            result: Some(ResultInfo::cancelled()),
        };
        let tones = OperationKind::SendDtmfTones {
            tones: Tone::ALL.into(),
            delay: Duration::from_millis(300),
        };
        let settings = RecordSettings {
            prompts: [].into(),
            barge_in: true,
            initial_silence: Duration::from_secs(1),
            max_silence: Duration::from_secs(2),
            longest: Duration::from_secs(3),
            beep: false,
            stop_tones: vec![Tone::Star],
            root: "https://calls.example".into(),
        };
        let recorded = Recorded {
            location: "https://calls.example/recordings/7".into(),
            access_token: AccessToken("secret".into()),
        };
        let recording =
            OperationKind::RecordResponse { settings: settings.into(), recorded: Some(recorded) };
        for kind in [operation.kind.clone(), OperationKind::SubscribeToTone, tones, recording] {
            let operation = Operation { kind, ..operation.clone() };
            let json = serde_json::to_string(&StoredOperation::new(&operation, None)).unwrap();
            let stored: StoredOperation = serde_json::from_str(&json).unwrap();
            assert_eq!(stored.into_domain(id), (operation, None));
        }
    }
}
