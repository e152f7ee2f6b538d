//! Rooms over real sockets on the loopback interface: engine streams that join a room, and far ends
//! that speak and hear. Judged by what each far end hears.
#![expect(clippy::unwrap_used, reason = "the functions that tests call are test code as well")]

use std::{
    f64::consts::TAU,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use graphophone_media::{
    analysis::tone_level_db,
    codec::{Codec, SampleCodec},
    engine::{
        Engine, EngineConfig, PlayoutId, Remote, Segment, StreamConfig, StreamEvent, StreamHandle,
        TappedPacket, VirtualStreamConfig,
    },
    prompt::{EncodedPrompt, Sha256},
    room::{MemberId, Room, RoomConfig, RoomEvent, Rooms, Route},
    rtp,
};
use tokio::{sync::mpsc, time::timeout};

/// Longer than anything here takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(30);
/// What the three phones say.
const TONES: [f64; 3] = [440.0, 1_013.0, 2_203.0];
/// What prompts say.
const PROMPT: f64 = 1_607.0;
/// From here on a tone is heard; far ends say theirs at −20 dBFS.
const HEARD: f64 = -26.0;
/// Below, it is not.
const UNHEARD: f64 = -45.0;

/// A far end that says a tone all the time, every 20 ms, and keeps what it hears.
struct Phone {
    stream: StreamHandle,
    events: mpsc::Receiver<StreamEvent>,
    tone: f64,
    heard: Arc<Mutex<Heard>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Heard {
    samples: Vec<i16>,
    /// Packets, and those that did not follow the one before.
    packets: usize,
    gaps: usize,
    last: Option<rtp::Header>,
}

impl Phone {
    fn call(engine: &Engine, codec: SampleCodec, tone: f64) -> Self {
        let (socket, ours) = (socket(), socket());
        let (remote, at) = (socket.local_addr().unwrap(), ours.local_addr().unwrap());
        let (events_in, events) = mpsc::channel(64);
        let stream = engine
            .add_stream(StreamConfig {
                rtp: ours,
                rtcp: None,
                remote: Remote { rtp: remote, rtcp: None },
                codec: codec.codec(),
                payload_type: codec.payload_type(),
                telephone_event: Some(101),
                ssrc: u32::from(at.port()),
                first_sequence: 0xFFF0,
                first_timestamp: 0xFFFF_FF00,
                cname: "room@localhost".into(),
                rtcp_interval: Duration::from_secs(5),
                events: events_in,
                tap: None,
                srtp: None,
                media_timeout: None,
            })
            .unwrap();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, ended) = (Arc::clone(&heard), Arc::clone(&stop));
        let thread = std::thread::spawn(move || live(&socket, at, codec, tone, &theirs, &ended));
        Self { stream, events, tone, heard, stop, thread: Some(thread) }
    }

    /// What it hears from now on, for half a second.
    fn listen(&self) -> Vec<i16> {
        let from = self.heard.lock().unwrap().samples.len();
        let deadline = Instant::now() + DEADLINE;
        loop {
            let heard = self.heard.lock().unwrap().samples[from..].to_vec();
            if heard.len() >= 4_000 {
                return heard;
            }
            assert!(Instant::now() < deadline, "it hears nothing at all");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it hears exactly these tones, in half a second of audio.
    fn hears_exactly(&self, expected: &[f64]) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let heard = self.listen();
            let level = |hz: f64| tone_level_db(&heard, 8_000, hz);
            let all: Vec<_> = TONES.iter().chain([&PROMPT]).map(|hz| (*hz, level(*hz))).collect();
            let is_right = all.iter().all(|(hz, level)| {
                if expected.contains(hz) { *level > HEARD } else { *level < UNHEARD }
            });
            if is_right {
                return;
            }
            assert!(Instant::now() < deadline, "{} hears {all:?}, not {expected:?}", self.tone);
        }
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.thread.take().unwrap().join();
    }
}

fn socket() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

/// Speaks and hears until it is to stop.
fn live(
    socket: &UdpSocket,
    to: SocketAddr,
    codec: SampleCodec,
    hz: f64,
    heard: &Mutex<Heard>,
    stop: &AtomicBool,
) {
    let began = Instant::now();
    let mut buffer = [0; 2_048];
    for number in 0..u32::MAX {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let samples = tone(hz, number * 160, 160);
        let mut packet = [0; 12];
        let header = rtp::Header {
            marker: number == 0,
            payload_type: codec.payload_type(),
            sequence: number as u16,
            timestamp: number.wrapping_mul(160),
            ssrc: u32::from(to.port()),
        };
        header.write(&mut packet);
        socket.send_to(&[&packet[..], &codec.encode(&samples)].concat(), to).unwrap();
        let due = began + Duration::from_millis(20) * (number + 1);
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            socket.set_read_timeout(Some(left)).unwrap();
            let Ok(length) = socket.recv(&mut buffer) else { continue };
            if rtp::is_rtcp(&buffer[..length]) {
                continue;
            }
            let packet = rtp::Packet::parse(&buffer[..length]).unwrap();
            let mut heard = heard.lock().unwrap();
            if let Some(last) = heard.last {
                let follows = packet.header.sequence == last.sequence.wrapping_add(1)
                    && packet.header.timestamp == last.timestamp.wrapping_add(160);
                heard.gaps += usize::from(!follows);
            }
            heard.last = Some(packet.header);
            heard.packets += 1;
            heard.samples.extend(codec.decode(packet.payload));
        }
    }
}

