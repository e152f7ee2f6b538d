//! The receiving half of a stream for the target `rtp_receive` in `fuzz/`: datagrams in, on a
//! clock that the target moves; key presses and counts out.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant, UNIX_EPOCH},
};

use tokio::sync::mpsc;

use super::{
    Now, Remote, StreamEvent, StreamStats,
    sender::{Channel, Datagram, PacketSender},
    shard::{Shard, StreamId},
    stats::{ShardCounters, StreamCounters},
    stream::{Srtp, StreamSetup},
};
use crate::{codec::Codec, srtp::SrtpKeys};

/// Takes packets and loses them, with what they were.
#[derive(Default)]
struct Lost(Vec<(SocketAddr, usize)>);

impl PacketSender for Lost {
    fn send(&mut self, batch: &mut [Datagram]) {
        for datagram in batch {
            datagram.sent = true;
            self.0.push((datagram.to, datagram.len));
        }
    }
}

/// One stream, and what its owner was told.
pub struct Receiving {
    shard: Shard<Lost>,
    counters: Arc<StreamCounters>,
    now: Now,
    owner: mpsc::Receiver<StreamEvent>,
}

impl Receiving {
    /// A stream that expects `far_end` to send these payload types, protected by `srtp` if there.
    pub fn new(
        codec: Codec,
        payload_type: u8,
        telephone_event: Option<u8>,
        far_end: Remote,
        srtp: Option<&SrtpKeys>,
    ) -> Self {
        let (events, owner) = mpsc::channel(8);
        let stream = Arc::new(StreamCounters::default());
        let now = Now { at: Instant::now(), wall: UNIX_EPOCH + Duration::from_secs(1 << 30) };
        let mut shard = Shard::new(now.at, Lost::default(), Arc::new(ShardCounters::default()));
        let setup = StreamSetup {
            remote: far_end,
            codec,
            payload_type,
            telephone_event,
            ssrc: 1,
            first_sequence: 0,
            first_timestamp: 0,
            cname: "fuzz@localhost".to_owned(),
            rtcp_interval: Duration::from_secs(5),
            media_timeout: Some(Duration::from_secs(60)),
            events,
            tap: None,
            srtp: srtp.map(Srtp::new),
            counters: Arc::clone(&stream),
            abandoned: Arc::new(AtomicBool::new(false)),
        };
        shard.add(now, StreamId(1), setup);
        Self { shard, counters: stream, now, owner }
    }

    /// A datagram comes to the RTP port, or to that of RTCP.
    pub fn datagram(&mut self, from: SocketAddr, on_rtcp: bool, bytes: &[u8]) {
        let channel = if on_rtcp { Channel::Rtcp } else { Channel::Rtp };
        self.shard.receive(self.now, |_, take| take(0, channel, from, bytes));
    }

    /// Time passes, and reports are sent when they are due: to whom, and how long they are.
    pub fn pass(&mut self, time: Duration) -> Vec<(SocketAddr, usize)> {
        self.now = Now { at: self.now.at + time, wall: self.now.wall + time };
        self.shard.tick(self.now);
        std::mem::take(&mut self.shard.sender().0)
    }

    /// What the owner was told since the last look.
    pub fn told(&mut self) -> Vec<StreamEvent> {
        std::iter::from_fn(|| self.owner.try_recv().ok()).collect()
    }

    /// What was counted.
    pub fn stats(&self) -> StreamStats {
        self.counters.read()
    }
}
