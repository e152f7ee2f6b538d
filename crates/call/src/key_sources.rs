//! One press of a key may come in several ways at once: gateways send telephone-events and INFO for
//! it, and let its sound through as well. It counts once.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::tones::Tone;

/// How much later the same press may come in another way.
const SAME_PRESS: Duration = Duration::from_secs(2);
/// Presses that are remembered: more than fingers make in that time.
const MOST: usize = 64;

/// How a press came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A telephone-event (RFC 4733).
    Event,
    /// SIP INFO.
    Info,
    /// Its sound.
    Sound,
}

/// Tells presses from their doubles. Each press is matched with one press of the same key in
/// another way within 2 s, and that one is dropped; two presses that come the same way are two.
#[derive(Clone, Debug, Default)]
pub struct KeySources {
    /// Presses that counted, with the ways in which they came.
    heard: VecDeque<(Instant, Tone, Vec<KeySource>)>,
}

impl KeySources {
    /// Whether a press counts, or was heard already.
    pub fn hear(&mut self, now: Instant, tone: Tone, source: KeySource) -> bool {
        self.heard.retain(|(at, ..)| now.saturating_duration_since(*at) < SAME_PRESS);
        let mut known = self.heard.iter_mut();
        let double = known.find(|(_, key, ways)| *key == tone && !ways.contains(&source));
        if let Some((_, _, ways)) = double {
            ways.push(source);
            return false;
        }
        if self.heard.len() >= MOST {
            self.heard.pop_front();
        }
        self.heard.push_back((now, tone, vec![source]));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{KeySource::*, *};

    #[expect(clippy::disallowed_methods, reason = "a virtual clock must start somewhere")]
    fn epoch() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_press_counts_once_in_however_many_ways_it_comes() {
        let now = epoch();
        let later = |ms| now + Duration::from_millis(ms);
        let mut keys = KeySources::default();
        let heard: Vec<bool> = [
            (0, Tone::Tone1, Info),
            (40, Tone::Tone1, Event),
            (90, Tone::Tone1, Sound),
            // The same key again, quickly, and its doubles.
            (200, Tone::Tone1, Event),
            (210, Tone::Tone1, Info),
            (250, Tone::Star, Sound),
            (260, Tone::Tone1, Sound),
        ]
        .into_iter()
        .map(|(ms, tone, source)| keys.hear(later(ms), tone, source))
        .collect();
        assert_eq!(heard, [true, false, false, true, false, true, false]);
    }

    #[test]
    fn presses_that_come_one_way_all_count_and_old_ones_match_nothing() {
        let now = epoch();
        let mut keys = KeySources::default();
        for press in 0..200 {
            assert!(keys.hear(now + Duration::from_millis(press * 10), Tone::Pound, Info));
        }
        assert!(keys.heard.len() <= MOST);
        assert!(keys.hear(now + Duration::from_secs(5), Tone::Pound, Event));
    }
}
