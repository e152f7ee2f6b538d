//! What goes beyond the FIFO: operations that interrupt it or lie over it, and what ends, stops or
//! moves a single one.

use std::time::Duration;

use super::{Context, Item, MAX_OVERLAYS, MediaQueue, Stage};
use crate::{
    command::Rejection,
    conference::Roster,
    ids::{OperationId, ParticipantId},
    operation::{CompletionReason, Operation, OperationKind, ResultInfo},
    output::{Output, end},
    play_options::{PlayControl, PlayMode, PlayOptions},
    tones::Tone,
};

impl MediaQueue {
    /// Whether there is room for one more overlay.
    pub(crate) fn takes_overlay(&self) -> bool {
        self.overlays.len() < MAX_OVERLAYS
    }

    /// Starts overlays whose prompts are all known, and ends those that have none to play.
    pub(super) fn advance_overlays(&mut self, cx: &mut Context<'_>) {
        let mut index = 0;
        while let Some(item) = self.overlays.get_mut(index) {
            let is_waiting = matches!(item.stage, Stage::Preparing);
            if is_waiting && item.playback.is_hopeless() {
                let item = self.overlays.remove(index);
                item.end_as_played(cx);
                continue;
            }
            if is_waiting && self.media_active && item.playback.playable().sealed {
                item.stage = Stage::Playing;
                let ready = item.playback.hand_over().ready;
                let looping = item.playback.is_looping();
                let operation = item.operation.id;
                cx.outputs.push_back(Output::StartOverlay { operation, ready, looping });
            }
            index += 1;
        }
    }

    /// Lets the last interrupting operation that can be played take the place of all before it.
    /// True if one did, and has begun.
    pub(super) fn interrupt(&mut self, cx: &mut Context<'_>) -> bool {
        let mut index = 1;
        let mut last = None;
        while let Some(item) = self.items.get(index) {
            let interrupts = item.mode() == PlayMode::Interrupt;
            if interrupts && item.playback.is_hopeless() {
                // It cuts nothing, and whoever waits for it hears of it now.
                if let Some(item) = self.items.remove(index) {
                    item.end_as_played(cx);
                }
                continue;
            }
            if interrupts && item.can_play_at_once() {
                last = Some(index);
            }
            index += 1;
        }
        let Some(count) = last.filter(|_| self.media_active) else { return false };
        self.cancel_first(count, cx);
        true
    }

    /// Whether a playPrompt that is sounding is ended by this key, or by speech.
    pub(crate) fn heard(&mut self, what: Heard, cx: &mut Context<'_>) {
        let reason = match what {
            Heard::Tone(tone) => CompletionReason::StoppedByTone(tone),
            Heard::Speech => CompletionReason::StoppedBySpeech,
        };
        let is_ended = |item: &mut Item| {
            let stop_on = item.options().stop_on;
            let wanted = match what {
                Heard::Tone(tone) => stop_on.tones.has(tone),
                Heard::Speech => stop_on.speech,
            };
            wanted && matches!(item.stage, Stage::Playing)
        };
        let head = self.items.pop_front_if(is_ended);
        for item in head.into_iter().chain(self.overlays.extract_if(.., is_ended)) {
            cx.outputs.push_back(Output::StopPlayout(item.operation.id));
            end(item.complete(reason), true, cx.outputs);
        }
        self.advance(cx);
    }

    /// Whether speech would end something that plays.
    pub(crate) fn minds_speech(&self) -> bool {
        let minds =
            |item: &Item| matches!(item.stage, Stage::Playing) && item.options().stop_on.speech;
        self.items.front().is_some_and(minds) || self.overlays.iter().any(minds)
    }

    /// Pauses, moves or ends one operation.
    pub(crate) fn control(
        &mut self,
        id: OperationId,
        control: PlayControl,
        cx: &mut Context<'_>,
    ) -> Result<(), Rejection> {
        let item = self.items.iter().chain(&self.overlays).find(|item| item.operation.id == id);
        let item = item.ok_or(Rejection::NotPlaying)?;
        let is_playing = matches!(item.stage, Stage::Playing);
        match control {
            PlayControl::Stop => self.stop(id, cx),
            PlayControl::Pause | PlayControl::Resume | PlayControl::Seek(_) if !is_playing => {
                return Err(Rejection::NotPlaying);
            }
            PlayControl::Pause => {
                cx.outputs.push_back(Output::PausePlayout { operation: id, paused: true });
            }
            PlayControl::Resume => {
                cx.outputs.push_back(Output::PausePlayout { operation: id, paused: false });
            }
            PlayControl::Seek(position) => {
                let length = item.length();
                if position > length {
                    return Err(Rejection::SeekBeyondEnd(length));
                }
                cx.outputs.push_back(Output::SeekPlayout { operation: id, position });
            }
        }
        Ok(())
    }

