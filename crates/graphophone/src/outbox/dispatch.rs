//! The running outbox: drives the lanes, keeps the store true, stops in order.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use graphophone_call::CallId;
use graphophone_store::{NotificationRecord, NotificationState, Store, StoreError};
use tokio::{
    sync::Notify,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    counters::{AttemptOutcome, Counters},
    deliver::{Attempt, Deliverer, WallClock},
    holds::HoldId,
    lanes::{Action, Failure, Lanes, Limits, Load, Start},
    schedule::Schedule,
};

/// Wait before the store is asked again after it failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Wait after an attempt that ended in a panic of ours.
const PANIC_PAUSE: Duration = Duration::from_secs(60);

/// How the outbox behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// When failed attempts are repeated.
    pub schedule: Schedule,
    /// How much is done at a time.
    pub limits: Limits,
    /// How long a [`HoldGuard`] can keep notifications back. An HTTP response that nobody reads
    /// must not silence a call; bots have to bear a notification before the response anyway
    /// (spec/notifications.md §6).
    pub hold_at_most: Duration,
}

impl Default for Settings {
    /// The promised schedule and limits; holds of up to 5 s.
    fn default() -> Self {
        Self {
            schedule: Schedule::default(),
            limits: Limits::default(),
            hold_at_most: Duration::from_secs(5),
        }
    }
}

/// Delivers owed notifications: in order per call, at least once, calls independent of each
/// other. Clones share it.
///
/// Memory is bounded per call with owed notifications ([`Limits`]); bodies beyond that are read
/// from the store when it is their turn. Nothing is lost with the outbox: whatever the store
/// owes is taken up again by the next [`Outbox::start`], with the same ids and bytes.
#[derive(Clone)]
pub struct Outbox {
    inner: Arc<Inner>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("counters", &self.inner.counters).finish_non_exhaustive()
    }
}

/// One attempt at one notification.
type Post = Box<
    dyn Fn(Arc<NotificationRecord>) -> Pin<Box<dyn Future<Output = Attempt> + Send>> + Send + Sync,
>;

struct Inner {
    store: Store,
    post: Post,
    now: WallClock,
    settings: Settings,
    counters: Counters,
    lanes: Mutex<Lanes>,
    /// Something changed in the lanes.
    changed: Notify,
    stopping: CancellationToken,
    driver: Mutex<Option<JoinHandle<()>>>,
}

/// Keeps the notifications that a call comes to owe during its life back as long as it lives, so
/// that a bot gets the response to its own request first. What was owed before goes on.
#[must_use = "dropping the guard lets the notifications go"]
pub struct HoldGuard {
    inner: Arc<Inner>,
    id: HoldId,
}

impl fmt::Debug for HoldGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HoldGuard").field(&self.id).finish()
    }
}

impl Drop for HoldGuard {
    fn drop(&mut self) {
        self.inner.lanes().release(Instant::now(), self.id);
        self.inner.changed.notify_one();
    }
}

