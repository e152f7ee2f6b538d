//! What a stream should carry, and whether a packet does.

use std::sync::Arc;

use graphophone_media::{analysis, codec::SampleCodec};

/// Searches for the place in a prompt; a stream that is not found so often carries something else.
const SEARCHES: u8 = 5;
/// A tone is looked for in one packet of so many.
const TONE_EVERY: u32 = 50;
/// A tone of full scale has 0 dB; the quietest that counts as heard.
const TONE_LEVEL_DB: f64 = -30.0;

/// What is expected of a stream.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    /// Anything.
    Any,
    /// This encoded prompt, over and over.
    Loop(Arc<[u8]>),
    /// A tone of this frequency in Hz.
    Tone(f64),
}

/// Looks at the packets of one stream.
#[derive(Debug)]
pub(super) struct Content {
    expected: Expected,
    /// Timestamp and place in the prompt of a packet that was found in it.
    found: Option<(u32, usize)>,
    searches: u8,
    packets: u32,
}

impl Content {
    pub(super) fn new(expected: Expected) -> Self {
        Self { expected, found: None, searches: 0, packets: 0 }
    }

    /// Finds the place in the prompt, outside of a window: it takes up to a millisecond.
    pub(super) fn learn(&mut self, timestamp: u32, payload: &[u8]) {
        if let Expected::Loop(table) = &self.expected
            && self.found.is_none()
            && self.searches < SEARCHES
        {
            self.searches += 1;
            self.found = find(table, payload).map(|place| (timestamp, place));
        }
    }

    /// Whether the packet carries what it should; `None` if it was not looked at.
    pub(super) fn check(
        &mut self,
        payload_type: u8,
        timestamp: u32,
        payload: &[u8],
    ) -> Option<bool> {
        self.packets = self.packets.wrapping_add(1);
        match &self.expected {
            Expected::Any => None,
            Expected::Loop(table) => {
                let table = Arc::clone(table);
                self.learn(timestamp, payload);
                let Some((start, place)) = self.found else { return Some(false) };
                let ticks = i64::from(timestamp.wrapping_sub(start).cast_signed());
                let length = i64::try_from(table.len()).unwrap_or(i64::MAX);
                let place = (ticks + place as i64).rem_euclid(length) as usize;
                Some(is_at(&table, place, payload))
            }
            Expected::Tone(_) if !self.packets.is_multiple_of(TONE_EVERY) => None,
            Expected::Tone(hz) => {
                let codec = SampleCodec::ALL
                    .into_iter()
                    .find(|codec| codec.payload_type() == payload_type)?;
                let samples = codec.decode(payload);
                let level = analysis::tone_level_db(&samples, codec.codec().rate(), *hz);
                Some(level >= TONE_LEVEL_DB)
            }
        }
    }
}

/// Whether `payload` stands at `place` of the looping table.
fn is_at(table: &[u8], place: usize, payload: &[u8]) -> bool {
    let ahead = &table[place..];
    if let Some(same) = ahead.get(..payload.len()) {
        return same == payload;
    }
    let (first, rest) = payload.split_at(ahead.len());
    first == ahead && rest.chunks(table.len()).all(|piece| table.starts_with(piece))
}

/// Where `payload` stands in the looping table.
fn find(table: &[u8], payload: &[u8]) -> Option<usize> {
    let first = *payload.first()?;
    let mut places = (0..table.len()).filter(|&place| table[place] == first);
    places.find(|&place| is_at(table, place, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Vec<u8> {
        (0..1_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    fn looped(table: &[u8], from: usize) -> Vec<u8> {
        table.iter().cycle().skip(from).take(160).copied().collect()
    }

    #[test]
    fn the_place_in_the_prompt_is_found_and_followed_over_its_end() {
        let table = table();
        let mut content = Content::new(Expected::Loop(table.clone().into()));
        for packet in 0..20u32 {
            let place = 930 + packet as usize * 160;
            let timestamp = u32::MAX.wrapping_add(packet * 160);
            assert_eq!(content.check(0, timestamp, &looped(&table, place)), Some(true), "{packet}");
        }
    }

    #[test]
    fn one_wrong_byte_or_a_wrong_place_is_seen() {
        let table = table();
        let mut content = Content::new(Expected::Loop(table.clone().into()));
        content.learn(0, &looped(&table, 17));
        let mut wrong = looped(&table, 177);
        wrong[159] ^= 1;
        assert_eq!(content.check(0, 160, &wrong), Some(false));
        assert_eq!(content.check(0, 320, &looped(&table, 338)), Some(false));
        assert_eq!(content.check(0, 320, &looped(&table, 337)), Some(true));
    }

    #[test]
    fn something_else_is_not_searched_for_without_end() {
        let mut content = Content::new(Expected::Loop(table().into()));
        for packet in 0..20 {
            assert_eq!(content.check(0, packet * 160, &[0xFF; 160]), Some(false));
        }
        assert_eq!(content.searches, SEARCHES);
    }

    #[test]
    fn a_tone_is_looked_for_in_some_packets() {
        let tone = |hz: f64| -> Vec<u8> {
            let step = std::f64::consts::TAU * hz / 8_000.0;
            let samples: Vec<i16> =
                (0..160).map(|n| ((step * f64::from(n)).sin() * 12_000.0) as i16).collect();
            SampleCodec::Pcma.encode(&samples)
        };
        let mut content = Content::new(Expected::Tone(1_000.0));
        let mut seen =
            |hz| (0..100).filter_map(|_| content.check(8, 0, &tone(hz))).collect::<Vec<_>>();
        assert_eq!(seen(1_000.0), [true, true]);
        assert_eq!(seen(2_000.0), [false, false]);
    }
}
