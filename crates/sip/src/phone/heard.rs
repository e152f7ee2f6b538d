//! What a phone heard: packets laid on a timeline by their RTP timestamps, so that loss and silence
//! are there to be seen, and reordering is not.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use graphophone_media::engine::TappedPacket;

/// Samples per second of the recording.
const RATE: u32 = 8_000;
/// Longest recording: 30 minutes. What comes later is counted and not kept.
const LONGEST: usize = 30 * 60 * RATE as usize;
/// A timestamp further than this from where its arrival puts it begins a new reckoning.
const LARGEST_JUMP: u64 = 5 * RATE as u64;

/// One packet on the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardPacket {
    /// When it was taken from the socket.
    pub at: Instant,
    /// Its first sample's place in [`Heard::samples`].
    pub start: usize,
    /// Its samples.
    pub length: usize,
}

/// A snapshot of what was heard.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// 8 kHz, from the first packet's first sample; zeros where nothing was received.
    pub samples: Vec<i16>,
    /// Every packet in the order of arrival, duplicates left out.
    pub packets: Vec<HeardPacket>,
    /// Packets missing in the sequence numbers.
    pub lost: u64,
    /// Longest stretch of the timeline between two packets that no packet covers: loss, or silence
    /// of a sender that does not send when it has nothing to say.
    pub longest_hole: Duration,
    /// Longest time between two arrivals.
    pub longest_stall: Duration,
    /// RFC 4733 event codes of keys the far end pressed, in order.
    pub tones: Vec<u8>,
}

impl Heard {
    /// When the first packet came.
    pub fn first_packet(&self) -> Option<Instant> {
        self.packets.first().map(|packet| packet.at)
    }

    /// When the last packet came.
    pub fn last_packet(&self) -> Option<Instant> {
        self.packets.last().map(|packet| packet.at)
    }

    /// Arrival of the last packet with anything louder than `peak`, of 32,768.
    pub fn last_sound(&self, peak: u16) -> Option<Instant> {
        let loud = |packet: &&HeardPacket| {
            let samples = self.samples.get(packet.start..packet.start + packet.length);
            samples.is_some_and(|samples| samples.iter().any(|s| s.unsigned_abs() > peak))
        };
        self.packets.iter().filter(loud).map(|packet| packet.at).max()
    }
}

/// Lays packets on the timeline.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    samples: Vec<i16>,
    packets: Vec<HeardPacket>,
    /// First sample behind each packet's start: what is covered.
    covered: BTreeMap<usize, usize>,
    reckoning: Option<Reckoning>,
    tones: Vec<u8>,
    /// Unwrapped sequence numbers: lowest, highest and how many different ones.
    sequences: BTreeSet<i64>,
}

/// Where timestamps and sequence numbers stand.
#[derive(Debug)]
struct Reckoning {
    /// Timestamp of sample `place`.
    timestamp: u32,
    place: i64,
    /// Arrival of the first packet, at sample 0.
    began: Instant,
    sequence: i64,
}

impl Recorder {
    pub(super) fn take(&mut self, packet: &TappedPacket) {
        // It has no decoder for frames, and its SDP agrees on none.
        let Some(codec) = packet.codec.sample() else { return };
        let samples = codec.decode(&packet.payload);
        let reckoning = self.reckoning.get_or_insert_with(|| Reckoning {
            timestamp: packet.timestamp,
            place: 0,
            began: packet.at,
            sequence: i64::from(packet.sequence),
        });
        // The nearest number with these 16 bits (RFC 3550 appendix A.1).
        let step = i64::from(packet.sequence.wrapping_sub(reckoning.sequence as u16) as i16);
        let sequence = reckoning.sequence + step;
        if !self.sequences.insert(sequence) {
            return;
        }
        reckoning.sequence = sequence.max(reckoning.sequence);

        let step = i64::from(packet.timestamp.wrapping_sub(reckoning.timestamp) as i32);
        let mut place = reckoning.place + step;
        let elapsed = packet.at.saturating_duration_since(reckoning.began).as_millis();
        let by_clock = i64::try_from(elapsed).unwrap_or(i64::MAX / 8) * i64::from(RATE / 1000);
        if place.abs_diff(by_clock) > LARGEST_JUMP {
            place = by_clock.max(i64::try_from(self.samples.len()).unwrap_or(i64::MAX));
        }
        if step > 0 || place != reckoning.place + step {
            (reckoning.timestamp, reckoning.place) = (packet.timestamp, place);
        }
        let start = self.make_room(place);
        self.lay(packet.at, start, &samples);
    }

    pub(super) fn tone(&mut self, code: u8) {
        // A recording of 30 minutes has no room for more.
        if self.tones.len() < 10_000 {
            self.tones.push(code);
        }
    }

    pub(super) fn heard(&self) -> Heard {
        let lost = match (self.sequences.first(), self.sequences.last()) {
            (Some(first), Some(last)) => last.abs_diff(*first) + 1 - self.sequences.len() as u64,
            _ => 0,
        };
        let stalls = self.packets.windows(2).map(|pair| {
            let [first, second] = pair else { return Duration::ZERO };
            second.at.saturating_duration_since(first.at)
        });
        Heard {
            samples: self.samples.clone(),
            packets: self.packets.clone(),
            lost,
            longest_hole: self.longest_hole(),
            longest_stall: stalls.max().unwrap_or_default(),
            tones: self.tones.clone(),
        }
    }

