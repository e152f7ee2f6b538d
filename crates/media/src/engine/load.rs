//! How busy and how late the engine's threads are: measured by themselves, readable by anyone.
//!
//! All of it counts up from the start of the thread; what happened in a window is the difference
//! of two snapshots ([`EngineLoad::since`]), so that any number of readers may look.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{
    clock::thread_cpu_time,
    stats::{Count, ShardCounters, nanoseconds},
};

/// Buckets of a [`Histogram`]: one below 1 µs, then four in each doubling up to 17 s.
const BUCKETS: usize = 1 + 4 * OCTAVES;
const OCTAVES: usize = 24;
/// Spans below 2 to the power of this, in nanoseconds, are in the first bucket.
const FIRST: u32 = 10;

/// A thread reads its CPU clock, which is a system call, no more often than this.
const CPU_EVERY: Duration = Duration::from_millis(25);

/// Spans of time by size, each at most a quarter longer than what is said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram([u64; BUCKETS]);

/// What one engine thread has measured since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadLoad {
    /// Streams that are open now.
    pub streams: u64,
    /// RTP packets handed to the kernel.
    pub packets_sent: u64,
    /// RTP packets accepted.
    pub packets_received: u64,
    /// Time awake; also what it waited for a processor meanwhile.
    pub busy: Duration,
    /// Processor time (CLOCK_THREAD_CPUTIME_ID).
    pub cpu: Duration,
    /// When `cpu` was read, since the thread began: up to 25 ms of work ago.
    pub cpu_at: Duration,
    /// How late packets were laid down, after their deadlines.
    pub lateness: Histogram,
    /// How long commands waited for the thread.
    pub command_age: Histogram,
}

/// What all threads have measured since they began.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EngineLoad {
    /// When this was read.
    pub at: Instant,
    /// Each thread's.
    pub threads: Vec<ThreadLoad>,
}

/// What happened between two snapshots.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EngineWindow {
    /// How long it was.
    pub span: Duration,
    /// Each thread's part.
    pub threads: Vec<ThreadWindow>,
    /// How late packets were laid down, after their deadlines.
    pub lateness: Histogram,
    /// How long commands waited for a thread.
    pub command_age: Histogram,
}

/// What one thread did between two snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ThreadWindow {
    /// Streams that are open at the end of it.
    pub streams: u64,
    /// RTP packets handed to the kernel, per second.
    pub sent_per_second: f64,
    /// RTP packets accepted, per second.
    pub received_per_second: f64,
    /// Part of the time that it was awake, 0 to 1.
    pub busy: f64,
    /// Part of a processor that it used, 0 to 1.
    pub cpu: f64,
}

/// The thread's side of [`ThreadLoad`].
#[derive(Debug, Default)]
pub(crate) struct LoadMeter {
    busy: Count,
    cpu: Count,
    cpu_at: Count,
    pub(super) lateness: Spans,
    pub(super) command_age: Spans,
}

/// A [`Histogram`] with one writer.
#[derive(Debug)]
pub(super) struct Spans([Count; BUCKETS]);

impl LoadMeter {
    /// Notes that the thread, which runs since `started`, was awake from `woke` to `now`.
    /// Called by the thread itself: the CPU clock is the caller's.
    pub(crate) fn turned(&self, started: Instant, woke: Instant, now: Instant) {
        self.busy.add(nanoseconds(now.saturating_duration_since(woke)));
        let at = nanoseconds(now.saturating_duration_since(started));
        if at >= self.cpu_at.get() + nanoseconds(CPU_EVERY) {
            self.cpu.raise(nanoseconds(thread_cpu_time()));
            self.cpu_at.raise(at);
        }
    }
}

/// For threads that are none of the engine's.
impl LoadMeter {
    /// Notes how late something was begun.
    pub(crate) fn late(&self, lateness: Duration) {
        self.lateness.add(lateness);
    }

    /// Time awake.
    pub(crate) fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy.get())
    }

    /// Processor time.
    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu.get())
    }

    /// How late things were begun.
    pub(crate) fn lateness(&self) -> Histogram {
        self.lateness.read()
    }
}

impl ThreadLoad {
    pub(super) fn read(counters: &ShardCounters) -> Self {
        let meter = &counters.load;
        Self {
            streams: counters.streams.load(Ordering::Relaxed),
            packets_sent: counters.packets_sent.get(),
            packets_received: counters.packets_received.get(),
            busy: Duration::from_nanos(meter.busy.get()),
            cpu: Duration::from_nanos(meter.cpu.get()),
            cpu_at: Duration::from_nanos(meter.cpu_at.get()),
            lateness: meter.lateness.read(),
            command_age: meter.command_age.read(),
        }
    }

    fn since(&self, before: &Self, span: Duration) -> ThreadWindow {
        let part = |of: Duration, span: Duration| {
            if span.is_zero() { 0.0 } else { (of.as_secs_f64() / span.as_secs_f64()).min(1.0) }
        };
        let rate = |count: u64| count as f64 / span.as_secs_f64().max(1e-6);
        // A thread that sleeps does not read its clock: what it used is less than it seems then.
        let cpu_span = (self.cpu_at.saturating_sub(before.cpu_at)).max(span / 2);
        ThreadWindow {
            streams: self.streams,
            sent_per_second: rate(self.packets_sent.saturating_sub(before.packets_sent)),
            received_per_second: rate(
                self.packets_received.saturating_sub(before.packets_received),
            ),
            busy: part(self.busy.saturating_sub(before.busy), span),
            cpu: part(self.cpu.saturating_sub(before.cpu), cpu_span),
        }
    }
}

