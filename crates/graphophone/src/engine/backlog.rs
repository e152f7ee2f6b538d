//! What a call has done and the store has not taken yet.

use std::{sync::Arc, time::Duration};

use graphophone_call::{Operation, OperationId, Output};
use graphophone_store::{Commit, StoreError};
use tokio::time::Instant;

use super::request::{CommandError, Reply};

/// Wait after the first refusal; doubled with each one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Longest wait: so long at most a bot waits for what it is owed once the disk is well again.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What one or more inputs changed, with everything that waits for it to be durable.
#[derive(Default)]
pub(super) struct Change {
    /// Shared with the store, which may have to be offered it again.
    pub(super) commit: Arc<Commit>,
    /// To be carried out then.
    pub(super) effects: Vec<Output>,
    /// To be answered then.
    pub(super) replies: Vec<(Reply, Option<Operation>)>,
    /// The leg's dialog is in it, so that the leg may go on.
    pub(super) keeps_dialog: bool,
}

impl Change {
    /// Whether there is nothing to be stored.
    pub(super) fn is_empty(&self) -> bool {
        let Commit { call, operations, notifications, request: _, is_new_work: _ } = &*self.commit;
        call.is_none() && operations.is_empty() && notifications.is_empty()
    }

    fn append(&mut self, later: Self) {
        let commit = Arc::make_mut(&mut self.commit);
        // Only commands come with a request, and none is taken while there is a backlog.
        let Commit { call, operations, notifications, request: _, is_new_work: _ } =
            Arc::unwrap_or_clone(later.commit);
        commit.call = call.or(commit.call.take());
        commit.operations.extend(operations);
        commit.notifications.extend(notifications);
        self.effects.extend(later.effects);
        self.replies.extend(later.replies);
        self.keeps_dialog |= later.keeps_dialog;
    }
}

/// A change that the store refused, and all that came after it: it is offered again as one, with
/// growing pauses, so that nothing is told out of order and nothing owed is lost. It grows by what
/// the operations accepted before and the call itself come to, as no new ones are taken meanwhile.
pub(super) struct Backlog {
    pub(super) change: Change,
    /// When it is offered again.
    pub(super) due: Instant,
    wait: Duration,
}

impl Backlog {
    pub(super) fn new(change: Change) -> Self {
        Self { change, due: Instant::now() + FIRST_WAIT, wait: FIRST_WAIT }
    }

    pub(super) fn add(&mut self, later: Change) {
        self.change.append(later);
    }

    /// It was refused once more.
    pub(super) fn postpone(&mut self) {
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        self.due = Instant::now() + self.wait;
    }

    /// Whether an operation's state is not durable yet.
    pub(super) fn holds(&self, id: OperationId) -> bool {
        self.change.commit.operations.iter().any(|record| record.id == id)
    }

    /// It will not be stored by this process.
    pub(super) fn give_up(self) {
        for (reply, _) in self.change.replies {
            let _ = reply.send(Err(CommandError::NotReported));
        }
    }
}

/// Whether another try is in vain: the store is closed because the server stops, or refuses for
/// what we ask of it.
pub(super) fn is_lasting(error: &StoreError) -> bool {
    match error {
        StoreError::StoreClosed
        | StoreError::CallerFinalOperation(_)
        | StoreError::CallerTerminatedCall(_)
        | StoreError::CallerNotOwed(_) => true,
        StoreError::DiskFull
        | StoreError::CallerKnownRequest
        | StoreError::DiskFailed(_)
        | StoreError::StoreDamaged(_)
        | StoreError::StoreStatement(_) => false,
    }
}
