//! Rooms: conversations of several streams, each of which hears the others.
//!
//! A room is a `Mixer` (`mixer.rs`) with its members. A member is a stream that has joined: what
//! its far end says comes by a tap and a jitter buffer, what its far end hears goes by a
//! [`Feed`](crate::engine::Feed). Rooms live on threads of their own, each room on one for its
//! lifetime, and are mixed every 20 ms, on absolute deadlines.
//!
//! - All members hear all others, in mono at 16 kHz inside, unless the room's rules say otherwise:
//!   muting, isolation, groups and routes, gains, levels of single listeners ([`Room`]).
//! - Of many who speak at once the loudest are let through ([`RoomConfig::speakers`]).
//! - A playout on a member's own stream is heard by that member alone, instead of the room.
//! - A virtual stream ([`Engine::add_virtual_stream`](crate::engine::Engine::add_virtual_stream))
//!   is a member without a far end: what it plays, the room hears, however many speak; its taps
//!   hear what that member would.
//! - What a member says is heard by the others 10 to 30 ms after its arrival, or later if it
//!   arrives irregularly.

mod conversation;
mod mixer;
mod recipe;
mod routing;
mod speakers;
mod stats;
mod thread;

use std::{
    fmt, io,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::sync::mpsc;

pub use self::{
    routing::{Ducking, Levels, Route},
    stats::{RoomStats, RoomsLoad, RoomsThreadLoad},
};
use self::{
    stats::{RoomCounters, ThreadCounters},
    thread::{Change, Command, NewMember, RoomId, RoomThread},
};
use crate::{
    codec::Codec,
    engine::{EngineFull, StreamHandle},
};

/// Members of one room at most.
pub const MOST_MEMBERS: usize = 256;

/// Packets of a member that may wait for the room; what is more is dropped, and counted by the
/// stream.
const TAP: usize = 64;

/// The threads that mix. Clones share them; when the last clone and the last room are gone, they
/// stop.
#[derive(Clone)]
pub struct Rooms(Arc<Threads>);

struct Threads {
    threads: Box<[RoomThread]>,
    next_id: AtomicU64,
}

/// Identifies a member of a room; chosen by the owner of the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u128);

/// How loud something is, as a factor of its samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain(f32);

/// What a room is like.
#[derive(Clone, Copy, Debug)]
pub struct RoomConfig {
    /// How many speakers at once a listener hears at most, 1 to 8: the loudest of those it may
    /// hear. Virtual streams are heard besides.
    pub speakers: usize,
}

/// What a room tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomEvent {
    /// Others speak than before: all who do now and are let through, by id, without virtual
    /// streams. Told at most five times a second.
    Speakers(Vec<MemberId>),
    /// A member's stream was closed; it has left the room.
    Gone(MemberId),
}

/// Why a stream does not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// A queue is full.
    #[error(transparent)]
    Full(#[from] EngineFull),
    /// The room has no codec for it.
    #[error("a stream of {0:?} cannot join a room, which mixes PCMU and PCMA")]
    Codec(Codec),
}

/// A room. Dropping it closes it: its members' streams go on, without live audio.
///
/// What is asked of it is done by its thread, in order, before the next frame is mixed. What is set
/// for a member holds until it leaves.
pub struct Room {
    threads: Arc<Threads>,
    thread: usize,
    id: RoomId,
    counters: Arc<RoomCounters>,
    abandoned: Arc<AtomicBool>,
}

impl Rooms {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(threads: NonZeroUsize) -> io::Result<Self> {
        let threads = (0..threads.get()).map(RoomThread::start).collect::<io::Result<_>>()?;
        Ok(Self(Arc::new(Threads { threads, next_id: AtomicU64::new(0) })))
    }

    /// Opens a room, and the queue that it tells what happens by. While that is full, who speaks is
    /// told later, as it is then, and so is who is gone.
    ///
    /// # Errors
    /// [`EngineFull`] when the thread's command queue is full.
    pub fn open(
        &self,
        config: RoomConfig,
    ) -> Result<(Room, mpsc::Receiver<RoomEvent>), EngineFull> {
        let threads = self.0.threads.iter().enumerate();
        let (number, thread) = threads
            .min_by_key(|(_, thread)| {
                // Members come later: a room counts as some from the start.
                let ThreadCounters { rooms, members, .. } = &*thread.counters;
                3 * rooms.load(Ordering::Relaxed) + members.load(Ordering::Relaxed)
            })
            .expect("there is at least one thread");
        let (events, told) = mpsc::channel(16);
        let room = Room {
            threads: Arc::clone(&self.0),
            thread: number,
            id: RoomId(self.0.next_id.fetch_add(1, Ordering::Relaxed)),
            counters: Arc::default(),
            abandoned: Arc::default(),
        };
        let (counters, abandoned) = (Arc::clone(&room.counters), Arc::clone(&room.abandoned));
        let id = room.id;
        thread.send(Command::Open { id, config, events, counters, abandoned })?;
        thread.counters.rooms.fetch_add(1, Ordering::Relaxed);
        Ok((room, told))
    }

