//! The owner's end of a stream: what it can be asked, from any thread and without waiting.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    EngineFull, PlayError, PlayoutId, PlayoutProgress, Remote, Segment, StreamStats, Threads,
    progress::Block,
    shard::StreamId,
    stats::StreamCounters,
    stream::{NewPlayout, StreamCommand},
    thread::Command,
};
use crate::{codec::Codec, prompt::EncodedPrompt};

/// Owner's end of one stream. Dropping it closes the stream and its sockets.
pub struct StreamHandle {
    pub(super) threads: Arc<Threads>,
    pub(super) shard: usize,
    pub(super) id: StreamId,
    pub(super) codec: Codec,
    pub(super) counters: Arc<StreamCounters>,
    pub(super) abandoned: Arc<AtomicBool>,
    /// The playout that may be extended. Held while a command is queued, so that segments and
    /// their counters come in the same order.
    pub(super) open: Mutex<Option<OpenPlayout>>,
}

/// An unsealed playout.
pub(super) struct OpenPlayout {
    id: PlayoutId,
    progress: Arc<PlayoutProgress>,
}

impl StreamHandle {
    /// Starts a playout; the first packet leaves at once if the stream is silent, and joins without
    /// a gap if the last packet before is still being heard.
    /// An unsealed playout waits at its end for [`StreamHandle::extend`].
    /// With `looping`, a sealed playout starts over at its end, without a gap.
    /// A playout without a sample finishes at once, also if it loops.
    ///
    /// # Errors
    /// [`PlayError`]; then nothing is played, and what played before goes on.
    pub fn play(
        &self,
        id: PlayoutId,
        segments: Vec<Segment>,
        sealed: bool,
        looping: bool,
    ) -> Result<Arc<PlayoutProgress>, PlayError> {
        let segments = self.encoded_for_stream(segments)?;
        let block = Block::new(&segments);
        let progress = Arc::new(PlayoutProgress::new(Arc::clone(&block)));
        let new =
            NewPlayout { id, segments, block, progress: Arc::clone(&progress), sealed, looping };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        self.send(StreamCommand::Play(Box::new(new)))?;
        *open = (!sealed).then(|| OpenPlayout { id, progress: Arc::clone(&progress) });
        Ok(progress)
    }

    /// Appends to an unsealed playout; `sealed` says that nothing more will come. Does nothing if
    /// the playout is sealed or was cut.
    ///
    /// # Errors
    /// [`PlayError`]; then nothing is appended, and the playout stays unsealed.
    pub fn extend(
        &self,
        id: PlayoutId,
        segments: Vec<Segment>,
        sealed: bool,
    ) -> Result<(), PlayError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(playout) = open.as_ref().filter(|playout| playout.id == id) else {
            return Ok(());
        };
        let segments = self.encoded_for_stream(segments)?;
        let block = Block::new(&segments);
        self.send(StreamCommand::Extend { id, segments, block: Arc::clone(&block), sealed })?;
        playout.progress.append(block);
        if sealed {
            *open = None;
        }
        Ok(())
    }

    /// Cuts a playout at once. Answered by [`super::StreamEvent::Stopped`] if it was still playing; if its
    /// [`super::StreamEvent::Finished`] is already on its way, nothing more is said.
    ///
    /// # Errors
    /// [`EngineFull`] when the thread's command queue is full.
    pub fn stop(&self, id: PlayoutId) -> Result<(), EngineFull> {
        self.send(StreamCommand::Stop { id, done: None })
    }

    /// Cuts a playout and waits until nothing of it will be sent any more, which takes well under a
    /// millisecond. True if it was still playing: then [`super::StreamEvent::Stopped`] comes as well.
    /// The playout is cut even if the future is dropped after its first poll.
    ///
    /// # Errors
    /// [`EngineFull`] when the thread's command queue is full.
    pub async fn stop_and_wait(&self, id: PlayoutId) -> Result<bool, EngineFull> {
        let (done, answer) = oneshot::channel();
        self.send(StreamCommand::Stop { id, done: Some(done) })?;
        // No answer comes from an engine that has ended, which sends nothing either.
        Ok(answer.await.unwrap_or(false))
    }

    /// Sends key presses, codes 0–16, as RFC 4733 events, after one another.
    ///
    /// Each is 40 ms to 8.1 s long (1.3 s with the 48 kHz clock of Opus). At least `gap` passes between them, and at least the 40 ms that
    /// the two repeats of an event's last packet take. A playout pauses meanwhile and then goes on
    /// from the same sample. Tones that cannot be sent (no telephone-event negotiated, another
    /// code, more than 256 waiting) are counted in [`super::StreamCounts::tones_refused`].
    ///
    /// # Errors
    /// [`EngineFull`] when the thread's command queue is full.
    pub fn send_tones(
        &self,
        event_codes: Vec<u8>,
        duration: Duration,
        gap: Duration,
    ) -> Result<(), EngineFull> {
        self.send(StreamCommand::Tones { codes: event_codes, duration, gap })
    }

    /// Changes where packets go, whether any may be sent (hold) and whether the far end is to send
    /// (else its silence is not minded), after a re-INVITE.
    ///
    /// On hold the playout's clock stands still: nothing of it is skipped, it goes on from the same
    /// sample when sending is allowed again. Tones wait as well; RTCP goes on (RFC 3264 §8.4).
    /// A latched port is kept while the signalled address stays the same.
    ///
    /// # Errors
    /// [`EngineFull`] when the thread's command queue is full.
    pub fn set_remote(
        &self,
        remote: Remote,
        sending: bool,
        receiving: bool,
    ) -> Result<(), EngineFull> {
        self.send(StreamCommand::SetRemote { remote, sending, receiving })
    }

    /// Sends no audio and no tones any more, for good: the far end has gone, and the owner may be
    /// busy. What was playing stands still until it is stopped.
    ///
    /// # Errors
    /// [`EngineFull`] when the thread's command queue is full.
    pub fn cease(&self) -> Result<(), EngineFull> {
        self.send(StreamCommand::Cease)
    }

    /// The codec prompts must be encoded for. Prompts of another sample codec are converted by the
    /// caller of [`Self::play`], each time anew; others cannot be.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// What the stream has done so far; what it sends while it plays may be counted 320 ms later.
    pub fn stats(&self) -> StreamStats {
        self.counters.read()
    }

    fn send(&self, command: StreamCommand) -> Result<(), EngineFull> {
        self.threads.shards[self.shard].send(Command::Stream(self.id, command))
    }

    fn encoded_for_stream(&self, mut segments: Vec<Segment>) -> Result<Vec<Segment>, PlayError> {
        for segment in &mut segments {
            let prompt = &segment.prompt;
            if prompt.codec() == self.codec {
                continue;
            }
            let (Some(codec), Some(samples)) = (self.codec.sample(), prompt.decode()) else {
                return Err(PlayError::Codec { prompt: prompt.codec(), stream: self.codec });
            };
            let bytes = codec.encode(&samples);
            segment.prompt = Arc::new(EncodedPrompt::samples(codec, prompt.sha256, bytes));
        }
        Ok(segments)
    }
}

impl Drop for StreamHandle {
    fn drop(&mut self) {
        let shard = &self.threads.shards[self.shard];
        shard.close(self.id, &self.abandoned);
        shard.counters.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for StreamHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamHandle").field("id", &self.id).finish_non_exhaustive()
    }
}
