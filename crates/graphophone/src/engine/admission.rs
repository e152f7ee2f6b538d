//! Whether new calls are taken: a pure machine that is fed with measurements four times a second
//! and decides ahead of quality falling. The clock is an argument.
//!
//! A sample says how much of the processors is in use. What is left up to the limits is *room*, in
//! calls: each call in it costs what a playing one costs on average. Calls taken a moment ago are
//! counted in as if they played, because they soon will, unless as many have ended. Until the next
//! sample no more calls are taken than there is room for, so that a burst cannot overshoot.
//!
//! The work of setting calls up counts only on a process that is in use for more than half of what
//! it may be. What one call costs is an estimate, too high where the process does other things; on
//! a process with little to do it must not refuse anybody. A burst that an idle process cannot set
//! up shows in the next sample.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

/// Samples come so often.
pub(super) const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// A call taken less long ago may not play yet; so long the work of setting calls up is averaged.
const SETTLES: Duration = Duration::from_secs(3);
/// Shortest time of refusing for load.
const REFUSES_FOR: Duration = Duration::from_secs(1);
/// Without a refusal for so long, an episode is over.
const QUIET: Duration = Duration::from_secs(2);
/// Open again below this part of a limit of use.
const REOPEN_USE: f64 = 0.95;
/// Open again below the limit of a time divided by this.
const REOPEN_TIME: u32 = 2;
/// Below this part of the limit of the process's use, it has little to do.
const LITTLE_USE: f64 = 0.5;
/// Below this part of it, so many times the calls of the last window are no risk: calls do not come
/// evenly.
const SOME_USE: f64 = 0.8;
const UNEVEN: f64 = 1.3;
/// Samples in a row that must be late: one stall is not load.
const LATE_SAMPLES: u32 = 2;
/// Weight of the newest sample in an average.
const NEWEST: f64 = 0.4;
/// Processors that a playing stream takes: at first, at least, at most. 10 µs for a packet.
const STREAM_COST: (f64, f64, f64) = (500e-6, 50e-6, 20e-3);
/// Processor time that setting a call up takes, in seconds: at first, at least, at most.
const SET_UP_COST: (f64, f64, f64) = (2e-3, 200e-6, 50e-3);
/// Fewer playing streams, or new calls, say nothing about what one costs.
const TELLING: f64 = 20.0;

/// `[admission]`.
#[derive(Clone, Debug)]
pub struct AdmissionLimits {
    /// Without, every call is taken.
    pub enabled: bool,
    /// Below so many calls, none is refused.
    pub free_calls: usize,
    /// Most use of a processor by one engine thread, 0 to 1.
    pub engine_thread: f64,
    /// Most use of all its processors by the process, 0 to 1.
    pub process: f64,
    /// Greatest lateness of packets (99 of 100).
    pub lateness: Duration,
    /// Longest wait of a command for its engine thread, and of a task for a processor.
    pub queue_age: Duration,
    /// Longest wait of a prompt fetch for others to end.
    pub fetch_wait: Duration,
    /// Longest wait of a commit to be durable.
    pub store_age: Duration,
}

/// Nothing is measured, nothing refused.
impl Default for AdmissionLimits {
    fn default() -> Self {
        Self {
            enabled: false,
            free_calls: 0,
            engine_thread: 1.0,
            process: 1.0,
            lateness: Duration::MAX,
            queue_age: Duration::MAX,
            fetch_wait: Duration::MAX,
            store_age: Duration::MAX,
        }
    }
}

/// What was measured since the sample before.
#[derive(Clone, Debug, Default)]
pub struct LoadSample {
    /// How long ago that was.
    pub span: Duration,
    /// Calls in the map now.
    pub calls: usize,
    /// Engine threads.
    pub threads: usize,
    /// Streams that played, on average.
    pub playing: f64,
    /// Processors used by all engine threads.
    pub engine: f64,
    /// Part of a processor used by the busiest engine thread.
    pub busiest: f64,
    /// Processors used by the process, the engine included.
    pub process: f64,
    /// Processors it may use.
    pub processors: f64,
    /// What 99 of 100 packets were late at most.
    pub lateness: Duration,
    /// Longest wait of a command for its engine thread.
    pub command_age: Duration,
    /// How late the sampling task itself ran.
    pub task_lag: Duration,
    /// Longest wait of a prompt fetch for others to end.
    pub fetch_wait: Duration,
    /// Longest wait of a commit to be durable.
    pub store_age: Duration,
}

/// Why calls are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// An engine thread has no room for another stream.
    EngineBusy,
    /// The process has no room for another call on its processors.
    ProcessBusy,
    /// Packets leave late.
    PacketsLate,
    /// Commands wait for the engine.
    CommandsWait,
    /// Tasks wait for a processor.
    TasksWait,
    /// Prompt fetches wait for others.
    FetchesWait,
    /// Commits wait for the disk.
    StoreWaits,
    /// More calls at once than the processors in use leave time to set up.
    TooFast,
    /// The server stops.
    Stopping,
}

/// What becomes of a new call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is taken.
    Admit,
    /// It is refused.
    Refuse {
        /// When it may be tried again: whole seconds.
        retry_after: Duration,
        /// Why.
        reason: Reason,
    },
}