    /// A packet from before the first one moves everything back.
    fn make_room(&mut self, place: i64) -> usize {
        let Ok(missing) = usize::try_from(-place) else {
            return usize::try_from(place).unwrap_or(usize::MAX);
        };
        if missing > 0 {
            self.samples.splice(0..0, std::iter::repeat_n(0, missing));
            self.packets.iter_mut().for_each(|packet| packet.start += missing);
            let covered = std::mem::take(&mut self.covered);
            self.covered =
                covered.into_iter().map(|(start, end)| (start + missing, end + missing)).collect();
            if let Some(reckoning) = &mut self.reckoning {
                reckoning.place -= place;
            }
        }
        0
    }

    fn lay(&mut self, at: Instant, start: usize, samples: &[i16]) {
        let end = start.saturating_add(samples.len());
        if end > LONGEST {
            return;
        }
        if self.samples.len() < end {
            self.samples.resize(end, 0);
        }
        self.samples[start..end].copy_from_slice(samples);
        self.covered.insert(start, end);
        self.packets.push(HeardPacket { at, start, length: samples.len() });
    }

    fn longest_hole(&self) -> Duration {
        let mut longest = 0;
        let mut reached = 0;
        for (start, end) in &self.covered {
            longest = longest.max(start.saturating_sub(reached));
            reached = reached.max(*end);
        }
        Duration::from_micros(longest as u64 * 1_000_000 / u64::from(RATE))
    }
}

#[cfg(test)]
mod tests {
    use graphophone_media::codec::{Codec, SampleCodec};

    use super::*;

    /// Packets of 20 ms, each filled with its own value.
    struct Sender {
        began: Instant,
        recorder: Recorder,
    }

    impl Sender {
        fn new() -> Self {
            Self { began: Instant::now(), recorder: Recorder::default() }
        }

        /// The packet of a slot, arriving at another.
        fn send_at(&mut self, slot: u32, arrival: u32) {
            let value = i16::try_from((slot + 1) * 1000).unwrap();
            self.recorder.take(&TappedPacket {
                at: self.began + Duration::from_millis(20) * arrival,
                sequence: 65_530_u16.wrapping_add(slot as u16),
                timestamp: u32::MAX.wrapping_sub(300).wrapping_add(slot * 160),
                codec: Codec::Pcmu,
                payload: SampleCodec::Pcmu.encode(&[value; 160]),
            });
        }

        fn send(&mut self, slots: &[u32]) -> Heard {
            slots.iter().for_each(|slot| self.send_at(*slot, *slot));
            self.recorder.heard()
        }
    }

    /// The value of each 20 ms, in thousands; 0 for silence.
    fn values(heard: &Heard) -> Vec<i32> {
        heard.samples.chunks(160).map(|chunk| (i32::from(chunk[80]) + 500) / 1000).collect()
    }

    #[test]
    fn packets_in_order_are_one_piece() {
        let heard = Sender::new().send(&[0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(values(&heard), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!((heard.lost, heard.longest_hole), (0, Duration::ZERO));
        assert_eq!(heard.longest_stall, Duration::from_millis(20));
    }

    #[test]
    fn a_lost_packet_is_a_hole() {
        let heard = Sender::new().send(&[0, 1, 4, 5]);
        assert_eq!(values(&heard), [1, 2, 0, 0, 5, 6]);
        assert_eq!((heard.lost, heard.longest_hole), (2, Duration::from_millis(40)));
    }

    #[test]
    fn reordered_packets_take_their_places() {
        let mut sender = Sender::new();
        for (arrival, slot) in [2, 0, 1, 5, 4, 3].into_iter().enumerate() {
            sender.send_at(slot, arrival as u32);
        }
        let heard = sender.recorder.heard();
        assert_eq!(values(&heard), [1, 2, 3, 4, 5, 6]);
        assert_eq!((heard.lost, heard.longest_hole), (0, Duration::ZERO));
    }

    #[test]
    fn a_duplicate_is_heard_once() {
        let heard = Sender::new().send(&[0, 1, 1, 2]);
        assert_eq!(values(&heard), [1, 2, 3]);
        assert_eq!(heard.packets.len(), 3);
    }

    #[test]
    fn a_wild_timestamp_goes_where_its_arrival_puts_it() {
        let mut sender = Sender::new();
        sender.send(&[0, 1]);
        sender.recorder.take(&TappedPacket {
            at: sender.began + Duration::from_millis(40),
            sequence: 65_532,
            timestamp: 1_000_000_000,
            codec: Codec::Pcmu,
            payload: SampleCodec::Pcmu.encode(&[3000; 160]),
        });
        let heard = sender.recorder.heard();
        assert_eq!(values(&heard), [1, 2, 3]);
    }

    #[test]
    fn the_last_sound_is_told_from_silence_after_it() {
        let mut sender = Sender::new();
        sender.send(&[0, 1]);
        for slot in 2_u32..5 {
            sender.recorder.take(&TappedPacket {
                at: sender.began + Duration::from_millis(20) * slot,
                sequence: 65_530_u16.wrapping_add(slot as u16),
                timestamp: u32::MAX.wrapping_sub(300).wrapping_add(slot * 160),
                codec: Codec::Pcmu,
                payload: vec![0xFF; 160],
            });
        }
        let heard = sender.recorder.heard();
        assert_eq!(heard.last_sound(100), Some(sender.began + Duration::from_millis(20)));
        assert_eq!(heard.last_packet(), Some(sender.began + Duration::from_millis(80)));
    }
}
