//! The threads that mix: commands in between, rooms when they are due.
//!
//! A room is due every 20 ms, at one of ten moments that are 2 ms apart: rooms are shared out over
//! them, so that a thread and the network have as much to do in each, and wakes serve many rooms.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    Gain, Levels, MemberId, RoomConfig, RoomEvent, Route,
    conversation::Conversation,
    stats::{RoomCounters, ThreadCounters, count},
};
use crate::{
    codec::SampleCodec,
    engine::{EngineFull, Feed, TappedPacket, precedence},
};

/// Commands that may wait for a thread.
const QUEUE: usize = 4_096;
/// Commands that are carried out between two moments.
const COMMANDS: usize = 64;
/// Moments in 20 ms at which rooms are due.
const MOMENTS: u64 = 10;
const STEP_MILLISECONDS: u64 = 20 / MOMENTS;
const STEP: Duration = Duration::from_millis(STEP_MILLISECONDS);
/// Frames that are mixed in a burst after the thread stood still; what is further behind is left
/// out, so that nobody hears everything late from then on.
const MOST_BEHIND: u32 = 3;

/// Names a room between its owner and its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RoomId(pub(super) u64);

/// What owners send to a thread.
pub(super) enum Command {
    Open {
        id: RoomId,
        config: RoomConfig,
        events: mpsc::Sender<RoomEvent>,
        counters: Arc<RoomCounters>,
        abandoned: Arc<AtomicBool>,
    },
    Change(RoomId, Change),
    Close(RoomId),
}

/// What an owner asks of its room.
pub(super) enum Change {
    Join(Box<NewMember>),
    Leave(MemberId),
    Muted(MemberId, bool),
    Isolated(MemberId, bool),
    InDefault(MemberId, bool),
    Gain(MemberId, Gain),
    Levels(MemberId, Box<Levels>),
    Routes(Vec<Route>),
}

/// Both ways of a stream that joins.
pub(super) struct NewMember {
    pub(super) id: MemberId,
    pub(super) codec: SampleCodec,
    pub(super) voice: Receiver<TappedPacket>,
    pub(super) feed: Feed,
    pub(super) is_virtual: bool,
}

/// The owners' end of a thread.
pub(super) struct RoomThread {
    /// `None` once it is to end.
    queue: Option<SyncSender<Command>>,
    pub(super) counters: Arc<ThreadCounters>,
    thread: Option<JoinHandle<()>>,
}

impl RoomThread {
    pub(super) fn start(number: usize) -> io::Result<Self> {
        let (queue, commands) = sync_channel(QUEUE);
        let counters = Arc::new(ThreadCounters::default());
        let mixing = Mixing::new(commands, Arc::clone(&counters));
        let name = format!("mixer-{number}");
        let thread = std::thread::Builder::new().name(name).spawn(move || mixing.run())?;
        Ok(Self { queue: Some(queue), counters, thread: Some(thread) })
    }

    pub(super) fn send(&self, command: Command) -> Result<(), EngineFull> {
        let queue = self.queue.as_ref().ok_or(EngineFull)?;
        match queue.try_send(command) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(EngineFull),
        }
    }

    /// Closes a room, whatever the state of the queue.
    pub(super) fn close(&self, id: RoomId, abandoned: &AtomicBool) {
        if self.send(Command::Close(id)).is_err() {
            abandoned.store(true, Ordering::Release);
        }
    }
}

impl Drop for RoomThread {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a thread that mixes rooms had panicked");
        }
    }
}

/// The thread's own state.
struct Mixing {
    commands: Receiver<Command>,
    counters: Arc<ThreadCounters>,
    began: Instant,
    /// The next moment, in steps since it began.
    next: u64,
    /// Rooms by the moment at which they are due.
    moments: [Vec<(RoomId, Conversation)>; MOMENTS as usize],
}

impl Mixing {
    fn new(commands: Receiver<Command>, counters: Arc<ThreadCounters>) -> Self {
        let moments = std::array::from_fn(|_| Vec::new());
        Self { commands, counters, began: Instant::now(), next: 0, moments }
    }

