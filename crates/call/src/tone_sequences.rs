//! sendDtmfTones: sequences of tones to the far end, one after the other.
//!
//! They are no part of the media queue, and cancelMediaProcessing does not touch them
//! (spec/state-machines.md §2).

use std::{collections::VecDeque, sync::Arc};

use crate::{
    ids::OperationId,
    operation::{CompletionReason, Operation, OperationKind, OperationStatus, ResultInfo},
    output::{Output, end},
};

/// The sequences of one call; the first one is being sent, if the far end receives audio.
#[derive(Clone, Debug, Default)]
pub(crate) struct ToneSequences {
    waiting: VecDeque<Operation>,
    is_sending: bool,
    media_active: bool,
}

impl ToneSequences {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn operation(&self, id: OperationId) -> Option<&Operation> {
        self.waiting.iter().find(|operation| operation.id == id)
    }

    /// Takes an accepted operation in.
    pub(crate) fn push(&mut self, operation: Operation, outputs: &mut VecDeque<Output>) {
        outputs.push_back(Output::CommitOperation(operation.clone()));
        self.waiting.push_back(operation);
        self.advance(outputs);
    }

    /// The far end receives audio, or does no longer. What has been begun is not taken back.
    pub(crate) fn set_media(&mut self, active: bool, outputs: &mut VecDeque<Output>) {
        self.media_active = active;
        self.advance(outputs);
    }

    /// The sequence that is being sent has left, or cannot be sent. Graph completes the operation
    /// in both cases; the reason tells them apart (spec/state-machines.md §3).
    pub(crate) fn ended(
        &mut self,
        id: OperationId,
        outcome: Result<(), ResultInfo>,
        outputs: &mut VecDeque<Output>,
    ) {
        let is_sending = self.is_sending;
        let Some(operation) =
            self.waiting.pop_front_if(|operation| is_sending && operation.id == id)
        else {
            return;
        };
        self.is_sending = false;
        let (reason, result) = match outcome {
            Ok(()) => (CompletionReason::CompletedSuccessfully, ResultInfo::completed()),
            Err(result) => (CompletionReason::Unknown, result),
        };
        end(operation.ended(OperationStatus::Completed, Some(reason), result), true, outputs);
        self.advance(outputs);
    }

    /// The call ends: every operation fails, in order.
    pub(crate) fn drop_all(
        &mut self,
        reason: CompletionReason,
        result: impl Fn() -> ResultInfo,
        notify: bool,
        outputs: &mut VecDeque<Output>,
    ) {
        self.is_sending = false;
        for operation in self.waiting.drain(..) {
            end(operation.failed(reason, result()), notify, outputs);
        }
    }

    fn advance(&mut self, outputs: &mut VecDeque<Output>) {
        if self.is_sending || !self.media_active {
            return;
        }
        if let Some(Operation { id, kind: OperationKind::SendDtmfTones { tones, delay }, .. }) =
            self.waiting.front()
        {
            self.is_sending = true;
            outputs.push_back(Output::SendTones {
                operation: *id,
                tones: Arc::clone(tones),
                delay: *delay,
            });
        }
    }
}
