//! What is known of a call's playbacks outside the core: their audio, their progress, and the
//! receipts made from both.

use std::{collections::VecDeque, sync::Arc, time::SystemTime};

use graphophone_call::{
    CompletionReason, MediaPrompt, Operation, OperationId, OperationKind, OperationStatus,
};
use graphophone_graph::resource::receipt::{PromptEnd, PromptReceipt, Receipt};
use graphophone_media::engine::{PlayoutProgress, Segment, SegmentProgress};

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
    /// It was the end of the call that ended the operation.
    is_cut_by_call: bool,
}

/// What is known of one prompt's audio.
#[derive(Clone, Debug)]
enum Audio {
    Awaited,
    Ready(Prepared),
    /// Could not be fetched or decoded.
    Broken,
}

impl Audio {
    fn ready(&self) -> Option<&Prepared> {
        match self {
            Self::Ready(prepared) => Some(prepared),
            Self::Awaited | Self::Broken => None,
        }
    }
}

impl Playouts {
    /// A playPrompt was accepted.
    pub(super) fn add(&mut self, operation: &Operation) {
        let count = prompts(operation).len();
        self.playouts.push_back(Playout {
            operation: operation.clone(),
            audio: vec![Audio::Awaited; count],
            handed_over: 0,
            progress: None,
            is_cut_by_call: false,
        });
    }

    /// A prompt has been prepared.
    pub(super) fn set_prepared(&mut self, id: OperationId, index: usize, prepared: Prepared) {
        self.set_audio(id, index, Audio::Ready(prepared));
    }

    /// A prompt cannot be played.
    pub(super) fn set_broken(&mut self, id: OperationId, index: usize) {
        self.set_audio(id, index, Audio::Broken);
    }

    /// The segments from the last hand-over up to the first `ready` prompts.
    pub(super) fn hand_over(&mut self, id: OperationId, ready: usize) -> Vec<Segment> {
        let Some(playout) = self.find(id) else { return Vec::new() };
        let from = playout.handed_over;
        playout.handed_over = ready.max(from);
        let listed = prompts(&playout.operation);
        listed
            .iter()
            .zip(&playout.audio)
            .take(ready)
            .skip(from)
            .filter_map(|(prompt, audio)| {
                let prepared = audio.ready()?;
                Some(Segment { prompt: Arc::clone(&prepared.encoded), repeat: prompt.repeat })
            })
            .collect()
    }

    /// The engine has taken the playout.
    pub(super) fn set_progress(&mut self, id: OperationId, progress: Arc<PlayoutProgress>) {
        if let Some(playout) = self.find(id) {
            playout.progress = Some(progress);
        }
    }

    /// The operation has reached its final status; `with_call` if the call's end brought it.
    pub(super) fn end(&mut self, operation: &Operation, with_call: bool) {
        if let Some(playout) = self.find(operation.id) {
            playout.operation = operation.clone();
            playout.is_cut_by_call = with_call;
        }
        let ended = self.playouts.iter().filter(|p| p.operation.status.is_final()).count();
        if ended > KEPT_ENDED
            && let Some(oldest) = self.playouts.iter().position(|p| p.operation.status.is_final())
        {
            self.playouts.remove(oldest);
        }
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
        if let Some(slot) = self.find(id).and_then(|playout| playout.audio.get_mut(index)) {
            *slot = audio;
        }
    }

    fn find(&mut self, id: OperationId) -> Option<&mut Playout> {
        self.playouts.iter_mut().find(|playout| playout.operation.id == id)
    }
}

impl Playout {
    fn receipt(&self) -> Receipt {
        let progress =
            self.progress.as_ref().map(|progress| progress.segments()).unwrap_or_default();
        let prompts = prompts(&self.operation)
            .iter()
            .enumerate()
            .map(|(index, prompt)| {
                let audio = self.audio.get(index).unwrap_or(&Audio::Awaited);
                self.prompt_receipt(prompt, audio, progress.get(index).copied())
            })
            .collect();
        Receipt { prompts }
    }

    fn prompt_receipt(
        &self,
        prompt: &MediaPrompt,
        audio: &Audio,
        sent: Option<SegmentProgress>,
    ) -> PromptReceipt {
        let prepared = audio.ready();
        let rate = prepared.map_or(8_000, |prepared| prepared.encoded.codec.rate());
        let ms = |samples: u64| samples * 1_000 / u64::from(rate);
        let whole =
            prepared.map(|prepared| prepared.encoded.bytes.len() as u64 * u64::from(prompt.repeat));
        let samples_sent = sent.map_or(0, |sent| sent.samples_sent);
        PromptReceipt {
            uri: prompt.uri.clone(),
            resource_id: prompt.resource_id.clone(),
            sha256: prepared.map(|prepared| prepared.encoded.sha256.to_string()),
            duration_ms: whole.map(ms),
            milliseconds_sent: Some(ms(samples_sent)),
            milliseconds_acknowledged: sent.and_then(|sent| sent.samples_acknowledged).map(ms),
            first_packet: sent.and_then(|sent| sent.first_packet).map(to_offset),
            last_packet: sent.and_then(|sent| sent.last_packet).map(to_offset),
            reason: self.reason(audio, samples_sent, whole),
        }
    }

    fn reason(&self, audio: &Audio, sent: u64, whole: Option<u64>) -> PromptEnd {
        if matches!(audio, Audio::Broken) {
            return PromptEnd::Failed;
        }
        let is_looping =
            matches!(self.operation.kind, OperationKind::PlayPrompt { looping: true, .. });
        let is_whole = sent > 0
            && whole.is_some_and(|whole| {
                if is_looping { sent.is_multiple_of(whole) } else { sent >= whole }
            });
        match (self.operation.status, self.operation.completion_reason) {
            (OperationStatus::Running, _) if sent == 0 => PromptEnd::Waiting,
            (OperationStatus::Running, _) if is_looping || !is_whole => PromptEnd::Playing,
            _ if is_whole => PromptEnd::Completed,
            _ if sent == 0 => PromptEnd::NotPlayed,
            _ if self.is_cut_by_call => PromptEnd::CallEnded,
            (_, Some(CompletionReason::MediaOperationCanceled)) => PromptEnd::Cancelled,
            // The engine broke off.
            _ => PromptEnd::Failed,
        }
    }
}

fn prompts(operation: &Operation) -> &[MediaPrompt] {
    match &operation.kind {
        OperationKind::PlayPrompt { prompts, .. } => prompts,
        OperationKind::CancelMediaProcessing => &[],
    }
}

fn to_offset(time: SystemTime) -> time::OffsetDateTime {
    time.into()
}
