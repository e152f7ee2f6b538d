//! What the machine gives to anybody: a datagram between two threads, a synced append, a timer.

use std::{
    fs::File,
    io::Write,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    sync::mpsc::{Receiver, channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// An RTP packet of 20 ms of G.711.
const PACKET: [u8; 172] = [0; 172];
/// What a small transaction appends.
const APPEND: [u8; 8_192] = [7; 8_192];

/// A sender and a receiver, and a file on the disk of the server's data.
pub(crate) struct Bare {
    socket: UdpSocket,
    ear: SocketAddr,
    arrivals: Receiver<Instant>,
    file: File,
}

impl Bare {
    pub(crate) fn new(directory: &Path) -> anyhow::Result<Self> {
        let (ear, arrivals) = listen()?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let file = File::create(directory.join("bare"))?;
        Ok(Self { socket, ear, arrivals, file })
    }

    /// One datagram, from before `send_to` to its arrival in another thread.
    pub(crate) fn datagram(&self) -> anyhow::Result<Duration> {
        let sent = Instant::now();
        self.socket.send_to(&PACKET, self.ear)?;
        let at = self.arrivals.recv_timeout(super::PATIENCE).context("a datagram is lost")?;
        Ok(at - sent)
    }

    /// One append, synced.
    pub(crate) fn sync(&mut self) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.file.write_all(&APPEND)?;
        self.file.sync_data()?;
        Ok(start.elapsed())
    }
}

/// Sends `packets` packets 20 ms apart from a thread of their own, and returns when each arrived.
pub(crate) fn pace(packets: usize) -> anyhow::Result<JoinHandle<anyhow::Result<Vec<Instant>>>> {
    let (ear, arrivals) = listen()?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
    let sender = std::thread::spawn(move || -> anyhow::Result<()> {
        let tick = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        // Each expiry is 20 ms behind the one before, whenever it is read: absolute deadlines.
        let setting = Itimerspec { it_interval: tick, it_value: tick };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting)?;
        let mut sent = 0;
        while sent < packets {
            let mut expired = [0; 8];
            rustix::io::read(&timer, &mut expired)?;
            for _ in 0..u64::from_ne_bytes(expired) {
                socket.send_to(&PACKET, ear)?;
                sent += 1;
            }
        }
        Ok(())
    });
    Ok(std::thread::spawn(move || {
        let next = || arrivals.recv_timeout(super::PATIENCE).context("a datagram is lost");
        let arrived = (0..packets).map(|_| next()).collect();
        sender.join().map_err(|_| anyhow::anyhow!("the bare sender panicked"))??;
        arrived
    }))
}

/// A thread that reads a socket and the clock.
fn listen() -> anyhow::Result<(SocketAddr, Receiver<Instant>)> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = socket.local_addr()?;
    let (sender, arrivals) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 2_048];
        while socket.recv(&mut buffer).is_ok() {
            if sender.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    Ok((address, arrivals))
}

/// The kind of file system a directory is on.
pub(crate) fn file_system(path: &Path) -> anyhow::Result<String> {
    let path = path.canonicalize()?;
    // The last mount whose point is a prefix and the longest: later mounts hide earlier ones.
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mut found = ("", "unknown");
    for line in mounts.lines() {
        let mut fields = line.split(' ');
        let (Some(point), Some(kind)) = (fields.nth(1), fields.next()) else { continue };
        if path.starts_with(point) && point.len() >= found.0.len() {
            found = (point, kind);
        }
    }
    Ok(found.1.to_owned())
}