impl EngineLoad {
    /// What happened since an earlier snapshot of the same engine.
    pub fn since(&self, before: &Self) -> EngineWindow {
        let span = self.at.saturating_duration_since(before.at);
        let pairs = || self.threads.iter().zip(&before.threads);
        EngineWindow {
            span,
            threads: pairs().map(|(now, before)| now.since(before, span)).collect(),
            lateness: Histogram::sum(pairs().map(|(now, it)| now.lateness.since(&it.lateness))),
            command_age: Histogram::sum(
                pairs().map(|(now, it)| now.command_age.since(&it.command_age)),
            ),
        }
    }
}

impl EngineWindow {
    /// Processors that all threads used together.
    pub fn cpu(&self) -> f64 {
        self.threads.iter().map(|thread| thread.cpu).sum()
    }

    /// Part of a processor that the busiest thread used.
    pub fn busiest(&self) -> f64 {
        self.threads.iter().map(|thread| thread.cpu).fold(0.0, f64::max)
    }

    /// RTP packets handed to the kernel, per second.
    pub fn sent_per_second(&self) -> f64 {
        self.threads.iter().map(|thread| thread.sent_per_second).sum()
    }

    /// Streams that are open at the end of it.
    pub fn streams(&self) -> u64 {
        self.threads.iter().map(|thread| thread.streams).sum()
    }
}

impl Histogram {
    /// Spans counted.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The span that a part (0 to 1) of all does not exceed, up to a quarter too long; zero if
    /// nothing was counted.
    pub fn quantile(&self, part: f64) -> Duration {
        let rank = ((self.count() as f64 * part).ceil() as u64).max(1);
        let mut below = 0;
        for (index, count) in self.0.iter().enumerate() {
            below += count;
            if below >= rank {
                return upper_edge(index);
            }
        }
        Duration::ZERO
    }

    /// The longest span, up to a quarter too long; zero if nothing was counted.
    pub fn max(&self) -> Duration {
        self.0.iter().rposition(|count| *count > 0).map_or(Duration::ZERO, upper_edge)
    }

    /// What was added since an earlier snapshot of the same.
    pub fn since(&self, before: &Self) -> Self {
        Self(std::array::from_fn(|index| self.0[index].saturating_sub(before.0[index])))
    }

    fn sum(all: impl Iterator<Item = Self>) -> Self {
        all.fold(Self::default(), |sum, it| {
            Self(std::array::from_fn(|index| sum.0[index] + it.0[index]))
        })
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Spans {
    pub(super) fn add(&self, span: Duration) {
        self.0[bucket(nanoseconds(span))].add(1);
    }

    fn read(&self) -> Histogram {
        Histogram(std::array::from_fn(|index| self.0[index].get()))
    }
}

impl Default for Spans {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Count::default()))
    }
}

fn bucket(nanoseconds: u64) -> usize {
    let Some(octave) = nanoseconds.checked_ilog2().and_then(|log| log.checked_sub(FIRST)) else {
        return 0;
    };
    let quarter = (nanoseconds >> (octave + FIRST - 2)) & 3;
    (1 + 4 * octave as usize + quarter as usize).min(BUCKETS - 1)
}

/// Everything in a bucket is shorter; said of the first one is nothing.
fn upper_edge(bucket: usize) -> Duration {
    let Some(index) = bucket.checked_sub(1) else { return Duration::ZERO };
    let (octave, quarter) = (index / 4, index as u64 % 4);
    Duration::from_nanos((5 + quarter) << (octave + FIRST as usize - 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_up_to_a_quarter_too_long() {
        for nanoseconds in [1_024, 1_279, 1_280, 5_000, 999_999, 1_000_000, 20_000_000, 8 << 30] {
            let said = upper_edge(bucket(nanoseconds)).as_nanos() as u64;
            assert!(said > nanoseconds && said <= nanoseconds / 4 * 5 + 1, "{nanoseconds} {said}");
        }
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert!((1..BUCKETS).all(|it| bucket(upper_edge(it).as_nanos() as u64 - 1) == it));
    }

    #[test]
    fn a_window_knows_only_what_happened_in_it() {
        let spans = Spans::default();
        spans.add(Duration::from_secs(5));
        let before = spans.read();
        assert_eq!(spans.read().since(&before).max(), Duration::ZERO);
        for _ in 0..98 {
            spans.add(Duration::from_micros(30));
        }
        spans.add(Duration::from_millis(3));
        spans.add(Duration::from_millis(4));
        let window = spans.read().since(&before);
        assert_eq!(window.count(), 100);
        assert!(window.quantile(0.5) < Duration::from_micros(40));
        let p99 = window.quantile(0.99);
        assert!(p99 > Duration::from_millis(3) && p99 < Duration::from_millis(4), "{p99:?}");
        assert!(window.max() < Duration::from_millis(6), "{:?}", window.max());
    }

    #[test]
    fn work_is_told_from_sleep() {
        let counters = ShardCounters::default();
        let started = Instant::now();
        let mut now = started;
        while now < started + 2 * CPU_EVERY {
            now = Instant::now();
        }
        counters.load.turned(started, started, now);
        let load = ThreadLoad::read(&counters);
        assert_eq!(load.busy, now - started);
        assert!(!load.cpu.is_zero());
        let window = load.since(&ThreadLoad::default(), 4 * (now - started));
        assert!((window.busy - 0.25).abs() < 0.01, "{window:?}");
    }
}
