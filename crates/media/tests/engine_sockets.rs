//! The engine with its threads, over real sockets on the loopback interface.
#![expect(clippy::unwrap_used, reason = "the functions that tests call are test code as well")]

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use graphophone_media::{
    codec::{Codec, SampleCodec},
    engine::{
        DatagramIo, Engine, EngineConfig, PlayError, PlayoutId, Remote, Segment, StreamConfig,
        StreamEvent, StreamHandle, TappedPacket, TonesId,
    },
    prompt::{EncodedPrompt, FrameTable, Sha256},
    rtcp, rtp,
};
use tokio::{sync::mpsc, time::timeout};

/// Longer than anything here takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(20);

const ONE: PlayoutId = PlayoutId(1);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn engine() -> Engine {
    Engine::start(EngineConfig::with_threads(NonZeroUsize::MIN)).unwrap()
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

fn address(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().unwrap()
}

fn samples(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn segment(codec: SampleCodec, bytes: &[u8]) -> Segment {
    let prompt = EncodedPrompt::samples(codec, Sha256([0; 32]), bytes);
    Segment { prompt: Arc::new(prompt), repeat: 1 }
}

struct Stream {
    handle: StreamHandle,
    events: mpsc::Receiver<StreamEvent>,
    tap: std::sync::mpsc::Receiver<TappedPacket>,
    rtp: SocketAddr,
    rtcp: SocketAddr,
}

impl Stream {
    /// A stream between new sockets and `remote`.
    fn open(engine: &Engine, remote: Remote) -> Self {
        let (rtp, rtcp) = (socket(), socket());
        let (rtp_address, rtcp_address) = (address(&rtp), address(&rtcp));
        let (events_in, events) = mpsc::channel(16);
        let (tap_in, tap) = std::sync::mpsc::sync_channel(1_000);
        let handle = engine
            .add_stream(StreamConfig {
                rtp,
                rtcp: Some(rtcp),
                remote,
                codec: Codec::Pcma,
                payload_type: 8,
                telephone_event: Some(101),
                ssrc: u32::from(rtp_address.port()),
                first_sequence: 0xFFFF,
                first_timestamp: 7,
                cname: "test@localhost".into(),
                rtcp_interval: ms(100),
                events: events_in,
                tap: Some(tap_in),
                srtp: None,
                media_timeout: None,
            })
            .unwrap();
        Self { handle, events, tap, rtp: rtp_address, rtcp: rtcp_address }
    }

    fn play(&self, bytes: &[u8], looping: bool) {
        self.handle.play(ONE, vec![segment(SampleCodec::Pcma, bytes)], true, looping).unwrap();
    }

    async fn event(&mut self) -> Option<StreamEvent> {
        timeout(DEADLINE, self.events.recv()).await.unwrap()
    }
}

/// A far end that only listens.
struct Ear {
    rtp: UdpSocket,
    rtcp: UdpSocket,
}

impl Ear {
    fn new() -> Self {
        Self { rtp: socket(), rtcp: socket() }
    }

    fn remote(&self) -> Remote {
        Remote { rtp: address(&self.rtp), rtcp: Some(address(&self.rtcp)) }
    }

    fn hear(&self) -> (Instant, Vec<u8>) {
        let mut buffer = [0; 2_048];
        let length = self.rtp.recv(&mut buffer).unwrap();
        (Instant::now(), rtp::Packet::parse(&buffer[..length]).unwrap().payload.to_vec())
    }

    /// Whether nothing more arrives for `span`.
    fn is_silent_for(&self, span: Duration) -> bool {
        self.rtp.set_read_timeout(Some(span)).unwrap();
        self.rtp.recv(&mut [0; 2_048]).is_err()
    }
}

#[tokio::test]
async fn a_prompt_arrives_whole_and_in_real_time() {
    let (engine, ear) = (engine(), Ear::new());
    let mut stream = Stream::open(&engine, ear.remote());
    let prompt = samples(160 * 15 + 40);
    let started = Instant::now();
    stream.play(&prompt, false);
    let packets: Vec<_> = (0..16).map(|_| ear.hear()).collect();
    let heard: Vec<u8> = packets.iter().flat_map(|(_, payload)| payload.clone()).collect();
    assert_eq!(heard[..prompt.len()], prompt);
    assert_eq!(heard[prompt.len()..], [SampleCodec::Pcma.silence(); 120]);
    assert!(packets[0].0 - started < ms(2_000), "the first packet leaves at once");
    let took = packets[15].0 - packets[0].0;
    assert!((ms(250)..ms(2_000)).contains(&took), "15 times 20 ms: {took:?}");
    assert_eq!(stream.event().await, Some(StreamEvent::Finished(ONE)));
    let counts = stream.handle.stats().counts;
    assert_eq!((counts.packets_sent, counts.octets_sent), (16, 16 * 160));
    assert_eq!(engine.stats().packets_sent, 16);
}

#[tokio::test]
async fn nothing_is_sent_after_a_stop_that_was_waited_for() {
    let (engine, ear) = (engine(), Ear::new());
    let mut stream = Stream::open(&engine, ear.remote());
    stream.play(&samples(16_000), true);
    ear.hear();
    assert!(stream.handle.stop_and_wait(ONE).await.unwrap());
    let sent = stream.handle.stats().counts.packets_sent;
    for _ in 1..sent {
        ear.hear();
    }
    assert!(ear.is_silent_for(ms(70)));
    assert_eq!(stream.event().await, Some(StreamEvent::Stopped(ONE)));
    assert!(!stream.handle.stop_and_wait(ONE).await.unwrap(), "nothing was playing");
}

#[tokio::test]
async fn a_prompt_in_another_codec_is_converted() {
    let (engine, ear) = (engine(), Ear::new());
    let stream = Stream::open(&engine, ear.remote());
    // Silence of PCMU becomes silence of PCMA.
    let silence = segment(SampleCodec::Pcmu, &[SampleCodec::Pcmu.silence(); 160]);
    stream.handle.play(ONE, vec![silence], true, false).unwrap();
    assert_eq!(ear.hear().1, [SampleCodec::Pcma.silence(); 160]);
}

#[tokio::test]
async fn a_prompt_that_cannot_be_converted_is_refused_and_disturbs_nothing() {
    let (engine, ear) = (engine(), Ear::new());
    let mut stream = Stream::open(&engine, ear.remote());
    stream.play(&samples(320), false);
    let frames = FrameTable::opus([[19 << 3, 7]]).unwrap();
    let prompt = Arc::new(EncodedPrompt::opus(Sha256([0; 32]), frames));
    let refused =
        stream.handle.play(PlayoutId(2), vec![Segment { prompt, repeat: 1 }], true, false);
    let (prompt, stream_codec) = (Codec::Opus, Codec::Pcma);
    let is_expected = matches!(
        refused,
        Err(PlayError::Codec { prompt: it, stream }) if (it, stream) == (prompt, stream_codec)
    );
    assert!(is_expected, "{refused:?}");
    assert_eq!(stream.event().await, Some(StreamEvent::Finished(ONE)));
}

#[tokio::test]
async fn two_streams_hear_each_other_and_the_receipt_comes_back() {
    for io in [DatagramIo::Single, DatagramIo::IoUring, DatagramIo::Raw] {
        match Engine::start(EngineConfig { threads: NonZeroUsize::MIN, io }) {
            Ok(engine) => hear_each_other(&engine).await,
            Err(error) if io != DatagramIo::Single => eprintln!("no {io:?} here: {error}"),
            Err(error) => panic!("{error}"),
        }
    }
}

async fn hear_each_other(engine: &Engine) {
    let nobody = Ear::new().remote();
    let mut a = Stream::open(engine, nobody);
    let mut b = Stream::open(engine, nobody);
    a.handle.set_remote(Remote { rtp: b.rtp, rtcp: Some(b.rtcp) }, true, true).unwrap();
    b.handle.set_remote(Remote { rtp: a.rtp, rtcp: Some(a.rtcp) }, true, true).unwrap();

    let prompt = samples(160 * 20);
    let progress =
        a.handle.play(ONE, vec![segment(SampleCodec::Pcma, &prompt)], true, false).unwrap();
    b.handle.send_tones(TonesId(1), vec![5, 11], ms(60), ms(40)).unwrap();
    assert_eq!(a.event().await, Some(StreamEvent::Receiving));
    assert_eq!(a.event().await, Some(StreamEvent::Tone(5)));
    assert_eq!(a.event().await, Some(StreamEvent::Tone(11)));
    assert_eq!(a.event().await, Some(StreamEvent::Finished(ONE)));
    assert_eq!(b.event().await, Some(StreamEvent::Receiving));

    let heard: Vec<u8> =
        (0..20).flat_map(|_| b.tap.recv_timeout(DEADLINE).unwrap().payload).collect();
    assert_eq!(heard, prompt);
    let deadline = Instant::now() + DEADLINE;
    while progress.segments()[0].samples_acknowledged != Some(160 * 20) {
        assert!(Instant::now() < deadline, "{progress:?}");
        tokio::time::sleep(ms(5)).await;
    }
}

#[tokio::test]
async fn dropping_a_stream_says_bye_and_frees_its_ports() {
    let (engine, ear) = (engine(), Ear::new());
    let mut stream = Stream::open(&engine, ear.remote());
    stream.play(&samples(8_000), false);
    ear.hear();
    assert_eq!(engine.stats().streams, 1);
    let Stream { handle, rtp, .. } = stream;
    drop(handle);
    let mut buffer = [0; 2_048];
    loop {
        let length = ear.rtcp.recv(&mut buffer).unwrap();
        let ssrc = u32::from(rtp.port());
        if rtcp::parse(&buffer[..length]).unwrap().any(|item| item == rtcp::Item::Bye { ssrc }) {
            break;
        }
    }
    // The owner's channel closes when the thread has let go of everything.
    assert_eq!(timeout(DEADLINE, stream.events.recv()).await.unwrap(), None);
    UdpSocket::bind(rtp).unwrap();
    assert_eq!(engine.stats().streams, 0);
}

#[tokio::test]
async fn the_engine_ends_with_its_last_stream() {
    let (engine, ear) = (engine(), Ear::new());
    let mut stream = Stream::open(&engine, ear.remote());
    drop(engine);
    stream.play(&samples(320), false);
    assert_eq!(stream.event().await, Some(StreamEvent::Finished(ONE)), "a stream keeps it alive");
    let Stream { handle, mut events, .. } = stream;
    drop(handle);
    // Joined by the drop: nothing has to be waited for.
    assert_eq!(events.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
}

#[tokio::test]
async fn a_far_end_whose_port_is_closed_disturbs_nobody() {
    let (engine, ear) = (engine(), Ear::new());
    let gone = Ear::new().remote();
    let mut unheard = Stream::open(&engine, gone);
    let mut heard = Stream::open(&engine, ear.remote());
    for stream in [&unheard, &heard] {
        stream.play(&samples(1_600), false);
    }
    assert_eq!(heard.event().await, Some(StreamEvent::Finished(ONE)));
    assert_eq!(unheard.event().await, Some(StreamEvent::Finished(ONE)));
}

#[tokio::test]
async fn streams_are_shared_out_over_the_threads_and_all_play() {
    let engine = Engine::start(EngineConfig::with_threads(NonZeroUsize::new(3).unwrap())).unwrap();
    let ear = Ear::new();
    let mut streams: Vec<_> = (0..30).map(|_| Stream::open(&engine, ear.remote())).collect();
    for stream in &streams {
        stream.play(&samples(480), false);
    }
    for stream in &mut streams {
        assert_eq!(stream.event().await, Some(StreamEvent::Finished(ONE)));
    }
    let stats = engine.stats();
    assert_eq!((stats.streams, stats.packets_sent, stats.send_errors), (30, 90, 0));
}

#[test]
fn an_engine_with_nothing_to_do_sleeps() {
    let (engine, ear) = (engine(), Ear::new());
    let stream = Stream::open(&engine, ear.remote());
    // A report every 100 ms is all there is to do.
    let before = engine.stats().wakes;
    assert!(ear.is_silent_for(ms(300)));
    let wakes = engine.stats().wakes - before;
    assert!(wakes <= 20, "{wakes} wakes for about 3 reports");
    drop(stream);
}
