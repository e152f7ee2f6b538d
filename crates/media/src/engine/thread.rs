//! The shell around the core: an OS thread that sleeps until the next deadline, command or packet,
//! reads the clock once, and lets the [`Shard`] do the rest.
//!
//! It sleeps in epoll with a timerfd set to the absolute deadline, which wakes with the precision
//! of the kernel's high-resolution timers. Nothing wakes it while no stream has anything to do.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    event::{EventfdFlags, epoll, eventfd},
    time::{
        ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec,
        clock_gettime, timerfd_create, timerfd_settime,
    },
};

use super::{
    EngineFull, Now,
    sender::{Channel, SocketSender, Sockets},
    shard::{Shard, StreamId},
    stats::ShardCounters,
    stream::{StreamCommand, StreamSetup},
};

/// Commands that may wait for a thread.
const QUEUE: usize = 4_096;

/// After a busy round of receiving, sockets rest this long, so that thousands of streams cost
/// thousands of wakes per second at most. Arrival times are that inexact under load.
const RECEIVE_PAUSE: Duration = Duration::from_micros(500);
/// Packets in a round from which on it counts as busy.
const BUSY: usize = 4;
/// Ready sockets that are asked for at once.
const READY: usize = 256;
/// Rounds of receiving in a row before deadlines and commands are looked at again.
const ROUNDS: usize = 8;

/// Who woke the thread.
const TIMER: u64 = 0;
const WAKE: u64 = 1;
const SOCKETS: u64 = 2;

/// What owners send to a thread.
pub(super) enum Command {
    Add { id: StreamId, setup: Box<StreamSetup>, sockets: Sockets },
    Stream(StreamId, StreamCommand),
    Close(StreamId),
}

/// The owners' end of a thread.
pub(super) struct ShardThread {
    queue: SyncSender<Command>,
    wake: Arc<Wake>,
    pub(super) counters: Arc<ShardCounters>,
    thread: Option<JoinHandle<()>>,
}

/// How a thread is woken. The flags spare the kernel crossing while it is awake anyway.
struct Wake {
    eventfd: OwnedFd,
    pending: AtomicBool,
    /// Some owner went while the queue was full.
    sweep: AtomicBool,
    stop: AtomicBool,
}