    /// What the threads have measured of themselves so far.
    pub fn load(&self) -> RoomsLoad {
        let threads = self.0.threads.iter().map(|thread| thread.counters.read()).collect();
        RoomsLoad { at: Instant::now(), threads }
    }
}

impl Room {
    /// A stream becomes a member: it speaks to the room, and hears it while it plays nothing of its
    /// own. A member with this id that is there already goes on with this stream instead, under the
    /// rules that hold for it. The stream stays its owner's, and leaves when it is closed. One that
    /// is one too many ([`MOST_MEMBERS`]) is [`RoomEvent::Gone`] at once.
    ///
    /// # Errors
    /// [`JoinError`]; then nothing has changed.
    pub fn join(&self, id: MemberId, stream: &StreamHandle) -> Result<(), JoinError> {
        let codec = stream.codec().sample().ok_or(JoinError::Codec(stream.codec()))?;
        let (tap, voice) = std::sync::mpsc::sync_channel(TAP);
        stream.speak_to(tap)?;
        let feed = stream.feed()?;
        let member = NewMember { id, codec, voice, feed, is_virtual: stream.is_virtual() };
        Ok(self.send(Change::Join(Box::new(member)))?)
    }

    /// A member leaves, with all that was set for it. Unknown ids are ignored, here and below.
    ///
    /// # Errors
    /// [`EngineFull`] when the thread's command queue is full; so for all that follow.
    pub fn leave(&self, id: MemberId) -> Result<(), EngineFull> {
        self.send(Change::Leave(id))
    }

    /// Whether nobody hears this member.
    ///
    /// # Errors
    /// As for [`Self::leave`].
    pub fn set_muted(&self, id: MemberId, muted: bool) -> Result<(), EngineFull> {
        self.send(Change::Muted(id, muted))
    }

    /// Whether this member hears nobody and nobody hears it, as on hold. What its own stream plays
    /// is heard all the same.
    ///
    /// # Errors
    /// As for [`Self::leave`].
    pub fn set_isolated(&self, id: MemberId, isolated: bool) -> Result<(), EngineFull> {
        self.send(Change::Isolated(id, isolated))
    }

    /// Whether this member is in the default group, in which all hear all others; members are when
    /// they join. The others hear and are heard along routes only.
    ///
    /// # Errors
    /// As for [`Self::leave`].
    pub fn set_in_default(&self, id: MemberId, in_default: bool) -> Result<(), EngineFull> {
        self.send(Change::InDefault(id, in_default))
    }

    /// Replaces all routes. They open ways beside the default group; they close none.
    ///
    /// # Errors
    /// As for [`Self::leave`].
    pub fn set_routes(&self, routes: Vec<Route>) -> Result<(), EngineFull> {
        self.send(Change::Routes(routes))
    }

    /// How loud all hear this member.
    ///
    /// # Errors
    /// As for [`Self::leave`].
    pub fn set_gain(&self, id: MemberId, gain: Gain) -> Result<(), EngineFull> {
        self.send(Change::Gain(id, gain))
    }

    /// How loud this member hears others.
    ///
    /// # Errors
    /// As for [`Self::leave`].
    pub fn set_levels(&self, listener: MemberId, levels: Levels) -> Result<(), EngineFull> {
        self.send(Change::Levels(listener, Box::new(levels)))
    }

    /// What has happened so far.
    pub fn stats(&self) -> RoomStats {
        self.counters.read()
    }

    fn send(&self, change: Change) -> Result<(), EngineFull> {
        self.threads.threads[self.thread].send(Command::Change(self.id, change))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.threads.threads[self.thread].close(self.id, &self.abandoned);
    }
}

impl Gain {
    /// Nothing is heard.
    pub const SILENT: Self = Self(0.0);
    /// As loud as it is.
    pub const UNITY: Self = Self(1.0);

    /// A factor of 0 to 8 (18 dB); what is beyond is brought to the nearest, and what is no number
    /// to 0.
    pub fn from_factor(factor: f32) -> Self {
        Self(if factor.is_nan() { 0.0 } else { factor.clamp(0.0, 8.0) })
    }

    /// Of decibels, up to 18.
    pub fn from_db(db: f32) -> Self {
        Self::from_factor(10.0_f32.powf(db / 20.0))
    }

    /// What samples are multiplied with.
    pub fn factor(self) -> f32 {
        self.0
    }
}

impl Default for RoomConfig {
    fn default() -> Self {
        Self { speakers: 4 }
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").field("load", &self.load()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("id", &self.id).finish_non_exhaustive()
    }
}
