//! Answers that are longer than the request: a phone may be terse, and must register all the same.
//! The source of a datagram may be somebody else, so each address gets a few a second.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

const WINDOW: Duration = Duration::from_secs(1);
/// Such answers for one address in a window: about 2 kB.
const MOST: u32 = 4;
/// Most addresses that are counted; further ones get none.
const MOST_SOURCES: usize = 4_096;

/// What was given in this window.
#[derive(Debug, Default)]
pub(super) struct Terse {
    since: Option<Instant>,
    given: HashMap<IpAddr, u32>,
}

impl Terse {
    /// Whether one more may be given to this address.
    pub(super) fn may(&mut self, now: Instant, source: IpAddr) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW) {
            self.since = Some(now);
            self.given.clear();
        }
        if self.given.len() >= MOST_SOURCES && !self.given.contains_key(&source) {
            return false;
        }
        let given = self.given.entry(source).or_default();
        *given += 1;
        *given <= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_gets_a_few_a_second_and_what_is_kept_is_bounded() {
        let begun = Instant::now();
        let (mut terse, source) = (Terse::default(), IpAddr::from([192, 0, 2, 1]));
        for second in 0..3 {
            let now = begun + WINDOW * second;
            assert_eq!((0..100).filter(|_| terse.may(now, source)).count(), MOST as usize);
            for number in 0..100_000_u32 {
                terse.may(now, IpAddr::from(number.to_be_bytes()));
            }
            assert_eq!(terse.given.len(), MOST_SOURCES);
        }
    }
}
