//! The playout engine: threads that own RTP streams and send on absolute deadlines.
//!
//! Each thread owns its streams for their lifetime ([`Engine::add_stream`] chooses the one with
//! the fewest) and is driven by their deadlines: a stream's first packet leaves as soon as there is
//! something to play, and each following one 20 ms after the one before, so that streams are spread
//! over the 20 ms by when they began. A prompt is an immutable table of encoded audio that all
//! streams share; sending a packet is a header, a copy of its payload and a place in a batch that
//! crosses into the kernel by io_uring ([`DatagramIo`]), without allocation, lock or log.
//!
//! - A list of segments is played as the exact concatenation: packets are cut across their borders,
//!   and only the last packet of a sealed playout is padded.
//!   Frames of Opus are packets already: a list of prompts is the concatenation of their frames.
//! - With SRTP a packet is encrypted in place before it leaves, and heard only if it is authentic.
//! - A late tick sends at most 3 packets; what is further behind is moved back by whole packets
//!   (and counted), with timestamps that go on with the samples.
//! - Hold (`sending` false in [`StreamHandle::set_remote`]) stops the playout's clock: it goes on
//!   from the same sample when the hold ends. A prompt is there to be heard.
//! - Key presses pause the audio, nothing of a prompt is replaced by them.
//! - Packets are heard only from the address that was signalled (symmetric RTP: its port may differ
//!   and is latched); everything else is counted and ignored.

mod calendar;
mod clock;
mod crossing;
mod deadlines;
#[doc(hidden)]
pub mod driven;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod incoming;
mod lane;
mod ledger;
mod load;
mod mailbox;
mod origin;
mod path;
mod playout;
mod precedence;
mod progress;
mod reports;
mod send_clock;
mod sender;
mod shard;
mod sockets;
mod stats;
mod stream;
#[cfg(test)]
mod tests;
mod thread;

use std::{
    fmt, io,
    net::{SocketAddr, UdpSocket},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::oneshot;

pub use self::{
    crossing::DatagramIo,
    load::{EngineLoad, EngineWindow, Histogram, ThreadLoad, ThreadWindow},
    progress::{PlayoutProgress, SegmentProgress},
    stats::{EngineStats, StreamCounts, StreamStats},
};
use self::{
    progress::Block,
    shard::StreamId,
    sockets::Sockets,
    stats::StreamCounters,
    stream::{NewPlayout, Srtp, StreamCommand, StreamSetup},
    thread::{Command, ShardThread},
};
use crate::{codec::Codec, prompt::EncodedPrompt, srtp::SrtpKeys};

/// Size of the engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Threads that own streams; a stream never moves.
    pub threads: NonZeroUsize,
    /// How datagrams cross into the kernel.
    pub io: DatagramIo,
}

impl EngineConfig {
    /// So many threads, and the way for datagrams that is best here.
    pub fn with_threads(threads: NonZeroUsize) -> Self {
        Self { threads, io: DatagramIo::default() }
    }
}

/// A running engine. Clones share it; when the last clone and the last stream are gone, it stops.
#[derive(Clone)]
pub struct Engine(Arc<Threads>);

/// Ends the threads when the last owner goes; open streams say good-bye first.
struct Threads {
    shards: Box<[ShardThread]>,
    next_id: AtomicU64,
}

/// Identifies one playout of a stream; chosen by the caller (an operation's UUID).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlayoutId(pub u128);

/// Where the far end receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// RTP address.
    pub rtp: SocketAddr,
    /// RTCP address; `None` if RTCP shares the RTP port (RFC 5761).
    pub rtcp: Option<SocketAddr>,
}

