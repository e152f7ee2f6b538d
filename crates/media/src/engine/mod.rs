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
//! - Live audio ([`StreamHandle::feed`]) is sent while nothing else is played.
//! - Packets are heard only from the address that was signalled (symmetric RTP: its port may differ
//!   and is latched) and from one synchronisation source; everything else is counted and ignored.

mod calendar;
mod clock;
mod crossing;
mod deadlines;
#[doc(hidden)]
pub mod driven;
mod feed;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod incoming;
mod lane;
mod ledger;
mod load;
mod mailbox;
mod origin;
mod overlay;
mod path;
mod playout;
pub(crate) mod precedence;
mod progress;
mod reports;
mod send_clock;
mod sender;
mod shard;
mod silence;
mod sockets;
mod sources;
mod stats;
mod stream;
mod taps;
#[cfg(test)]
mod tests;
mod thread;
mod tones;

use std::{
    fmt, io,
    net::{SocketAddr, UdpSocket},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

pub use self::{
    crossing::DatagramIo,
    feed::{Feed, FeedError},
    handle::StreamHandle,
    load::{EngineLoad, EngineWindow, Histogram, ThreadLoad, ThreadWindow},
    overlay::MAX_OVERLAYS,
    progress::{PlayoutProgress, SegmentProgress},
    stats::{EngineStats, StreamCounts, StreamStats},
    taps::MOST_TAPS,
};
pub(crate) use self::{feed::FeedWaker, load::LoadMeter};
use self::{
    shard::StreamId,
    sockets::Sockets,
    stream::{Srtp, StreamSetup},
    thread::{Command, ShardThread},
};
use crate::{
    codec::{Codec, SampleCodec},
    prompt::EncodedPrompt,
    srtp::SrtpKeys,
};

/// A stream without a far end reports to nobody.
const NO_REPORTS: Duration = Duration::from_secs(24 * 60 * 60);

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

/// Identifies one sequence of key presses that a stream sends; chosen by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TonesId(pub u128);

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
    /// Receives a copy of each RTP audio packet from the first on, as for phones; see
    /// [`StreamHandle::tap`]. When full, packets are dropped and counted.
    pub tap: Option<std::sync::mpsc::SyncSender<TappedPacket>>,
    /// [`StreamEvent::Silent`] is told when neither RTP nor RTCP comes for so long from a far end
    /// that is to send; `None` never tells.
    pub media_timeout: Option<Duration>,
    /// Keys of both directions, for AEAD_AES_128_GCM (RFC 7714); `None` for plain RTP.
    pub srtp: Option<SrtpKeys>,
}

/// Everything a stream without a far end needs to start.
#[derive(Clone, Debug)]
pub struct VirtualStreamConfig {
    /// What it plays and hears is encoded in.
    pub codec: SampleCodec,
    /// Where events go, as for [`StreamConfig::events`].
    pub events: tokio::sync::mpsc::Sender<StreamEvent>,
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
    /// Nothing came for [`StreamConfig::media_timeout`]. Told once for each such time.
    Silent,
    /// The far end pressed a key: RFC 4733 event code, once per press.
    Tone(u8),
    /// All of a sequence of [`StreamHandle::send_tones`] has been handed to the kernel.
    TonesSent(TonesId),
    /// A sequence was given up by [`StreamHandle::stop_tones`], or could not be sent; nothing of it
    /// follows, except the end of a key press that had begun.
    TonesStopped(TonesId),
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

/// Why a stream does not send tones.
#[derive(Debug, thiserror::Error)]
pub enum TonesError {
    /// The thread's command queue is full.
    #[error(transparent)]
    Full(#[from] EngineFull),
    /// It would have to be sent as sound, and has none (flash) or is no key.
    #[error("the far end takes no telephone-events, and event {0} has no sound")]
    Soundless(u8),
    /// The far end takes no telephone-events, and we cannot encode its codec.
    #[error("the far end takes no telephone-events, and sound cannot be sent in {0:?}")]
    Codec(Codec),
}

/// Why a stream does not play.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The thread's command queue is full.
    #[error(transparent)]
    Full(#[from] EngineFull),
    /// Only sample codecs are mixed.
    #[error("nothing can be mixed over a stream of {stream:?}")]
    Unmixable {
        /// What the stream carries.
        stream: Codec,
    },
    /// Only sample codecs are converted into each other.
    #[error("a prompt in {prompt:?} cannot be played to a stream of {stream:?}")]
    Codec {
        /// What the prompt is encoded in.
        prompt: Codec,
        /// What the stream carries.
        stream: Codec,
    },
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
            media_timeout: config.media_timeout,
            counters: Arc::default(),
            abandoned: Arc::default(),
        });
        self.add(config.codec, setup, Some(sockets))
    }

    /// Adds a stream without sockets and far end: the member of a [room](crate::room::Room) that
    /// plays to the room and whose taps hear what the others say. It plays in real time whether it
    /// has joined one or not; samples that no room has taken are not counted as sent.
    ///
    /// # Errors
    /// [`EngineFull`] when the thread's command queue is full.
    pub fn add_virtual_stream(
        &self,
        config: VirtualStreamConfig,
    ) -> Result<StreamHandle, EngineFull> {
        let codec = config.codec.codec();
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let setup = Box::new(StreamSetup {
            remote: Remote { rtp: nowhere, rtcp: None },
            codec,
            payload_type: config.codec.payload_type(),
            telephone_event: None,
            ssrc: 0,
            first_sequence: 0,
            first_timestamp: 0,
            cname: String::new(),
            rtcp_interval: NO_REPORTS,
            events: config.events,
            tap: None,
            srtp: None,
            media_timeout: None,
            counters: Arc::default(),
            abandoned: Arc::default(),
        });
        self.add(codec, setup, None)
    }

    fn add(
        &self,
        codec: Codec,
        setup: Box<StreamSetup>,
        sockets: Option<Sockets>,
    ) -> Result<StreamHandle, EngineFull> {
        let (counters, abandoned) = (Arc::clone(&setup.counters), Arc::clone(&setup.abandoned));
        let (takes_events, is_virtual) = (setup.telephone_event.is_some(), sockets.is_none());
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
            codec,
            takes_events,
            is_virtual,
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

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
