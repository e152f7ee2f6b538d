//! What rooms cost: one of 60 participants, and as many of three as a core carries, with the engine
//! thread and the mixing thread of all of them on core 0 and the far ends on core 1.
//!
//! `cargo run --release -p graphophone-media --example room_load -- PARTY [FROM STEP TO]`, where
//! PARTY is the participants of a room and the others are numbers of rooms.
//!
//! Every participant sends all the time, every third of them speech-like noise, and hears its own
//! mix or, of those who say little, a common one. A step is clean if, over five seconds, no payload
//! was lost on the way out, at most one of a thousand on the way in, no frame was skipped, and 99
//! of 100 frames were begun at most 5 ms late.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use graphophone_media::{
    codec::{Codec, SampleCodec},
    engine::{Engine, EngineConfig, Remote, StreamConfig, StreamEvent, StreamHandle},
    room::{MemberId, Room, RoomConfig, RoomEvent, RoomStats, Rooms},
};
use rustix::{
    net::sockopt,
    thread::{CpuSet, sched_setaffinity},
};
use tokio::sync::mpsc;

const WINDOW: Duration = Duration::from_secs(5);
const SINKS: usize = 8;
/// Octets that may wait in each of them.
const BUFFER: usize = 4 << 20;
const LATE: Duration = Duration::from_millis(5);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default| args.get(at).map_or(Ok(default), |text| text.parse());
    let (party, from, step, to) = (number(0, 60)?, number(1, 1)?, number(2, 1)?, number(3, 1)?);
    pin(0)?;
    let engine = Engine::start(EngineConfig::with_threads(NonZeroUsize::MIN))?;
    let rooms = Rooms::start(NonZeroUsize::MIN)?;
    pin(1)?;
    let mut rig = Rig::new(engine, rooms, party)?;
    println!(
        "rooms  people  clean  mixer %  engine %  µs/packet  of it mixer  mixes/frame  late p99 ms  \
         max ms  skipped  not taken  lost out  lost in  concealed  seconds"
    );
    let mut rooms: usize = from;
    while rooms <= to && rig.measure(rooms)? {
        rooms += step.max(1);
    }
    Ok(())
}

fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

struct Rig {
    engine: Engine,
    rooms: Rooms,
    party: usize,
    sinks: Vec<UdpSocket>,
    open: Vec<(Room, mpsc::Receiver<RoomEvent>)>,
    streams: Vec<Stream>,
    /// A second of loud noise and of hardly any, encoded.
    loud: Vec<u8>,
    soft: Vec<u8>,
    spoken: u64,
}

struct Stream {
    at: SocketAddr,
    /// Packets that its far end has sent.
    turn: u32,
    _handle: StreamHandle,
    _events: mpsc::Receiver<StreamEvent>,
}

/// Everything that is counted, at one moment.
struct Counts {
    mixer: Duration,
    engine: Duration,
    sent: u64,
    received: u64,
    rooms: RoomStats,
}

