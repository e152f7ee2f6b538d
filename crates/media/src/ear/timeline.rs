//! Puts received packets in the order of their timestamps on an axis of real time: late ones have
//! until [`DELAY`] behind their turn, and what never comes is silence.
//!
//! A talkspurt is placed where its quickest packet came. While none of it has been given out, a
//! quicker packet moves it; after that it stays, and what is lost or sent as key presses leaves
//! silence of its length. When nothing has come for [`DELAY`], the next packet begins a new
//! talkspurt, wherever its timestamp is: so the axis is right after a sender that stood still, and
//! after one that was replaced.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{codec::Codec, engine::TappedPacket, rtp};

/// How long a packet is waited for. Recording is in no hurry; who sends over a mobile network, or
/// from a machine that is busy, is late by this much now and then.
pub(super) const DELAY: Duration = Duration::from_millis(200);
/// Packets that wait at most; more than any sender has under way.
const MOST_WAITING: usize = 256;
/// A place further from the time of arrival belongs to another clock.
const FARTHEST: Duration = Duration::from_secs(2);

/// What comes next on the axis.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Encoded audio, of which so many samples at its beginning are past.
    Audio { codec: Codec, payload: Vec<u8>, past: usize },
    /// So many samples of silence.
    Silence(u64),
}

/// The packets of one stream. Places are in units of the RTP clock since it began.
pub(super) struct Timeline {
    began: Instant,
    rate: u32,
    /// Everything before has been given out.
    position: u64,
    /// By timestamp with wraps counted.
    waiting: BTreeMap<i64, (Codec, Vec<u8>, u64)>,
    /// The last packet's timestamp, as it was and with wraps counted.
    last: Option<(u32, i64)>,
    /// What a timestamp's place is ahead of it.
    offset: i64,
    /// Part of the talkspurt has been given out: its place stays.
    is_fixed: bool,
}

impl Timeline {
    /// An axis that begins at `began`, for an RTP clock of `rate` hertz.
    pub(super) fn new(began: Instant, rate: u32) -> Self {
        Self {
            began,
            rate,
            position: 0,
            waiting: BTreeMap::new(),
            last: None,
            offset: 0,
            is_fixed: false,
        }
    }

    /// The place of a moment; 0 for what was before the beginning.
    pub(super) fn place(&self, at: Instant) -> u64 {
        rtp::units(at.saturating_duration_since(self.began), self.rate)
    }

    /// The moment of a place.
    pub(super) fn moment(&self, place: u64) -> Instant {
        self.began + rtp::span(place, self.rate)
    }

    #[cfg(test)]
    fn position(&self) -> u64 {
        self.position
    }

    /// The place that is due now: what could be there has come.
    pub(super) fn due(&self, now: Instant) -> u64 {
        now.checked_sub(DELAY).map_or(0, |due| self.place(due))
    }

    /// Takes a packet of `units` units.
    pub(super) fn insert(&mut self, packet: TappedPacket, units: u64) {
        let arrival = self.place(packet.at).cast_signed();
        let extended = self.last.map(|(timestamp, extended)| {
            extended + i64::from(packet.timestamp.wrapping_sub(timestamp).cast_signed())
        });
        let farthest = rtp::units(FARTHEST, self.rate).cast_signed();
        let is_near = |extended: &i64| (arrival - extended - self.offset).abs() <= farthest;
        let extended = match extended.filter(is_near) {
            Some(extended) => extended,
            None => {
                self.is_fixed = false;
                arrival - self.offset
            }
        };
        self.last = Some((packet.timestamp, extended));
        if !self.is_fixed && self.waiting.is_empty() {
            self.offset = arrival - extended;
        } else if !self.is_fixed || extended + self.offset - arrival > farthest / 4 {
            self.offset = self.offset.min(arrival - extended);
        }
        self.waiting.entry(extended).or_insert((packet.codec, packet.payload, units));
        if self.waiting.len() > MOST_WAITING {
            self.waiting.pop_first();
        }
    }

