//! What is known of a call's playbacks outside the core: their audio, their progress, and the
//! receipts made from both.

use std::{collections::VecDeque, sync::Arc, time::SystemTime};

use graphophone_call::{
    CompletionReason, MediaPrompt, Operation, OperationId, OperationKind, OperationStatus,
    ParticipantId, ResultInfo,
};
use graphophone_graph::resource::receipt::{PromptEnd, PromptReceipt, Receipt};
use graphophone_media::{
    engine::{PlayoutProgress, Segment, SegmentProgress},
    prompt::{EncodedPrompt, Sha256},
};

use crate::prompts::Prepared;

/// Ended operations whose receipts are still kept up to date by late RTCP reports.
const KEPT_ENDED: usize = 32;

/// The playbacks of one call: those in the queue, and the last few that ended.
#[derive(Debug, Default)]
pub(super) struct Playouts {
    playouts: VecDeque<Playout>,
}

#[derive(Debug)]
struct Playout {
    operation: Operation,
    audio: Vec<Audio>,
    handed_over: usize,
    progress: Option<Arc<PlayoutProgress>>,
    /// The bot wants it silent for now.
    is_paused: bool,
    /// It was the end of the call that ended the operation.
    is_cut_by_call: bool,
}

/// What is known of one prompt's audio.
#[derive(Clone, Debug)]
enum Audio {
    Awaited,
    Ready {
        sha256: Sha256,
        /// Samples per second.
        rate: u32,
        /// Samples of one repeat.
        samples: u64,
        /// Until the engine has it, or nobody wants it any more: the cache counts what is held.
        encoded: Option<Arc<EncodedPrompt>>,
    },
    /// Could not be fetched or decoded.
    Broken,
}

/// How an operation stands, as far as its prompts are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    Paused,
    /// A key or speech has ended it, as it was asked to.
    Stopped,
    /// Everything playable was played.
    PlayedOut,
    Cancelled,
    CallEnded,
    /// The engine broke off, or packets were refused.
    Unsendable,
}

/// How one prompt stands.
#[derive(Clone, Copy, Debug)]
struct Standing {
    is_broken: bool,
    is_handed_over: bool,
    /// Samples that left.
    sent: u64,
    /// Samples that a seek went over.
    skipped: u64,
    /// Samples of all repeats; `None` until it is decoded.
    whole: Option<u64>,
}

impl Playouts {
    /// An operation was accepted; only of those that play something there is something to know here.
    pub(super) fn add(&mut self, operation: &Operation) {
        let plays = matches!(
            operation.kind,
            OperationKind::PlayPrompt { .. } | OperationKind::RecordResponse { .. }
        );
        if !plays {
            return;
        }
        let count = prompts(operation).len();
        self.playouts.push_back(Playout {
            operation: operation.clone(),
            audio: vec![Audio::Awaited; count],
            handed_over: 0,
            progress: None,
            is_paused: false,
            is_cut_by_call: false,
        });
    }

    /// It was not accepted after all.
    pub(super) fn forget(&mut self, id: OperationId) {
        self.playouts.retain(|playout| playout.operation.id != id);
    }

    /// A prompt has been prepared.
    pub(super) fn set_prepared(&mut self, id: OperationId, index: usize, prepared: Prepared) {
        let Prepared { encoded, sha256, .. } = prepared;
        let (rate, samples) = (encoded.codec().rate(), encoded.units());
        let audio = Audio::Ready { sha256, rate, samples, encoded: Some(encoded) };
        self.set_audio(id, index, audio);
    }

    /// A prompt cannot be played.
    pub(super) fn set_broken(&mut self, id: OperationId, index: usize) {
        self.set_audio(id, index, Audio::Broken);
    }

    /// The segments from the last hand-over up to the first `ready` prompts.
    pub(super) fn hand_over(&mut self, id: OperationId, ready: usize) -> Vec<Segment> {
        let Some(playout) = self.find(id) else { return Vec::new() };
        let from = playout.handed_over;
        playout.handed_over = ready.min(playout.audio.len()).max(from);
        let listed = prompts(&playout.operation);
        listed
            .iter()
            .zip(&mut playout.audio)
            .take(ready)
            .skip(from)
            .filter_map(|(prompt, audio)| match audio {
                Audio::Ready { encoded, .. } => {
                    Some(Segment { prompt: encoded.take()?, repeat: prompt.repeat })
                }
                Audio::Awaited | Audio::Broken => None,
            })
            .collect()
    }

