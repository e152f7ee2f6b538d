//! Events on their way to a stream's owner: kept and retried while the owner's queue is full.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::{Sender, error::TrySendError};

use super::StreamEvent;

/// How soon a full queue is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// The far end decides how many tones come, so an owner that reads nothing must not make us keep
/// more than these. All other events answer the owner's own commands and are always kept.
const TONES_KEPT: usize = 64;

/// Outgoing events of one stream, in order.
pub(super) struct Mailbox {
    owner: Sender<StreamEvent>,
    backlog: VecDeque<StreamEvent>,
    retry_at: Option<Instant>,
}

impl Mailbox {
    pub(super) fn new(owner: Sender<StreamEvent>) -> Self {
        Self { owner, backlog: VecDeque::new(), retry_at: None }
    }

    /// Sends or keeps an event. False if it is a tone too many.
    pub(super) fn post(&mut self, event: StreamEvent, now: Instant) -> bool {
        if matches!(event, StreamEvent::Tone(_)) && self.backlog.len() >= TONES_KEPT {
            return false;
        }
        self.backlog.push_back(event);
        if self.retry_at.is_none() {
            self.deliver(now);
        }
        true
    }

    /// When [`Self::deliver`] should be called.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Sends what the owner's queue takes.
    pub(super) fn deliver(&mut self, now: Instant) {
        self.retry_at = None;
        while let Some(event) = self.backlog.pop_front() {
            match self.owner.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    self.backlog.push_front(event);
                    self.retry_at = Some(now + RETRY);
                    return;
                }
                // The owner no longer listens.
                Err(TrySendError::Closed(_)) => self.backlog.clear(),
            }
        }
    }
}
