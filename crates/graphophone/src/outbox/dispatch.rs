//! The running outbox: drives the lanes, keeps the store true, stops in order.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use graphophone_call::CallId;
use graphophone_store::{
    DeliveryFilter, NotificationRecord, Sequence, Store, StoreError, UnixMillis,
};
use tokio::{
    sync::Notify,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    attempt::{attempt, fill_up},
    counters::Counters,
    deliver::{Attempt, Deliverer, WallClock},
    holds::HoldId,
    lanes::{Action, Lanes, Limits},
    schedule::Schedule,
};

/// Notifications made owed again in one transaction; bounds how long other writes wait.
const REPLAY_CHUNK: u32 = 200;

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
pub(super) type Post = Box<
    dyn Fn(Arc<NotificationRecord>) -> Pin<Box<dyn Future<Output = Attempt> + Send>> + Send + Sync,
>;

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) post: Post,
    pub(super) now: WallClock,
    /// Both clocks at the start.
    pub(super) begun: (UnixMillis, Instant),
    pub(super) settings: Settings,
    pub(super) counters: Counters,
    lanes: Mutex<Lanes>,
    /// Something changed in the lanes.
    pub(super) changed: Notify,
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
            begun: (now(), start),
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

    /// Makes settled notifications owed again, those that the filter names from its first page to
    /// its last, whatever its limit: given up ones because the bot is well again, delivered ones
    /// because it has lost them. They are sent with the id and the bytes of the first time, in the
    /// order of their call: in front of what is still to come, unless that is under way. Gives how
    /// many they are. One that is older than the schedule is long gets
    /// [`Schedule::attempts_when_late`] attempts.
    ///
    /// # Errors
    /// A fault of the store; some may be owed again by then.
    pub async fn replay(&self, filter: DeliveryFilter) -> Result<u64, StoreError> {
        let inner = Arc::clone(&self.inner);
        // A caller that goes away must not leave behind what is owed and known to nobody.
        let replaying = tokio::spawn(async move { inner.replay(filter).await });
        replaying.await.unwrap_or(Err(StoreError::StoreClosed))
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

impl Inner {
    async fn replay(&self, mut filter: DeliveryFilter) -> Result<u64, StoreError> {
        let mut replayed = 0;
        filter.limit = REPLAY_CHUNK;
        // What is delivered meanwhile matches again, or has come since: each is replayed once.
        filter.up_to = filter.up_to.min(self.store.last_notification().await?);
        loop {
            let page = self.store.replay(filter.clone(), (self.now)()).await?;
            let Some(last) = page.last().map(|record| record.sequence) else {
                tracing::info!(notifications = replayed, "owed again by a replay");
                return Ok(replayed);
            };
            replayed += page.len() as u64;
            self.counters.owe(page.len() as u64);
            let calls: BTreeMap<CallId, Sequence> =
                page.iter().map(|record| (record.call_id, record.sequence)).collect();
            let now = Instant::now();
            let mut lanes = self.lanes();
            for (call_id, last) in calls {
                lanes.replay(now, call_id, last);
            }
            drop(lanes);
            self.changed.notify_one();
            filter.after = last;
        }
    }

    pub(super) fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
