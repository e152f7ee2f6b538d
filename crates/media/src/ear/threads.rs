//! The threads that visit ears, and the owner's end of an ear.

use std::{
    collections::{HashMap, VecDeque},
    fmt, io,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{EarError, EarEvent, NewRecording, RecordingId, hearing::Hearing};
use crate::engine::{StreamHandle, TappedPacket};

/// Time between two visits of an ear.
const VISIT: Duration = Duration::from_millis(20);
/// Places for packets between a stream and its ear: 5 s, in which a worker has come by.
const TAP_PLACES: usize = 256;
/// Orders that wait for a worker.
const QUEUE: usize = 4_096;
/// Key presses and beginnings of speech that are kept for an owner who reads nothing.
const TONES_KEPT: usize = 64;

/// The threads that listen. Clones share them; they end when the last clone and the last ear are
/// gone.
#[derive(Clone)]
pub struct Ears(Arc<Workers>);

struct Workers {
    workers: Box<[Worker]>,
    next: AtomicU64,
}

struct Worker {
    queue: SyncSender<Order>,
    ears: Arc<AtomicUsize>,
}

enum Order {
    Add(u64, Box<Attached>),
    Tones(u64, bool),
    Speech(u64, bool),
    Record(u64, Box<NewRecording>),
    Finish(u64, RecordingId, Instant),
    Discard(u64, RecordingId),
    Remove(u64),
}

/// An ear on its thread.
struct Attached {
    hearing: Hearing,
    tap: Receiver<TappedPacket>,
    events: mpsc::Sender<EarEvent>,
    backlog: VecDeque<EarEvent>,
    abandoned: Arc<AtomicBool>,
}

/// The owner's end of an ear. Dropping it ends the listening; a recording that runs is given up.
pub struct Ear {
    workers: Arc<Workers>,
    worker: usize,
    id: u64,
    /// Set by an owner who goes while the queue is full.
    abandoned: Arc<AtomicBool>,
}

impl Ears {
    /// Starts so many threads.
    ///
    /// # Errors
    /// When the operating system refuses one.
    pub fn start(threads: NonZeroUsize) -> io::Result<Self> {
        let start = |number| {
            let (queue, orders) = sync_channel(QUEUE);
            thread::Builder::new().name(format!("ear-{number}")).spawn(move || work(&orders))?;
            Ok(Worker { queue, ears: Arc::default() })
        };
        let workers = (0..threads.get()).map(start).collect::<io::Result<_>>()?;
        Ok(Self(Arc::new(Workers { workers, next: AtomicU64::new(0) })))
    }

    /// Begins to listen to a stream. An event that finds `events` full is kept and offered again; of
    /// key presses at most 64.
    ///
    /// # Errors
    /// [`EarError`], of which [`EarError::Deaf`] stays.
    pub fn listen(
        &self,
        stream: &StreamHandle,
        events: mpsc::Sender<EarEvent>,
    ) -> Result<Ear, EarError> {
        let hearing = Hearing::new(stream.codec(), Instant::now())?;
        let (to, tap) = sync_channel(TAP_PLACES);
        let abandoned = Arc::new(AtomicBool::new(false));
        let attached = Attached {
            hearing,
            tap,
            events,
            backlog: VecDeque::new(),
            abandoned: Arc::clone(&abandoned),
        };
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let loads = self.0.workers.iter().map(|worker| worker.ears.load(Ordering::Relaxed));
        let (worker, _) = loads.enumerate().min_by_key(|(_, load)| *load).ok_or(EarError::Full)?;
        self.0.send(worker, Order::Add(id, Box::new(attached)))?;
        self.0.workers[worker].ears.fetch_add(1, Ordering::Relaxed);
        let ear = Ear { workers: Arc::clone(&self.0), worker, id, abandoned };
        stream.tap(to)?;
        Ok(ear)
    }
}

impl fmt::Debug for Ears {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ears").field("threads", &self.0.workers.len()).finish_non_exhaustive()
    }
}

impl Workers {
    fn send(&self, worker: usize, order: Order) -> Result<(), EarError> {
        self.workers[worker].queue.try_send(order).map_err(|_| EarError::Full)
    }
}

impl Ear {
    /// Listens for key presses as sound, or does not any more.
    ///
    /// # Errors
    /// [`EarError::Full`].
    pub fn set_tones(&self, wanted: bool) -> Result<(), EarError> {
        self.send(Order::Tones(self.id, wanted))
    }

