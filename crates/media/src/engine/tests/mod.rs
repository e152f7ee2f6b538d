//! The core under a clock that tests move: what is sent, when, and what is told to owners.

mod lanes;
mod layered;
mod live;
mod opus;
mod playing;
mod receiving;
mod reporting;
mod srtp;
mod strangers;
mod tones;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::mpsc;

use super::{
    Now, PlayoutId, PlayoutProgress, Remote, Segment, StreamEvent, StreamStats, TappedPacket,
    TonesId,
    progress::Block,
    sender::{Channel, Content, Datagram, PacketSender},
    shard::{Shard, StreamId},
    stats::{ShardCounters, StreamCounters},
    stream::{NewPlayout, Srtp, StreamCommand, StreamSetup},
    tones::{Form, Tones},
};
use crate::{
    codec::{Codec, SampleCodec},
    prompt::{EncodedAudio, EncodedPrompt, FrameTable, Sha256},
    rtp::{Header, Packet},
    srtp::{MasterKey, Protect, SRTP_OVERHEAD, SrtpKeys, Unprotect},
};

const FIRST_SEQUENCE: u16 = 0xFFFE;
const FIRST_TIMESTAMP: u32 = 0xFFFF_FF00;
const EVENT_TYPE: u8 = 101;
const OPUS_TYPE: u8 = 111;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

/// Samples that say where they are from: no two neighbours of a prompt are alike.
fn samples(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251 + seed * 41) as u8).collect()
}

fn segment(bytes: &[u8], repeat: u32) -> Segment {
    let prompt = EncodedPrompt::samples(SampleCodec::Pcmu, Sha256([0; 32]), bytes);
    Segment { prompt: Arc::new(prompt), repeat }
}

/// The bytes of a segment that has one per sample.
fn bytes_of(segment: &Segment) -> &[u8] {
    match &segment.prompt.audio {
        EncodedAudio::Samples { bytes, .. } => bytes,
        EncodedAudio::Opus(_) => panic!("frames are no samples"),
    }
}

/// Frames of 20 ms and of these lengths that say where they are from.
fn frames(seed: usize, lengths: &[usize]) -> Vec<Vec<u8>> {
    let frame = |(at, length): (usize, &usize)| {
        // A CELT packet of one frame by its first byte.
        let mut frame = vec![19 << 3];
        frame.extend(samples(seed + at, *length));
        frame
    };
    lengths.iter().enumerate().map(frame).collect()
}

fn opus_segment(frames: &[Vec<u8>], repeat: u32) -> Segment {
    let prompt = EncodedPrompt::opus(Sha256([0; 32]), FrameTable::opus(frames).unwrap());
    Segment { prompt: Arc::new(prompt), repeat }
}

/// The keys of all streams here that have some.
fn srtp_keys() -> SrtpKeys {
    let key = |byte| MasterKey { key: [byte; 16], salt: [byte + 1; 12] };
    SrtpKeys { local: key(1), remote: key(7) }
}

/// A datagram and when it left.
#[derive(Clone, Debug)]
struct Sent {
    at: Duration,
    slot: usize,
    channel: Channel,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Sent {
    fn packet(&self) -> Packet<'_> {
        Packet::parse(&self.bytes).unwrap()
    }

    fn header(&self) -> Header {
        self.packet().header
    }
}

/// Keeps what the core sends, or refuses it.
#[derive(Default)]
struct Recorder {
    now: Duration,
    sent: Vec<Sent>,
    refuse: bool,
    /// Takes packets without keeping them, for counting allocations.
    forget: bool,
    /// Packets that no stream has decided about.
    routine: usize,
}

impl PacketSender for Recorder {
    fn send(&mut self, batch: &mut [Datagram]) {
        for datagram in batch.iter_mut().filter(|datagram| datagram.channel != Channel::Room) {
            datagram.sent = !self.refuse;
            self.routine += usize::from(datagram.content == Content::Routine);
            if !self.refuse && !self.forget {
                self.sent.push(Sent {
                    at: self.now,
                    slot: datagram.slot,
                    channel: datagram.channel,
                    to: datagram.to,
                    bytes: datagram.bytes().to_vec(),
                });
            }
        }
    }
}