/// An episode of refusing has begun or ended: to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Calls are refused from now on.
    Refuses(Reason),
    /// They are taken again.
    Opens {
        /// Calls refused meanwhile.
        refused: u64,
    },
}

/// The machine.
#[derive(Debug)]
pub(super) struct Admission {
    limits: AdmissionLimits,
    state: State,
    /// Calls taken since the last sample.
    admitted: usize,
    /// Not older than [`SETTLES`].
    windows: VecDeque<Window>,
    stream_cost: f64,
    set_up_cost: f64,
    /// The process's use, averaged.
    process: Option<f64>,
    late_samples: u32,
    /// The last time somebody was or would have been refused, while an episode lasts.
    episode: Option<Instant>,
    refused: u64,
    refused_in_episode: u64,
}

/// The time between two samples.
#[derive(Debug)]
struct Window {
    end: Instant,
    /// Calls taken in it.
    admitted: usize,
    /// Calls in the map at its end.
    calls: usize,
    /// Processor time of all but the engine, in seconds.
    other: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Calls that may be taken until the next sample.
    Open {
        room: f64,
    },
    Refusing {
        reason: Reason,
        since: Instant,
    },
}

/// How things stand, for whoever asks.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Why calls are refused; `None` if they are taken.
    pub refuses: Option<Reason>,
    /// Calls that may still be taken until the next sample.
    pub room: f64,
    /// Calls taken since the last sample.
    pub admitted: usize,
    /// Calls refused since the start.
    pub refused: u64,
    /// Processors that a playing stream takes.
    pub stream_cost: f64,
    /// Processor time that setting a call up takes.
    pub set_up_cost: Duration,
}

impl Admission {
    /// Open, with the room of one idle engine thread.
    pub(super) fn new(limits: AdmissionLimits) -> Self {
        let room = (limits.engine_thread / STREAM_COST.0).max(limits.free_calls as f64);
        Self {
            limits,
            state: State::Open { room },
            admitted: 0,
            windows: VecDeque::new(),
            stream_cost: STREAM_COST.0,
            set_up_cost: SET_UP_COST.0,
            process: None,
            late_samples: 0,
            episode: None,
            refused: 0,
            refused_in_episode: 0,
        }
    }

    /// Decides about one call, which counts as taken if it is admitted.
    pub(super) fn admit(&mut self, now: Instant) -> (Verdict, Option<Change>) {
        if !self.limits.enabled {
            return (Verdict::Admit, None);
        }
        let (reason, seconds) = match &mut self.state {
            State::Open { room } if *room >= 1.0 => {
                *room -= 1.0;
                self.admitted += 1;
                return (Verdict::Admit, None);
            }
            State::Open { .. } => (Reason::TooFast, 1),
            // Not all of them shall come back at the same moment.
            State::Refusing { reason, .. } => (*reason, 3 + self.refused % 5),
        };
        self.refused += 1;
        self.refused_in_episode += 1;
        let change = self.refuses(now, reason);
        (Verdict::Refuse { retry_after: Duration::from_secs(seconds), reason }, change)
    }

    /// Takes a sample, and decides about the time until the next one.
    pub(super) fn sample(&mut self, now: Instant, sample: &LoadSample) -> Option<Change> {
        if !self.limits.enabled {
            return None;
        }
        let admitted = std::mem::take(&mut self.admitted);
        let other = (sample.process - sample.engine).max(0.0) * sample.span.as_secs_f64();
        self.windows.retain(|window| now < window.end + SETTLES);
        self.windows.push_back(Window { end: now, admitted, calls: sample.calls, other });
        self.learn(sample);

        let reopens = matches!(self.state, State::Refusing { .. });
        let slack = if reopens { REOPEN_USE } else { 1.0 };
        let (room, tightest) = self.room(sample, admitted as f64, slack);
        let waits = self.waits(sample, if reopens { REOPEN_TIME } else { 1 });
        let obstacle = waits.or((room < 1.0).then_some(tightest));
        // With few calls it is not theirs, and there is nothing that refusing would help.
        let free = self.limits.free_calls.saturating_sub(sample.calls) as f64;
        self.state = match (obstacle, self.state) {
            _ if free >= 1.0 => {
                let room = if obstacle.is_some() { free } else { room.max(free) };
                State::Open { room }
            }
            (Some(reason), State::Open { .. }) => State::Refusing { reason, since: now },
            (Some(reason), State::Refusing { since, .. }) => State::Refusing { reason, since },
            (None, State::Refusing { reason, since }) if now < since + REFUSES_FOR => {
                State::Refusing { reason, since }
            }
            (None, State::Open { .. } | State::Refusing { .. }) => State::Open { room },
        };
        match self.state {
            State::Refusing { reason, .. } => self.refuses(now, reason),
            State::Open { .. } => {
                self.episode.take_if(|last| now >= *last + QUIET)?;
                Some(Change::Opens { refused: std::mem::take(&mut self.refused_in_episode) })
            }
        }
    }

