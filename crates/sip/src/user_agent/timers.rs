//! Every timer of the user agent, in one table (house rule 11).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use sipx_sip::{Timer as TransactionTimer, TransactionKey};

use super::LegId;

/// The names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Timer {
    /// One of RFC 3261 §17.
    Transaction(Arc<TransactionKey>, TransactionTimer),
    /// An outgoing call that still rings is given up.
    Ring(LegId),
    /// Our 2xx is sent again, for no ACK has come (RFC 3261 §13.3.1.4).
    Accept(LegId),
    /// An answer that its owner has not noted in time.
    Acknowledge(LegId),
    /// A cancelled INVITE that got no final answer is forgotten (RFC 3261 §9.1).
    Cancelled(LegId),
    /// A REFER of ours that was taken on, and of which nothing more is heard.
    Refer(LegId),
    /// A REFER of the peer's whose target is not reached.
    Referred(LegId),
    /// A trunk's registration is due.
    Registration(usize),
}

/// When each of them expires.
#[derive(Debug, Default)]
pub(super) struct TimerTable {
    by_time: BTreeMap<(Instant, u64), Timer>,
    by_name: HashMap<Timer, (Instant, u64)>,
    /// Tells timers of the same instant apart.
    counter: u64,
}

impl TimerTable {
    /// Sets a timer, or moves it.
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.stop(&timer);
        self.counter += 1;
        self.by_time.insert((at, self.counter), timer.clone());
        self.by_name.insert(timer, (at, self.counter));
    }

    pub(super) fn stop(&mut self, timer: &Timer) {
        if let Some(entry) = self.by_name.remove(timer) {
            self.by_time.remove(&entry);
        }
    }

    pub(super) fn is_set(&self, timer: &Timer) -> bool {
        self.by_name.contains_key(timer)
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.keys().next().map(|(at, _)| *at)
    }

    /// Takes one timer that has expired at `now`.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<Timer> {
        let entry = self.by_time.first_entry().filter(|entry| entry.key().0 <= now)?;
        let timer = entry.remove();
        self.by_name.remove(&timer);
        Some(timer)
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn len(&self) -> usize {
        self.by_time.len()
    }
}