/// A shard, its clock, and the owners' side of its streams.
struct Rig {
    shard: Shard<Recorder>,
    start: Instant,
    elapsed: Duration,
    /// What somebody has set the wall clock ahead by.
    wall_step: Duration,
    counters: Arc<ShardCounters>,
    streams: u64,
}

/// The owner's side of a stream.
struct Owner {
    id: StreamId,
    slot: usize,
    events: mpsc::Receiver<StreamEvent>,
    tap: std::sync::mpsc::Receiver<TappedPacket>,
    counters: Arc<StreamCounters>,
}

/// What differs between streams of the tests.
struct Options {
    codec: Codec,
    srtp: Option<SrtpKeys>,
    remote: Remote,
    telephone_event: Option<u8>,
    rtcp_interval: Duration,
    event_places: usize,
    ssrc: u32,
    media_timeout: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            codec: Codec::Pcmu,
            srtp: None,
            remote: Remote { rtp: address(4_000), rtcp: Some(address(4_001)) },
            telephone_event: Some(EVENT_TYPE),
            // Reports are the business of the tests that ask for them.
            rtcp_interval: Duration::from_secs(1_000_000),
            event_places: 16,
            ssrc: 0x1234_5678,
            media_timeout: None,
        }
    }
}

impl Rig {
    fn new() -> Self {
        let (counters, start) = (Arc::new(ShardCounters::default()), Instant::now());
        Self {
            shard: Shard::new(start, Recorder::default(), Arc::clone(&counters)),
            start,
            elapsed: Duration::ZERO,
            wall_step: Duration::ZERO,
            counters,
            streams: 0,
        }
    }

    fn with_stream() -> (Self, Owner) {
        Self::with(Options::default())
    }

    fn with(options: Options) -> (Self, Owner) {
        let mut rig = Self::new();
        let owner = rig.stream(options);
        (rig, owner)
    }

    fn stream(&mut self, options: Options) -> Owner {
        let (events_in, events) = mpsc::channel(options.event_places);
        let (tap_in, tap) = std::sync::mpsc::sync_channel(4);
        let counters = Arc::new(StreamCounters::default());
        let id = StreamId(self.streams);
        self.streams += 1;
        let setup = StreamSetup {
            remote: options.remote,
            codec: options.codec,
            payload_type: payload_type(options.codec),
            telephone_event: options.telephone_event,
            ssrc: options.ssrc,
            first_sequence: FIRST_SEQUENCE,
            first_timestamp: FIRST_TIMESTAMP,
            cname: "rig@example".into(),
            rtcp_interval: options.rtcp_interval,
            events: events_in,
            tap: Some(tap_in),
            srtp: options.srtp.as_ref().map(Srtp::new),
            media_timeout: options.media_timeout,
            counters: Arc::clone(&counters),
            abandoned: Arc::new(AtomicBool::new(false)),
        };
        let slot = self.shard.add(self.now(), id, setup);
        Owner { id, slot, events, tap, counters }
    }

