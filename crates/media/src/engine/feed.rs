//! Live audio for a stream: encoded frames that somebody else makes, sent as they come.
//!
//! The feeder paces: each frame says when it is due, 20 ms after the one before, and leaves at
//! once. Timestamps follow those times, so that a frame that never comes is a gap (RFC 3550 §5.1)
//! with the marker on what follows (RFC 3551 §4.1). A frame whose place is taken, by a playout, a
//! tone or the last packet of either, is not sent, nor is any on hold: live audio is never late.

use std::{
    fmt,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    time::Instant,
};

use super::{Threads, playout::MAX_PAYLOAD, shard::StreamId};

/// Frames that may wait for the stream's thread: what a burst after a stall has, and one.
pub(super) const PLACES: usize = 4;

/// The feeder's end of a stream's live audio; see [`super::StreamHandle::feed`].
pub struct Feed {
    threads: Arc<Threads>,
    shard: usize,
    id: StreamId,
    frames: SyncSender<LiveFrame>,
}

/// Why a frame is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// Four frames wait already, because the stream's thread stands still.
    #[error("the stream has no room for another frame")]
    Full,
    /// The stream is closed or has another feed.
    #[error("the stream takes no live audio from here any more")]
    Closed,
}

/// Wakes a thread of the engine for the frames that were pushed.
#[derive(Clone)]
pub(crate) struct FeedWaker {
    threads: Arc<Threads>,
    shard: usize,
}

/// 20 ms of encoded audio on its way.
pub(super) struct LiveFrame {
    /// When it is due.
    pub(super) at: Instant,
    len: usize,
    bytes: [u8; MAX_PAYLOAD],
}

/// The stream's end.
pub(super) struct LiveFrames(Receiver<LiveFrame>);

#[cfg(test)]
impl From<Receiver<LiveFrame>> for LiveFrames {
    fn from(frames: Receiver<LiveFrame>) -> Self {
        Self(frames)
    }
}

/// Both ends of a feed for the stream `id` of a thread.
pub(super) fn feed(threads: &Arc<Threads>, shard: usize, id: StreamId) -> (Feed, LiveFrames) {
    let (frames, taken) = sync_channel(PLACES);
    (Feed { threads: Arc::clone(threads), shard, id, frames }, LiveFrames(taken))
}

impl Feed {
    /// Hands a frame of 20 ms over, in the stream's codec, that is due at `at`, and sees to it that
    /// it is sent. Payloads that are longer than any of ours are cut.
    ///
    /// # Errors
    /// [`FeedError`]; then the frame is lost, as on a line.
    pub fn send(&self, at: Instant, payload: &[u8]) -> Result<(), FeedError> {
        self.push(at, payload)?;
        self.waker().wake();
        Ok(())
    }

    /// Hands a frame over that the thread will find when it is woken.
    pub(crate) fn push(&self, at: Instant, payload: &[u8]) -> Result<(), FeedError> {
        let pushed = match self.frames.try_send(LiveFrame::new(at, payload)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(FeedError::Full),
            Err(TrySendError::Disconnected(_)) => return Err(FeedError::Closed),
        };
        // Also if it is full: the thread may have had no room to be told of what waits.
        self.threads.shards[self.shard].note_feed(self.id);
        pushed
    }

    pub(crate) fn waker(&self) -> FeedWaker {
        FeedWaker { threads: Arc::clone(&self.threads), shard: self.shard }
    }
}

impl FeedWaker {
    pub(crate) fn wake(&self) {
        self.threads.shards[self.shard].wake_for_feeds();
    }
}

impl PartialEq for FeedWaker {
    fn eq(&self, other: &Self) -> bool {
        self.shard == other.shard && Arc::ptr_eq(&self.threads, &other.threads)
    }
}

impl LiveFrame {
    pub(super) fn new(at: Instant, payload: &[u8]) -> Self {
        let len = payload.len().min(MAX_PAYLOAD);
        let mut bytes = [0; MAX_PAYLOAD];
        bytes[..len].copy_from_slice(&payload[..len]);
        Self { at, len, bytes }
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl LiveFrames {
    /// The next frame; `None` if there is none yet, an error if there never will be.
    pub(super) fn next(&self) -> Result<Option<LiveFrame>, FeedError> {
        match self.0.try_recv() {
            Ok(frame) => Ok(Some(frame)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(FeedError::Closed),
        }
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("id", &self.id).finish_non_exhaustive()
    }
}
