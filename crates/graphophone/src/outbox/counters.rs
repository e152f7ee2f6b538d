//! What the outbox did so far, as numbers for `/metrics` and `/healthz`.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// How one attempt ended: the `outcome` label of `graphophone_delivery_attempts_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// Answered 2xx.
    Delivered,
    /// Answered 410: the bot wants no more of it.
    Gone,
    /// Answered another 4xx, or a status that is none of these.
    Rejected,
    /// Answered 5xx.
    BotFailed,
    /// A redirect that is not followed: too many, downgraded, or without a target.
    Redirected,
    /// No answer in time.
    TimedOut,
    /// No connection, or broken before the answer.
    Unreachable,
    /// The address may not be called.
    Forbidden,
    /// The URL cannot be called at all.
    BadUrl,
}

impl AttemptOutcome {
    /// Every outcome, in a fixed order.
    pub const ALL: [Self; 9] = [
        Self::Delivered,
        Self::Gone,
        Self::Rejected,
        Self::BotFailed,
        Self::Redirected,
        Self::TimedOut,
        Self::Unreachable,
        Self::Forbidden,
        Self::BadUrl,
    ];

    /// The label's value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Gone => "gone",
            Self::Rejected => "rejected",
            Self::BotFailed => "bot_failed",
            Self::Redirected => "redirected",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Forbidden => "forbidden",
            Self::BadUrl => "bad_url",
        }
    }
}

/// Counters since the start of the process; read at any time, from any thread.
#[derive(Debug, Default)]
pub struct Counters {
    attempts: [AtomicU64; AttemptOutcome::ALL.len()],
    delivered: AtomicU64,
    given_up: AtomicU64,
    /// Below zero for a moment when a replayed one is delivered before it is counted.
    pending: AtomicI64,
}

impl Counters {
    /// Attempts that ended like this.
    pub fn attempts(&self, outcome: AttemptOutcome) -> u64 {
        self.attempts[outcome as usize].load(Ordering::Relaxed)
    }

    /// Notifications delivered, durably recorded.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Notifications given up, durably recorded.
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Notifications owed now, those from before the start included.
    pub fn pending(&self) -> u64 {
        u64::try_from(self.pending.load(Ordering::Relaxed)).unwrap_or(0)
    }

    pub(super) fn count_attempt(&self, outcome: AttemptOutcome) {
        self.attempts[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn owe(&self, notifications: u64) {
        let notifications = i64::try_from(notifications).unwrap_or(i64::MAX);
        self.pending.fetch_add(notifications, Ordering::Relaxed);
    }

    pub(super) fn count_delivered(&self) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        self.pending.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn count_given_up(&self) {
        self.given_up.fetch_add(1, Ordering::Relaxed);
        self.pending.fetch_sub(1, Ordering::Relaxed);
    }

    /// A notification that turned out not to be owed any more.
    pub(super) fn forget(&self) {
        self.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_own_place_and_label() {
        let labels: std::collections::BTreeSet<_> =
            AttemptOutcome::ALL.iter().map(|outcome| outcome.label()).collect();
        assert_eq!(labels.len(), AttemptOutcome::ALL.len());
        for (index, outcome) in AttemptOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
    }
}
