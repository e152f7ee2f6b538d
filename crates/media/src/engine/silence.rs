//! Whether the far end still says anything: after how long a silence a stream tells its owner.
//!
//! RTP and RTCP both count: a far end that suppresses silence (RFC 3389) or only listens still
//! reports. Looking is a chore of every limit's length, and no work for a packet.

use std::time::{Duration, Instant};

/// A look that comes later than this: the machine stood still and heard nobody.
const STOOD_STILL: Duration = Duration::from_secs(1);

/// Watches for silence.
#[derive(Debug)]
pub(super) struct Silence {
    limit: Option<Duration>,
    heard_at: Instant,
    /// When to look; `None` while nothing is expected, and after it was told.
    look_at: Option<Instant>,
}

impl Silence {
    /// A far end that is to be heard; `None` never minds.
    pub(super) fn new(limit: Option<Duration>, now: Instant) -> Self {
        Self { limit, heard_at: now, look_at: limit.map(|limit| now + limit) }
    }

    /// Something valid came.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// Whether the far end is to send at all, or holds the call. Patience begins anew when it is.
    pub(super) fn expect(&mut self, expected: bool, now: Instant) {
        match (expected, self.look_at) {
            (false, _) => self.look_at = None,
            (true, Some(_)) => {}
            (true, None) => *self = Self::new(self.limit, now),
        }
    }

    /// When to ask [`Self::is_over`].
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// Whether the limit has passed without a sign of life; true once. Afterwards
    /// [`Self::look_at`] is later than `now`.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        let (Some(limit), Some(look_at)) = (self.limit, self.look_at) else { return false };
        let late = now.saturating_duration_since(look_at);
        if look_at > now {
            return false;
        }
        if late > STOOD_STILL {
            self.heard_at = self.heard_at.max(now);
        }
        let due = self.heard_at + limit;
        self.look_at = (due > now).then_some(due);
        due <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// When it is told, looking as often as it asks to, with signs of life at these seconds.
    fn told_at(mut silence: Silence, begun: Instant, signs: &[u64]) -> Option<Duration> {
        let mut signs = signs.iter().map(|at| begun + Duration::from_secs(*at)).peekable();
        while let Some(look_at) = silence.look_at() {
            while let Some(sign) = signs.next_if(|sign| *sign <= look_at) {
                silence.heard(sign);
            }
            if silence.is_over(look_at) {
                return Some(look_at - begun);
            }
        }
        None
    }

    #[test]
    fn it_is_told_a_limit_after_the_last_sign_of_life() {
        let begun = Instant::now();
        let told = |signs: &[u64]| told_at(Silence::new(Some(LIMIT), begun), begun, signs);
        assert_eq!(told(&[]), Some(LIMIT));
        assert_eq!(told(&[1, 2, 30]), Some(LIMIT + Duration::from_secs(30)));
        let every_five: Vec<u64> = (0..1_000).map(|report| report * 5).collect();
        assert_eq!(told(&every_five), Some(Duration::from_secs(999 * 5) + LIMIT));
        assert_eq!(told_at(Silence::new(None, begun), begun, &[]), None);
    }

    #[test]
    fn who_holds_the_call_may_be_silent_and_has_all_the_time_afterwards() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut silence = Silence::new(Some(LIMIT), begun);
        silence.expect(false, at(10));
        assert!(silence.look_at().is_none() && !silence.is_over(at(1_000)));
        silence.expect(true, at(2_000));
        silence.expect(true, at(2_030));
        assert_eq!(told_at(silence, begun, &[]), Some(Duration::from_secs(2_060)));
    }

    #[test]
    fn a_machine_that_stood_still_listens_once_more() {
        let begun = Instant::now();
        let mut silence = Silence::new(Some(LIMIT), begun);
        let woken = begun + Duration::from_secs(300);
        assert!(!silence.is_over(woken));
        assert_eq!(told_at(silence, woken, &[]), Some(LIMIT));
    }
}
