//! Domain ↔ stored form of operations and states, nothing else.

use std::time::Duration;

mod group;

use graphophone_call::{
    CompletionReason, MediaPrompt, Operation, OperationId, OperationKind, OperationStatus,
    PlayMode, PlayOptions, ResultInfo, Shaping, StopOn, Tone,
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
    CancelMediaProcessing,
    SubscribeToTone,
    Group(StoredVerb),
    /// RFC 4733 event codes, and the silence between two in milliseconds.
    SendDtmfTones {
        tones: Vec<u8>,
        delay_ms: u64,
    },
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
}

/// Where a playPrompt takes its place, and what ends it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct StoredOptions {
    mode: StoredMode,
    /// Event codes.
    stop_on_tones: Vec<u8>,
    stop_on_speech: bool,
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
                OperationKind::CancelMediaProcessing => StoredKind::CancelMediaProcessing,
                OperationKind::SubscribeToTone => StoredKind::SubscribeToTone,
                OperationKind::Group(verb) => StoredKind::Group(StoredVerb::new(verb)),
                OperationKind::SendDtmfTones { tones, delay } => StoredKind::SendDtmfTones {
                    tones: tones.iter().map(|tone| tone.event_code()).collect(),
                    delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                },
            },
            status: match operation.status {
                OperationStatus::Running => StoredStatus::Running,
                OperationStatus::Completed => StoredStatus::Completed,
                OperationStatus::Failed => StoredStatus::Failed,
            },
            client_context: operation.client_context.clone(),
            reason: operation.completion_reason.map(|reason| match reason {
                CompletionReason::Unknown => StoredReason::Unknown,
                CompletionReason::CompletedSuccessfully => StoredReason::CompletedSuccessfully,
                CompletionReason::MediaOperationCanceled => StoredReason::MediaOperationCanceled,
                CompletionReason::StoppedByTone(tone) => {
                    StoredReason::StoppedByTone(tone.event_code())
                }
                CompletionReason::StoppedBySpeech => StoredReason::StoppedBySpeech,
            }),
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
            completion_reason: self.reason.map(|reason| match reason {
                StoredReason::Unknown => CompletionReason::Unknown,
                StoredReason::CompletedSuccessfully => CompletionReason::CompletedSuccessfully,
                StoredReason::MediaOperationCanceled => CompletionReason::MediaOperationCanceled,
                StoredReason::StoppedByTone(code) => Tone::from_event_code(code)
                    .map_or(CompletionReason::Unknown, CompletionReason::StoppedByTone),
                StoredReason::StoppedBySpeech => CompletionReason::StoppedBySpeech,
            }),
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
        for kind in [operation.kind.clone(), OperationKind::SubscribeToTone, tones] {
            let operation = Operation { kind, ..operation.clone() };
            let json = serde_json::to_string(&StoredOperation::new(&operation, None)).unwrap();
            let stored: StoredOperation = serde_json::from_str(&json).unwrap();
            assert_eq!(stored.into_domain(id), (operation, None));
        }
    }
}