/// A tenth of full scale.
fn tone(hz: f64, from: u32, samples: u32) -> Vec<i16> {
    (from..from + samples)
        .map(|n| (3_277.0 * (TAU * hz * f64::from(n) / 8_000.0).sin()).round() as i16)
        .collect()
}

fn prompt(hz: f64, seconds: u32) -> Segment {
    let bytes = SampleCodec::Pcmu.encode(&tone(hz, 0, 8_000 * seconds));
    let prompt = EncodedPrompt::samples(SampleCodec::Pcmu, Sha256([0; 32]), bytes);
    Segment { prompt: Arc::new(prompt), repeat: 1 }
}

struct Meeting {
    engine: Engine,
    _rooms: Rooms,
    room: Room,
    events: mpsc::Receiver<RoomEvent>,
    phones: Vec<Phone>,
}

const fn id(member: usize) -> MemberId {
    MemberId(member as u128 + 1)
}

/// Three phones in a room.
fn meeting() -> Meeting {
    let engine = Engine::start(EngineConfig::with_threads(NonZeroUsize::MIN)).unwrap();
    let rooms = Rooms::start(NonZeroUsize::MIN).unwrap();
    let (room, events) = rooms.open(RoomConfig::default()).unwrap();
    let codecs = [SampleCodec::Pcmu, SampleCodec::Pcma, SampleCodec::Pcmu];
    let phones: Vec<_> =
        codecs.into_iter().zip(TONES).map(|(codec, hz)| Phone::call(&engine, codec, hz)).collect();
    for (member, phone) in phones.iter().enumerate() {
        room.join(id(member), &phone.stream).unwrap();
    }
    Meeting { engine, _rooms: rooms, room, events, phones }
}

impl Meeting {
    fn hear(&self, expected: [&[f64]; 3]) {
        for (phone, expected) in self.phones.iter().zip(expected) {
            phone.hears_exactly(expected);
        }
    }

    async fn event(&mut self) -> RoomEvent {
        timeout(DEADLINE, self.events.recv()).await.unwrap().unwrap()
    }
}

const A: f64 = TONES[0];
const B: f64 = TONES[1];
const C: f64 = TONES[2];

#[test]
fn each_far_end_hears_exactly_the_other_two() {
    let meeting = meeting();
    meeting.hear([&[B, C], &[A, C], &[A, B]]);
    for phone in &meeting.phones {
        let heard = phone.heard.lock().unwrap();
        assert!(heard.packets > 20);
        // What a loaded machine is late with is skipped, with a gap; nothing else makes one.
        let stats = meeting.room.stats();
        let excuses = stats.skipped_frames + stats.undelivered;
        let excuses = excuses + phone.stream.stats().counts.live_left_out;
        assert!(heard.gaps as u64 <= excuses, "{} gaps, {stats:?}", heard.gaps);
    }
}