/// Everything a stream needs to start.
pub struct StreamConfig {
    /// Bound RTP socket.
    pub rtp: UdpSocket,
    /// Bound RTCP socket; `None` with rtcp-mux.
    pub rtcp: Option<UdpSocket>,
    /// The far end.
    pub remote: Remote,
    /// Negotiated codec.
    pub codec: Codec,
    /// Payload type of the codec.
    pub payload_type: u8,
    /// Payload type of telephone-event (RFC 4733), if negotiated.
    pub telephone_event: Option<u8>,
    /// Our synchronisation source.
    pub ssrc: u32,
    /// First sequence number; random (RFC 3550 §5.1). With SRTP below 2^15, so that the far end
    /// counts roll-overs like us even if it misses the first packets (RFC 4568 §6.4).
    pub first_sequence: u16,
    /// First timestamp; random.
    pub first_timestamp: u32,
    /// RTCP canonical name.
    pub cname: String,
    /// Time between our RTCP reports (RFC 3550 §6.2: 5 s).
    pub rtcp_interval: Duration,
    /// Where events go. Never blocks the engine: an event that finds it full is kept and retried.
    pub events: tokio::sync::mpsc::Sender<StreamEvent>,
    /// Receives a copy of each RTP audio packet, for phones and (later) recording. When full,
    /// packets are dropped and counted.
    pub tap: Option<std::sync::mpsc::SyncSender<TappedPacket>>,
    /// Keys of both directions, for AEAD_AES_128_GCM (RFC 7714); `None` for plain RTP.
    pub srtp: Option<SrtpKeys>,
}

/// One received audio packet.
#[derive(Clone, Debug)]
pub struct TappedPacket {
    /// When it was taken from the socket.
    pub at: Instant,
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// The codec of the payload.
    pub codec: Codec,
    /// Encoded audio.
    pub payload: Vec<u8>,
}

/// What a stream tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// The last packet of a sealed playout was handed to the kernel.
    Finished(PlayoutId),
    /// A playout was cut by [`StreamHandle::stop`] (or by another `play`); nothing of it follows.
    Stopped(PlayoutId),
    /// The first RTP packet of the far end has arrived.
    Receiving,
    /// The far end pressed a key: RFC 4733 event code, once per press.
    Tone(u8),
}

/// A piece of a playout.
#[derive(Clone, Debug)]
pub struct Segment {
    /// What to play.
    pub prompt: Arc<EncodedPrompt>,
    /// Times in a row, at least 1.
    pub repeat: u32,
}

/// The engine or one of its queues is full.
#[derive(Debug, thiserror::Error)]
#[error("the playout engine is overloaded")]
pub struct EngineFull;

/// Why a stream does not play.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The thread's command queue is full.
    #[error(transparent)]
    Full(#[from] EngineFull),
    /// Only sample codecs are converted into each other.
    #[error("a prompt in {prompt:?} cannot be played to a stream of {stream:?}")]
    Codec {
        /// What the prompt is encoded in.
        prompt: Codec,
        /// What the stream carries.
        stream: Codec,
    },
}

/// Owner's end of one stream. Dropping it closes the stream and its sockets.
pub struct StreamHandle {
    threads: Arc<Threads>,
    shard: usize,
    id: StreamId,
    codec: Codec,
    counters: Arc<StreamCounters>,
    abandoned: Arc<AtomicBool>,
    /// The playout that may be extended. Held while a command is queued, so that segments and
    /// their counters come in the same order.
    open: Mutex<Option<OpenPlayout>>,
}

/// An unsealed playout.
struct OpenPlayout {
    id: PlayoutId,
    progress: Arc<PlayoutProgress>,
}

/// The time of a tick, read once.
#[derive(Clone, Copy, Debug)]
struct Now {
    at: Instant,
    wall: SystemTime,
}

impl Now {
    /// The same moment with the wall-clock time counted on from `began`: what RTCP says of a stream
    /// must not jump when somebody sets the clock, or round trips would be hours long (RFC 3550 §4:
    /// only differences of these times matter).
    fn counted_from(self, began: Self) -> Self {
        let since = self.at.saturating_duration_since(began.at);
        Self { at: self.at, wall: began.wall + since }
    }
}

impl Engine {
    /// Starts the engine's threads.
    ///
    /// # Errors
    /// When the operating system refuses a thread, a descriptor, or the io_uring that was asked for.
    pub fn start(config: EngineConfig) -> io::Result<Self> {
        let io = config.io.decide();
        let shards = (0..config.threads.get())
            .map(|number| ShardThread::start(number, io))
            .collect::<io::Result<_>>()?;
        Ok(Self(Arc::new(Threads { shards, next_id: AtomicU64::new(0) })))
    }