    /// Tells when somebody begins to speak ([`EarEvent::Speech`]), or does not any more.
    ///
    /// # Errors
    /// [`EarError::Full`].
    pub fn set_speech(&self, wanted: bool) -> Result<(), EarError> {
        self.send(Order::Speech(self.id, wanted))
    }

    /// Makes a recording as soon as somebody speaks. One that runs is given up.
    ///
    /// # Errors
    /// [`EarError::Full`]; then no event follows.
    pub fn record(&self, new: NewRecording) -> Result<(), EarError> {
        self.send(Order::Record(self.id, Box::new(new)))
    }

    /// Ends a recording at a moment that has come. [`EarEvent::Recorded`] or [`EarEvent::Failed`]
    /// follows, unless it has failed or was given up already.
    ///
    /// # Errors
    /// [`EarError::Full`]; then the recording goes on.
    pub fn finish(&self, id: RecordingId, at: Instant) -> Result<(), EarError> {
        self.send(Order::Finish(self.id, id, at))
    }

    /// Gives a recording up; its file is closed as it is.
    ///
    /// # Errors
    /// [`EarError::Full`]; then the recording goes on.
    pub fn discard(&self, id: RecordingId) -> Result<(), EarError> {
        self.send(Order::Discard(self.id, id))
    }

    fn send(&self, order: Order) -> Result<(), EarError> {
        self.workers.send(self.worker, order)
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Release);
        let worker = &self.workers.workers[self.worker];
        worker.ears.fetch_sub(1, Ordering::Relaxed);
        // A worker whose queue is full sees it at its next visit.
        let _ = worker.queue.try_send(Order::Remove(self.id));
    }
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear").field("id", &self.id).finish_non_exhaustive()
    }
}

fn work(orders: &Receiver<Order>) {
    let mut ears = HashMap::new();
    let mut visit = Instant::now();
    loop {
        let order = if ears.is_empty() {
            orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            orders.recv_timeout(visit.saturating_duration_since(Instant::now()))
        };
        match order {
            Ok(order) => obey(&mut ears, order),
            Err(RecvTimeoutError::Timeout) => {}
            // Nobody can ask for anything any more, nor listen: every ear keeps the queue open.
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        if now >= visit {
            ears.retain(|_, ear: &mut Box<Attached>| ear.visit(now));
            // A thread that was kept from running does not make up for visits.
            visit = (visit + VISIT).max(now + VISIT / 2);
        }
    }
}

fn obey(ears: &mut HashMap<u64, Box<Attached>>, order: Order) {
    let now = Instant::now();
    let (id, order) = match order {
        Order::Add(id, ear) => {
            ears.insert(id, ear);
            return;
        }
        Order::Remove(id) => {
            ears.remove(&id);
            return;
        }
        Order::Tones(id, _)
        | Order::Speech(id, _)
        | Order::Record(id, _)
        | Order::Finish(id, ..)
        | Order::Discard(id, _) => (id, order),
    };
    let Some(ear) = ears.get_mut(&id) else { return };
    ear.receive();
    match order {
        Order::Tones(_, wanted) => ear.hearing.set_tones(wanted),
        Order::Speech(_, wanted) => ear.hearing.set_speech(wanted),
        Order::Record(_, new) => ear.hearing.record(*new),
        Order::Finish(_, id, at) => ear.hearing.finish(id, at, now),
        Order::Discard(_, id) => ear.hearing.discard(id),
        Order::Add(..) | Order::Remove(_) => {}
    }
    ear.tell();
}

impl Attached {
    /// Hears what has come; false if nobody wants to know any more.
    fn visit(&mut self, now: Instant) -> bool {
        if self.abandoned.load(Ordering::Acquire) {
            return false;
        }
        self.receive();
        self.hearing.advance(now);
        self.tell();
        true
    }

    fn receive(&mut self) {
        // At most as many as there are places, however quickly they come.
        for _ in 0..TAP_PLACES {
            match self.tap.try_recv() {
                Ok(packet) => self.hearing.packet(packet),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
    }

    fn tell(&mut self) {
        while let Some(event) = self.hearing.poll() {
            // The far end decides how many of these come.
            let is_theirs = matches!(event, EarEvent::Tone(_) | EarEvent::Speech);
            if !is_theirs || self.backlog.len() < TONES_KEPT {
                self.backlog.push_back(event);
            }
        }
        while let Some(event) = self.backlog.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.backlog.push_front(event);
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => self.backlog.clear(),
            }
        }
    }
}
