//! What one engine thread carries, without signalling: looping streams in each codec and mode, on a
//! ladder up to the breaking point.
//!
//! `cargo run --release -p graphophone-media --example engine_load -- CASE [FROM STEP TO [IO]]`,
//! where CASE is `pcmu`, `opus`, `srtp`, `two-way` or `tap`, and IO `auto`, `raw`, `io_uring` or
//! `sendto`. The engine has core 0, the far end core 1.
//!
//! A step is clean if, over five seconds, nothing was lost and 99 of 100 packets left at most 5 ms
//! late. Opus is frames of 80 octets, which the engine does not look into. In `two-way` and `tap`
//! the far end sends as much as it gets, and `tap` hands every packet on, as recording will.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    num::NonZeroUsize,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use graphophone_media::{
    codec::{Codec, SampleCodec},
    engine::{
        DatagramIo, Engine, EngineConfig, PlayoutId, Remote, Segment, StreamConfig, StreamEvent,
        StreamHandle, TappedPacket,
    },
    prompt::{EncodedPrompt, FrameTable, Sha256},
    srtp::{MasterKey, SrtpKeys},
};
use rustix::{
    net::sockopt,
    thread::{CpuSet, sched_setaffinity},
};

const WINDOW: Duration = Duration::from_secs(5);
/// New streams begin this far apart.
const SPREAD: Duration = Duration::from_micros(400);
/// Sockets that the far end shares among streams.
const SINKS: usize = 8;
/// Octets that may wait in each of them.
const BUFFER: usize = 4 << 20;
const LATE: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Pcmu,
    Opus,
    Srtp,
    TwoWay,
    Tap,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let case = match args.first().map(String::as_str) {
        Some("opus") => Case::Opus,
        Some("srtp") => Case::Srtp,
        Some("two-way") => Case::TwoWay,
        Some("tap") => Case::Tap,
        Some("pcmu") | None => Case::Pcmu,
        Some(other) => return Err(format!("there is no case {other}").into()),
    };
    let number = |at: usize, default| args.get(at).map_or(Ok(default), |text| text.parse());
    let (from, step, to) = (number(1, 500)?, number(2, 500)?, number(3, 5_000)?);
    let io = match args.get(4).map(String::as_str) {
        Some("raw") => DatagramIo::Raw,
        Some("io_uring") => DatagramIo::IoUring,
        Some("sendto") => DatagramIo::Single,
        Some("auto") | None => DatagramIo::Measured,
        Some(other) => return Err(format!("there is no way called {other}").into()),
    };
    pin(0)?;
    let engine = Engine::start(EngineConfig { threads: NonZeroUsize::MIN, io })?;
    pin(1)?;
    let mut rig = Rig::new(engine, case)?;
    println!("streams  clean  late p50 ms  p99 ms   max ms  lost  µs/packet  core %  heard/s");
    let mut streams = from;
    while streams <= to && rig.measure(streams)? {
        streams += step.max(1);
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
    case: Case,
    prompt: Arc<EncodedPrompt>,
    sinks: Vec<UdpSocket>,
    streams: Vec<Stream>,
    /// Packets that the far end has sent.
    spoken: u64,
}

struct Stream {
    at: SocketAddr,
    _handle: StreamHandle,
    _events: tokio::sync::mpsc::Receiver<StreamEvent>,
    tap: mpsc::Receiver<TappedPacket>,
}