    /// How things stand.
    pub(super) fn standing(&self) -> Standing {
        let (refuses, room) = match self.state {
            State::Open { room } => (None, room),
            State::Refusing { reason, .. } => (Some(reason), 0.0),
        };
        Standing {
            refuses,
            room,
            admitted: self.admitted,
            refused: self.refused,
            stream_cost: self.stream_cost,
            set_up_cost: Duration::from_secs_f64(self.set_up_cost),
        }
    }

    fn learn(&mut self, sample: &LoadSample) {
        if sample.playing >= TELLING {
            let (_, least, most) = STREAM_COST;
            let seen = (sample.engine / sample.playing).clamp(least, most);
            self.stream_cost += NEWEST * (seen - self.stream_cost);
        }
        // Whatever is not the engine's is taken for set-up: with few new calls that is too much.
        let admitted = self.windows.iter().map(|window| window.admitted as f64).sum::<f64>();
        if admitted >= TELLING {
            let (_, least, most) = SET_UP_COST;
            let other = self.windows.iter().map(|window| window.other).sum::<f64>();
            self.set_up_cost = (other / admitted).clamp(least, most);
        }
        let process = self.process.get_or_insert(sample.process);
        *process += NEWEST * (sample.process - *process);
        let is_late =
            [(sample.lateness, self.limits.lateness), (sample.command_age, self.limits.queue_age)]
                .into_iter()
                .chain([(sample.task_lag, self.limits.queue_age)])
                .any(|(age, limit)| age > limit);
        self.late_samples = if is_late { self.late_samples.saturating_add(1) } else { 0 };
    }

    /// How many calls may come until the next sample, and what stands against more.
    fn room(&self, sample: &LoadSample, admitted: f64, slack: f64) -> (f64, Reason) {
        let stream = self.stream_cost;
        let before = self.windows.front().map_or(0, |window| window.calls);
        let more = sample.calls.saturating_sub(before) as f64;
        // No more than do not play can begin to.
        let pending = more.min((sample.calls as f64 - sample.playing).max(0.0));
        let thread = (self.limits.engine_thread * slack - sample.busiest) / stream;
        let engine = thread * sample.threads as f64 - pending;

        let limit = self.limits.process * sample.processors;
        let process = self.process.unwrap_or(sample.process);
        let highest = process.max(sample.process);
        let set_up = if highest < limit * LITTLE_USE {
            0.0
        } else {
            self.set_up_cost / SAMPLE_EVERY.as_secs_f64()
        };
        // As many new calls as in the last window cost nothing more to set up.
        let paid = (admitted * set_up).min((process - sample.engine).max(0.0));
        let free = limit * slack - process - pending * stream + paid;
        let as_before = if highest < limit * SOME_USE { admitted * UNEVEN } else { 0.0 };
        let process = (free / (stream + set_up)).max(as_before);
        if engine < process { (engine, Reason::EngineBusy) } else { (process, Reason::ProcessBusy) }
    }

    /// What waits for longer than the limits allow, these divided by `part`.
    fn waits(&self, sample: &LoadSample, part: u32) -> Option<Reason> {
        let AdmissionLimits { lateness, queue_age, fetch_wait, store_age, .. } = self.limits;
        let is_late = self.late_samples >= LATE_SAMPLES || part > 1;
        let rows = [
            (is_late, sample.lateness, lateness, Reason::PacketsLate),
            (is_late, sample.command_age, queue_age, Reason::CommandsWait),
            (is_late, sample.task_lag, queue_age, Reason::TasksWait),
            (true, sample.fetch_wait, fetch_wait, Reason::FetchesWait),
            (true, sample.store_age, store_age, Reason::StoreWaits),
        ];
        let broken =
            rows.into_iter().find(|(counts, age, limit, _)| *counts && *age > *limit / part);
        broken.map(|(_, _, _, reason)| reason)
    }

    fn refuses(&mut self, now: Instant, reason: Reason) -> Option<Change> {
        self.episode.replace(now).is_none().then_some(Change::Refuses(reason))
    }
}

impl Reason {
    /// A word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::EngineBusy => "engineBusy",
            Self::ProcessBusy => "processBusy",
            Self::PacketsLate => "packetsLate",
            Self::CommandsWait => "commandsWait",
            Self::TasksWait => "tasksWait",
            Self::FetchesWait => "fetchesWait",
            Self::StoreWaits => "storeWaits",
            Self::TooFast => "tooFast",
            Self::Stopping => "stopping",
        }
    }
}

/// With the setting that draws the line.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EngineBusy => "its playout threads are busy (admission.engine_thread_percent)",
            Self::ProcessBusy => "its processors are busy (admission.process_percent)",
            Self::PacketsLate => "its packets leave late (admission.lateness)",
            Self::CommandsWait => "its playout threads fall behind (admission.queue_age)",
            Self::TasksWait => "its tasks wait for a processor (admission.queue_age)",
            Self::FetchesWait => "its prompt fetches queue up (admission.fetch_wait)",
            Self::StoreWaits => "its store falls behind (admission.store_age)",
            Self::TooFast => "calls come faster than they can be set up",
            Self::Stopping => "the server is stopping",
        })
    }
}

#[cfg(test)]
mod tests;
