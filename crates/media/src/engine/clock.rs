//! Time for a thread: the monotonic clock with the wall clock beside it, and a timer to sleep on.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant, SystemTime},
};

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

use super::Now;

/// A timerfd set to absolute times of the monotonic clock.
pub(super) struct Timer {
    pub(super) timerfd: OwnedFd,
    set_to: Option<Timespec>,
}

impl Timer {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self { timerfd: timerfd_create(TimerfdClockId::Monotonic, flags)?, set_to: None })
    }

    /// Notes that it has expired: it stays readable until it is set anew.
    pub(super) fn has_fired(&mut self) {
        let _ = rustix::io::read(&self.timerfd, &mut [0; 8]);
        self.set_to = None;
    }

    pub(super) fn set(&mut self, to: Option<Timespec>) {
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

/// Reads the monotonic clock; wall-clock time is counted on from it and put right every
/// second, so that steps of the wall clock are followed.
pub(super) struct Clock {
    /// The same moment as an [`Instant`], which has no number, and as the kernel's number.
    instant: Instant,
    monotonic: Duration,
    wall: (Duration, SystemTime),
}

impl Clock {
    pub(super) fn new() -> Self {
        let monotonic = monotonic();
        Self { instant: Instant::now(), monotonic, wall: (monotonic, SystemTime::now()) }
    }

    pub(super) fn now(&mut self) -> Now {
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

    pub(super) fn monotonic(&self, at: Instant) -> Timespec {
        let at = self.monotonic + at.saturating_duration_since(self.instant);
        Timespec {
            tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(at.subsec_nanos()),
        }
    }
}

fn monotonic() -> Duration {
    read(ClockId::Monotonic)
}

/// Processor time of the calling thread. A system call.
pub(super) fn thread_cpu_time() -> Duration {
    read(ClockId::ThreadCPUTime)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}