    fn now(&self) -> Now {
        Now { at: self.start + self.elapsed, wall: self.wall() }
    }

    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000) + self.elapsed + self.wall_step
    }

    /// Lets the core tick whenever it asks to, for `span`.
    fn run(&mut self, span: Duration) {
        let end = self.elapsed + span;
        while let Some(deadline) = self.shard.deadline() {
            let at = deadline.saturating_duration_since(self.start).max(self.elapsed);
            if at > end {
                break;
            }
            self.elapsed = at;
            self.tick();
        }
        self.elapsed = end;
    }

    /// Lets time pass without a tick, then ticks once.
    fn stall(&mut self, span: Duration) {
        self.elapsed += span;
        self.tick();
    }

    fn tick(&mut self) {
        self.shard.sender().now = self.elapsed;
        let now = self.now();
        self.shard.tick(now);
    }

    /// A command and the tick that follows it in the thread.
    fn command(&mut self, owner: &Owner, command: StreamCommand) {
        let now = self.now();
        self.shard.handle(now, owner.id, command);
        self.tick();
    }

    fn play(
        &mut self,
        owner: &Owner,
        id: u128,
        segments: &[Segment],
        sealed: bool,
        looping: bool,
    ) -> Arc<PlayoutProgress> {
        let block = Block::new(segments);
        let progress = Arc::new(PlayoutProgress::new(Arc::clone(&block)));
        let new = NewPlayout {
            id: PlayoutId(id),
            segments: segments.to_vec(),
            block,
            progress: Arc::clone(&progress),
            sealed,
            looping,
        };
        self.command(owner, StreamCommand::Play(Box::new(new)));
        progress
    }

    fn extend(
        &mut self,
        owner: &Owner,
        id: u128,
        segments: &[Segment],
        sealed: bool,
        progress: &PlayoutProgress,
    ) {
        let (block, segments) = (Block::new(segments), segments.to_vec());
        progress.append(Arc::clone(&block));
        let id = PlayoutId(id);
        self.command(owner, StreamCommand::Extend { id, segments, block, sealed });
    }

    fn stop(&mut self, owner: &Owner, id: u128) {
        self.command(owner, StreamCommand::Stop { id: PlayoutId(id), done: None });
    }

    fn tones(
        &mut self,
        owner: &Owner,
        id: u128,
        codes: Vec<u8>,
        duration: Duration,
        gap: Duration,
    ) {
        let form = Form::Events { codes, duration, gap };
        self.command(owner, StreamCommand::Tones(Tones { id: TonesId(id), form }));
    }

    fn set_remote(&mut self, owner: &Owner, remote: Remote, sending: bool) {
        self.command(owner, StreamCommand::SetRemote { remote, sending, receiving: true });
    }

    /// A datagram of somebody comes to the stream.
    fn deliver(&mut self, owner: &Owner, channel: Channel, from: SocketAddr, bytes: &[u8]) {
        let now = self.now();
        self.shard.receive(now, |_, stream| stream(owner.slot, channel, from, bytes));
    }

    /// RTP that was sent so far; forgets it.
    fn rtp(&mut self) -> Vec<Sent> {
        let (rtp, rest) = std::mem::take(&mut self.shard.sender().sent)
            .into_iter()
            .partition(|sent| !crate::rtp::is_rtcp(&sent.bytes));
        self.shard.sender().sent = rest;
        rtp
    }

    /// RTCP that was sent so far; forgets it.
    fn rtcp(&mut self) -> Vec<Sent> {
        let (rtcp, rest) = std::mem::take(&mut self.shard.sender().sent)
            .into_iter()
            .partition(|sent| crate::rtp::is_rtcp(&sent.bytes));
        self.shard.sender().sent = rest;
        rtcp
    }
}

impl Owner {
    fn events(&mut self) -> Vec<StreamEvent> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }

    fn stats(&self) -> StreamStats {
        self.counters.read()
    }
}

fn payload_type(codec: Codec) -> u8 {
    codec.sample().map_or(OPUS_TYPE, SampleCodec::payload_type)
}

/// The payloads of packets, one after another.
fn audio(sent: &[Sent]) -> Vec<u8> {
    sent.iter().flat_map(|sent| sent.packet().payload.to_vec()).collect()
}

/// An RTP packet of the far end.
fn rtp_bytes(header: Header, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [0; 12];
    header.write(&mut bytes);
    [&bytes[..], payload].concat()
}

#[test]
fn streams_that_are_due_within_half_a_millisecond_share_a_tick() {
    let mut rig = Rig::new();
    let owners: Vec<_> = (0..3).map(|_| rig.stream(Options::default())).collect();
    for owner in &owners {
        rig.play(owner, 1, &[segment(&samples(1, 8_000), 1)], true, false);
        rig.run(Duration::from_micros(200));
    }
    rig.rtp();
    rig.run(ms(20));
    let sent = rig.rtp();
    assert_eq!(sent.iter().map(|sent| sent.at).collect::<Vec<_>>(), [ms(20); 3]);
    // Being early by part of a tick does not add up.
    rig.run(Duration::from_secs(1) - ms(20) - Duration::from_micros(600));
    assert!(rig.rtp().iter().all(|sent| sent.at.as_millis() % 20 == 0));
}

