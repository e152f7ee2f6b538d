//! The owner's end of a stream: what it can be asked, from any thread and without waiting.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::SyncSender,
    },
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    EngineFull, Feed, PlayError, PlayoutId, PlayoutProgress, Remote, Segment, StreamStats,
    TappedPacket, Threads, TonesError, TonesId,
    feed::feed,
    progress::Block,
    shard::StreamId,
    stats::StreamCounters,
    stream::{LayerCommand, NewPlayout, StreamCommand},
    thread::Command,
    tones::{self, Form, Tones},
};
use crate::{
    codec::Codec,
    dtmf::{MOST_TONES, generate},
    prompt::EncodedPrompt,
};

/// The longest tone that is made as sound: that of a telephone-event with an 8 kHz clock.
const LONGEST_TONE: Duration = Duration::from_millis(8_191);

/// Owner's end of one stream. Dropping it closes the stream and its sockets.
pub struct StreamHandle {
    pub(super) threads: Arc<Threads>,
    pub(super) shard: usize,
    pub(super) id: StreamId,
    pub(super) codec: Codec,
    /// Whether telephone-events were negotiated.
    pub(super) takes_events: bool,
    /// Whether it has no far end but a room.
    pub(super) is_virtual: bool,
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

    /// Plays a whole list over the playout, mixed with it, from now on; at most
    /// [`super::MAX_OVERLAYS`] at a time, further ones are answered by
    /// [`super::StreamEvent::Stopped`]. Its samples are clipped where the sum is too loud. It has an
    /// end of its own ([`super::StreamEvent::Finished`]) and is stopped like a playout.
    ///
    /// # Errors
    /// [`PlayError`], also when the stream's codec cannot be mixed; then nothing is played.
    pub fn overlay(
        &self,
        id: PlayoutId,
        segments: Vec<Segment>,
        looping: bool,
    ) -> Result<Arc<PlayoutProgress>, PlayError> {
        if self.codec.sample().is_none() {
            return Err(PlayError::Unmixable { stream: self.codec });
        }
        let segments = self.encoded_for_stream(segments)?;
        let block = Block::new(&segments);
        let progress = Arc::new(PlayoutProgress::new(Arc::clone(&block)));
        let (sealed, progress_of_it) = (true, Arc::clone(&progress));
        let new = NewPlayout { id, segments, block, progress: progress_of_it, sealed, looping };
        self.send(StreamCommand::Layer(LayerCommand::Overlay(Box::new(new))))?;
        Ok(progress)
    }

    /// Keeps a playout or an overlay silent, or lets it go on from the next sample. Timestamps go on
    /// with time meanwhile, as they do between two playouts.
    ///
    /// # Errors
    /// [`EngineFull`] when the thread's command queue is full.
    pub fn pause(&self, id: PlayoutId, paused: bool) -> Result<(), EngineFull> {
        self.send(StreamCommand::Layer(LayerCommand::Pause { id, paused }))
    }

    /// Lets a playout or an overlay go on from another place: so many units of the RTP clock behind
    /// its beginning, repeats counted, in the round that is under way if it loops. Behind its end
    /// it is at its end. What is sent twice counts twice in [`PlayoutProgress`].
    ///
    /// # Errors
    /// [`EngineFull`] when the thread's command queue is full.
    pub fn seek(&self, id: PlayoutId, units: u64) -> Result<(), EngineFull> {
        self.send(StreamCommand::Layer(LayerCommand::Seek { id, units }))
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

    /// Sends key presses, codes 0–16, after one another: as RFC 4733 events or, where none were
    /// negotiated, as sound (ITU-T Q.23).
    ///
    /// Each is 40 ms to 8.1 s long (1.3 s with the 48 kHz clock of Opus). At least `gap`, up to a
    /// minute, passes between them, and at least the 40 ms that the two repeats of an event's last
    /// packet take. A playout pauses meanwhile and then goes on from the same sample. The sequence
    /// ends with [`super::StreamEvent::TonesSent`]; or with [`super::StreamEvent::TonesStopped`] if
    /// it is stopped or is one too many (256 tones, 32 sequences), which counts in
    /// [`super::StreamCounts::tones_refused`].
    ///
    /// # Errors
    /// [`TonesError`]; then nothing is sent and no event follows.
    pub fn send_tones(
        &self,
        id: TonesId,
        event_codes: Vec<u8>,
        duration: Duration,
        gap: Duration,
    ) -> Result<(), TonesError> {
        let form = if self.takes_events {
            Form::Events { codes: event_codes, duration, gap }
        } else {
            let soundless = |code: &&u8| generate::frequencies(**code).is_none();
            if let Some(code) = event_codes.iter().find(soundless) {
                return Err(TonesError::Soundless(*code));
            }
            let codec = self.codec.sample().ok_or(TonesError::Codec(self.codec))?;
            // More would be refused anyway.
            let tones = event_codes.len().min(MOST_TONES + 1);
            let bytes = tones::sound(codec, &event_codes[..tones], duration.min(LONGEST_TONE), gap);
            Form::Sound { tones, bytes: bytes.unwrap_or_default() }
        };
        Ok(self.send(StreamCommand::Tones(Tones { id, form }))?)
    }

    /// Gives a sequence of tones up; answered by [`super::StreamEvent::TonesStopped`] unless all of
    /// it was sent already.
    ///
    /// # Errors
    /// [`EngineFull`] when the thread's command queue is full.
    pub fn stop_tones(&self, id: TonesId) -> Result<(), EngineFull> {
        self.send(StreamCommand::StopTones(id))
    }

    /// From now on `to` gets a copy of each audio packet that is accepted from the far end, until
    /// its receiver is gone. While it is full, packets are dropped and counted
    /// ([`super::StreamCounts::tap_dropped`]). A stream has at most [`super::MOST_TAPS`]; one more is
    /// let go of at once.
    ///
    /// # Errors
    /// [`EngineFull`] when the thread's command queue is full.
    pub fn tap(&self, to: SyncSender<TappedPacket>) -> Result<(), EngineFull> {
        self.send(StreamCommand::Tap(to))
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

    /// Lets the stream send live audio while it plays nothing: whoever has the feed hands frames
    /// over as they are due. Another feed replaces it. The virtual member of a room hears what it
    /// is fed, by its taps.
    ///
    /// # Errors
    /// [`EngineFull`] when the thread's command queue is full.
    pub fn feed(&self) -> Result<Feed, EngineFull> {
        let (feed, frames) = feed(&self.threads, self.shard, self.id);
        self.send(StreamCommand::Feed(frames))?;
        Ok(feed)
    }

    /// Where what the stream's far end says goes besides the taps, or what a virtual stream plays:
    /// the room that it has joined, instead of the one before.
    pub(crate) fn speak_to(&self, room: SyncSender<TappedPacket>) -> Result<(), EngineFull> {
        self.send(StreamCommand::SpeakTo(room))
    }

    /// Whether it is a stream without a far end, a member of a room only.
    pub fn is_virtual(&self) -> bool {
        self.is_virtual
    }

    /// The codec prompts must be encoded for. Prompts of another sample codec are converted by the
    /// caller of [`Self::play`], each time anew; others cannot be.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Whether the far end takes key presses as telephone-events; else it sends them as sound, too.
    pub fn takes_events(&self) -> bool {
        self.takes_events
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