impl Rig {
    fn new(engine: Engine, case: Case) -> Result<Self, Box<dyn std::error::Error>> {
        let sha256 = Sha256([0; 32]);
        let prompt = if case == Case::Opus {
            // Configuration 1 of RFC 6716 table 2 (SILK, 20 ms), mono, one frame.
            EncodedPrompt::opus(sha256, FrameTable::opus(vec![[0x08; 80]; 500])?)
        } else {
            let bytes: Vec<u8> = (0..80_000_u32).map(|at| at as u8).collect();
            EncodedPrompt::samples(SampleCodec::Pcmu, sha256, bytes)
        };
        let sink = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.set_nonblocking(true)?;
            // More than the usual limit is for root only.
            let _ = sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER);
            io::Result::Ok(socket)
        };
        let sinks = (0..SINKS).map(|_| sink()).collect::<io::Result<_>>()?;
        let (prompt, streams) = (Arc::new(prompt), Vec::new());
        Ok(Self { engine, case, prompt, sinks, streams, spoken: 0 })
    }

    fn add(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let number = self.streams.len();
        let (events, unread) = tokio::sync::mpsc::channel(8);
        let (tapped, tap) = mpsc::sync_channel(64);
        let rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let at = rtp.local_addr()?;
        let codec = if self.case == Case::Opus { Codec::Opus } else { Codec::Pcmu };
        let key = |side| MasterKey { key: [side; 16], salt: [side; 12] };
        let handle = self.engine.add_stream(StreamConfig {
            rtp,
            rtcp: None,
            remote: Remote { rtp: self.sinks[number % SINKS].local_addr()?, rtcp: None },
            codec,
            payload_type: if codec == Codec::Opus { 111 } else { 0 },
            telephone_event: None,
            ssrc: u32::try_from(number)?,
            first_sequence: 0,
            first_timestamp: 0,
            cname: "load@localhost".to_owned(),
            rtcp_interval: Duration::from_secs(5),
            events,
            tap: (self.case == Case::Tap).then_some(tapped),
            media_timeout: None,
            srtp: (self.case == Case::Srtp).then(|| SrtpKeys { local: key(1), remote: key(2) }),
        })?;
        let segment = Segment { prompt: Arc::clone(&self.prompt), repeat: 1 };
        handle.play(PlayoutId(number as u128), vec![segment], true, true)?;
        self.streams.push(Stream { at, _handle: handle, _events: unread, tap });
        Ok(())
    }

    /// Brings the streams to this number and looks at them; true if all was clean.
    fn measure(&mut self, streams: usize) -> Result<bool, Box<dyn std::error::Error>> {
        while self.streams.len() < streams {
            self.add()?;
            self.listen(SPREAD);
        }
        self.listen(Duration::from_secs(1));
        let (load, cpu) = (self.engine.load(), thread_cpu()?);
        let (sent, spoken) = (self.engine.stats(), self.spoken);
        let heard = self.listen(WINDOW);
        let (cpu, spoken) = (thread_cpu()?.saturating_sub(cpu), self.spoken - spoken);
        let (window, end) = (self.engine.load().since(&load), self.engine.stats());
        // What the last batch sent may be under way.
        let heard = heard + self.listen(Duration::from_millis(100));
        let packets = end.packets_sent - sent.packets_sent;
        let lost = packets.saturating_sub(heard);
        let received = end.packets_received - sent.packets_received;
        // A packet under way here and there, and those that wait in the sockets' buffers.
        let deaf = spoken.saturating_sub(received) > spoken / 1_000 + streams as u64;
        let late = |part| window.lateness.quantile(part).as_secs_f64() * 1e3;
        let clean = lost == 0 && !deaf && window.lateness.quantile(0.99) <= LATE;
        println!(
            "{streams:7}  {:5}  {:11.2}  {:6.2}  {:7.2}  {lost:4}  {:9.2}  {:6.0}  {:7.0}",
            if clean { "yes" } else { "no" },
            late(0.5),
            late(0.99),
            window.lateness.max().as_secs_f64() * 1e3,
            cpu.as_secs_f64() * 1e6 / packets.max(1) as f64,
            100.0 * cpu.as_secs_f64() / WINDOW.as_secs_f64(),
            received as f64 / WINDOW.as_secs_f64(),
        );
        Ok(clean)
    }

    /// Is the far end for so long; what it heard.
    fn listen(&mut self, span: Duration) -> u64 {
        let (begun, before) = (Instant::now(), self.spoken);
        let mut buffer = [0; 2_048];
        let mut heard = 0;
        while begun.elapsed() < span {
            for sink in &self.sinks {
                heard += (0..64).take_while(|_| sink.recv(&mut buffer).is_ok()).count() as u64;
            }
            if matches!(self.case, Case::TwoWay | Case::Tap) {
                self.speak(begun, before);
            }
            if self.case == Case::Tap {
                self.streams.iter().for_each(|stream| stream.tap.try_iter().for_each(drop));
            }
        }
        heard
    }

    /// Sends what is due: 50 packets a second on each stream, evenly.
    fn speak(&mut self, begun: Instant, before: u64) {
        let streams = self.streams.len() as u64;
        let due = before + (begun.elapsed().as_secs_f64() * 50.0 * streams as f64) as u64;
        let mut packet = [0xFF; 172];
        while self.spoken < due {
            let (number, turn) = ((self.spoken % streams) as usize, self.spoken / streams);
            packet[..2].copy_from_slice(&[0x80, 0]);
            packet[2..4].copy_from_slice(&(turn as u16).to_be_bytes());
            packet[4..8].copy_from_slice(&(turn as u32).wrapping_mul(160).to_be_bytes());
            packet[8..12].copy_from_slice(&(number as u32 + 1_000_000).to_be_bytes());
            // A full socket loses it, which is seen in the engine's count.
            let _ = self.sinks[number % SINKS].send_to(&packet, self.streams[number].at);
            self.spoken += 1;
        }
    }
}

/// CPU time of the engine's thread.
fn thread_cpu() -> io::Result<Duration> {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.starts_with("media-") {
            let schedstat = fs::read_to_string(task.join("schedstat"))?;
            let time = schedstat.split(' ').next().and_then(|time| time.parse::<u64>().ok());
            sum += time.unwrap_or(0);
        }
    }
    Ok(Duration::from_nanos(sum))
}