    /// Whether a beep follows an operation's prompts.
    pub(super) fn beeps(&self, id: OperationId) -> bool {
        self.playouts.iter().any(|playout| {
            playout.operation.id == id
                && matches!(
                    &playout.operation.kind,
                    OperationKind::RecordResponse { settings, .. } if settings.beep
                )
        })
    }

    /// The engine has taken the playout.
    pub(super) fn set_progress(&mut self, id: OperationId, progress: Arc<PlayoutProgress>) {
        if let Some(playout) = self.find(id) {
            playout.progress = Some(progress);
        }
    }

    /// It is silent for now, or goes on.
    pub(super) fn set_paused(&mut self, id: OperationId, paused: bool) {
        if let Some(playout) = self.find(id) {
            playout.is_paused = paused;
        }
    }

    /// Whether the kernel has taken every sample that the engine was given and was to send.
    pub(super) fn is_sent(&self, id: OperationId) -> bool {
        let playout = self.playouts.iter().find(|playout| playout.operation.id == id);
        playout.is_none_or(|playout| {
            let segments = playout.segments();
            segments.len() >= playout.handed_over
                && segments.iter().all(|segment| {
                    segment.samples_sent + segment.samples_skipped >= segment.samples_planned
                })
        })
    }

    /// The operation has reached its final status; `with_call` if the call's end brought it. What
    /// comes back is forgotten here and has to be kept elsewhere.
    #[must_use]
    pub(super) fn end(
        &mut self,
        operation: &Operation,
        with_call: bool,
    ) -> Option<(Operation, Receipt)> {
        if let Some(playout) = self.find(operation.id) {
            playout.operation = operation.clone();
            playout.is_cut_by_call = with_call;
            for audio in &mut playout.audio {
                if let Audio::Ready { encoded, .. } = audio {
                    *encoded = None;
                }
            }
        }
        let is_ended = |playout: &Playout| playout.operation.status.is_final();
        if self.playouts.iter().filter(|playout| is_ended(playout)).count() <= KEPT_ENDED {
            return None;
        }
        let oldest = self.playouts.iter().position(is_ended)?;
        let oldest = self.playouts.remove(oldest)?;
        let receipt = oldest.receipt();
        Some((oldest.operation, receipt))
    }

    /// The participant who alone hears an operation.
    pub(super) fn listener(&self, id: OperationId) -> Option<ParticipantId> {
        let playout = self.playouts.iter().find(|playout| playout.operation.id == id)?;
        match &playout.operation.kind {
            OperationKind::PlayPrompt { options, .. } => options.participant,
            OperationKind::RecordResponse { .. }
            | OperationKind::CancelMediaProcessing
            | OperationKind::SubscribeToTone
            | OperationKind::SendDtmfTones { .. }
            | OperationKind::Group(_) => None,
        }
    }

    /// Whether nothing more will be played of it: it has ended, or is none of this call's.
    pub(super) fn is_over(&self, id: OperationId) -> bool {
        let playout = self.playouts.iter().find(|playout| playout.operation.id == id);
        playout.is_none_or(|playout| playout.operation.status.is_final())
    }

    /// An operation as it is now, with its receipt.
    pub(super) fn get(&self, id: OperationId) -> Option<(Operation, Receipt)> {
        let playout = self.playouts.iter().find(|playout| playout.operation.id == id)?;
        Some((playout.operation.clone(), playout.receipt()))
    }

    /// The receipt of an operation as it is now.
    pub(super) fn receipt(&self, id: OperationId) -> Option<Receipt> {
        self.get(id).map(|(_, receipt)| receipt)
    }

    /// Everything still known, oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Operation, Receipt)> {
        self.playouts.iter().map(|playout| (&playout.operation, playout.receipt()))
    }

    fn set_audio(&mut self, id: OperationId, index: usize, audio: Audio) {
        if let Some(playout) = self.find(id)
            // A receipt tells how things were at the end, not what was heard of later.
            && !playout.operation.status.is_final()
            && let Some(slot) = playout.audio.get_mut(index)
        {
            *slot = audio;
        }
    }

    fn find(&mut self, id: OperationId) -> Option<&mut Playout> {
        self.playouts.iter_mut().find(|playout| playout.operation.id == id)
    }
}

impl Playout {
    fn stage(&self) -> Stage {
        let Operation { status, completion_reason, result, .. } = &self.operation;
        match (status, completion_reason) {
            (OperationStatus::Running, _) if self.is_paused => Stage::Paused,
            (OperationStatus::Running, _) => Stage::Running,
            _ if self.is_cut_by_call => Stage::CallEnded,
            (_, Some(CompletionReason::MediaOperationCanceled)) => Stage::Cancelled,
            (_, Some(CompletionReason::StoppedByTone(_) | CompletionReason::StoppedBySpeech)) => {
                Stage::Stopped
            }
            _ if *result == Some(ResultInfo::play_failed()) => Stage::Unsendable,
            (OperationStatus::Completed | OperationStatus::Failed, _) => Stage::PlayedOut,
        }
    }