impl Rig {
    fn new(engine: Engine, rooms: Rooms, party: usize) -> io::Result<Self> {
        let sink = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.set_nonblocking(true)?;
            // More than the usual limit is for root only.
            let _ = sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER);
            io::Result::Ok(socket)
        };
        let sinks = (0..SINKS).map(|_| sink()).collect::<io::Result<_>>()?;
        let mut state = 1_u32;
        let mut noise = |amplitude: i32| {
            let samples: Vec<i16> = (0..8_000)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    ((state >> 16) as i32 % (2 * amplitude) - amplitude) as i16
                })
                .collect();
            SampleCodec::Pcmu.encode(&samples)
        };
        let (loud, soft) = (noise(6_000), noise(100));
        let (open, streams) = (Vec::new(), Vec::new());
        Ok(Self { engine, rooms, party, sinks, open, streams, loud, soft, spoken: 0 })
    }

    fn add_room(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let (room, events) = self.rooms.open(RoomConfig::default())?;
        for member in 0..self.party {
            let number = self.streams.len();
            let (events, unread) = mpsc::channel(8);
            let rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            let at = rtp.local_addr()?;
            let handle = self.engine.add_stream(StreamConfig {
                rtp,
                rtcp: None,
                remote: Remote { rtp: self.sinks[number % SINKS].local_addr()?, rtcp: None },
                codec: Codec::Pcmu,
                payload_type: 0,
                telephone_event: None,
                ssrc: u32::try_from(number)?,
                first_sequence: 0,
                first_timestamp: 0,
                cname: "load@localhost".to_owned(),
                rtcp_interval: Duration::from_secs(5),
                events,
                tap: None,
                srtp: None,
                media_timeout: None,
            })?;
            room.join(MemberId(member as u128), &handle)?;
            self.streams.push(Stream { at, turn: 0, _handle: handle, _events: unread });
        }
        self.open.push((room, events));
        Ok(())
    }

    /// Brings the rooms to this number and looks at them; true if all was clean.
    fn measure(&mut self, rooms: usize) -> Result<bool, Box<dyn std::error::Error>> {
        while self.open.len() < rooms {
            self.add_room()?;
            self.live(Duration::from_millis(5));
        }
        self.live(Duration::from_secs(3));
        let (before, load, spoken) = (self.counts()?, self.rooms.load(), self.spoken);
        let begun = Instant::now();
        let heard = self.live(WINDOW);
        let span = begun.elapsed();
        let (after, now, spoken) = (self.counts()?, self.rooms.load(), self.spoken - spoken);
        // What the last batch sent may be under way.
        let heard = heard + self.live(Duration::from_millis(100));
        let lateness = now.threads[0].lateness.since(&load.threads[0].lateness);
        let sent = after.sent - before.sent;
        let frames = after.rooms.frames - before.rooms.frames;
        let skipped = after.rooms.skipped_frames - before.rooms.skipped_frames;
        let undelivered = after.rooms.undelivered - before.rooms.undelivered;
        let concealed = after.rooms.concealed - before.rooms.concealed;
        let lost_out = sent.saturating_sub(heard);
        let lost_in = spoken.saturating_sub(after.received - before.received);
        let (mixer, engine) = (after.mixer - before.mixer, after.engine - before.engine);
        let clean = lost_out + undelivered == 0
            && lost_in <= spoken / 1_000 + self.streams.len() as u64
            && skipped == 0
            && lateness.quantile(0.99) <= LATE;
        let percent = |time: Duration| 100.0 * time.as_secs_f64() / span.as_secs_f64();
        let each = |time: Duration| time.as_secs_f64() * 1e6 / sent.max(1) as f64;
        println!(
            "{rooms:5}  {:6}  {:5}  {:7.1}  {:8.1}  {:9.2}  {:11.2}  {:11.1}  {:11.2}  {:6.2}  \
             {skipped:7}  {undelivered:9}  {lost_out:8}  {lost_in:7}  {concealed:9}  {:7.2}",
            self.streams.len(),
            if clean { "yes" } else { "no" },
            percent(mixer),
            percent(engine),
            each(mixer + engine),
            each(mixer),
            (after.rooms.mixes - before.rooms.mixes) as f64 / frames.max(1) as f64,
            lateness.quantile(0.99).as_secs_f64() * 1e3,
            lateness.max().as_secs_f64() * 1e3,
            span.as_secs_f64(),
        );
        Ok(clean)
    }

    fn counts(&self) -> io::Result<Counts> {
        let engine = self.engine.stats();
        let mut rooms = RoomStats::default();
        for (room, _) in &self.open {
            let stats = room.stats();
            rooms.frames += stats.frames;
            rooms.mixes += stats.mixes;
            rooms.undelivered += stats.undelivered;
            rooms.skipped_frames += stats.skipped_frames;
            rooms.concealed += stats.concealed;
        }
        Ok(Counts {
            mixer: cpu_of("mixer-")?,
            engine: cpu_of("media-")?,
            sent: engine.packets_sent,
            received: engine.packets_received,
            rooms,
        })
    }

    /// Is the far ends for so long; what they heard.
    fn live(&mut self, span: Duration) -> u64 {
        let (begun, before) = (Instant::now(), self.spoken);
        let mut buffer = [0; 2_048];
        let mut heard = 0;
        while begun.elapsed() < span {
            for sink in &self.sinks {
                heard += (0..64).take_while(|_| sink.recv(&mut buffer).is_ok()).count() as u64;
            }
            self.speak(begun, before);
        }
        heard
    }

    /// Sends what is due: 50 packets a second from each participant, evenly.
    fn speak(&mut self, begun: Instant, before: u64) {
        let streams = self.streams.len() as u64;
        let due = before + (begun.elapsed().as_secs_f64() * 50.0 * streams as f64) as u64;
        let mut packet = [0; 172];
        packet[0] = 0x80;
        while self.spoken < due {
            let number = (self.spoken % streams) as usize;
            let turn = self.streams[number].turn;
            self.streams[number].turn += 1;
            packet[2..4].copy_from_slice(&(turn as u16).to_be_bytes());
            packet[4..8].copy_from_slice(&turn.wrapping_mul(160).to_be_bytes());
            packet[8..12].copy_from_slice(&(number as u32 + 1_000_000).to_be_bytes());
            let voice = if number.is_multiple_of(3) { &self.loud } else { &self.soft };
            let from = (turn as usize + number * 7) % 50 * 160;
            packet[12..].copy_from_slice(&voice[from..from + 160]);
            // A full socket loses it, which is seen in the engine's count.
            let _ = self.sinks[number % SINKS].send_to(&packet, self.streams[number].at);
            self.spoken += 1;
        }
    }
}

/// CPU time of the threads whose names begin so.
fn cpu_of(name: &str) -> io::Result<Duration> {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.starts_with(name) {
            let schedstat = fs::read_to_string(task.join("schedstat"))?;
            let time = schedstat.split(' ').next().and_then(|time| time.parse::<u64>().ok());
            sum += time.unwrap_or(0);
        }
    }
    Ok(Duration::from_nanos(sum))
}