    /// Takes the next piece that begins before `until`.
    pub(super) fn take(&mut self, until: u64) -> Option<Piece> {
        let position = self.position.cast_signed();
        loop {
            if self.position >= until {
                return None;
            }
            let Some(entry) = self.waiting.first_entry() else {
                // Nothing has come for as long as it is waited for.
                self.is_fixed = false;
                let silence = until - self.position;
                self.position = until;
                return Some(Piece::Silence(silence));
            };
            let place = *entry.key() + self.offset;
            if place >= until.cast_signed() {
                let silence = until - self.position;
                self.position = until;
                return Some(Piece::Silence(silence));
            }
            if place > position {
                let silence = (place - position).unsigned_abs();
                self.position += silence;
                return Some(Piece::Silence(silence));
            }
            let (codec, payload, units) = entry.remove();
            let past = (position - place).unsigned_abs();
            if past >= units {
                // It came too late.
                continue;
            }
            self.is_fixed = true;
            self.position += units - past;
            let past = usize::try_from(past).unwrap_or(usize::MAX);
            return Some(Piece::Audio { codec, payload, past });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(began: Instant, at_ms: u64, timestamp: u32, value: u8) -> TappedPacket {
        TappedPacket {
            at: began + Duration::from_millis(at_ms),
            sequence: 0,
            timestamp,
            codec: Codec::Pcmu,
            payload: vec![value; 160],
        }
    }

    /// What is given out up to `ms`, a value for each 10 ms; 0 is silence.
    fn heard(timeline: &mut Timeline, ms: u64) -> Vec<u8> {
        let mut samples = Vec::new();
        while let Some(piece) = timeline.take(ms * 8) {
            match piece {
                Piece::Audio { payload, past, .. } => samples.extend(&payload[past..]),
                Piece::Silence(count) => samples.extend(vec![0; count as usize]),
            }
        }
        samples.chunks(80).map(|chunk| chunk[0]).collect()
    }

    fn doubled(values: &[u8]) -> Vec<u8> {
        values.iter().flat_map(|value| [*value; 2]).collect()
    }

    #[test]
    fn reordered_and_doubled_packets_are_put_in_order_and_lost_ones_are_silence() {
        let began = Instant::now();
        let mut timeline = Timeline::new(began, 8_000);
        let base = u32::MAX - 200;
        for (at, slot) in [(0, 0), (25, 1), (60, 3), (61, 2), (62, 2), (105, 5)] {
            let timestamp = base.wrapping_add(slot * 160);
            timeline.insert(packet(began, at, timestamp, slot as u8 + 1), 160);
        }
        assert_eq!(heard(&mut timeline, 120), doubled(&[1, 2, 3, 4, 0, 6]));
    }

    #[test]
    fn a_first_packet_that_was_late_does_not_shift_the_rest() {
        let began = Instant::now();
        let mut timeline = Timeline::new(began, 8_000);
        for (at, slot) in [(90, 0_u32), (91, 1), (92, 2), (93, 3), (94, 4), (100, 5), (120, 6)] {
            timeline.insert(packet(began, at, slot * 160, slot as u8 + 1), 160);
        }
        assert_eq!(heard(&mut timeline, 140), doubled(&[1, 2, 3, 4, 5, 6, 7]));
    }

    #[test]
    fn a_sender_that_stood_still_leaves_a_gap_as_long_as_it_stood() {
        let began = Instant::now();
        let mut timeline = Timeline::new(began, 8_000);
        timeline.insert(packet(began, 0, 7_000, 1), 160);
        assert_eq!(heard(&mut timeline, 400).len(), 40);
        // The timestamps go on as if no time had passed.
        timeline.insert(packet(began, 500, 7_160, 2), 160);
        timeline.insert(packet(began, 520, 7_320, 3), 160);
        assert_eq!(heard(&mut timeline, 540), [vec![0; 10], doubled(&[2, 3])].concat());
        // Another sender, with a clock of its own.
        timeline.insert(packet(began, 540, 4_000_000_000, 4), 160);
        timeline.insert(packet(began, 560, 4_000_000_160, 5), 160);
        assert_eq!(heard(&mut timeline, 580), doubled(&[4, 5]));
    }

    #[test]
    fn what_comes_too_late_is_left_out_and_moves_nothing() {
        let began = Instant::now();
        let mut timeline = Timeline::new(began, 8_000);
        for slot in [0_u32, 1, 3, 4] {
            timeline.insert(packet(began, u64::from(slot) * 20, slot * 160, slot as u8 + 1), 160);
        }
        assert_eq!(heard(&mut timeline, 80), doubled(&[1, 2, 0, 4]));
        timeline.insert(packet(began, 90, 2 * 160, 3), 160);
        timeline.insert(packet(began, 100, 5 * 160, 6), 160);
        assert_eq!(heard(&mut timeline, 120), doubled(&[5, 6]));
    }

    proptest! {
        #[test]
        fn whatever_comes_the_axis_keeps_real_time_and_bounded(
            packets in proptest::collection::vec((0_u64..100, any::<u32>(), 0_u64..2_000), 0..600),
        ) {
            let began = Instant::now();
            let mut timeline = Timeline::new(began, 8_000);
            let (mut now, mut given) = (0, 0);
            for (after, timestamp, units) in packets {
                now += after;
                let mut packet = packet(began, now, timestamp, 1);
                packet.payload = vec![1; units as usize];
                timeline.insert(packet, units);
                prop_assert!(timeline.waiting.len() <= MOST_WAITING);
                let due = timeline.due(began + Duration::from_millis(now));
                while let Some(piece) = timeline.take(due) {
                    given += match piece {
                        Piece::Audio { payload, past, .. } => payload.len() - past,
                        Piece::Silence(count) => count as usize,
                    } as u64;
                }
                prop_assert_eq!(given, timeline.position());
                prop_assert!(given >= due && given < due + 2_000);
            }
        }
    }
}
