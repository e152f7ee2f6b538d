//! What a receiver counts about one source: RFC 3550 appendix A.1 (sequence), A.3 (loss), A.8
//! (jitter).
//!
//! A.1's probation is left out: packets are taken only from the address that signalling named, so
//! the first one already is from a valid source.

use std::time::{Duration, Instant};

use crate::rtcp::ReportBlock;

/// How far back a packet may be misordered (RFC 3550 A.1).
const MAX_MISORDER: u16 = 100;
/// A gap that is still one stream. RFC 3550 A.1 has 3,000; with misordering, ours is a window of
/// 2,048, because a number outside of it may have been guessed.
const MAX_DROPOUT: u16 = 2_048 - MAX_MISORDER;

/// Statistics about one synchronisation source.
#[derive(Clone, Debug)]
pub struct Reception {
    ssrc: u32,
    rate: u32,
    base_sequence: u32,
    /// Highest sequence number seen, with wraps counted in the upper half.
    highest: u32,
    /// The next sequence number if the source has restarted (A.1 `bad_seq`).
    restart: Option<u16>,
    received: u64,
    expected_prior: u64,
    received_prior: u64,
    /// Difference of arrival and timestamp, in timestamp units, of the last packet.
    transit: Option<u32>,
    /// Where arrival times are counted from.
    epoch: Instant,
    /// Jitter times 16 (A.8).
    jitter_16: u32,
}

impl Reception {
    /// Starts to count at a source's first packet. `rate` is the RTP clock rate in hertz.
    pub fn new(ssrc: u32, rate: u32, first_sequence: u16, now: Instant) -> Self {
        Self {
            ssrc,
            rate,
            base_sequence: u32::from(first_sequence),
            highest: u32::from(first_sequence),
            restart: None,
            received: 0,
            expected_prior: 0,
            received_prior: 0,
            transit: None,
            epoch: now,
            jitter_16: 0,
        }
    }

    /// The source these numbers are about.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Counts a packet; false if its number does not belong to the source as it is known so far.
    /// `timestamp` is `None` for packets whose timestamp is not their sampling time
    /// (telephone-events repeat it), which say nothing about jitter.
    pub fn packet(&mut self, sequence: u16, timestamp: Option<u32>, now: Instant) -> bool {
        // `highest as u16` and the like cut to the low half on purpose: RFC 3550 A.1.
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead < MAX_DROPOUT {
            self.highest = self.highest.wrapping_add(u32::from(ahead));
            self.restart = None;
        } else if ahead <= u16::MAX - MAX_MISORDER {
            // A jump: two packets in order after it are a restarted source.
            if self.restart != Some(sequence) {
                self.restart = Some(sequence.wrapping_add(1));
                return false;
            }
            *self = Self {
                jitter_16: self.jitter_16,
                ..Self::new(self.ssrc, self.rate, sequence, self.epoch)
            };
        }
        self.received += 1;
        if let Some(timestamp) = timestamp {
            self.measure_jitter(timestamp, now);
        }
        true
    }

    fn measure_jitter(&mut self, timestamp: u32, now: Instant) {
        let arrival = units(now.saturating_duration_since(self.epoch), self.rate) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(previous) = self.transit.replace(transit) {
            let difference = (transit.wrapping_sub(previous) as i32).unsigned_abs();
            self.jitter_16 = self
                .jitter_16
                .saturating_add(difference)
                .saturating_sub((self.jitter_16.saturating_add(8)) >> 4);
        }
    }

    fn expected(&self) -> u64 {
        u64::from(self.highest.wrapping_sub(self.base_sequence)) + 1
    }

    /// Packets received from this source.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packets lost so far, negative if more came than were sent (RFC 3550 A.3).
    pub fn lost(&self) -> i64 {
        self.expected() as i64 - self.received as i64
    }

    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub fn jitter(&self) -> Duration {
        Duration::from_nanos(
            u64::from(self.jitter_16 >> 4) * 1_000_000_000 / u64::from(self.rate.max(1)),
        )
    }

