//! The shell around the core: an OS thread that sleeps until the next deadline, command or packet,
//! reads the clock, and lets the [`Shard`] do the rest.
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
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, epoll, eventfd},
    time::Timespec,
};

use super::{
    EngineFull, Now,
    clock::{Clock, Timer},
    crossing::{Crossing, DatagramIo},
    precedence,
    sender::Channel,
    shard::{Shard, StreamId},
    sockets::{Ready, SocketTable, Sockets},
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
const READY: usize = graphophone_datagrams::BATCH;
/// Rounds of receiving in a row before deadlines and commands are looked at again.
const ROUNDS: usize = 8;

/// Who woke the thread.
const TIMER: u64 = 0;
const WAKE: u64 = 1;
const SOCKETS: u64 = 2;

/// What owners send to a thread.
pub(super) enum Command {
    /// Without sockets, a stream that has no far end.
    Add {
        id: StreamId,
        setup: Box<StreamSetup>,
        sockets: Option<Sockets>,
    },
    Stream(StreamId, StreamCommand),
    Close(StreamId),
}

/// A command on its way.
struct Sent {
    at: Instant,
    command: Command,
}

/// The owners' end of a thread.
pub(super) struct ShardThread {
    queue: SyncSender<Sent>,
    /// Streams whose feeders have handed something over.
    feeds: SyncSender<StreamId>,
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
    pub(super) fn start(number: usize, io: DatagramIo) -> io::Result<Self> {
        // A bounded channel of the standard library is an array of slots claimed with atomics;
        // it locks only for receivers that block, and ours never does.
        let (queue, commands) = sync_channel(QUEUE);
        let (feeds, fed) = sync_channel(QUEUE);
        let wake = Arc::new(Wake {
            eventfd: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            pending: AtomicBool::new(false),
            sweep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let counters = Arc::new(ShardCounters::default());
        let (begun, outcome) = sync_channel(1);
        let (theirs, counted) = (Arc::clone(&wake), Arc::clone(&counters));
        let thread =
            std::thread::Builder::new().name(format!("media-{number}")).spawn(move || {
                // A ring belongs to the thread that made it: the kernel interrupts that one.
                let shell = Crossing::new(io)
                    .and_then(|crossing| Shell::new((commands, fed), theirs, counted, crossing));
                // Whoever starts it waits for the answer.
                match shell {
                    Ok(shell) => {
                        let _ = begun.send(Ok(()));
                        shell.run();
                    }
                    Err(error) => {
                        let _ = begun.send(Err(error));
                    }
                }
            })?;
        outcome.recv().map_err(io::Error::other)??;
        Ok(Self { queue, feeds, wake, counters, thread: Some(thread) })
    }

    pub(super) fn send(&self, command: Command) -> Result<(), EngineFull> {
        match self.queue.try_send(Sent::now(command)) {
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

    /// Notes that a feeder has handed something over, without waking the thread. If there is no
    /// room for that, the thread is far behind: it finds the frame with the next.
    pub(super) fn note_feed(&self, id: StreamId) {
        let _ = self.feeds.try_send(id);
    }

    pub(super) fn wake_for_feeds(&self) {
        self.wake.wake();
    }

    /// Closes a stream, whatever the state of the queue.
    pub(super) fn close(&self, id: StreamId, abandoned: &AtomicBool) {
        if self.queue.try_send(Sent::now(Command::Close(id))).is_err() {
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

impl Sent {
    fn now(command: Command) -> Self {
        Self { at: Instant::now(), command }
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
    shard: Shard<SocketTable>,
    commands: Receiver<Sent>,
    fed: Receiver<StreamId>,
    wake: Arc<Wake>,
    counters: Arc<ShardCounters>,
    clock: Clock,
    started: Instant,
    timer: Timer,
    /// Readiness of all sockets.
    sockets: OwnedFd,
    /// Timer, wake-ups and `sockets`.
    listening: OwnedFd,
    /// Timer and wake-ups: used while sockets rest.
    resting: OwnedFd,
    /// When sockets have rested enough.
    rest_until: Option<Instant>,
}

impl Shell {
    fn new(
        (commands, fed): (Receiver<Sent>, Receiver<StreamId>),
        wake: Arc<Wake>,
        counters: Arc<ShardCounters>,
        crossing: Crossing,
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
            shard: Shard::new(Instant::now(), SocketTable::new(crossing), Arc::clone(&counters)),
            commands,
            fed,
            wake,
            counters,
            clock: Clock::new(),
            started: Instant::now(),
            timer,
            sockets,
            listening,
            resting,
            rest_until: None,
        })
    }

    fn run(mut self) {
        precedence::take();
        while !self.wake.stop.load(Ordering::Acquire) {
            let ready = self.sleep();
            self.turn(ready);
        }
        let now = self.clock.now();
        self.take_commands(now);
        for id in self.shard.ids() {
            self.close(now, id);
        }
    }

    /// Does everything that is to be done now; `ready` if that may be receiving.
    fn turn(&mut self, mut ready: bool) {
        self.counters.wakes.add(1);
        let now = self.clock.now();
        let woke = now.at;
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
        // Read anew: what commands and packets took is lateness of what leaves now.
        let now = self.clock.now();
        self.shard.tick(now);
        self.counters.load.turned(self.started, woke, self.clock.now().at);
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
            let Ok(Sent { at, command }) = self.commands.try_recv() else { break };
            self.counters.load.command_age.add(now.at.saturating_duration_since(at));
            match command {
                Command::Add { id, setup, sockets } => self.add(now, id, *setup, sockets),
                Command::Stream(id, command) => self.shard.handle(now, id, command),
                Command::Close(id) => self.close(now, id),
            }
        }
        for _ in 0..QUEUE {
            let Ok(id) = self.fed.try_recv() else { break };
            self.shard.take_live(now, id);
        }
        if self.wake.sweep.swap(false, Ordering::AcqRel) {
            for id in self.shard.abandoned() {
                self.close(now, id);
            }
        }
    }

    fn add(&mut self, now: Now, id: StreamId, setup: StreamSetup, sockets: Option<Sockets>) {
        let Some(sockets) = sockets else { return self.shard.add_virtual(now, id, setup) };
        let slot = self.shard.add(now, id, setup);
        let data = |channel| epoll::EventData::new_u64(Ready { slot, channel }.to_u64());
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
        let Some((slot, _stream)) = self.shard.close(now, id) else { return };
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
            let ready = events.iter().map(|event| Ready::from_u64(event.data.u64()));
            let counters = &self.counters;
            self.shard.receive(now, |sockets, stream| {
                sockets.receive(
                    ready,
                    |it, from, bytes| stream(it.slot, it.channel, from, bytes),
                    || counters.receive_errors.add(1),
                );
            });
        }
        if packets >= BUSY {
            self.rest_until = Some(now.at + RECEIVE_PAUSE);
        }
    }
}

impl Ready {
    /// As epoll keeps it.
    fn to_u64(self) -> u64 {
        (self.slot as u64) << 1 | u64::from(self.channel == Channel::Rtcp)
    }

    fn from_u64(data: u64) -> Self {
        let channel = if data & 1 == 0 { Channel::Rtp } else { Channel::Rtcp };
        Self { slot: (data >> 1) as usize, channel }
    }
}

#[cfg(test)]
mod tests;
