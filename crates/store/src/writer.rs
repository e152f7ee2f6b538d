//! The one thread that writes: takes everything queued, one transaction, one sync, then answers.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::{error::StoreError, lock::DirectoryLock, log_mark::LogMark, reserve::Reserve};

/// Writes that may wait; one more makes its caller wait for room.
const QUEUE: usize = 1024;
/// Most writes in one transaction; bounds what one failure can take with it.
const BATCH: usize = 512;

/// A batch of so many writes says that many calls are busy.
const BUSY: usize = 4;
/// From the beginning of such a batch to that of the next at least. A transaction of twenty writes
/// costs little more than one of one, and on a fast disk small ones take a third of a processor.
const PACE: Duration = Duration::from_millis(3);

/// Pages in the log from which on it is folded into the database when nobody waits.
const CHECKPOINT_IDLE: i64 = 1_000;
/// The same when somebody always waits; bounds the log, and how long reads of it take.
const CHECKPOINT_BUSY: i64 = 4_000;

/// What was made durable since the start. Writes over transactions is the group commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Transactions, each with one sync of the log.
    pub transactions: u64,
    /// Commits and settlements in them, each asked for by somebody who waited.
    pub writes: u64,
    /// Rows inserted, changed or removed by them.
    pub rows: u64,
}

/// [`Written`] while it grows.
#[derive(Debug, Default)]
pub(crate) struct Writing {
    transactions: AtomicU64,
    writes: AtomicU64,
    rows: AtomicU64,
}

impl Writing {
    pub(crate) fn written(&self) -> Written {
        Written {
            transactions: self.transactions.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
        }
    }

