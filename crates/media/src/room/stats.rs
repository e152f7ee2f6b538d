//! What rooms and their threads count: written by the thread, readable by anyone.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crate::engine::{Histogram, LoadMeter};

/// What has happened in a room so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomStats {
    /// Members now.
    pub members: u64,
    /// Frames of 20 ms that were mixed.
    pub frames: u64,
    /// Mixes that were computed and encoded, of all frames: listeners share them.
    pub mixes: u64,
    /// Payloads handed to members' streams.
    pub delivered: u64,
    /// Payloads that a stream had no room for, as its thread stood still.
    pub undelivered: u64,
    /// Frames of members that were concealed because nothing had come.
    pub concealed: u64,
    /// Packets of members that came too late to be heard.
    pub late_packets: u64,
    /// Frames that were never mixed, because the thread was behind by more than 60 ms.
    pub skipped_frames: u64,
}

/// What one thread that mixes has measured since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomsThreadLoad {
    /// Rooms that are open.
    pub rooms: u64,
    /// Members of all of them.
    pub members: u64,
    /// Frames mixed, of all rooms.
    pub frames: u64,
    /// Frames of rooms that were skipped, because the thread was too far behind.
    pub skipped_frames: u64,
    /// Time awake; also what it waited for a processor meanwhile.
    pub busy: Duration,
    /// Processor time, as of up to 25 ms of work ago.
    pub cpu: Duration,
    /// How late each room's frame was begun, after its deadline.
    pub lateness: Histogram,
}

/// What all threads that mix have measured since they began.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RoomsLoad {
    /// When this was read.
    pub at: Instant,
    /// Each thread's.
    pub threads: Vec<RoomsThreadLoad>,
}

/// The shared side of [`RoomStats`].
#[derive(Debug, Default)]
pub(super) struct RoomCounters {
    pub(super) members: AtomicU64,
    pub(super) frames: AtomicU64,
    pub(super) mixes: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) undelivered: AtomicU64,
    pub(super) concealed: AtomicU64,
    pub(super) late_packets: AtomicU64,
    pub(super) skipped_frames: AtomicU64,
}

/// The shared side of [`RoomsThreadLoad`].
#[derive(Debug, Default)]
pub(super) struct ThreadCounters {
    /// Rooms handed to the thread and not yet closed.
    pub(super) rooms: AtomicU64,
    pub(super) members: AtomicU64,
    pub(super) frames: AtomicU64,
    pub(super) skipped_frames: AtomicU64,
    pub(super) load: LoadMeter,
}

impl RoomCounters {
    pub(super) fn read(&self) -> RoomStats {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RoomStats {
            members: get(&self.members),
            frames: get(&self.frames),
            mixes: get(&self.mixes),
            delivered: get(&self.delivered),
            undelivered: get(&self.undelivered),
            concealed: get(&self.concealed),
            late_packets: get(&self.late_packets),
            skipped_frames: get(&self.skipped_frames),
        }
    }
}

impl ThreadCounters {
    pub(super) fn read(&self) -> RoomsThreadLoad {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RoomsThreadLoad {
            rooms: get(&self.rooms),
            members: get(&self.members),
            frames: get(&self.frames),
            skipped_frames: get(&self.skipped_frames),
            busy: self.load.busy(),
            cpu: self.load.cpu(),
            lateness: self.load.lateness(),
        }
    }
}

/// Adds to a counter.
pub(super) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