impl ShardThread {
    pub(super) fn start(number: usize) -> io::Result<Self> {
        // A bounded channel of the standard library is an array of slots claimed with atomics;
        // it locks only for receivers that block, and ours never does.
        let (queue, commands) = sync_channel(QUEUE);
        let wake = Arc::new(Wake {
            eventfd: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            pending: AtomicBool::new(false),
            sweep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let counters = Arc::new(ShardCounters::default());
        let shell = Shell::new(commands, Arc::clone(&wake), Arc::clone(&counters))?;
        let thread = std::thread::Builder::new()
            .name(format!("media-{number}"))
            .spawn(move || shell.run())?;
        Ok(Self { queue, wake, counters, thread: Some(thread) })
    }

    pub(super) fn send(&self, command: Command) -> Result<(), EngineFull> {
        match self.queue.try_send(command) {
            Ok(()) => {
                self.wake.wake();
                Ok(())
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.counters.commands_refused.fetch_add(1, Ordering::Relaxed);
                Err(EngineFull)
            }
        }
    }

    /// Closes a stream, whatever the state of the queue.
    pub(super) fn close(&self, id: StreamId, abandoned: &AtomicBool) {
        if self.queue.try_send(Command::Close(id)).is_err() {
            abandoned.store(true, Ordering::Release);
            self.wake.sweep.store(true, Ordering::Release);
        }
        self.wake.wake();
    }
}

impl Drop for ShardThread {
    fn drop(&mut self) {
        self.wake.stop.store(true, Ordering::Release);
        self.wake.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a playout engine thread had panicked");
        }
    }
}

impl Wake {
    fn wake(&self) {
        if !self.pending.swap(true, Ordering::SeqCst) {
            // Fails only if the counter is at its end, and then the thread is woken anyway.
            let _ = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
        }
    }
}

/// The thread's own state.
struct Shell {
    shard: Shard<SocketSender>,
    commands: Receiver<Command>,
    wake: Arc<Wake>,
    counters: Arc<ShardCounters>,
    clock: Clock,
    timer: Timer,
    /// Readiness of all sockets.
    sockets: OwnedFd,
    /// Timer, wake-ups and `sockets`.
    listening: OwnedFd,
    /// Timer and wake-ups: used while sockets rest.
    resting: OwnedFd,
    /// When sockets have rested enough.
    rest_until: Option<Instant>,
    buffer: Box<[u8]>,
}

impl Shell {
    fn new(
        commands: Receiver<Command>,
        wake: Arc<Wake>,
        counters: Arc<ShardCounters>,
    ) -> io::Result<Self> {
        let timer = Timer::new()?;
        let [sockets, listening, resting] = [
            epoll::create(epoll::CreateFlags::CLOEXEC)?,
            epoll::create(epoll::CreateFlags::CLOEXEC)?,
            epoll::create(epoll::CreateFlags::CLOEXEC)?,
        ];
        let readable = epoll::EventFlags::IN;
        for set in [&listening, &resting] {
            epoll::add(set, &timer.timerfd, epoll::EventData::new_u64(TIMER), readable)?;
            epoll::add(set, &wake.eventfd, epoll::EventData::new_u64(WAKE), readable)?;
        }
        epoll::add(&listening, &sockets, epoll::EventData::new_u64(SOCKETS), readable)?;
        Ok(Self {
            shard: Shard::new(SocketSender::default(), Arc::clone(&counters)),
            commands,
            wake,
            counters,
            clock: Clock::new(),
            timer,
            sockets,
            listening,
            resting,
            rest_until: None,
            // As long as a datagram can be, so that none is cut.
            buffer: vec![0; 1 << 16].into(),
        })
    }

    fn run(mut self) {
        while !self.wake.stop.load(Ordering::Acquire) {
            let mut ready = self.sleep();
            self.counters.wakes.add(1);
            let now = self.clock.now();
            self.take_commands(now);
            if let Some(rest_until) = self.rest_until
                && rest_until <= now.at
            {
                self.rest_until = None;
                ready = true;
            }
            if ready {
                self.receive(now);
            }
            self.shard.tick(now);
        }
        let now = self.clock.now();
        self.take_commands(now);
        for id in self.shard.ids() {
            self.close(now, id);
        }
    }

    /// Sleeps until something is to be done; true if that may be receiving.
    fn sleep(&mut self) -> bool {
        let deadline = self.shard.deadline();
        let deadline = match (deadline, self.rest_until) {
            (Some(deadline), Some(rest_until)) => Some(deadline.min(rest_until)),
            (deadline, rest_until) => deadline.or(rest_until),
        };
        self.timer.set(deadline.map(|deadline| self.clock.monotonic(deadline)));
        let set = if self.rest_until.is_some() { &self.resting } else { &self.listening };
        let mut buffer = [MaybeUninit::uninit(); 4];
        let events = match epoll::wait(set, &mut buffer, None) {
            Ok((events, _)) => events,
            // Interrupted: as good as woken.
            Err(_) => &mut [],
        };
        let mut ready = false;
        for event in events {
            match event.data.u64() {
                TIMER => self.timer.has_fired(),
                WAKE => {
                    let _ = rustix::io::read(&self.wake.eventfd, &mut [0; 8]);
                }
                _ => ready = true,
            }
        }
        ready
    }

    fn take_commands(&mut self, now: Now) {
        if !self.wake.pending.swap(false, Ordering::SeqCst) {
            return;
        }
        for _ in 0..QUEUE {
            let Ok(command) = self.commands.try_recv() else { break };
            match command {
                Command::Add { id, setup, sockets } => self.add(now, id, *setup, sockets),
                Command::Stream(id, command) => self.shard.handle(now, id, command),
                Command::Close(id) => self.close(now, id),
            }
        }
        if self.wake.sweep.swap(false, Ordering::AcqRel) {
            for id in self.shard.abandoned() {
                self.close(now, id);
            }
        }
    }

