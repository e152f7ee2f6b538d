//! Which synchronisation source a stream hears: the first one, until it is silent and another has
//! proved itself.
//!
//! Who can write the far end's address into a datagram must also guess a number of 32 bits, or send
//! several packets in a row while the far end says nothing. A far end that changes its source, as
//! after a transfer, is heard again a tenth of a second later.

use std::time::{Duration, Instant};

/// Packets in order that make a source (RFC 3550 A.1 has 2).
const IN_ORDER: u8 = 3;
/// How long the source before must have been silent by then.
const SILENT: Duration = Duration::from_millis(100);

/// A source that would like to be heard.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    ssrc: u32,
    /// What its next packet must be numbered.
    next: u16,
    in_order: u8,
}

/// Judges packets of sources that are not the one that is heard. Only the last one is remembered.
#[derive(Debug, Default)]
pub(super) struct Sources {
    heard_at: Option<Instant>,
    candidate: Option<Candidate>,
}

impl Sources {
    /// The source that is heard has sent something.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = Some(now);
    }

    /// Whether this packet makes its source the one that is heard.
    pub(super) fn takes_over(&mut self, ssrc: u32, sequence: u16, now: Instant) -> bool {
        let before = self.candidate.take();
        let follows = before.filter(|it| it.ssrc == ssrc && it.next == sequence);
        let in_order = follows.map_or(1, |it| it.in_order.saturating_add(1));
        let silent = self.heard_at.is_none_or(|at| now.saturating_duration_since(at) >= SILENT);
        if in_order >= IN_ORDER && silent {
            return true;
        }
        self.candidate = Some(Candidate { ssrc, next: sequence.wrapping_add(1), in_order });
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_source_is_heard_after_three_packets_in_order_and_a_tenth_of_a_second() {
        let begun = Instant::now();
        let mut sources = Sources::default();
        sources.heard(begun);
        let at = |packet: u16| begun + Duration::from_millis(20) * u32::from(packet);
        let taken =
            (1_u16..).find(|packet| sources.takes_over(7, packet.wrapping_sub(3), at(*packet)));
        assert_eq!(taken, Some(5));
    }

    #[test]
    fn a_source_beside_one_that_speaks_is_never_heard() {
        let begun = Instant::now();
        let mut sources = Sources::default();
        for packet in 0..10_000 {
            let now = begun + Duration::from_millis(2) * packet;
            if packet % 10 == 0 {
                sources.heard(now);
            }
            assert!(!sources.takes_over(7, packet as u16, now));
        }
    }

    #[test]
    fn who_guesses_numbers_never_makes_a_source() {
        let begun = Instant::now();
        let mut sources = Sources::default();
        sources.heard(begun);
        let later = begun + Duration::from_secs(9);
        let guess = |n: u32| n.wrapping_mul(0x9E37_79B9);
        assert!((0..100_000).all(|n| !sources.takes_over(guess(n), guess(n) as u16, later)));
    }
}