#[test]
fn many_streams_with_one_deadline_all_send() {
    let mut rig = Rig::new();
    let owners: Vec<_> = (0..200).map(|_| rig.stream(Options::default())).collect();
    for owner in &owners {
        rig.play(owner, 1, &[segment(&samples(1, 480), 1)], true, false);
    }
    rig.run(ms(100));
    assert_eq!(rig.rtp().len(), 600);
    for mut owner in owners {
        assert_eq!(owner.events(), [StreamEvent::Finished(PlayoutId(1))]);
    }
    assert_eq!(rig.counters.packets_sent.get(), 600);
}

#[test]
fn playing_allocates_nothing() {
    const ROUNDS: u16 = 1_000;
    let mut rig = Rig::new();
    let kinds = [
        (Codec::Pcmu, None),
        (Codec::Pcmu, Some(srtp_keys())),
        (Codec::Opus, None),
        (Codec::Opus, Some(srtp_keys())),
    ];
    let owners: Vec<_> = (0..48)
        .map(|number| {
            let (codec, srtp) = kinds[number as usize % kinds.len()].clone();
            let rtcp_interval = Duration::from_secs(5);
            rig.stream(Options { codec, srtp, rtcp_interval, ssrc: number, ..Options::default() })
        })
        .collect();
    let sampled = [segment(&samples(1, 1_000), 3), segment(&samples(2, 77), 1)];
    let framed = [opus_segment(&frames(1, &[100, 0, 399]), 3), opus_segment(&frames(2, &[1]), 1)];
    for (number, owner) in owners.iter().enumerate() {
        let prompts = if number % 4 < 2 { &sampled } else { &framed };
        rig.play(owner, 1, prompts, true, true);
        rig.run(Duration::from_micros(700));
    }
    rig.shard.sender().forget = true;
    let protect = Protect::new(&srtp_keys().remote);
    let clear = |sequence| rtp_bytes(far_header(sequence, 160, EVENT_TYPE), &[5, 0, 0, 160]);
    let events: Vec<_> = (0..=ROUNDS)
        .map(|sequence| [clear(sequence), sealed(&protect, &clear(sequence), sequence.into())])
        .collect();
    let hear = |rig: &mut Rig, round: u16| {
        for (owner, secured) in owners.iter().zip([0, 1].into_iter().cycle()) {
            rig.deliver(owner, Channel::Rtp, address(4_000), &events[usize::from(round)][secured]);
        }
    };
    hear(&mut rig, 0);
    let before = rig.counters.packets_sent.get();
    let allocations = allocation_counter::measure(|| {
        for round in 1..=ROUNDS {
            rig.run(ms(20));
            hear(&mut rig, round);
        }
    });
    assert_eq!(rig.counters.packets_sent.get() - before, 48_000);
    for owner in owners {
        let counts = owner.stats().counts;
        assert!(counts.reports_sent >= 2);
        assert_eq!(counts.packets_received, u64::from(ROUNDS) + 1);
    }
    assert_eq!(allocations.count_total, 0);
}

#[test]
fn a_closed_stream_leaves_its_slot_to_the_next() {
    let (mut rig, owner) = Rig::with_stream();
    rig.play(&owner, 1, &[segment(&samples(1, 8_000), 1)], true, false);
    let now = rig.now();
    let closed = |it: Option<(usize, _)>| it.map(|(slot, _)| slot);
    assert_eq!(closed(rig.shard.close(now, owner.id)), Some(owner.slot));
    assert_eq!(closed(rig.shard.close(now, owner.id)), None);
    assert_eq!(rig.shard.deadline(), None, "nothing keeps an empty thread awake");
    rig.rtp();
    rig.stop(&owner, 1);
    let next = rig.stream(Options::default());
    assert_eq!(next.slot, owner.slot);
    rig.run(ms(100));
    assert!(rig.rtp().is_empty());
}

/// A packet as a far end with these keys sends it.
fn sealed(protect: &Protect, packet: &[u8], index: u64) -> Vec<u8> {
    let mut bytes = [packet, &[0; SRTP_OVERHEAD]].concat();
    protect.rtp(&mut bytes, packet.len(), index);
    bytes
}

/// A header of the far end's packets.
fn far_header(sequence: u16, timestamp: u32, payload_type: u8) -> Header {
    Header { marker: false, payload_type, sequence, timestamp, ssrc: 0xFA4 }
}
