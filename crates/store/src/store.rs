//! The handle that everybody holds: async in front, two OS threads behind.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use graphophone_call::{CallId, OperationId};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    change,
    change::Settle,
    error::{OpenError, StoreError},
    lock::DirectoryLock,
    log_mark::{DamagedLog, LogMark},
    query,
    reader::Reader,
    record::{
        CallRecord, Commit, Committed, Counts, Cutoff, DeliveryFilter, NotificationRecord,
        NotificationState, OperationRecord, Owed, Pruned, RequestRecord, Sequence, Unfinished,
        UnixMillis,
    },
    reserve::Reserve,
    schema,
    writer::{self, Files, Job, Waits, Writing, Written},
};

const DATABASE_FILE: &str = "graphophone.db";
const RESERVE_FILE: &str = "reserve";

/// The store of this node. Clones share it.
///
/// Both queues hold 1,024 entries; when one is full, its callers wait for room. When the last
/// clone is dropped, what is queued is still written; [`Store::close`] also waits for that.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    writer: mpsc::Sender<Job>,
    waits: Arc<Waits>,
    reader: Reader,
    writing: Arc<Writing>,
    is_full: watch::Receiver<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Opens the store in `directory`, which is made if it does not exist and is locked against
    /// every other process until the store is closed. Checks the whole file, so it takes time in
    /// proportion to it; blocking.
    ///
    /// # Errors
    /// [`OpenError`] names the file and the cause: in use, foreign, newer, damaged, unreadable.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let lock = Arc::new(DirectoryLock::acquire(directory)?);
        let path = directory.join(DATABASE_FILE);
        let unreadable = |source| OpenError::ConfigDirectory { path: directory.to_owned(), source };
        if let Err(DamagedLog { path, detail }) = LogMark::check(&path).map_err(unreadable)? {
            return Err(OpenError::StoreDamaged { path, detail });
        }
        let write_to = schema::open_for_writing(&path)?;
        let read_from = schema::open_for_reading(&path)?;
        let (reader, read_thread) =
            Reader::start(read_from, Arc::clone(&lock)).map_err(OpenError::SystemThread)?;
        let reserve = Reserve::new(directory.join(RESERVE_FILE), Instant::now());
        let is_full = reserve.watch();
        let mark = LogMark::start(&path).map_err(unreadable)?;
        let files = Files { connection: write_to, mark, reserve, lock };
        let writing = Arc::new(Writing::default());
        let (writer, waits, write_thread) =
            writer::start(files, Arc::clone(&writing)).map_err(OpenError::SystemThread)?;
        // The reader first: the last connection to close folds the log into the database, and
        // only the writer's may.
        let threads = Mutex::new(vec![read_thread, write_thread]);
        Ok(Self { inner: Arc::new(Inner { writer, waits, reader, writing, is_full, threads }) })
    }

    /// The longest that a write has waited to be durable since this was last asked, the one at
    /// hand included. For one reader: asking forgets.
    pub fn take_longest_wait(&self) -> Duration {
        self.inner.waits.take()
    }

    /// Makes everything in `commit` durable together, and answers when it is.
    ///
    /// # Errors
    /// A status that is final and would change, a notification id used before, a fault of the
    /// disk: then nothing of the commit is done.
    pub async fn commit(&self, commit: impl Into<Arc<Commit>>) -> Result<Committed, StoreError> {
        let commit = commit.into();
        let is_new_work = commit.is_new_work;
        let work = move |connection: &_, tally: &mut _| change::commit(connection, tally, &commit);
        self.write(is_new_work, work).await
    }

    /// A request that was carried out, by its key; forgotten by [`Store::prune`].
    ///
    /// # Errors
    /// A fault of the disk.
    pub async fn request(&self, key: [u8; 16]) -> Result<Option<RequestRecord>, StoreError> {
        self.inner.reader.read(move |connection| query::request(connection, key)).await
    }

    /// Whether the disk is full, so that commits that begin something are refused. Noticed by the
    /// first commit that finds no room, and looked at again by later ones.
    pub fn is_full(&self) -> watch::Receiver<bool> {
        self.inner.is_full.clone()
    }

    /// Records the attempt that delivered a notification, at `now`.
    ///
    /// # Errors
    /// [`StoreError::CallerNotOwed`] if it is not owed; a fault of the disk.
    pub async fn delivered(&self, sequence: Sequence, now: UnixMillis) -> Result<(), StoreError> {
        let state = NotificationState::Delivered;
        self.settle(Settle { sequence, state, error: None, at: now }).await
    }

    /// Records a failed attempt; the notification stays owed, the next attempt is due at `next`.
    ///
    /// # Errors
    /// [`StoreError::CallerNotOwed`] if it is not owed; a fault of the disk.
    pub async fn attempt_failed(
        &self,
        sequence: Sequence,
        error: String,
        next: UnixMillis,
    ) -> Result<(), StoreError> {
        let state = NotificationState::Owed;
        self.settle(Settle { sequence, state, error: Some(error), at: next }).await
    }

    /// Records a failed attempt, at `now`, after which none will be made.
    ///
    /// # Errors
    /// [`StoreError::CallerNotOwed`] if it is not owed; a fault of the disk.
    pub async fn given_up(
        &self,
        sequence: Sequence,
        error: String,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let state = NotificationState::GivenUp;
        self.settle(Settle { sequence, state, error: Some(error), at: now }).await
    }

    /// Makes settled notifications owed again at `now`: the page of them that `filter` names, in
    /// order, with their id, body, place in the order and attempts as they were. What is owed
    /// already is no part of it. The sums stay true: what was delivered or given up is pending.
    ///
    /// # Errors
    /// A fault of the disk; then nothing has changed.
    pub async fn replay(
        &self,
        filter: DeliveryFilter,
        now: UnixMillis,
    ) -> Result<Vec<NotificationRecord>, StoreError> {
        self.write(true, move |connection, tally| change::replay(connection, tally, &filter, now))
            .await
    }

    /// Removes final operations, also of calls that go on; terminated calls; and settled
    /// notifications, as far as `before` allows. Whatever is owed or unfinished stays, and so does
    /// a call that it belongs to. Works in small steps between other writes.
    ///
    /// # Errors
    /// A fault of the disk; the steps before it are done.
    pub async fn prune(&self, before: Cutoff) -> Result<Pruned, StoreError> {
        let mut total = Pruned::default();
        loop {
            let step =
                self.write(false, move |connection, _| change::prune(connection, before)).await?;
            if step == Pruned::default() {
                return Ok(total);
            }
            total.calls += step.calls;
            total.operations += step.operations;
            total.notifications += step.notifications;
            total.requests += step.requests;
        }
    }

    /// A call by its id.
    ///
    /// # Errors
    /// A fault of the disk.
    pub async fn call(&self, id: CallId) -> Result<Option<CallRecord>, StoreError> {
        self.inner.reader.read(move |connection| query::call(connection, id)).await
    }

    /// An operation by its id.
    ///
    /// # Errors
    /// A fault of the disk.
    pub async fn operation(&self, id: OperationId) -> Result<Option<OperationRecord>, StoreError> {
        self.inner.reader.read(move |connection| query::operation(connection, id)).await
    }

    /// The operations of a call, in the order of their first commit.
    ///
    /// # Errors
    /// A fault of the disk.
    pub async fn operations_of_call(
        &self,
        call_id: CallId,
    ) -> Result<Vec<OperationRecord>, StoreError> {
        self.inner
            .reader
            .read(move |connection| query::operations_of_call(connection, call_id))
            .await
    }

    /// What a crash or stop left unfinished, for recovery at start.
    ///
    /// # Errors
    /// A fault of the disk.
    pub async fn unfinished(&self) -> Result<Unfinished, StoreError> {
        self.inner.reader.read(query::unfinished).await
    }

    /// The calls with owed notifications, in the order of the first one each owes.
    ///
    /// # Errors
    /// A fault of the disk.
    pub async fn owed(&self) -> Result<Vec<Owed>, StoreError> {
        self.inner.reader.read(query::owed).await
    }

    /// Up to `limit` owed notifications of a call behind the sequence `after`, in order.
    ///
    /// # Errors
    /// A fault of the disk.
    pub async fn owed_of_call(
        &self,
        call_id: CallId,
        after: Sequence,
        limit: u32,
    ) -> Result<Vec<NotificationRecord>, StoreError> {
        self.inner
            .reader
            .read(move |connection| query::owed_of_call(connection, call_id, after, limit))
            .await
    }

    /// A notification by its sequence.
    ///
    /// # Errors
    /// A fault of the disk.
    pub async fn notification(
        &self,
        sequence: Sequence,
    ) -> Result<Option<NotificationRecord>, StoreError> {
        self.inner.reader.read(move |connection| query::notification(connection, sequence)).await
    }

    /// One page of notifications with what became of them, in order.
    ///
    /// # Errors
    /// A fault of the disk.
    pub async fn deliveries(
        &self,
        filter: DeliveryFilter,
    ) -> Result<Vec<NotificationRecord>, StoreError> {
        self.inner.reader.read(move |connection| query::deliveries(connection, &filter)).await
    }

    /// The last notification that there is; 0 without any.
    ///
    /// # Errors
    /// A fault of the disk.
    pub async fn last_notification(&self) -> Result<Sequence, StoreError> {
        self.inner.reader.read(query::last).await
    }

    /// How many notifications were created, delivered, given up and are owed.
    ///
    /// # Errors
    /// A fault of the disk.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        self.inner.reader.read(query::counts).await
    }

    /// What this handle and its clones have made durable since [`Store::open`].
    pub fn written(&self) -> Written {
        self.inner.writing.written()
    }

    /// Writes what is queued, closes the files and releases the directory. Later calls on any
    /// clone fail with [`StoreError::StoreClosed`].
    pub async fn close(&self) {
        self.inner.reader.close().await;
        // An error means that the thread has ended already.
        let _ = self.inner.writer.send(Job::Close).await;
        let threads =
            std::mem::take(&mut *self.inner.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a store thread panicked");
                }
            }
        });
        // Fails only when the runtime shuts down around us; the threads end all the same.
        let _ = joined.await;
    }

    async fn settle(&self, settle: Settle) -> Result<(), StoreError> {
        self.write(false, move |connection, tally| change::settle(connection, tally, &settle)).await
    }

    async fn write<T: Send + 'static>(
        &self,
        is_new_work: bool,
        work: impl Fn(&rusqlite::Connection, &mut writer::Tally) -> Result<T, StoreError>
        + Send
        + 'static,
    ) -> Result<T, StoreError> {
        let (job, answered): (_, oneshot::Receiver<_>) = Job::write(is_new_work, work);
        self.inner.writer.send(job).await.map_err(|_| StoreError::StoreClosed)?;
        answered.await.map_err(|_| StoreError::StoreClosed)?
    }
}
