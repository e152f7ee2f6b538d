//! How long what has ended is kept: by the wall clock, whose records outlive the process, but never
//! shorter for a step of it (promise P42).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use graphophone_store::{Cutoff, Store, UnixMillis};
use tracing::{debug, warn};

use crate::{config::Config, engine::unix_millis};

/// Differences between the clocks that are no step: slow disks of other processes, adjustments.
const TOLERANCE: Duration = Duration::from_secs(2);
/// Steps remembered; a clock that steps more often counts with the sum.
const MOST_STEPS: usize = 64;

/// How long things are kept.
#[derive(Clone, Copy)]
pub(super) struct Keep {
    /// Calls and operations that have ended, and notifications that were delivered.
    ended: Duration,
    /// Notifications that were given up.
    given_up: Duration,
    /// Requests that must not be carried out again.
    requests: Duration,
}

impl Keep {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            ended: config.operations.keep.0,
            given_up: config.callbacks.keep_given_up.0,
            requests: config.operations.remember_requests.0,
        }
    }
}

/// Forgets what ended longer ago than it is kept.
pub(super) async fn prune(store: Store, keep: Keep) {
    let longest = keep.ended.max(keep.given_up).max(keep.requests);
    let shortest = keep.ended.min(keep.given_up).min(keep.requests);
    let mut steps = Steps::new(Instant::now(), unix_millis());
    let pause = shortest.clamp(Duration::from_secs(1), Duration::from_secs(60));
    loop {
        tokio::time::sleep(pause).await;
        let (now, wall) = (Instant::now(), unix_millis());
        steps.note(now, wall, longest);
        let before = |keep: Duration| {
            let back = keep.saturating_add(steps.forward_within(now, keep));
            wall.plus(-i64::try_from(back.as_millis()).unwrap_or(i64::MAX))
        };
        let cutoff = Cutoff {
            ended: before(keep.ended),
            given_up: before(keep.given_up),
            requests: before(keep.requests),
        };
        match store.prune(cutoff).await {
            Ok(pruned) => debug!(?pruned, "forgot what ended long ago"),
            Err(error) => warn!(%error, "the store cannot be pruned"),
        }
    }
}

/// Steps of the wall clock towards the future. What ended before one looks older by its length;
/// after a step back it looks younger, and is kept the longer.
struct Steps {
    last: (Instant, UnixMillis),
    forward: VecDeque<(Instant, Duration)>,
}

impl Steps {
    fn new(now: Instant, wall: UnixMillis) -> Self {
        Self { last: (now, wall), forward: VecDeque::new() }
    }

    /// Looks at both clocks; forgets steps longer ago than `longest`.
    fn note(&mut self, now: Instant, wall: UnixMillis, longest: Duration) {
        let (then, wall_then) = std::mem::replace(&mut self.last, (now, wall));
        let passed = now.saturating_duration_since(then);
        let by_wall = u64::try_from(wall.0.saturating_sub(wall_then.0)).unwrap_or(0);
        let step = Duration::from_millis(by_wall).saturating_sub(passed);
        self.forward.retain(|(at, _)| now.saturating_duration_since(*at) <= longest);
        if step > TOLERANCE {
            if self.forward.len() == MOST_STEPS
                && let Some((_, oldest)) = self.forward.pop_front()
                && let Some((_, next)) = self.forward.front_mut()
            {
                *next = next.saturating_add(oldest);
            }
            self.forward.push_back((now, step));
        }
    }

    /// How much older than it is something may look that ended within the last `keep`.
    fn forward_within(&self, now: Instant, keep: Duration) -> Duration {
        let recent = self.forward.iter().filter(|(at, _)| now.duration_since(*at) <= keep);
        recent.map(|(_, step)| *step).fold(Duration::ZERO, Duration::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const DAY: Duration = Duration::from_secs(86_400);

    struct Clocks {
        now: Instant,
        wall: i64,
        steps: Steps,
    }

    impl Clocks {
        fn new() -> Self {
            let (now, wall) = (Instant::now(), 1_800_000_000_000);
            Self { now, wall, steps: Steps::new(now, UnixMillis(wall)) }
        }

        fn pass(&mut self, time: Duration, step: i64) {
            self.now += time;
            self.wall += i64::try_from(time.as_millis()).unwrap() + step;
            self.steps.note(self.now, UnixMillis(self.wall), 7 * DAY);
        }

        fn added(&self, keep: Duration) -> Duration {
            self.steps.forward_within(self.now, keep)
        }
    }

    #[test]
    fn time_that_passes_is_no_step() {
        let mut clocks = Clocks::new();
        for _ in 0..100 {
            clocks.pass(Duration::from_secs(60), 900);
        }
        assert_eq!(clocks.added(DAY), Duration::ZERO);
    }

    #[test]
    fn what_ended_before_a_step_is_kept_as_long_as_without_it() {
        let mut clocks = Clocks::new();
        let ended = clocks.wall;
        clocks.pass(Duration::from_secs(60), 86_400_000);
        let cutoff = clocks.wall - i64::try_from((HOUR + clocks.added(HOUR)).as_millis()).unwrap();
        assert!(ended > cutoff, "forgotten after a minute");
        clocks.pass(HOUR, 0);
        let cutoff = clocks.wall - i64::try_from((HOUR + clocks.added(HOUR)).as_millis()).unwrap();
        assert!(ended < cutoff, "kept although an hour has passed");
        assert_eq!(clocks.added(7 * DAY), DAY, "what is kept for longer is not over yet");
    }

    #[test]
    fn steps_to_and_fro_never_make_anything_older() {
        let mut clocks = Clocks::new();
        for step in [3_600_000, -3_600_000, 86_400_000, -86_400_000] {
            clocks.pass(Duration::from_secs(60), step);
            assert!(clocks.added(HOUR) >= Duration::ZERO);
        }
        assert_eq!(clocks.added(HOUR), HOUR + DAY);
    }

    #[test]
    fn a_clock_that_steps_all_the_time_costs_no_more_memory() {
        let mut clocks = Clocks::new();
        for _ in 0..1_000 {
            clocks.pass(Duration::from_secs(1), 5_000);
        }
        assert_eq!(clocks.steps.forward.len(), MOST_STEPS);
        assert_eq!(clocks.added(7 * DAY), Duration::from_secs(5_000));
    }
}