    fn add(&self, writes: usize, rows: u64) {
        self.transactions.fetch_add(1, Ordering::Relaxed);
        self.writes.fetch_add(writes as u64, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }
}

/// What the thread is asked to do.
pub(crate) enum Job {
    /// Write, then answer; since when the caller waits.
    Write(Box<dyn Write>, Instant),
    /// End when everything before it is answered.
    Close,
}

/// A write that can be tried more than once and is answered once.
pub(crate) trait Write: Send {
    /// Whether it begins something, and so has to wait for more than the reserve of the disk.
    fn is_new_work(&self) -> bool;
    /// Does it inside the open transaction and keeps the result.
    fn apply(&mut self, connection: &Connection, tally: &mut Tally) -> Result<(), StoreError>;
    /// Tells the caller: the kept result, now durable, or why not.
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

impl Job {
    /// A write by `work`, with the place where its result arrives.
    pub(crate) fn write<T: Send + 'static>(
        is_new_work: bool,
        work: impl Fn(&Connection, &mut Tally) -> Result<T, StoreError> + Send + 'static,
    ) -> (Self, oneshot::Receiver<Result<T, StoreError>>) {
        let (answer, answered) = oneshot::channel();
        let pending = Pending { is_new_work, work, result: None, answer };
        (Self::Write(Box::new(pending), Instant::now()), answered)
    }
}

struct Pending<T, W> {
    is_new_work: bool,
    work: W,
    result: Option<T>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, W> Write for Pending<T, W>
where
    T: Send,
    W: Fn(&Connection, &mut Tally) -> Result<T, StoreError> + Send,
{
    fn is_new_work(&self) -> bool {
        self.is_new_work
    }

    fn apply(&mut self, connection: &Connection, tally: &mut Tally) -> Result<(), StoreError> {
        self.result = Some((self.work)(connection, tally)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let result = self.result;
        // A caller that went away needs no answer; its write stays.
        let _ = self.answer.send(outcome.map(|()| result.expect("apply has kept a result")));
    }
}

/// How long writes wait: told by the thread, for whoever measures.
pub(crate) struct Waits {
    begun: Instant,
    /// Since when the first one of the batch waits, in nanoseconds after `begun`; 0 without one.
    oldest: AtomicU64,
    /// Longest wait since it was last asked for.
    longest: AtomicU64,
}

impl Waits {
    fn new() -> Self {
        Self { begun: Instant::now(), oldest: AtomicU64::new(0), longest: AtomicU64::new(0) }
    }

    fn begins(&self, since: Instant) {
        self.oldest.store(nanoseconds(since - self.begun).max(1), Ordering::Relaxed);
    }

    fn ends(&self) {
        let oldest = self.oldest.swap(0, Ordering::Relaxed);
        let waited = nanoseconds(self.begun.elapsed()).saturating_sub(oldest);
        self.longest.fetch_max(waited, Ordering::Relaxed);
    }

    /// The longest wait since this was last called, that of the write at hand included.
    pub(crate) fn take(&self) -> Duration {
        let longest = self.longest.swap(0, Ordering::Relaxed);
        let waiting = match self.oldest.load(Ordering::Relaxed) {
            0 => 0,
            oldest => nanoseconds(self.begun.elapsed()).saturating_sub(oldest),
        };
        Duration::from_nanos(longest.max(waiting))
    }
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// The files that the thread writes.
pub(crate) struct Files {
    pub(crate) connection: Connection,
    pub(crate) mark: LogMark,
    pub(crate) reserve: Reserve,
    /// Kept for as long as the others.
    pub(crate) lock: Arc<DirectoryLock>,
}

/// Starts the thread; it ends at [`Job::Close`], or when the last sender is dropped.
pub(crate) fn start(
    files: Files,
    writing: Arc<Writing>,
) -> io::Result<(mpsc::Sender<Job>, Arc<Waits>, JoinHandle<()>)> {
    let (jobs, queue) = mpsc::channel(QUEUE);
    let waits = Arc::new(Waits::new());
    let told = Arc::clone(&waits);
    let thread = thread::Builder::new()
        .name("store-writer".into())
        .spawn(move || run(files, queue, &told, &writing))?;
    Ok((jobs, waits, thread))
}

/// Changes of the sums that a batch makes.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) created: i64,
    pub(crate) delivered: i64,
    pub(crate) given_up: i64,
}

fn run(mut files: Files, mut queue: mpsc::Receiver<Job>, waits: &Waits, writing: &Writing) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut closing = false;
    let mut last = (0, Instant::now());
    while !closing {
        let mut next = queue.blocking_recv();
        thread::sleep(gathers_for(last.0, last.1.elapsed()));
        last.1 = Instant::now();
        closing = next.is_none();
        while let Some(job) = next {
            match job {
                Job::Write(write, since) => {
                    if batch.is_empty() {
                        waits.begins(since);
                    }
                    batch.push(write);
                }
                Job::Close => {
                    closing = true;
                    break;
                }
            }
            next = if batch.len() < BATCH { queue.try_recv().ok() } else { None };
        }
        last.0 = batch.len();
        if !batch.is_empty() {
            write(&mut files, &mut batch, writing);
            waits.ends();
            checkpoint(&files.connection, queue.is_empty());
        }
    }
    // Dropping the queue answers everything behind Close with StoreClosed. The last connection
    // to close folds the log into the database.
    drop(queue);
    files.mark.close();
    drop(files.connection);
    drop(files.lock);
}

/// How long a batch gathers writes, after one of `writes` that began so long ago.
fn gathers_for(writes: usize, ago: Duration) -> Duration {
    if writes < BUSY { Duration::ZERO } else { PACE.saturating_sub(ago) }
}

/// Makes the batch durable and answers everyone in it.
fn write(files: &mut Files, batch: &mut Vec<Box<dyn Write>>, writing: &Writing) {
    if files.reserve.is_spent(Instant::now()) {
        refuse_new_work(batch);
    }
    let rows_before = files.connection.total_changes();
    tracing::trace!(name: "transaction begins", target: "graphophone::stage", "transaction begins");
    let mut outcomes = attempt(&mut files.connection, batch);
    if matches!(outcomes, Err(StoreError::DiskFull)) && files.reserve.spend(Instant::now()) {
        refuse_new_work(batch);
        outcomes = attempt(&mut files.connection, batch);
    }
    let outcomes = outcomes.and_then(|outcomes| {
        let frames = log_frames(&files.connection, "NOOP")?.all;
        // Only a damage of the log would not be found without it.
        if let Err(error) = u32::try_from(frames).map_or(Ok(()), |frames| files.mark.note(frames)) {
            tracing::warn!(%error, "the mark of the store's log cannot be written");
        }
        Ok(outcomes)
    });
    tracing::trace!(name: "transaction is durable", target: "graphophone::stage", "transaction is durable");
    match outcomes {
        Ok(outcomes) => {
            let rows = files.connection.total_changes().wrapping_sub(rows_before);
            writing.add(outcomes.len(), rows);
            for (write, outcome) in batch.drain(..).zip(outcomes) {
                write.answer(outcome);
            }
        }
        Err(error) => {
            tracing::error!(%error, writes = batch.len(), "store commit failed");
            for write in batch.drain(..) {
                write.answer(Err(error.clone()));
            }
        }
    }
}

/// Savepoints cost a little, so the first try goes without. If some write was refused, the second
/// lets it fail alone; a fault of the disk fails all.
fn attempt(
    connection: &mut Connection,
    batch: &mut [Box<dyn Write>],
) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    match transact(connection, batch, false) {
        Ok(outcomes) => Ok(outcomes),
        Err(_) => transact(connection, batch, true),
    }
}

/// What is left of the disk is for what has begun.
fn refuse_new_work(batch: &mut Vec<Box<dyn Write>>) {
    for write in batch.extract_if(.., |write| write.is_new_work()) {
        write.answer(Err(StoreError::DiskFull));
    }
}

/// Folds a long log into the database. Behind the answers, because it syncs twice, and what was
/// answered is as durable in the log.
fn checkpoint(connection: &Connection, is_idle: bool) {
    let backlog = if is_idle { CHECKPOINT_IDLE } else { CHECKPOINT_BUSY };
    let checkpoint = || -> rusqlite::Result<()> {
        let pages = log_frames(connection, "NOOP")?.left();
        if pages >= backlog {
            let start = Instant::now();
            let left = log_frames(connection, "PASSIVE")?.left();
            tracing::debug!(pages, left, took = ?start.elapsed(), "store log folded");
        }
        Ok(())
    };
    if let Err(error) = checkpoint() {
        // Nothing is lost, and the next commit tries again.
        tracing::warn!(%error, "the store's log cannot be folded into the database");
    }
}

/// Frames of the log, each with one page.
struct LogFrames {
    all: i64,
    folded: i64,
}

impl LogFrames {
    /// Those that are not in the database yet.
    const fn left(&self) -> i64 {
        self.all - self.folded
    }
}

/// The log after a checkpoint of this mode.
fn log_frames(connection: &Connection, mode: &str) -> rusqlite::Result<LogFrames> {
    connection
        .prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?
        .query_row([], |row| Ok(LogFrames { all: row.get(1)?, folded: row.get(2)? }))
}

/// One transaction for all; on `Err` nothing of it is done.
fn transact(
    connection: &mut Connection,
    batch: &mut [Box<dyn Write>],
    with_savepoints: bool,
) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    // Dropped on an early return, the transaction rolls back.
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut tally = Tally::default();
    let mut outcomes = Vec::with_capacity(batch.len());
    for write in batch {
        if !with_savepoints {
            write.apply(&transaction, &mut tally)?;
            outcomes.push(Ok(()));
            continue;
        }
        // Dropped without a commit, the savepoint rolls back.
        let savepoint = transaction.savepoint()?;
        let mut change = Tally::default();
        let outcome = write.apply(&savepoint, &mut change);
        match &outcome {
            Ok(()) => {
                savepoint.commit()?;
                tally.add(&change);
            }
            Err(
                StoreError::CallerFinalOperation(_)
                | StoreError::CallerTerminatedCall(_)
                | StoreError::CallerNotOwed(_)
                | StoreError::CallerKnownRequest
                | StoreError::StoreStatement(_),
            ) => savepoint.finish()?,
            // SQLite may have rolled the whole transaction back by itself.
            Err(
                fault @ (StoreError::DiskFull
                | StoreError::DiskFailed(_)
                | StoreError::StoreDamaged(_)
                | StoreError::StoreClosed),
            ) => return Err(fault.clone()),
        }
        outcomes.push(outcome);
    }
    tally.write(&transaction)?;
    transaction.commit()?;
    Ok(outcomes)
}

impl Tally {
    fn add(&mut self, change: &Self) {
        self.created += change.created;
        self.delivered += change.delivered;
        self.given_up += change.given_up;
    }

    fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        // Each by itself: a replay takes away what a delivery in the same batch adds.
        if (self.created, self.delivered, self.given_up) == (0, 0, 0) {
            return Ok(());
        }
        connection
            .prepare_cached(
                "UPDATE tally SET created = created + ?1, delivered = delivered + ?2,
                        given_up = given_up + ?3",
            )?
            .execute([self.created, self.delivered, self.given_up])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_write_never_waits_for_others_and_one_of_many_at_most_3_ms() {
        let ms = Duration::from_millis;
        assert_eq!(gathers_for(0, ms(0)), ms(0));
        assert_eq!(gathers_for(BUSY - 1, ms(0)), ms(0));
        assert_eq!(gathers_for(BUSY, ms(1)), ms(2));
        assert_eq!(gathers_for(BATCH, ms(0)), ms(3));
        assert_eq!(gathers_for(BATCH, ms(3)), ms(0));
        assert_eq!(gathers_for(BATCH, ms(4_000)), ms(0));
    }
}
