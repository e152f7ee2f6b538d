//! An engine thread's work without the thread: streams that play in a loop, driven tick by tick.
//! For counting what a packet costs, in instructions and not in seconds.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant, SystemTime},
};

use super::{
    Now, PlayoutId, PlayoutProgress, Remote, Segment,
    crossing::Crossing,
    progress::Block,
    send_clock::PACKET,
    shard::{Shard, StreamId},
    sockets::{SocketTable, Sockets},
    stats::{ShardCounters, StreamCounters},
    stream::{NewPlayout, StreamCommand, StreamSetup},
};
use crate::{codec::SampleCodec, prompt::EncodedPrompt};

/// Looping streams whose clock stands still between calls of [`Driven::advance`].
pub struct Driven {
    shard: Shard<SocketTable>,
    counters: Arc<ShardCounters>,
    now: Now,
    /// Where everything is sent; never read.
    _sink: UdpSocket,
}

impl Driven {
    /// So many streams, spread over 20 ms, that send by one system call for each packet.
    ///
    /// # Errors
    /// When there are not enough descriptors or ports.
    pub fn new(streams: u32, prompt: &Arc<EncodedPrompt>) -> io::Result<Self> {
        let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let counters = Arc::new(ShardCounters::default());
        let table = SocketTable::new(Crossing::single());
        let mut now = Now { at: Instant::now(), wall: SystemTime::now() };
        let mut shard = Shard::new(now.at, table, Arc::clone(&counters));
        for number in 0..streams {
            let id = StreamId(number.into());
            let slot = shard.add(now, id, setup(number, sink.local_addr()?));
            let rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            shard.sender().insert(slot, Sockets { rtp, rtcp: None });
            shard.handle(now, id, looping(prompt));
            now.at += PACKET / streams;
        }
        Ok(Self { shard, counters, now, _sink: sink })
    }

    /// Sends everything that is due within `span`, in ticks of a millisecond.
    pub fn advance(&mut self, span: Duration) {
        let until = self.now.at + span;
        while self.now.at < until {
            self.now.at += Duration::from_millis(1);
            self.shard.tick(self.now);
        }
    }

    /// RTP packets that the kernel has taken so far.
    pub fn packets_sent(&self) -> u64 {
        self.counters.packets_sent.get()
    }
}

impl std::fmt::Debug for Driven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driven").field("packets_sent", &self.packets_sent()).finish_non_exhaustive()
    }
}

fn looping(prompt: &Arc<EncodedPrompt>) -> StreamCommand {
    let segments = vec![Segment { prompt: Arc::clone(prompt), repeat: 1 }];
    let block = Block::new(&segments);
    let progress = Arc::new(PlayoutProgress::new(Arc::clone(&block)));
    let id = PlayoutId(1);
    let playout = NewPlayout { id, segments, block, progress, sealed: true, looping: true };
    StreamCommand::Play(Box::new(playout))
}

fn setup(number: u32, to: SocketAddr) -> StreamSetup {
    // Nobody listens: nothing is told while a loop plays.
    let (events, _) = tokio::sync::mpsc::channel(1);
    StreamSetup {
        remote: Remote { rtp: to, rtcp: None },
        codec: SampleCodec::Pcmu.codec(),
        payload_type: SampleCodec::Pcmu.payload_type(),
        telephone_event: None,
        ssrc: number,
        first_sequence: 0,
        first_timestamp: 0,
        cname: "driven@localhost".to_owned(),
        rtcp_interval: Duration::from_secs(5),
        events,
        tap: None,
        srtp: None,
        media_timeout: None,
        counters: Arc::new(StreamCounters::default()),
        abandoned: Arc::new(AtomicBool::new(false)),
    }
}