#[test]
fn a_one_to_one_route_isolates_a_pair() {
    let meeting = meeting();
    let room = &meeting.room;
    [0, 1].into_iter().for_each(|member| room.set_in_default(id(member), false).unwrap());
    let route = |from, to| Route { sources: vec![id(from)], receivers: vec![id(to)] };
    room.set_routes(vec![route(0, 1), route(1, 0)]).unwrap();
    meeting.hear([&[B], &[A], &[]]);
    room.set_routes(vec![Route { sources: vec![id(0)], receivers: vec![id(1), id(2)] }]).unwrap();
    meeting.hear([&[], &[A], &[A]]);
    [0, 1].into_iter().for_each(|member| room.set_in_default(id(member), true).unwrap());
    room.set_routes(Vec::new()).unwrap();
    meeting.hear([&[B, C], &[A, C], &[A, B]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_on_hold_hears_its_music_and_nobody_else_does() {
    let mut meeting = meeting();
    let room = &meeting.room;
    room.set_isolated(id(2), true).unwrap();
    let music = PlayoutId(5);
    let stream = &meeting.phones[2].stream;
    stream.play(music, vec![prompt(PROMPT, 1)], true, true).unwrap();
    meeting.hear([&[B], &[A], &[PROMPT]]);
    assert!(stream.stop_and_wait(music).await.unwrap());
    room.set_isolated(id(2), false).unwrap();
    meeting.hear([&[B, C], &[A, C], &[A, B]]);
    let mut told = None;
    while told != Some(StreamEvent::Stopped(music)) {
        told = Some(timeout(DEADLINE, meeting.phones[2].events.recv()).await.unwrap().unwrap());
    }
}

#[test]
fn a_muted_member_hears_and_is_not_heard() {
    let meeting = meeting();
    meeting.room.set_muted(id(1), true).unwrap();
    meeting.hear([&[C], &[A, C], &[A]]);
    meeting.room.set_muted(id(1), false).unwrap();
    meeting.hear([&[B, C], &[A, C], &[A, B]]);
}

#[test]
fn a_prompt_to_one_replaces_what_that_one_hears_of_the_room() {
    let meeting = meeting();
    meeting.hear([&[B, C], &[A, C], &[A, B]]);
    let stream = &meeting.phones[0].stream;
    stream.play(PlayoutId(9), vec![prompt(PROMPT, 1)], true, true).unwrap();
    // It goes on speaking to the others meanwhile.
    meeting.hear([&[PROMPT], &[A, C], &[A, B]]);
    stream.stop(PlayoutId(9)).unwrap();
    meeting.hear([&[B, C], &[A, C], &[A, B]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_virtual_stream_plays_all_hear_and_its_receipt_says_so() {
    let meeting = meeting();
    let (events_in, mut events) = mpsc::channel(16);
    let config = VirtualStreamConfig { codec: SampleCodec::Pcmu, events: events_in };
    let bot = meeting.engine.add_virtual_stream(config).unwrap();
    assert!(bot.is_virtual() && bot.codec() == Codec::Pcmu);
    let (tap, heard) = std::sync::mpsc::sync_channel::<TappedPacket>(1_000);
    bot.tap(tap).unwrap();
    meeting.room.join(MemberId(99), &bot).unwrap();
    let progress = bot.play(PlayoutId(1), vec![prompt(PROMPT, 6)], true, false).unwrap();
    meeting.hear([&[B, C, PROMPT], &[A, C, PROMPT], &[A, B, PROMPT]]);
    // Its taps hear the others, and not itself.
    let deadline = Instant::now() + DEADLINE;
    loop {
        let codes: Vec<u8> =
            (0..25).flat_map(|_| heard.recv_timeout(DEADLINE).unwrap().payload).collect();
        let heard = SampleCodec::Pcmu.decode(&codes);
        let levels = [A, B, C, PROMPT].map(|hz| tone_level_db(&heard, 8_000, hz));
        if levels[..3].iter().all(|level| *level > HEARD) && levels[3] < UNHEARD {
            break;
        }
        assert!(Instant::now() < deadline, "{levels:?}");
    }
    assert_eq!(timeout(DEADLINE, events.recv()).await.unwrap(), Some(StreamEvent::Receiving));
    let finished = timeout(DEADLINE, events.recv()).await.unwrap();
    assert_eq!(finished, Some(StreamEvent::Finished(PlayoutId(1))));
    let receipt = progress.segments()[0];
    assert_eq!((receipt.samples_planned, receipt.samples_sent), (48_000, 48_000));
    assert!(receipt.first_packet < receipt.last_packet);
    meeting.hear([&[B, C], &[A, C], &[A, B]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_room_tells_who_speaks_and_whose_stream_is_gone() {
    let mut meeting = meeting();
    let everybody = RoomEvent::Speakers(vec![id(0), id(1), id(2)]);
    while meeting.event().await != everybody {}
    drop(meeting.phones.remove(1));
    assert_eq!(meeting.event().await, RoomEvent::Gone(id(1)));
    while meeting.event().await != RoomEvent::Speakers(vec![id(0), id(2)]) {}
    meeting.phones[0].hears_exactly(&[C]);
    assert_eq!(meeting.room.stats().members, 2);
    meeting.room.leave(id(0)).unwrap();
    meeting.phones[1].hears_exactly(&[]);
}

#[test]
fn a_closed_room_leaves_its_members_in_silence_and_they_may_join_another() {
    let Meeting { engine, _rooms: rooms, room, events, phones } = meeting();
    phones[0].hears_exactly(&[B, C]);
    drop((room, events));
    let (room, _events) = rooms.open(RoomConfig::default()).unwrap();
    room.join(id(0), &phones[0].stream).unwrap();
    room.join(id(1), &phones[1].stream).unwrap();
    phones[0].hears_exactly(&[B]);
    let packets = phones[2].heard.lock().unwrap().packets;
    phones[1].hears_exactly(&[A]);
    let after = phones[2].heard.lock().unwrap().packets;
    assert!(after <= packets + 1, "the third hears nothing any more");
    drop((rooms, engine));
    phones[0].hears_exactly(&[B]);
}

/// From the far end's mouth to the other's ear, less the 20 ms that a packet takes to be spoken.
#[test]
fn a_room_adds_at_most_60_milliseconds() {
    let engine = Engine::start(EngineConfig::with_threads(NonZeroUsize::MIN)).unwrap();
    let rooms = Rooms::start(NonZeroUsize::MIN).unwrap();
    let mut delays = Vec::new();
    // The phase between a phone's packets and the room's frames is another one each time.
    for round in 0..12_u32 {
        let (room, _events) = rooms.open(RoomConfig::default()).unwrap();
        let phase = Duration::from_micros(1_700) * round;
        delays.extend(clicks(&engine, &room, phase));
    }
    delays.sort_unstable();
    let at = |part: f64| delays[((delays.len() - 1) as f64 * part) as usize];
    println!(
        "added by the room, of {} clicks: least {:?}, median {:?}, 90 % {:?}, most {:?}",
        delays.len(),
        at(0.0),
        at(0.5),
        at(0.9),
        at(1.0)
    );
    assert!(at(0.5) <= Duration::from_millis(60), "{delays:?}");
}

/// Says clicks from one far end and measures when their packets reach the other.
fn clicks(engine: &Engine, room: &Room, phase: Duration) -> Vec<Duration> {
    let (speaker, hearer) = (socket(), socket());
    let mut streams = Vec::new();
    let mut to = None;
    for (member, far_end) in [&speaker, &hearer].into_iter().enumerate() {
        let ours = socket();
        to.get_or_insert(ours.local_addr().unwrap());
        let (events, _) = mpsc::channel(8);
        let stream = engine
            .add_stream(StreamConfig {
                rtp: ours,
                rtcp: None,
                remote: Remote { rtp: far_end.local_addr().unwrap(), rtcp: None },
                codec: Codec::Pcmu,
                payload_type: 0,
                telephone_event: None,
                ssrc: member as u32,
                first_sequence: 0,
                first_timestamp: 0,
                cname: "click@localhost".into(),
                rtcp_interval: Duration::from_secs(5),
                events,
                tap: None,
                srtp: None,
                media_timeout: None,
            })
            .unwrap();
        room.join(id(member), &stream).unwrap();
        streams.push(stream);
    }
    let to = to.unwrap();
    let began = Instant::now() + phase;
    let (mut said, mut delays) = (None, Vec::new());
    let mut buffer = [0; 2_048];
    for number in 0..120_u32 {
        let due = began + Duration::from_millis(20) * number;
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            hearer.set_read_timeout(Some(left)).unwrap();
            let Ok(length) = hearer.recv(&mut buffer) else { continue };
            let samples =
                SampleCodec::Pcmu.decode(rtp::Packet::parse(&buffer[..length]).unwrap().payload);
            let loud = samples.iter().position(|sample| sample.unsigned_abs() > 8_000);
            if let (Some(at), Some(when)) = (loud, said) {
                // Heard when the packet comes, so many samples into it.
                let into = Duration::from_micros(125) * at as u32;
                delays.push((Instant::now() + into).saturating_duration_since(when));
                said = None;
            }
        }
        let is_click = number % 10 == 9;
        let mut samples = [0; 160];
        if is_click {
            samples[..8].fill(20_000);
            said = Some(Instant::now());
        }
        let mut packet = [0; 12];
        let header = rtp::Header {
            marker: false,
            payload_type: 0,
            sequence: number as u16,
            timestamp: number * 160,
            ssrc: 7,
        };
        header.write(&mut packet);
        let codes = SampleCodec::Pcmu.encode(&samples);
        speaker.send_to(&[&packet[..], &codes].concat(), to).unwrap();
    }
    assert!(delays.len() >= 6, "{delays:?}");
    delays
}