    fn add(&mut self, now: Now, id: StreamId, setup: StreamSetup, sockets: Sockets) {
        let slot = self.shard.add(now, id, setup);
        let data = |channel: Channel| {
            epoll::EventData::new_u64((slot as u64) << 1 | u64::from(channel == Channel::Rtcp))
        };
        let readable = epoll::EventFlags::IN;
        let mut watched = epoll::add(&self.sockets, &sockets.rtp, data(Channel::Rtp), readable);
        if let Some(rtcp) = &sockets.rtcp {
            watched = watched.and(epoll::add(&self.sockets, rtcp, data(Channel::Rtcp), readable));
        }
        if let Err(error) = watched {
            // It plays, but hears nothing.
            self.counters.receive_errors.add(1);
            tracing::error!(%error, "cannot watch the sockets of a media stream");
        }
        self.shard.sender().insert(slot, sockets);
    }

    fn close(&mut self, now: Now, id: StreamId) {
        let Some(slot) = self.shard.close(now, id) else { return };
        let Some(sockets) = self.shard.sender().remove(slot) else { return };
        // Whoever has cloned a socket would keep it in the set. It is not there if adding failed.
        let _ = epoll::delete(&self.sockets, &sockets.rtp);
        if let Some(rtcp) = &sockets.rtcp {
            let _ = epoll::delete(&self.sockets, rtcp);
        }
    }

    /// Takes one datagram from each ready socket, and again until none is ready: the sockets that
    /// have no more are not asked, which would cost as much as a packet.
    fn receive(&mut self, now: Now) {
        let mut packets = 0;
        for _ in 0..ROUNDS {
            let mut ready = [MaybeUninit::uninit(); READY];
            let dry = Timespec { tv_sec: 0, tv_nsec: 0 };
            let Ok((events, _)) = epoll::wait(&self.sockets, &mut ready, Some(&dry)) else { break };
            if events.is_empty() {
                break;
            }
            packets += events.len();
            for event in events {
                let data = event.data.u64();
                let channel = if data & 1 == 0 { Channel::Rtp } else { Channel::Rtcp };
                self.receive_from((data >> 1) as usize, channel, now);
            }
        }
        if packets >= BUSY {
            self.rest_until = Some(now.at + RECEIVE_PAUSE);
        }
    }

    fn receive_from(&mut self, slot: usize, channel: Channel, now: Now) {
        let Some(sockets) = self.shard.sender().get(slot) else { return };
        let socket = match channel {
            Channel::Rtp => Some(&sockets.rtp),
            Channel::Rtcp => sockets.rtcp.as_ref(),
        };
        let Some(socket) = socket else { return };
        match socket.recv_from(&mut self.buffer) {
            Ok((length, from)) => {
                self.shard.receive(now, slot, channel, from, &self.buffer[..length]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Port unreachable and the like: the far end's matter, not the thread's.
            Err(_) => self.counters.receive_errors.add(1),
        }
    }
}

/// A timerfd set to absolute times of the monotonic clock.
struct Timer {
    timerfd: OwnedFd,
    set_to: Option<Timespec>,
}

impl Timer {
    fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self { timerfd: timerfd_create(TimerfdClockId::Monotonic, flags)?, set_to: None })
    }

    /// Notes that it has expired: it stays readable until it is set anew.
    fn has_fired(&mut self) {
        let _ = rustix::io::read(&self.timerfd, &mut [0; 8]);
        self.set_to = None;
    }

