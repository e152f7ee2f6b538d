//! The FIFO of media operations of one call: playPrompt and recordResponse.
//!
//! "By default queued to process in order" (Graph, call: cancelMediaProcessing). A second
//! playPrompt never cuts the first, unless it asks to (`media_queue/layers.rs`).

mod layers;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    command::CancelScope,
    ids::OperationId,
    input::RecordingEvent,
    operation::{CompletionReason, Operation, OperationKind, OperationStatus, ResultInfo},
    output::{Output, end},
    play_options::PlayMode,
    playback::{Playable, Playback},
    recording::{self, Recording, Verdict},
    timer::{Timer, TimerTable},
    tones::Tone,
};

pub(crate) use layers::Heard;

/// What the call lends the queue while it works.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) start_grace: Duration,
    pub(crate) timers: &'a mut TimerTable,
    pub(crate) outputs: &'a mut VecDeque<Output>,
}

/// Overlays of one call at a time, playing or on their way.
const MAX_OVERLAYS: usize = 4;

/// The head of the queue plays; the others wait with their prompts being fetched.
#[derive(Clone, Debug, Default)]
pub(crate) struct MediaQueue {
    items: VecDeque<Item>,
    /// Beside the FIFO: played over its head.
    overlays: Vec<Item>,
    /// The far end receives audio: playouts may start.
    media_active: bool,
}

#[derive(Clone, Debug)]
struct Item {
    operation: Operation,
    playback: Playback,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Waits for its turn, for its prompts, or for media.
    Preparing,
    /// Handed to the playout.
    Playing,
    /// A recordResponse that listens.
    Recording(Recording),
}

impl MediaQueue {
    pub(crate) fn len(&self) -> usize {
        self.items.len() + self.overlays.len()
    }

    /// Whether something is on its way to an end of its own: a loop is not, nor what waits behind it.
    pub(crate) fn is_ending(&self) -> bool {
        let mut heads = self.items.front().into_iter().chain(&self.overlays);
        heads.any(|head| match &head.operation.kind {
            OperationKind::PlayPrompt { looping, .. } => !looping,
            OperationKind::RecordResponse { .. } => true,
            OperationKind::CancelMediaProcessing
            | OperationKind::SubscribeToTone
            | OperationKind::Group(_)
            | OperationKind::SendDtmfTones { .. } => false,
        })
    }

    pub(crate) fn operation(&self, id: OperationId) -> Option<&Operation> {
        let items = self.items.iter().chain(&self.overlays);
        items.map(|item| &item.operation).find(|operation| operation.id == id)
    }

    /// Takes an accepted operation in.
    pub(crate) fn push(&mut self, operation: Operation, cx: &mut Context<'_>) {
        let (prompts, looping, mode, barges_in) = match &operation.kind {
            OperationKind::PlayPrompt { prompts, looping, options } => {
                (prompts, *looping, options.mode, false)
            }
            OperationKind::RecordResponse { settings, .. } => {
                (&settings.prompts, false, PlayMode::Queue, settings.barge_in)
            }
            OperationKind::CancelMediaProcessing
            | OperationKind::SubscribeToTone
            | OperationKind::Group(_)
            | OperationKind::SendDtmfTones { .. } => return,
        };
        let playback = Playback::new(prompts, looping);
        cx.outputs.push_back(Output::CommitOperation(operation.clone()));
        if barges_in {
            self.cancel(CancelScope::All, cx);
        }
        cx.outputs
            .push_back(Output::Fetch { operation: operation.id, prompts: Arc::clone(prompts) });
        let item = Item { operation, playback, stage: Stage::Preparing };
        match mode {
            PlayMode::Queue | PlayMode::Interrupt => self.items.push_back(item),
            PlayMode::Overlay => self.overlays.push(item),
        }
        self.advance(cx);
    }

    /// The far end receives audio, or does no longer.
    pub(crate) fn set_media(&mut self, active: bool, cx: &mut Context<'_>) {
        self.media_active = active;
        self.advance(cx);
    }

    /// A prompt of a queued operation is ready or has failed.
    pub(crate) fn prepared(
        &mut self,
        id: OperationId,
        index: usize,
        outcome: Result<Duration, ResultInfo>,
        cx: &mut Context<'_>,
    ) {
        let mut items = self.items.iter_mut().chain(&mut self.overlays);
        if let Some(item) = items.find(|item| item.operation.id == id) {
            item.playback.prepared(index, outcome);
            self.advance(cx);
        }
    }