    fn segments(&self) -> Vec<SegmentProgress> {
        self.progress.as_ref().map(|progress| progress.segments()).unwrap_or_default()
    }

    fn receipt(&self) -> Receipt {
        let (stage, progress) = (self.stage(), self.segments());
        let is_looping =
            matches!(self.operation.kind, OperationKind::PlayPrompt { looping: true, .. });
        let prompts = prompts(&self.operation)
            .iter()
            .zip(&self.audio)
            .enumerate()
            .map(|(index, (prompt, audio))| {
                let (sha256, rate, whole) = match audio {
                    Audio::Ready { sha256, rate, samples, .. } => {
                        (Some(sha256.to_string()), *rate, Some(samples * u64::from(prompt.repeat)))
                    }
                    Audio::Awaited | Audio::Broken => (None, 8_000, None),
                };
                let ms = |samples: u64| samples * 1_000 / u64::from(rate);
                let sent = progress.get(index);
                let standing = Standing {
                    is_broken: matches!(audio, Audio::Broken),
                    is_handed_over: index < self.handed_over,
                    sent: sent.map_or(0, |sent| sent.samples_sent),
                    skipped: sent.map_or(0, |sent| sent.samples_skipped),
                    whole,
                };
                PromptReceipt {
                    uri: prompt.uri.clone(),
                    resource_id: prompt.resource_id.clone(),
                    sha256,
                    duration_ms: whole.map(ms),
                    milliseconds_sent: Some(ms(standing.sent)),
                    milliseconds_acknowledged: sent
                        .and_then(|sent| sent.samples_acknowledged)
                        .map(ms),
                    first_packet: sent.and_then(|sent| sent.first_packet).map(to_offset),
                    last_packet: sent.and_then(|sent| sent.last_packet).map(to_offset),
                    reason: standing.reason(stage, is_looping),
                }
            })
            .collect();
        Receipt { prompts }
    }
}

impl Standing {
    /// Every sample has left, at least once; also if there are none.
    fn is_sent(&self) -> bool {
        self.whole.is_some_and(|whole| self.sent >= whole)
    }

    /// Every sample has left or was gone over.
    fn is_passed(&self) -> bool {
        self.whole.is_some_and(|whole| self.sent + self.skipped >= whole)
    }

    fn reason(&self, stage: Stage, is_looping: bool) -> PromptEnd {
        let is_begun = self.sent > 0;
        let is_whole = self.is_sent() && is_begun;
        // A loop has no last sample.
        let is_skipped = !self.is_sent() && self.skipped > 0 && self.is_passed();
        let is_cut = is_looping || !(is_whole || is_skipped);
        match stage {
            _ if self.is_broken => PromptEnd::Failed,
            Stage::Running | Stage::Paused if !is_begun && !is_skipped => PromptEnd::Waiting,
            Stage::Running if is_cut => PromptEnd::Playing,
            Stage::Paused if is_cut => PromptEnd::Paused,
            Stage::Stopped if is_begun && is_cut => PromptEnd::Stopped,
            Stage::Cancelled if is_begun && is_cut => PromptEnd::Cancelled,
            Stage::CallEnded if is_begun && is_cut => PromptEnd::CallEnded,
            Stage::Unsendable if self.is_handed_over && is_cut => PromptEnd::Failed,
            Stage::PlayedOut if self.is_handed_over && self.is_sent() => PromptEnd::Completed,
            Stage::Running
            | Stage::Paused
            | Stage::Stopped
            | Stage::Cancelled
            | Stage::CallEnded
            | Stage::Unsendable
            | Stage::PlayedOut => {
                if is_whole {
                    PromptEnd::Completed
                } else if is_skipped {
                    PromptEnd::Skipped
                } else {
                    PromptEnd::NotPlayed
                }
            }
        }
    }
}

fn prompts(operation: &Operation) -> &[MediaPrompt] {
    match &operation.kind {
        OperationKind::PlayPrompt { prompts, .. } => prompts,
        OperationKind::RecordResponse { settings, .. } => &settings.prompts,
        OperationKind::CancelMediaProcessing
        | OperationKind::SubscribeToTone
        | OperationKind::SendDtmfTones { .. }
        | OperationKind::Group(_) => &[],
    }
}

fn to_offset(time: SystemTime) -> time::OffsetDateTime {
    time.into()
}

#[cfg(test)]
mod tests;
