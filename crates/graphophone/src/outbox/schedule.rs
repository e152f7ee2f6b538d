//! When a failed delivery is tried again, and when no more. Pure: time and chance are arguments.

use std::time::{Duration, UNIX_EPOCH};

use graphophone_store::UnixMillis;

/// The retry schedule of one notification.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// When attempts are made, counted from the first one, ascending; the first entry is 0.
    pub attempts_at: Vec<Duration>,
    /// Each wait is shortened or lengthened by up to this part of it, 0.0–1.0, so that
    /// notifications that failed together do not come back together.
    pub jitter: f64,
    /// The longest wait that a bot's `Retry-After` can ask for.
    pub retry_after_limit: Duration,
    /// A notification older than the whole schedule gets this many attempts before it is given
    /// up. It has waited for its turn behind another one that failed for the whole schedule: a
    /// dead bot must not be owed one schedule's length per notification.
    pub attempts_when_late: u32,
}

impl Default for Schedule {
    /// 0, 1, 2, 5, 10, 30, 60 s, 5, 15, 30 min, 1, 2, 4, 8, 16, 24 h, ±20 %; `Retry-After` up
    /// to 1 h.
    fn default() -> Self {
        let seconds =
            [0, 1, 2, 5, 10, 30, 60, 300, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 57_600, 86_400];
        Self {
            attempts_at: seconds.into_iter().map(Duration::from_secs).collect(),
            jitter: 0.2,
            retry_after_limit: Duration::from_secs(3_600),
            attempts_when_late: 7,
        }
    }
}

impl Schedule {
    /// Ends the schedule there, with a last attempt. Where it is longer than the default, attempts
    /// go on as far apart as the default's last ones.
    pub fn give_up_after(&mut self, end: Duration) {
        const STEP: Duration = Duration::from_secs(8 * 3_600);
        self.attempts_at.retain(|at| *at < end);
        let mut next = self.attempts_at.last().map_or(end, |last| *last + STEP);
        while next < end {
            self.attempts_at.push(next);
            next += STEP;
        }
        self.attempts_at.push(end);
    }

    /// How long to wait after a failed attempt; `None` gives the notification up.
    ///
    /// `attempts` counts the attempts made, this one included; `age` is the time since the
    /// notification came to be owed; `random` is uniform in 0.0–1.0.
    pub fn after_failure(
        &self,
        attempts: u32,
        age: Duration,
        retry_after: Option<Duration>,
        random: f64,
    ) -> Option<Duration> {
        let made = usize::try_from(attempts.max(1)).unwrap_or(usize::MAX);
        let next = self.attempts_at.get(made)?;
        let whole = self.attempts_at.last()?;
        if age > *whole && attempts >= self.attempts_when_late {
            return None;
        }
        let wait = next.saturating_sub(self.attempts_at[made - 1]);
        let jittered = wait.mul_f64((1.0 + self.jitter * (2.0 * random - 1.0)).max(0.0));
        // Never earlier than asked: jitter only adds to it.
        let asked = retry_after.map_or(Duration::ZERO, |asked| {
            asked.mul_f64(1.0 + self.jitter * random).min(self.retry_after_limit)
        });
        Some(jittered.max(asked))
    }

    /// The longest wait there can be. A stored time further ahead than this comes from a wall
    /// clock that has been set back since.
    pub fn longest_wait(&self) -> Duration {
        let steps = self.attempts_at.windows(2);
        let longest = steps.map(|step| step[1].saturating_sub(step[0])).max().unwrap_or_default();
        longest.mul_f64(1.0 + self.jitter).max(self.retry_after_limit)
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

    fn waits(schedule: &Schedule, random: f64) -> Vec<Duration> {
        (1..).map_while(|made| schedule.after_failure(made, YOUNG, None, random)).collect()
    }

    #[test]
    fn attempts_come_at_the_promised_times() {
        let mut at = Duration::ZERO;
        let mut times = vec![0];
        for wait in waits(&Schedule::default(), MIDDLE) {
            at += wait;
            times.push(at.as_secs());
        }
        let expected =
            [0, 1, 2, 5, 10, 30, 60, 300, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 57_600, 86_400];
        assert_eq!(times, expected);
    }

    #[test]
    fn the_last_attempt_is_when_it_is_given_up() {
        let hour = 3_600;
        for (end, last) in [
            (600, &[60, 300, 600][..]),
            (24 * hour, &[8 * hour, 16 * hour, 24 * hour]),
            (36 * hour, &[24 * hour, 32 * hour, 36 * hour]),
            (0, &[0]),
        ] {
            let mut schedule = Schedule::default();
            schedule.give_up_after(Duration::from_secs(end));
            let at: Vec<u64> = schedule.attempts_at.iter().map(Duration::as_secs).collect();
            assert!(at.ends_with(last), "{end}: {at:?}");
        }
    }

    #[test]
    fn jitter_moves_each_wait_by_at_most_a_fifth() {
        let schedule = Schedule::default();
        let exact = waits(&schedule, MIDDLE);
        for (random, factor) in [(0.0, 0.8), (0.25, 0.9), (1.0, 1.2)] {
            for (wait, exact) in waits(&schedule, random).iter().zip(&exact) {
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
    fn a_notification_that_waited_longer_than_the_schedule_gets_a_minute() {
        let schedule = Schedule::default();
        let late = Duration::from_secs(86_401);
        let made =
            (1..).take_while(|made| schedule.after_failure(*made, late, None, 0.5).is_some());
        assert_eq!(made.count() + 1, 7);
    }

    #[test]
    fn an_empty_schedule_means_one_attempt() {
        let schedule = Schedule { attempts_at: vec![], ..Schedule::default() };
        assert_eq!(schedule.after_failure(1, YOUNG, None, MIDDLE), None);
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