    /// The head has waited long enough for the rest of its prompts.
    pub(crate) fn start_grace_expired(&mut self, cx: &mut Context<'_>) {
        if let Some(head) = self.items.front_mut()
            && matches!(head.stage, Stage::Preparing)
            && self.media_active
            && head.can_play_at_once()
        {
            head.start(cx);
        }
    }

    /// The playout of an operation sent its last packet. Of a playout that was not told to end
    /// this cannot be true, and is absorbed: a loop never completes by itself.
    pub(crate) fn playout_finished(&mut self, id: OperationId, cx: &mut Context<'_>) {
        let is_done = |head: &mut Item| {
            head.operation.id == id
                && matches!(head.stage, Stage::Playing)
                && head.playback.can_finish()
        };
        let mut done = self.items.pop_front_if(is_done);
        done = done.or_else(|| self.overlays.extract_if(.., is_done).next());
        let Some(mut head) = done else { return };
        if let OperationKind::RecordResponse { settings, .. } = &head.operation.kind {
            head.stage = Stage::Recording(Recording::begin(id, Arc::clone(settings), cx));
            return self.items.push_front(head);
        }
        head.end_as_played(cx);
        self.advance(cx);
    }

    /// A recording tells something. What is about another one than the head's is late, and absorbed.
    pub(crate) fn recording(&mut self, event: RecordingEvent, cx: &mut Context<'_>) {
        let id = event.operation();
        self.with_recording(
            |head, recording, cx| {
                if head == id { recording.hear(event, cx) } else { Verdict::GoesOn }
            },
            cx,
        );
    }

    /// A timer of the recording has expired.
    pub(crate) fn recording_expired(&mut self, timer: Timer, cx: &mut Context<'_>) {
        self.with_recording(|id, recording, cx| recording.expired(id, timer, cx), cx);
    }

    /// The far end pressed a key.
    pub(crate) fn tone(&mut self, tone: Tone, cx: &mut Context<'_>) {
        let hear = |id, recording: &mut Recording, cx: &mut Context<'_>| {
            recording.tone(id, tone, cx);
            Verdict::GoesOn
        };
        self.with_recording(hear, cx);
    }

    fn with_recording(
        &mut self,
        work: impl FnOnce(OperationId, &mut Recording, &mut Context<'_>) -> Verdict,
        cx: &mut Context<'_>,
    ) {
        let Some(Item { operation, stage: Stage::Recording(recording), .. }) =
            self.items.front_mut()
        else {
            return;
        };
        match work(operation.id, recording, cx) {
            Verdict::GoesOn => {}
            Verdict::Over { reason, result, recorded } => {
                if let Some(head) = self.items.pop_front() {
                    let ended = recording::ended(head.operation, reason, result, recorded);
                    end(ended, true, cx.outputs);
                }
                self.advance(cx);
            }
        }
    }

    /// The playout of an operation cannot go on; what of it still sounds is stopped.
    pub(crate) fn playout_failed(&mut self, id: OperationId, cx: &mut Context<'_>) {
        let is_playing =
            |head: &mut Item| head.operation.id == id && matches!(head.stage, Stage::Playing);
        let mut broken = self.items.pop_front_if(is_playing);
        broken = broken.or_else(|| self.overlays.extract_if(.., is_playing).next());
        if let Some(head) = broken {
            cx.outputs.push_back(Output::StopPlayout(id));
            let (reason, result) = head.unplayable();
            end(head.operation.failed(reason, result), true, cx.outputs);
            self.advance(cx);
        }
    }

    /// Graph cancelMediaProcessing.
    pub(crate) fn cancel(&mut self, scope: CancelScope, cx: &mut Context<'_>) {
        let count = match scope {
            CancelScope::All => self.items.len(),
            CancelScope::Current => self.items.len().min(1),
        };
        if scope == CancelScope::All {
            self.cancel_overlays(cx);
        }
        self.cancel_first(count, cx);
    }

    /// The call ends: every operation fails, in order. Of those that a hang-up cuts Graph notifies
    /// none (spec/api.md §3.5).
    pub(crate) fn drop_all(
        &mut self,
        reason: CompletionReason,
        result: impl Fn() -> ResultInfo,
        notify: bool,
        cx: &mut Context<'_>,
    ) {
        self.stop_head(cx);
        for item in &self.overlays {
            if matches!(item.stage, Stage::Playing) {
                cx.outputs.push_back(Output::StopPlayout(item.operation.id));
            }
        }
        for item in self.items.drain(..).chain(self.overlays.drain(..)) {
            end(item.operation.failed(reason, result()), notify, cx.outputs);
        }
    }

    fn stop_head(&mut self, cx: &mut Context<'_>) {
        cx.timers.stop(Timer::StartGrace);
        let Some(head) = self.items.front() else { return };
        match &head.stage {
            Stage::Preparing => {}
            Stage::Playing => cx.outputs.push_back(Output::StopPlayout(head.operation.id)),
            Stage::Recording(recording) => recording.give_up(head.operation.id, cx),
        }
    }

    /// Starts, extends or ends the head as far as its prompts allow.
    fn advance(&mut self, cx: &mut Context<'_>) {
        self.advance_overlays(cx);
        if self.interrupt(cx) {
            return;
        }
        while let Some(head) = self.items.front_mut() {
            match head.stage {
                Stage::Recording(_) => return,
                Stage::Playing => return head.extend(cx),
                Stage::Preparing if head.playback.is_hopeless() => {
                    if let Some(head) = self.items.pop_front() {
                        cx.timers.stop(Timer::StartGrace);
                        head.end_as_played(cx);
                    }
                }
                Stage::Preparing if !self.media_active => return,
                Stage::Preparing if head.playback.playable().sealed => return head.start(cx),
                // It is played over what else its listener hears, and that takes a whole list.
                Stage::Preparing if head.listener().is_some() => return,
                Stage::Preparing
                    if head.mode() == PlayMode::Interrupt && head.can_play_at_once() =>
                {
                    return head.start(cx);
                }
                Stage::Preparing => {
                    if head.playback.can_start_early() && !cx.timers.is_set(Timer::StartGrace) {
                        cx.timers.set(Timer::StartGrace, cx.now + cx.start_grace);
                    }
                    return;
                }
            }
        }
    }
}