    /// Hands a stream to a thread, which keeps it to its end.
    ///
    /// # Errors
    /// [`EngineFull`] when the thread's command queue is full.
    pub fn add_stream(&self, config: StreamConfig) -> Result<StreamHandle, EngineFull> {
        let sockets = Sockets { rtp: config.rtp, rtcp: config.rtcp };
        for socket in [Some(&sockets.rtp), sockets.rtcp.as_ref()].into_iter().flatten() {
            // A socket that blocks would stop all calls of the thread. Valid ones never refuse.
            socket.set_nonblocking(true).map_err(|_| EngineFull)?;
        }
        let counters = Arc::new(StreamCounters::default());
        let abandoned = Arc::new(AtomicBool::new(false));
        let setup = Box::new(StreamSetup {
            remote: config.remote,
            codec: config.codec,
            payload_type: config.payload_type,
            telephone_event: config.telephone_event,
            ssrc: config.ssrc,
            first_sequence: config.first_sequence,
            first_timestamp: config.first_timestamp,
            cname: config.cname,
            rtcp_interval: config.rtcp_interval,
            events: config.events,
            tap: config.tap,
            srtp: config.srtp.as_ref().map(Srtp::new),
            counters: Arc::clone(&counters),
            abandoned: Arc::clone(&abandoned),
        });
        let id = StreamId(self.0.next_id.fetch_add(1, Ordering::Relaxed));
        let load = |shard: &ShardThread| shard.counters.streams.load(Ordering::Relaxed);
        let (number, shard) = self
            .0
            .shards
            .iter()
            .enumerate()
            .min_by_key(|(_, shard)| load(shard))
            .expect("there is at least one thread");
        shard.send(Command::Add { id, setup, sockets })?;
        shard.counters.streams.fetch_add(1, Ordering::Relaxed);
        Ok(StreamHandle {
            threads: Arc::clone(&self.0),
            shard: number,
            id,
            codec: config.codec,
            counters,
            abandoned,
            open: Mutex::new(None),
        })
    }

    /// What the engine has done so far. It is logged, too, when the engine stops.
    pub fn stats(&self) -> EngineStats {
        self.0.stats()
    }

    /// What the threads have measured of themselves so far.
    pub fn load(&self) -> EngineLoad {
        let threads = self.0.shards.iter().map(|shard| ThreadLoad::read(&shard.counters));
        EngineLoad { at: Instant::now(), threads: threads.collect() }
    }
}

impl Threads {
    fn stats(&self) -> EngineStats {
        let mut sum = EngineStats::default();
        self.shards.iter().for_each(|shard| shard.counters.add_to(&mut sum));
        sum
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        tracing::debug!(stats = ?self.stats(), "the playout engine stops");
    }
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

    /// Cuts a playout at once. Answered by [`StreamEvent::Stopped`] if it was still playing; if its
    /// [`StreamEvent::Finished`] is already on its way, nothing more is said.
    ///
    /// # Errors
    /// [`EngineFull`] when the thread's command queue is full.
    pub fn stop(&self, id: PlayoutId) -> Result<(), EngineFull> {
        self.send(StreamCommand::Stop { id, done: None })
    }

    /// Cuts a playout and waits until nothing of it will be sent any more, which takes well under a
    /// millisecond. True if it was still playing: then [`StreamEvent::Stopped`] comes as well.
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
    /// code, more than 256 waiting) are counted in [`StreamCounts::tones_refused`].
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

    /// Changes where packets go and whether any may be sent (hold), after a re-INVITE.
    ///
    /// On hold the playout's clock stands still: nothing of it is skipped, it goes on from the same
    /// sample when sending is allowed again. Tones wait as well; RTCP goes on (RFC 3264 §8.4).
    /// A latched port is kept while the signalled address stays the same.
    ///
    /// # Errors
    /// [`EngineFull`] when the thread's command queue is full.
    pub fn set_remote(&self, remote: Remote, sending: bool) -> Result<(), EngineFull> {
        self.send(StreamCommand::SetRemote { remote, sending })
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

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl fmt::Debug for StreamHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamHandle").field("id", &self.id).finish_non_exhaustive()
    }
}
