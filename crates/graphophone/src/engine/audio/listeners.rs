//! Prompts for one participant of a group: they are played on that one's own stream, which the
//! conference lends, beside the stream that the whole group hears.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use graphophone_call::{Input, MediaPrompt, OperationId, ParticipantId, PromptEvent, ResultInfo};
use graphophone_media::{codec::Codec, engine::StreamHandle};
use tokio::sync::oneshot;

use super::Audio;

/// A participant's stream. It ends with their leg, whoever still plays on it.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Lent {
    stream: Weak<StreamHandle>,
    codec: Codec,
}

impl Lent {
    pub(in crate::engine) fn new(stream: &Arc<StreamHandle>) -> Self {
        Self { stream: Arc::downgrade(stream), codec: stream.codec() }
    }
}

/// How a loan was answered: `None` if the participant has no stream, or there is no such one.
pub(in crate::engine) type Loan = (OperationId, Arc<[MediaPrompt]>, Option<Lent>);

/// The streams of single participants, by the operations that play on them.
#[derive(Default)]
pub(super) struct Listeners {
    asked: FuturesUnordered<BoxFuture<'static, Loan>>,
    lent: HashMap<OperationId, Lent>,
}

impl Listeners {
    /// Waits for a stream to be lent. Cancel-safe; `None` while none is asked for.
    pub(super) async fn next(&mut self) -> Option<Loan> {
        self.asked.next().await
    }

    pub(super) fn forget(&mut self, operation: OperationId) {
        self.lent.remove(&operation);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Audio {
    /// The participant who alone hears an operation.
    pub(in crate::engine) fn listener(&self, operation: OperationId) -> Option<ParticipantId> {
        self.playouts.listener(operation)
    }

    /// Prepares prompts as soon as the stream is known that they are to be played on.
    pub(in crate::engine) fn fetch_for(
        &mut self,
        operation: OperationId,
        prompts: Arc<[MediaPrompt]>,
        loan: oneshot::Receiver<Option<Lent>>,
    ) {
        let asked = async move { (operation, prompts, loan.await.ok().flatten()) };
        self.listeners.asked.push(Box::pin(asked));
    }

    /// A participant's stream is there, or is not.
    pub(in crate::engine) fn borrowed(&mut self, (operation, prompts, lent): Loan) {
        // It may have ended while it waited.
        if self.playouts.is_over(operation) {
            return;
        }
        match lent {
            Some(lent) => {
                let codec = lent.codec;
                self.listeners.lent.insert(operation, lent);
                self.prepare(operation, &prompts, codec);
            }
            None => {
                for index in 0..prompts.len() {
                    self.playouts.set_broken(operation, index);
                    let result = ResultInfo::listener_gone();
                    let event = PromptEvent::Failed { operation, index, result };
                    self.heard.push_back(Input::Prompt(event));
                }
            }
        }
    }

    /// The stream that an operation is played on, and its codec.
    pub(super) fn line(
        &self,
        operation: OperationId,
    ) -> (Option<Arc<StreamHandle>>, Option<Codec>) {
        match self.listeners.lent.get(&operation) {
            Some(lent) => (lent.stream.upgrade(), Some(lent.codec)),
            None => (self.stream.clone(), self.codec),
        }
    }
}