impl Outbox {
    /// Takes up everything the store owes and starts to deliver. To be called before anything
    /// new is committed, within a tokio runtime.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start(
        store: Store,
        deliverer: Deliverer,
        settings: Settings,
    ) -> Result<Self, StoreError> {
        let deliverer = Arc::new(deliverer);
        let now: WallClock = Arc::new({
            let deliverer = Arc::clone(&deliverer);
            move || deliverer.now()
        });
        let post: Post = Box::new(move |record| {
            let deliverer = Arc::clone(&deliverer);
            Box::pin(async move { deliverer.attempt(&record).await })
        });
        Self::start_with(store, post, now, settings).await
    }

    async fn start_with(
        store: Store,
        post: Post,
        now: WallClock,
        settings: Settings,
    ) -> Result<Self, StoreError> {
        let mut lanes = Lanes::new(settings.limits);
        let counters = Counters::default();
        counters.owe(store.counts().await?.pending);
        let owed = store.owed().await?;
        if !owed.is_empty() {
            tracing::info!(calls = owed.len(), notifications = counters.pending(), "resuming");
        }
        let start = Instant::now();
        for owed in &owed {
            lanes.restore(start, owed);
        }
        let inner = Inner {
            store,
            post,
            now,
            counters,
            lanes: Mutex::new(lanes),
            changed: Notify::new(),
            stopping: CancellationToken::new(),
            driver: Mutex::new(None),
            settings,
        };
        let inner = Arc::new(inner);
        let driver = tokio::spawn(drive(Arc::clone(&inner)));
        *inner.driver.lock().unwrap_or_else(PoisonError::into_inner) = Some(driver);
        Ok(Self { inner })
    }

    /// Takes in notifications that were just committed, as [`Store::commit`] returned them.
    /// Never waits. Those of one call must come in the order of their commits: the task that
    /// owns the call commits and enqueues.
    pub fn enqueue(&self, notifications: Vec<NotificationRecord>) {
        if notifications.is_empty() {
            return;
        }
        self.inner.counters.owe(notifications.len() as u64);
        let now = Instant::now();
        let mut lanes = self.inner.lanes();
        for notification in notifications {
            let (id, sequence) = (notification.id, notification.sequence);
            if !lanes.enqueue(now, Arc::new(notification)) {
                self.inner.counters.forget();
                tracing::error!(%id, %sequence, "notification enqueued twice or out of order");
            }
        }
        drop(lanes);
        self.inner.changed.notify_one();
    }

    /// Keeps notifications that the call comes to owe from now on back until the guard is dropped,
    /// or for at most [`Settings::hold_at_most`].
    pub fn hold(&self, call_id: CallId) -> HoldGuard {
        let until = Instant::now() + self.inner.settings.hold_at_most;
        let id = self.inner.lanes().hold(call_id, until);
        HoldGuard { inner: Arc::clone(&self.inner), id }
    }

    /// What was done so far and what is owed.
    pub fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    /// Delivers what can be delivered now, then stops; cuts off what is still under way after
    /// `deadline`. What is not delivered by then, or waits for a later attempt, stays owed in
    /// the store. To be called before the store is closed.
    pub async fn shut_down(&self, deadline: Duration) {
        self.inner.stopping.cancel();
        let driver = self.inner.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut driver) = driver else { return };
        if timeout(deadline, &mut driver).await.is_err() {
            driver.abort();
            // Wait until its attempts are gone too; being cancelled is no failure.
            let _ = driver.await;
        }
        let pending = self.inner.counters.pending();
        if pending > 0 {
            tracing::info!(pending, "notifications stay owed for the next start");
        }
    }
}

async fn drive(inner: Arc<Inner>) {
    // Dropping the set, at the latest with this task, ends the attempts under way.
    let mut tasks = JoinSet::new();
    loop {
        let (actions, next) = {
            let mut lanes = inner.lanes();
            let actions = lanes.poll(Instant::now());
            if inner.stopping.is_cancelled() && actions.is_empty() && lanes.is_quiet() {
                return;
            }
            (actions, lanes.next_timeout())
        };
        for action in actions {
            match action {
                Action::Attempt(start) => {
                    tasks.spawn(attempt(Arc::clone(&inner), start));
                }
                Action::Load(load) => {
                    tasks.spawn(fill_up(Arc::clone(&inner), load));
                }
            }
        }
        let stopping = inner.stopping.is_cancelled();
        tokio::select! {
            () = inner.changed.notified() => {}
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            Some(ended) = tasks.join_next() => {
                // All that have ended, so that there is one look at the lanes for them.
                let mut next = Some(ended);
                while let Some(ended) = next {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a delivery task failed");
                    }
                    next = tasks.try_join_next();
                }
            }
            () = inner.stopping.cancelled(), if !stopping => {}
        }
    }
}

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

async fn attempt(inner: Arc<Inner>, mut start: Start) {
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

    let verdict = inner.judge(&record, made, &result);
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

async fn fill_up(inner: Arc<Inner>, load: Load) {
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
    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, record: &NotificationRecord, made: u32, result: &Attempt) -> Verdict {
        let failure = match result.outcome {
            AttemptOutcome::Delivered => return Verdict::Delivered,
            AttemptOutcome::Gone | AttemptOutcome::BadUrl => return Verdict::GiveUp,
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
        let age = (self.now)().0.saturating_sub(record.created_at.0);
        let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
        let schedule = &self.settings.schedule;
        match schedule.after_failure(made, age, result.retry_after, rand::random()) {
            Some(wait) => Verdict::Again(wait, failure),
            None => Verdict::GiveUp,
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

#[cfg(test)]
mod tests;
