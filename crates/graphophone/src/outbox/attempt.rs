//! What becomes of one attempt: the verdict, its record in the store, and the lane going on.

use std::{sync::Arc, time::Duration};

use graphophone_store::{NotificationRecord, NotificationState, StoreError};
use tokio::time::{Instant, sleep};

use super::{
    counters::AttemptOutcome,
    deliver::Attempt,
    dispatch::Inner,
    lanes::{Failure, Load, Start},
    schedule::age,
};

/// Wait before the store is asked again after it failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Wait after an attempt that ended in a panic of ours.
const PANIC_PAUSE: Duration = Duration::from_secs(60);

/// Makes sure that a lane goes on whatever becomes of its attempt: a panic of ours must not
/// silence a call until the next restart.
struct Attempted {
    inner: Arc<Inner>,
    start: Start,
    is_reported: bool,
}

impl Attempted {
    fn settled(mut self, delivered: bool) {
        self.is_reported = true;
        self.inner.lanes().settled(Instant::now(), self.start.call_id, delivered);
        self.inner.changed.notify_one();
    }

    fn again(mut self, attempts: u32, wait: Duration, failure: Failure) {
        self.report(attempts, wait, failure);
    }

    fn report(&mut self, attempts: u32, wait: Duration, failure: Failure) {
        self.is_reported = true;
        let now = Instant::now();
        let call_id = self.start.call_id;
        self.inner.lanes().failed(now, call_id, attempts, now + wait, failure);
        self.inner.changed.notify_one();
    }
}

impl Drop for Attempted {
    fn drop(&mut self) {
        if !self.is_reported {
            self.report(self.start.attempts, PANIC_PAUSE, Failure::Other);
        }
    }
}

/// What is to be recorded of an attempt.
enum Verdict {
    Delivered,
    Again(Duration, Failure),
    GiveUp,
}

pub(super) async fn attempt(inner: Arc<Inner>, mut start: Start) {
    let record = start.record.take();
    let attempted = Attempted { inner: Arc::clone(&inner), start, is_reported: false };
    let sequence = attempted.start.sequence;
    let made = attempted.start.attempts.saturating_add(1);
    let record = match record {
        Some(record) => record,
        None => match inner.store.notification(sequence).await {
            Ok(Some(record)) if record.state == NotificationState::Owed => Arc::new(record),
            Ok(_) => {
                tracing::error!(%sequence, "a notification is not owed any more");
                inner.counters.forget();
                attempted.settled(false);
                return;
            }
            Err(error) => {
                tracing::warn!(%sequence, %error, "an owed notification cannot be read");
                attempted.again(made - 1, STORE_PAUSE, Failure::Other);
                return;
            }
        },
    };

    let begin = Instant::now();
    let result = (inner.post)(Arc::clone(&record)).await;
    inner.counters.count_attempt(result.outcome);
    tracing::debug!(
        id = %record.id, call_id = %record.call_id, %sequence, attempt = record.attempts + 1,
        outcome = result.outcome.label(), cause = result.cause,
        millis = begin.elapsed().as_millis(), "delivery attempt",
    );

    let (made, verdict) = inner.judge(&record, made, attempted.start.scheduled, &result);
    match inner.record(&record, &result, &verdict).await {
        Ok(()) => {}
        Err(StoreError::CallerNotOwed(_)) => {
            tracing::error!(id = %record.id, "a notification was settled by somebody else");
            inner.counters.forget();
            attempted.settled(false);
            return;
        }
        // The store is closed: the process ends, and the next start begins here again.
        Err(_) => {
            attempted.again(made - 1, PANIC_PAUSE, Failure::Other);
            return;
        }
    }
    match verdict {
        Verdict::Delivered => {
            inner.counters.count_delivered();
            attempted.settled(true);
        }
        Verdict::Again(wait, failure) => attempted.again(made, wait, failure),
        Verdict::GiveUp => {
            inner.counters.count_given_up();
            tracing::warn!(
                id = %record.id, call_id = %record.call_id, app = %record.app,
                attempts = record.attempts + 1,
                cause = result.cause, "notification given up",
            );
            attempted.settled(false);
        }
    }
}

pub(super) async fn fill_up(inner: Arc<Inner>, load: Load) {
    let limit = u32::try_from(load.limit).unwrap_or(u32::MAX);
    match inner.store.owed_of_call(load.call_id, load.after, limit).await {
        Ok(records) => {
            inner.lanes().loaded(Instant::now(), load, records);
        }
        Err(error) => {
            tracing::warn!(call_id = %load.call_id, %error, "owed notifications cannot be read");
            sleep(STORE_PAUSE).await;
            inner.lanes().not_loaded(load);
        }
    }
    inner.changed.notify_one();
}

impl Inner {
    /// Gives the attempts that count in the schedule, too: one before its time (`scheduled`) that
    /// fails does not, and the next one comes when it would have come.
    fn judge(
        &self,
        record: &NotificationRecord,
        made: u32,
        scheduled: Option<Instant>,
        result: &Attempt,
    ) -> (u32, Verdict) {
        let failure = match result.outcome {
            AttemptOutcome::Delivered => return (made, Verdict::Delivered),
            AttemptOutcome::Gone | AttemptOutcome::BadUrl => return (made, Verdict::GiveUp),
            AttemptOutcome::BotFailed | AttemptOutcome::TimedOut | AttemptOutcome::Unreachable
                if result.retry_after.is_none() =>
            {
                Failure::Outage
            }
            AttemptOutcome::BotFailed
            | AttemptOutcome::TimedOut
            | AttemptOutcome::Unreachable
            | AttemptOutcome::Rejected
            | AttemptOutcome::Redirected
            | AttemptOutcome::Forbidden => Failure::Other,
        };
        let left = scheduled.map(|due| due.saturating_duration_since(Instant::now()));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            let limit = self.settings.schedule.retry_after_limit;
            let asked = result.retry_after.unwrap_or_default().min(limit);
            return (made - 1, Verdict::Again(left.max(asked), failure));
        }
        let (then, begun) = self.begun;
        let age = age(record.created_at, (self.now)(), then, begun.elapsed());
        let schedule = &self.settings.schedule;
        match schedule.after_failure(made, age, result.retry_after, rand::random()) {
            Some(wait) => (made, Verdict::Again(wait, failure)),
            None => (made, Verdict::GiveUp),
        }
    }

    /// Makes the verdict durable, however long the disk takes to recover: going on before would
    /// repeat this notification behind a later one after a crash.
    async fn record(
        &self,
        record: &NotificationRecord,
        result: &Attempt,
        verdict: &Verdict,
    ) -> Result<(), StoreError> {
        loop {
            let (sequence, now) = (record.sequence, (self.now)());
            let done = match verdict {
                Verdict::Delivered => self.store.delivered(sequence, now).await,
                Verdict::Again(wait, _) => {
                    let next = now.plus(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
                    self.store.attempt_failed(sequence, result.cause.clone(), next).await
                }
                Verdict::GiveUp => self.store.given_up(sequence, result.cause.clone(), now).await,
            };
            match done {
                Err(error @ (StoreError::CallerNotOwed(_) | StoreError::StoreClosed)) => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(id = %record.id, %error, "an attempt cannot be recorded yet");
                    sleep(STORE_PAUSE).await;
                }
                Ok(()) => return Ok(()),
            }
        }
    }
}