    fn set(&mut self, to: Option<Timespec>) {
        if to == self.set_to {
            return;
        }
        self.set_to = to;
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        // All zeros disarm it.
        let setting = Itimerspec { it_interval: zero, it_value: to.unwrap_or(zero) };
        let set = timerfd_settime(&self.timerfd, TimerfdTimerFlags::ABSTIME, &setting);
        debug_assert!(set.is_ok(), "valid times are always taken");
    }
}

/// Reads the monotonic clock once per tick; wall-clock time is counted on from it and put right
/// every second, so that steps of the wall clock are followed.
struct Clock {
    /// The same moment as an [`Instant`], which has no number, and as the kernel's number.
    instant: Instant,
    monotonic: Duration,
    wall: (Duration, SystemTime),
}

impl Clock {
    fn new() -> Self {
        let monotonic = monotonic();
        Self { instant: Instant::now(), monotonic, wall: (monotonic, SystemTime::now()) }
    }

    fn now(&mut self) -> Now {
        let monotonic = monotonic();
        let mut since = monotonic.saturating_sub(self.wall.0);
        if since >= Duration::from_secs(1) {
            self.wall = (monotonic, SystemTime::now());
            since = Duration::ZERO;
        }
        Now {
            at: self.instant + monotonic.saturating_sub(self.monotonic),
            wall: self.wall.1 + since,
        }
    }

    fn monotonic(&self, at: Instant) -> Timespec {
        let at = self.monotonic + at.saturating_duration_since(self.instant);
        Timespec {
            tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(at.subsec_nanos()),
        }
    }
}

fn monotonic() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

    use tokio::sync::mpsc::error::TryRecvError::{Disconnected, Empty};

    use super::*;
    use crate::{
        codec::Codec,
        engine::{Remote, StreamEvent, stats::StreamCounters},
    };

    #[test]
    fn a_stream_closes_even_if_the_queue_is_full() {
        let (queue, commands) = sync_channel(2);
        let wake = Arc::new(Wake {
            eventfd: eventfd(0, EventfdFlags::NONBLOCK).unwrap(),
            pending: AtomicBool::new(false),
            sweep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let counters = Arc::new(ShardCounters::default());
        let mut shell = Shell::new(commands, Arc::clone(&wake), Arc::clone(&counters)).unwrap();
        let owners = ShardThread { queue, wake, counters, thread: None };

        let abandoned = Arc::new(AtomicBool::new(false));
        let (setup, mut events) = setup(&abandoned);
        let rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let id = StreamId(7);
        owners.send(Command::Add { id, setup, sockets: Sockets { rtp, rtcp: None } }).unwrap();
        let stop = || {
            Command::Stream(
                id,
                StreamCommand::Tones {
                    codes: vec![],
                    duration: Duration::ZERO,
                    gap: Duration::ZERO,
                },
            )
        };
        owners.send(stop()).unwrap();
        assert!(owners.send(stop()).is_err(), "refused, not lost silently");
        assert_eq!(owners.counters.commands_refused.load(Ordering::Relaxed), 1);
        owners.close(id, &abandoned);

        assert!(events.try_recv().is_err_and(|error| error == Empty));
        let now = shell.clock.now();
        shell.take_commands(now);
        assert!(events.try_recv().is_err_and(|error| error == Disconnected), "the stream is gone");
        assert_eq!(shell.shard.deadline(), None);
    }

    fn setup(
        abandoned: &Arc<AtomicBool>,
    ) -> (Box<StreamSetup>, tokio::sync::mpsc::Receiver<StreamEvent>) {
        let (events, receiver) = tokio::sync::mpsc::channel(1);
        let setup = StreamSetup {
            remote: Remote { rtp: SocketAddr::from((Ipv4Addr::LOCALHOST, 9)), rtcp: None },
            codec: Codec::Pcmu,
            payload_type: 0,
            telephone_event: None,
            ssrc: 1,
            first_sequence: 1,
            first_timestamp: 1,
            cname: String::new(),
            rtcp_interval: Duration::from_secs(5),
            events,
            tap: None,
            counters: Arc::new(StreamCounters::default()),
            abandoned: Arc::clone(abandoned),
        };
        (Box::new(setup), receiver)
    }
}
