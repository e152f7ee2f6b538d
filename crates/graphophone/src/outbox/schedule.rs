//! When a failed delivery is tried again, and when no more. Pure: time and chance are arguments.

use std::time::{Duration, UNIX_EPOCH};

use graphophone_store::UnixMillis;

/// The retry schedule of one notification.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// When attempts are made, counted from the first one, ascending; the first entry is 0. The
    /// last wait is repeated until `give_up_after`; fewer than two entries mean one attempt.
    pub attempts_at: Vec<Duration>,
    /// A notification owed for so long gets its last attempt.
    pub give_up_after: Duration,
    /// Each wait is shortened or lengthened by up to this part of it, 0.0–1.0, so that
    /// notifications that failed together do not come back together.
    pub jitter: f64,
    /// The longest wait that a bot's `Retry-After` can ask for.
    pub retry_after_limit: Duration,
    /// A notification that comes to its turn later than `give_up_after` gets this many attempts
    /// before it is given up, if the schedule has so many. It has waited behind another one that
    /// failed all that time, or for a server that was down: a dead bot must not be owed one
    /// schedule's length per notification.
    pub attempts_when_late: u32,
}

impl Default for Schedule {
    /// 0, 1, 2, 5, 10, 30, 60 s, 5, 15, 30 min, 1, 2, 4, 8, 16, 24 h, ±20 %, and no more after
    /// 24 h; `Retry-After` up to 1 h.
    fn default() -> Self {
        let seconds =
            [0, 1, 2, 5, 10, 30, 60, 300, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 57_600, 86_400];
        Self {
            attempts_at: seconds.into_iter().map(Duration::from_secs).collect(),
            give_up_after: Duration::from_secs(86_400),
            jitter: 0.2,
            retry_after_limit: Duration::from_secs(3_600),
            attempts_when_late: 7,
        }
    }
}

/// How long a notification is owed, though the wall clock may have stepped since (promise P42): by
/// the wall clock, and by what it said at the start of this process and the time since, whichever
/// is shorter. A step can only make it younger than it is.
pub(super) fn age(
    created: UnixMillis,
    now: UnixMillis,
    start: UnixMillis,
    since_start: Duration,
) -> Duration {
    let millis = |from: i64, to: i64| {
        Duration::from_millis(u64::try_from(to.saturating_sub(from)).unwrap_or(0))
    };
    let steady = if created.0 <= start.0 {
        millis(created.0, start.0).saturating_add(since_start)
    } else {
        since_start.saturating_sub(millis(start.0, created.0))
    };
    steady.min(millis(created.0, now.0))
}

impl Schedule {
    /// How long to wait after a failed attempt; `None` gives the notification up.
    ///
    /// `attempts` counts the attempts made since the start of the process, this one included;
    /// `age` is the time since the notification came to be owed; `random` is uniform in 0.0–1.0.
    pub fn after_failure(
        &self,
        attempts: u32,
        age: Duration,
        retry_after: Option<Duration>,
        random: f64,
    ) -> Option<Duration> {
        let made = usize::try_from(attempts.max(1)).unwrap_or(usize::MAX);
        let last = self.attempts_at.len().checked_sub(1).filter(|last| *last > 0)?;
        let next = made.min(last);
        let wait = self.attempts_at[next].saturating_sub(self.attempts_at[next - 1]);
        let jittered = wait.mul_f64((1.0 + self.jitter * (2.0 * random - 1.0)).max(0.0));
        let left = self.give_up_after.saturating_sub(age);
        let wait = if !left.is_zero() {
            jittered.min(left)
        } else if made < self.fewest_attempts() {
            jittered
        } else {
            return None;
        };
        // Never earlier than asked: jitter only adds to it.
        let asked = retry_after.map_or(Duration::ZERO, |asked| {
            asked.mul_f64(1.0 + self.jitter * random).min(self.retry_after_limit)
        });
        Some(wait.max(asked))
    }

    fn fewest_attempts(&self) -> usize {
        let when_late = usize::try_from(self.attempts_when_late).unwrap_or(usize::MAX);
        self.attempts_at.iter().filter(|at| **at <= self.give_up_after).count().min(when_late)
    }
}

