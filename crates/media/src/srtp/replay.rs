//! Which packets of which sources were there already (RFC 3711 §3.3.1 and §3.3.2).

/// How far back packets are known one by one.
const WINDOW: u64 = 64;

/// Sources that are told apart. None is forgotten: its packets could be replayed.
const SOURCES: usize = 16;

/// Sources of one kind of packets.
#[derive(Debug)]
pub(super) struct Sources(Vec<Source>);

/// The window of one source.
#[derive(Debug)]
struct Source {
    ssrc: u32,
    /// The highest index that was accepted.
    highest: u64,
    /// Bit n: `highest - n` was accepted.
    seen: u64,
}

/// Why an index is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It was there already, or is too old to tell.
    Replayed,
    /// There are [`SOURCES`] others.
    TooManySources,
}

impl Sources {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(SOURCES))
    }

    /// The index that a sequence number most likely has (RFC 3711 §3.3.1); `None` if it would lie
    /// before the first or behind the last of all.
    pub(super) fn estimate(&self, ssrc: u32, sequence: u16) -> Option<u64> {
        let Some(source) = self.find(ssrc) else { return Some(sequence.into()) };
        let roll_over = source.highest >> 16;
        // The lower half is the sequence number, by definition of the index.
        let last = source.highest as u16;
        let roll_over = if last < 1 << 15 {
            if i32::from(sequence) - i32::from(last) > 1 << 15 {
                roll_over.checked_sub(1)?
            } else {
                roll_over
            }
        } else if i32::from(last) - (1 << 15) > i32::from(sequence) {
            roll_over + 1
        } else {
            roll_over
        };
        (roll_over <= u32::MAX.into()).then_some(roll_over << 16 | u64::from(sequence))
    }

    /// Whether a packet may be looked at, before it is authenticated.
    pub(super) fn check(&self, ssrc: u32, index: u64) -> Result<(), Refused> {
        match self.find(ssrc) {
            None if self.0.len() == SOURCES => Err(Refused::TooManySources),
            None => Ok(()),
            Some(source) if index > source.highest => Ok(()),
            Some(source) => {
                let back = source.highest - index;
                let is_new = back < WINDOW && source.seen & 1 << back == 0;
                if is_new { Ok(()) } else { Err(Refused::Replayed) }
            }
        }
    }

    /// Notes a packet that was checked and is authentic.
    pub(super) fn accept(&mut self, ssrc: u32, index: u64) {
        match self.0.iter_mut().find(|source| source.ssrc == ssrc) {
            None => self.0.push(Source { ssrc, highest: index, seen: 1 }),
            Some(source) if index > source.highest => {
                let ahead = index - source.highest;
                source.seen = if ahead < WINDOW { source.seen << ahead | 1 } else { 1 };
                source.highest = index;
            }
            Some(source) => source.seen |= 1 << (source.highest - index),
        }
    }

    fn find(&self, ssrc: u32) -> Option<&Source> {
        self.0.iter().find(|source| source.ssrc == ssrc)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn at(index: u64) -> Sources {
        let mut sources = Sources::new();
        sources.accept(1, index);
        sources
    }

    #[test]
    fn sequence_numbers_are_near_the_highest_one() {
        let estimate = |highest, sequence| at(highest).estimate(1, sequence);
        assert_eq!(estimate(0x2_FFFF, 0), Some(0x3_0000));
        assert_eq!(estimate(0x3_0000, 0xFFFF), Some(0x2_FFFF));
        assert_eq!(estimate(0x3_0000, 0x8000), Some(0x3_8000));
        assert_eq!(estimate(0x3_0000, 0x8001), Some(0x2_8001));
        assert_eq!(estimate(0x3_9000, 0x0FFF), Some(0x4_0FFF));
        assert_eq!(estimate(0x3_9000, 0x1000), Some(0x3_1000));
        assert_eq!(estimate(5, 0xFFFF), None, "before the first");
        assert_eq!(estimate(0xFFFF_FFFF_FFFF, 0), None, "the key is used up");
        assert_eq!(at(0x3_0000).estimate(2, 0xFFFF), Some(0xFFFF), "a new source begins at 0");
    }

    #[test]
    fn no_source_is_forgotten_for_another() {
        let mut sources = Sources::new();
        for ssrc in 0..16 {
            assert_eq!(sources.check(ssrc, 7), Ok(()));
            sources.accept(ssrc, 7);
        }
        assert_eq!(sources.check(16, 7), Err(Refused::TooManySources));
        assert_eq!(sources.check(0, 7), Err(Refused::Replayed));
        assert_eq!(sources.check(0, 8), Ok(()));
    }

    proptest! {
        #[test]
        fn every_index_is_taken_once_and_old_ones_never(
            steps in proptest::collection::vec(prop_oneof![0u64..4, 0u64..100], 1..200),
            backs in proptest::collection::vec(0u64..130, 200),
        ) {
            let (mut sources, mut taken, mut top) = (Sources::new(), BTreeSet::new(), 1_000);
            for (step, back) in steps.into_iter().zip(backs) {
                top += step;
                let index = top - back;
                let highest = taken.last().copied().unwrap_or(0);
                let is_new = !taken.contains(&index) && index + 64 > highest;
                prop_assert_eq!(sources.check(1, index).is_ok(), is_new);
                if is_new {
                    sources.accept(1, index);
                    taken.insert(index);
                }
            }
        }
    }
}