    /// The block for the next report, without the fields about sender reports; the fraction lost
    /// counts since the last call.
    pub fn report(&mut self) -> ReportBlock {
        let expected = self.expected();
        let expected_interval = expected.saturating_sub(self.expected_prior);
        let received_interval = self.received.saturating_sub(self.received_prior);
        self.expected_prior = expected;
        self.received_prior = self.received;
        let lost_interval = expected_interval.saturating_sub(received_interval);
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: (lost_interval * 256)
                .checked_div(expected_interval)
                .map_or(0, |fraction| fraction.min(255) as u8),
            cumulative_lost: self.lost().clamp(-0x80_0000, 0x7F_FFFF) as i32,
            highest_sequence: self.highest,
            jitter: self.jitter_16 >> 4,
            last_sender_report: 0,
            delay_since_sender_report: 0,
        }
    }
}

/// A span of time in units of a clock of `rate` hertz, rounded to the nearest.
pub(crate) fn units(span: Duration, rate: u32) -> u64 {
    let rate = u64::from(rate);
    span.as_secs() * rate + (u64::from(span.subsec_nanos()) * rate + 500_000_000) / 1_000_000_000
}

/// Units of an RTP clock as time.
pub(crate) fn span(units: u64, rate: u32) -> Duration {
    let rate = u64::from(rate.max(1));
    Duration::from_secs(units / rate) + Duration::from_nanos((units % rate) * 1_000_000_000 / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(reception: &mut Reception, start: Instant, packets: &[(u16, u64)]) {
        for &(sequence, at_ms) in packets {
            reception.packet(
                sequence,
                Some(u32::from(sequence).wrapping_mul(160)),
                start + Duration::from_millis(at_ms),
            );
        }
    }

    #[test]
    fn loss_is_expected_minus_received_across_a_wrap() {
        let start = Instant::now();
        let mut reception = Reception::new(7, 8_000, 0xFFFE, start);
        feed(&mut reception, start, &[(0xFFFE, 0), (0xFFFF, 20), (1, 60), (2, 80)]);
        assert_eq!((reception.lost(), reception.received()), (1, 4));
        let block = reception.report();
        assert_eq!(block.highest_sequence, 0x1_0002);
        assert_eq!((block.cumulative_lost, block.fraction_lost), (1, 51));
        feed(&mut reception, start, &[(3, 100)]);
        assert_eq!(reception.report().fraction_lost, 0, "counts since the last report");
    }

    #[test]
    fn duplicates_make_loss_negative_and_late_packets_fill_it() {
        let start = Instant::now();
        let mut reception = Reception::new(7, 8_000, 10, start);
        feed(&mut reception, start, &[(10, 0), (12, 40), (11, 41), (12, 42)]);
        assert_eq!(reception.lost(), -1);
        assert_eq!(reception.report().fraction_lost, 0);
    }

    #[test]
    fn jitter_follows_appendix_a_8() {
        let start = Instant::now();
        let mut reception = Reception::new(7, 8_000, 0, start);
        // The second packet is 10 ms (80 units) late, the third is back on the grid.
        for (timestamp, at_ms) in [(0, 0), (160, 30), (320, 40)] {
            reception.packet(0, Some(timestamp), start + Duration::from_millis(at_ms));
        }
        // J1 = 80/16; J2 = J1 + (80 − J1)/16, in sixteenths: 80, then 80 + 80 − (88 >> 4).
        assert_eq!(reception.report().jitter, 155 >> 4);
        assert_eq!(reception.jitter(), Duration::from_nanos(9 * 125_000));
    }

    #[test]
    fn a_restarted_source_is_counted_anew_after_two_packets_in_order() {
        let start = Instant::now();
        let mut reception = Reception::new(7, 8_000, 100, start);
        feed(&mut reception, start, &[(100, 0), (101, 20), (40_000, 40)]);
        assert_eq!(reception.lost(), 0, "a stray packet is not loss");
        feed(&mut reception, start, &[(40_001, 60), (40_002, 80)]);
        assert_eq!((reception.lost(), reception.received()), (0, 2));
    }

    #[test]
    fn spans_are_rounded_to_the_nearest_unit() {
        assert_eq!(units(Duration::from_nanos(62_499), 8_000), 0);
        assert_eq!(units(Duration::from_nanos(62_500), 8_000), 1);
        assert_eq!(units(Duration::from_millis(1_020), 8_000), 8_160);
    }
}