/// Reads a `Retry-After` value, seconds or date (RFC 9110 §10.2.3); `None` if it is neither, and
/// zero if the date is over.
pub(super) fn retry_after(value: &str, now: UnixMillis) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Any number too large for u64 is "very long", which the limit then cuts. The cut here
        // keeps the jitter's multiplication in range.
        let seconds = value.parse().unwrap_or(u64::MAX).min(u64::from(u32::MAX));
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(now.0).unwrap_or(0));
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: f64 = 0.5;
    const YOUNG: Duration = Duration::ZERO;

    /// The waits of a notification that is attempted as soon as it is owed.
    fn waits(schedule: &Schedule, random: f64) -> Vec<Duration> {
        let mut age = Duration::ZERO;
        (1..)
            .map_while(|made| {
                let wait = schedule.after_failure(made, age, None, random)?;
                age += wait;
                Some(wait)
            })
            .collect()
    }

    /// When it is attempted, in seconds.
    fn times(schedule: &Schedule) -> Vec<u64> {
        let mut at = Duration::ZERO;
        let mut times = vec![0];
        for wait in waits(schedule, MIDDLE) {
            at += wait;
            times.push(at.as_secs());
        }
        times
    }

    #[test]
    fn a_step_of_the_wall_clock_makes_nothing_older_than_it_is() {
        let (hour, day) = (3_600_000, 86_400_000);
        let start = UnixMillis(1_800_000_000_000);
        let at = |millis| start.plus(millis);
        let hours = |hours: u64| Duration::from_secs(3_600 * hours);
        // Owed an hour before the start, and looked at an hour after it.
        assert_eq!(age(at(-hour), at(hour), start, hours(1)), hours(2));
        assert_eq!(age(at(-hour), at(hour + day), start, hours(1)), hours(2));
        assert_eq!(age(at(-hour), at(hour - day), start, hours(1)), hours(0));
        // Owed an hour after the start, and looked at an hour later.
        assert_eq!(age(at(hour), at(2 * hour), start, hours(2)), hours(1));
        assert_eq!(age(at(hour), at(2 * hour + day), start, hours(2)), hours(1));
        // Owed after a step, of a day forward or back.
        assert_eq!(age(at(hour + day), at(2 * hour + day), start, hours(2)), hours(0));
        assert_eq!(age(at(hour - day), at(2 * hour - day), start, hours(2)), hours(1));
    }

    #[test]
    fn attempts_come_at_the_promised_times() {
        let expected =
            [0, 1, 2, 5, 10, 30, 60, 300, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 57_600, 86_400];
        assert_eq!(times(&Schedule::default()), expected);
    }

    #[test]
    fn attempts_go_on_until_the_notification_is_to_be_given_up() {
        let times = |give_up_after| {
            let give_up_after = Duration::from_secs(give_up_after);
            times(&Schedule { give_up_after, ..Schedule::default() })
        };
        assert_eq!(times(0), [0]);
        assert_eq!(times(7), [0, 1, 2, 5, 7]);
        assert_eq!(times(600), [0, 1, 2, 5, 10, 30, 60, 300, 600]);
        let day = times(86_400);
        assert_eq!(times(40 * 3_600), [&day[..], &[115_200, 144_000]].concat());
    }

    #[test]
    fn jitter_moves_each_wait_by_at_most_a_fifth() {
        // So long that the end does not cut a wait.
        let give_up_after = Duration::from_secs(1_000_000);
        let schedule = Schedule { give_up_after, ..Schedule::default() };
        let waits = |random| {
            let wait = |made| schedule.after_failure(made, YOUNG, None, random).unwrap();
            (1..30).map(wait).collect::<Vec<_>>()
        };
        let exact = waits(MIDDLE);
        for (random, factor) in [(0.0, 0.8), (0.25, 0.9), (1.0, 1.2)] {
            for (wait, exact) in waits(random).iter().zip(&exact) {
                let difference = wait.as_secs_f64() - exact.as_secs_f64() * factor;
                assert!(difference.abs() < 1e-6, "{wait:?} for {exact:?} at {random}");
            }
        }
    }

    #[test]
    fn retry_after_lengthens_a_wait_but_never_shortens_it() {
        let schedule = Schedule::default();
        let wait = |made, asked, random| {
            schedule.after_failure(made, YOUNG, Some(Duration::from_secs(asked)), random).unwrap()
        };
        assert_eq!(wait(1, 90, 0.0), Duration::from_secs(90));
        assert!(wait(1, 90, 0.9) > Duration::from_secs(90));
        assert_eq!(wait(1, 0, MIDDLE), Duration::from_secs(1));
        assert_eq!(wait(12, 60, MIDDLE), Duration::from_secs(7_200));
        assert_eq!(wait(1, 1_000_000_000, MIDDLE), Duration::from_secs(3_600));
    }

    #[test]
    fn a_notification_whose_turn_comes_too_late_gets_a_minute() {
        let schedule = Schedule::default();
        let late = Duration::from_secs(86_401);
        let made =
            (1..).take_while(|made| schedule.after_failure(*made, late, None, 0.5).is_some());
        assert_eq!(made.count() + 1, 7);
    }

    #[test]
    fn an_empty_schedule_means_one_attempt() {
        for attempts_at in [vec![], vec![Duration::ZERO]] {
            let schedule = Schedule { attempts_at, ..Schedule::default() };
            assert_eq!(schedule.after_failure(1, YOUNG, None, MIDDLE), None);
        }
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        let now = UnixMillis(784_111_777_000); // Sun, 06 Nov 1994 08:49:37 GMT
        for (value, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("99999999999999999999999999", Some(u64::from(u32::MAX))),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:50:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("", None),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(value, now).map(|wait| wait.as_secs()), seconds, "{value:?}");
        }
    }
}
