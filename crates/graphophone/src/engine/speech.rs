//! Whether the far end of a call speaks, for prompts that are to be ended by that. Listens only while
//! one plays.

use std::future::pending;

use graphophone_call::Input;
use graphophone_media::{
    ear::{Ear, EarError, EarEvent, Ears},
    engine::StreamHandle,
};
use tokio::sync::mpsc;
use tracing::warn;

/// Events of an ear that wait for the call's task.
const EVENTS: usize = 16;

/// Listens for one call.
#[derive(Debug)]
pub(super) struct SpeechWatch {
    ears: Ears,
    watching: Watching,
}

#[derive(Debug)]
enum Watching {
    Idle,
    /// Dropping it ends the listening; nothing of it is told afterwards.
    Listening {
        _ear: Ear,
        heard: mpsc::Receiver<EarEvent>,
    },
    /// Nobody can listen; said once for each prompt.
    Deaf,
}

impl SpeechWatch {
    pub(super) fn new(ears: Ears) -> Self {
        Self { ears, watching: Watching::Idle }
    }

    /// Listens to the call's stream, or does not any more.
    pub(super) fn set(&mut self, wanted: bool, stream: Option<&StreamHandle>) {
        match (wanted, &self.watching) {
            (false, _) => self.watching = Watching::Idle,
            (true, Watching::Listening { .. } | Watching::Deaf) => {}
            (true, Watching::Idle) => {
                let Some(stream) = stream else { return };
                self.watching = self.listen(stream).unwrap_or_else(|cause| {
                    warn!(%cause, "speech that is to end a prompt is not heard");
                    Watching::Deaf
                });
            }
        }
    }

    /// Waits for speech. Cancel-safe.
    pub(super) async fn next(&mut self) -> Input {
        let Watching::Listening { heard, .. } = &mut self.watching else {
            return pending().await;
        };
        while let Some(event) = heard.recv().await {
            if matches!(event, EarEvent::Speech) {
                return Input::Speech;
            }
        }
        pending().await
    }

    fn listen(&self, stream: &StreamHandle) -> Result<Watching, EarError> {
        let (events, heard) = mpsc::channel(EVENTS);
        let ear = self.ears.listen(stream, events)?;
        ear.set_speech(true)?;
        Ok(Watching::Listening { _ear: ear, heard })
    }
}