    /// Ends what was for somebody who is not in the group any more.
    pub(crate) fn keep_listeners(&mut self, roster: &Roster, cx: &mut Context<'_>) {
        let is_gone =
            |item: &mut Item| item.listener().is_some_and(|id| roster.person(id).is_none());
        if self.items.front_mut().is_some_and(is_gone) {
            self.stop_head(cx);
        }
        let mut gone = Vec::new();
        for mut item in std::mem::take(&mut self.items) {
            if is_gone(&mut item) { gone.push(item) } else { self.items.push_back(item) }
        }
        for item in self.overlays.extract_if(.., is_gone) {
            if matches!(item.stage, Stage::Playing) {
                cx.outputs.push_back(Output::StopPlayout(item.operation.id));
            }
            gone.push(item);
        }
        if gone.is_empty() {
            return;
        }
        for item in gone {
            let result = ResultInfo::listener_gone();
            end(item.operation.failed(CompletionReason::Unknown, result), true, cx.outputs);
        }
        self.advance(cx);
    }

    fn stop(&mut self, id: OperationId, cx: &mut Context<'_>) {
        let is_it = |item: &Item| item.operation.id == id;
        let item = match self.items.iter().position(is_it) {
            Some(0) => return self.cancel_first(1, cx),
            Some(index) => self.items.remove(index),
            None => self.overlays.iter().position(is_it).map(|index| self.overlays.remove(index)),
        };
        if let Some(item) = item {
            item.cancel(cx);
        }
        self.advance(cx);
    }

    /// Cancels the first so many operations of the FIFO, and goes on with what follows.
    pub(super) fn cancel_first(&mut self, count: usize, cx: &mut Context<'_>) {
        if count > 0 {
            self.stop_head(cx);
        }
        for item in self.items.drain(..count) {
            let (reason, result) =
                (CompletionReason::MediaOperationCanceled, ResultInfo::cancelled());
            end(item.operation.failed(reason, result), true, cx.outputs);
        }
        self.advance(cx);
    }

    pub(super) fn cancel_overlays(&mut self, cx: &mut Context<'_>) {
        for item in std::mem::take(&mut self.overlays) {
            item.cancel(cx);
        }
    }
}

/// What of the far end may end a playPrompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Tone(Tone),
    Speech,
}

impl Item {
    fn options(&self) -> PlayOptions {
        options(&self.operation)
    }

    /// Who alone hears it.
    pub(super) fn listener(&self) -> Option<ParticipantId> {
        self.options().participant
    }

    pub(super) fn mode(&self) -> PlayMode {
        self.options().mode
    }

    /// Whether an operation that does not wait for its other prompts can be played.
    pub(super) fn can_play_at_once(&self) -> bool {
        let starts_early = self.listener().is_none() && self.playback.can_start_early();
        self.playback.playable().sealed || starts_early
    }

    /// Playing time of one round of what is ready.
    fn length(&self) -> Duration {
        let OperationKind::PlayPrompt { prompts, .. } = &self.operation.kind else {
            return Duration::ZERO;
        };
        self.playback.length(prompts)
    }

    /// Ends it as cancelled, and what of it sounds.
    fn cancel(self, cx: &mut Context<'_>) {
        if matches!(self.stage, Stage::Playing) {
            cx.outputs.push_back(Output::StopPlayout(self.operation.id));
        }
        let (reason, result) = (CompletionReason::MediaOperationCanceled, ResultInfo::cancelled());
        end(self.operation.failed(reason, result), true, cx.outputs);
    }
}

/// How a playPrompt is to be played.
fn options(operation: &Operation) -> PlayOptions {
    let OperationKind::PlayPrompt { options, .. } = &operation.kind else {
        return PlayOptions::default();
    };
    *options
}
