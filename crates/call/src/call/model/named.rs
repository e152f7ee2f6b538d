//! Inputs of tests in few words; operations are named by a letter.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    CancelScope, Command, MediaPrompt, OperationId, PlayOptions, PlayoutEvent, PromptEvent,
    ResultInfo, Shaping, Tone,
};

pub(crate) const ALL: CancelScope = CancelScope::All;

pub(crate) fn id(name: char) -> OperationId {
    OperationId::new(Uuid::from_u128(u128::from(u32::from(name))))
}

pub(crate) fn name(id: OperationId) -> char {
    u32::try_from(id.uuid().as_u128()).ok().and_then(char::from_u32).expect("made by `id`")
}

pub(crate) fn play(name: char, prompts: usize, looping: bool) -> Command {
    let prompt = |index| MediaPrompt {
        uri: format!("http://127.0.0.1/{name}{index}.wav"),
        resource_id: None,
        repeat: 1,
        shaping: Shaping::default(),
    };
    Command::PlayPrompt {
        operation: id(name),
        prompts: (0..prompts).map(prompt).collect(),
        looping,
        options: PlayOptions::default(),
        client_context: Some(format!("context of {name}")),
    }
}

/// Asks for a recording as Graph does by default, changed by `change`.
#[cfg(test)]
pub(crate) fn record(name: char, change: impl FnOnce(&mut crate::RecordSettings)) -> Command {
    let mut settings = crate::RecordSettings {
        prompts: [].into(),
        barge_in: false,
        initial_silence: Duration::from_secs(5),
        max_silence: Duration::from_secs(5),
        longest: Duration::from_secs(5),
        beep: true,
        stop_tones: vec![Tone::Pound],
        root: "http://127.0.0.1:1".to_owned(),
    };
    change(&mut settings);
    let client_context = Some(format!("context of {name}"));
    Command::RecordResponse { operation: id(name), settings: settings.into(), client_context }
}

pub(crate) fn cancel(name: char, scope: CancelScope) -> Command {
    Command::CancelMediaProcessing { operation: id(name), scope, client_context: None }
}

pub(crate) fn press(name: char, tones: &[Tone]) -> Command {
    let delay = Duration::from_millis(300);
    let (operation, client_context) = (id(name), Some(format!("context of {name}")));
    Command::SendDtmfTones { operation, tones: tones.to_vec(), delay, client_context }
}

pub(crate) fn subscribe(name: char) -> Command {
    Command::SubscribeToTone { operation: id(name), client_context: None }
}

pub(crate) fn ready(name: char, index: usize, duration: Duration) -> PromptEvent {
    PromptEvent::Ready { operation: id(name), index, duration }
}

pub(crate) fn failed(name: char, index: usize) -> PromptEvent {
    let result = ResultInfo::download_failed("The host answered 404.");
    PromptEvent::Failed { operation: id(name), index, result }
}

pub(crate) fn broke(name: char) -> PlayoutEvent {
    PlayoutEvent::Failed(id(name))
}