    fn run(mut self) {
        precedence::take_behind_streams();
        loop {
            // Whatever is due: who is behind must be able to be told to do less.
            for _ in 0..COMMANDS {
                let Ok(command) = self.commands.try_recv() else { break };
                self.handle(command);
            }
            let Some(deadline) = self.deadline() else {
                let Ok(command) = self.commands.recv() else { return };
                self.handle(command);
                self.catch_up(Instant::now());
                continue;
            };
            let now = Instant::now();
            if deadline <= now {
                self.turn(now);
                continue;
            }
            match self.commands.recv_timeout(deadline - now) {
                Ok(command) => self.handle(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// When rooms are due; `None` while there are none. Moments without rooms are passed over.
    fn deadline(&mut self) -> Option<Instant> {
        let empty = (0..MOMENTS).take_while(|ahead| self.at(self.next + ahead).is_empty()).count();
        if empty as u64 == MOMENTS {
            return None;
        }
        self.next += empty as u64;
        Some(self.moment(self.next))
    }

    /// After a time without rooms, the next moment is one to come.
    fn catch_up(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.began).as_nanos() / STEP.as_nanos();
        self.next = self.next.max(u64::try_from(passed).unwrap_or(u64::MAX) + 1);
    }

    /// Mixes the rooms of the next moment.
    fn turn(&mut self, now: Instant) {
        let deadline = self.moment(self.next);
        let behind = now.saturating_duration_since(deadline).as_nanos();
        let frames = u32::try_from(behind / (STEP * MOMENTS as u32).as_nanos()).unwrap_or(u32::MAX);
        if frames > MOST_BEHIND {
            return self.skip(frames);
        }
        self.counters.load.late(Duration::from_nanos(u64::try_from(behind).unwrap_or(u64::MAX)));
        let place = (self.next % MOMENTS) as usize;
        self.next += 1;
        let Self { moments, counters, .. } = self;
        moments[place].retain_mut(|(_, room)| {
            let before = room.members();
            let stays = !room.is_abandoned();
            if stays {
                room.tick(deadline, counters);
            }
            Self::recount(counters, before, if stays { room.members() } else { 0 });
            if !stays {
                counters.rooms.fetch_sub(1, Ordering::Relaxed);
            }
            stays
        });
        self.counters.load.turned(self.began, now, Instant::now());
    }

    /// Leaves whole frames of all rooms out.
    fn skip(&mut self, frames: u32) {
        self.next += u64::from(frames) * MOMENTS;
        for (_, room) in self.moments.iter_mut().flatten() {
            room.skip(frames);
            count(&self.counters.skipped_frames, frames.into());
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Open { id, config, events, counters, abandoned } => {
                let least = self.moments.iter_mut().min_by_key(|rooms| {
                    rooms.iter().map(|(_, room)| 1 + room.members()).sum::<usize>()
                });
                let room = Conversation::new(config, events, counters, abandoned);
                least.expect("there are moments").push((id, room));
            }
            Command::Change(id, change) => {
                let room = self.moments.iter_mut().flatten().find(|(it, _)| *it == id);
                if let Some((_, room)) = room {
                    let before = room.members();
                    room.change(change);
                    Self::recount(&self.counters, before, room.members());
                }
            }
            Command::Close(id) => {
                for rooms in &mut self.moments {
                    rooms.retain(|(it, room)| {
                        if *it == id {
                            Self::recount(&self.counters, room.members(), 0);
                            self.counters.rooms.fetch_sub(1, Ordering::Relaxed);
                        }
                        *it != id
                    });
                }
            }
        }
    }

    fn recount(counters: &ThreadCounters, before: usize, after: usize) {
        if before != after {
            counters.members.fetch_add(after as u64, Ordering::Relaxed);
            counters.members.fetch_sub(before as u64, Ordering::Relaxed);
        }
    }

    fn at(&self, next: u64) -> &[(RoomId, Conversation)] {
        &self.moments[(next % MOMENTS) as usize]
    }

    fn moment(&self, next: u64) -> Instant {
        self.began + Duration::from_millis(next * STEP_MILLISECONDS)
    }
}