impl Item {
    fn start(&mut self, cx: &mut Context<'_>) {
        cx.timers.stop(Timer::StartGrace);
        self.stage = Stage::Playing;
        let Playable { ready, sealed } = self.playback.hand_over();
        let (operation, looping) = (self.operation.id, self.playback.is_looping());
        cx.outputs.push_back(match self.listener() {
            Some(_) => Output::StartOverlay { operation, ready, looping },
            None => Output::StartPlayout { operation, ready, sealed, looping },
        });
    }

    fn extend(&mut self, cx: &mut Context<'_>) {
        if self.playback.has_more() {
            let Playable { ready, sealed } = self.playback.hand_over();
            cx.outputs.push_back(Output::ExtendPlayout {
                operation: self.operation.id,
                ready,
                sealed,
            });
        }
    }

    /// Ends an operation of which everything playable was played.
    fn end_as_played(self, cx: &mut Context<'_>) {
        let records = matches!(self.operation.kind, OperationKind::RecordResponse { .. });
        let operation = match self.playback.failure() {
            Some(cause) if records => {
                let result = ResultInfo::record_prompt_failed(&cause.message);
                self.operation.failed(CompletionReason::PlayPromptFailed, result)
            }
            Some(result) => self.operation.failed(CompletionReason::Unknown, result),
            None => self.complete(CompletionReason::CompletedSuccessfully),
        };
        end(operation, true, cx.outputs);
    }

    fn complete(self, reason: CompletionReason) -> Operation {
        let result = ResultInfo::completed();
        self.operation.ended(OperationStatus::Completed, Some(reason), result)
    }

    /// Why it ends if the playout engine cannot send it.
    fn unplayable(&self) -> (CompletionReason, ResultInfo) {
        match &self.operation.kind {
            OperationKind::RecordResponse { settings, .. } if settings.prompts.is_empty() => {
                (CompletionReason::PlayBeepFailed, ResultInfo::beep_failed())
            }
            OperationKind::RecordResponse { .. } => {
                (CompletionReason::PlayPromptFailed, ResultInfo::play_failed())
            }
            OperationKind::PlayPrompt { .. }
            | OperationKind::CancelMediaProcessing
            | OperationKind::SubscribeToTone
            | OperationKind::Group(_)
            | OperationKind::SendDtmfTones { .. } => {
                (CompletionReason::Unknown, ResultInfo::play_failed())
            }
        }
    }
}
