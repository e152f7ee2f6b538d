//! When a stream's RTCP reports are due and what they contain (RFC 3550 §6.2–6.4).

use std::time::{Duration, Instant};

use super::{Now, incoming::Incoming, send_clock::SendClock, stats::StreamCounters};
use crate::rtcp::{MAX_COMPOUND_LEN, Report, SenderInfo, ntp};

/// Reports closer together than this would be a mistake in the configuration.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(20);

/// The RTCP side of one stream.
pub(super) struct Reports {
    cname: String,
    interval: Duration,
    next: Instant,
    random: SplitMix,
    /// Packets sent, and received, at the last two reports: who was silent since the last but one
    /// is no sender (RFC 3550 §6.4).
    sent: [u64; 2],
    received: [u64; 2],
}

impl Reports {
    pub(super) fn new(cname: String, interval: Duration, seed: u64, now: Instant) -> Self {
        let interval = interval.max(SHORTEST_INTERVAL);
        let mut random = SplitMix(seed);
        // The first comes after half an interval (RFC 3550 §6.2).
        let next = now + random.jittered(interval) / 2;
        Self { cname, interval, next, random, sent: [0; 2], received: [0; 2] }
    }

    /// When the next report is due.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Chooses when the report after this one is due.
    pub(super) fn schedule(&mut self, now: Instant) {
        self.next = now + self.random.jittered(self.interval);
    }

    /// Lays a report down and returns its length.
    pub(super) fn write(
        &mut self,
        now: Now,
        bye: bool,
        clock: &SendClock,
        incoming: &mut Incoming,
        counters: &StreamCounters,
        to: &mut [u8; MAX_COMPOUND_LEN],
    ) -> usize {
        let packets = counters.counts.packets_sent.get();
        let sender = (packets > self.sent[0]).then(|| clock.timestamp_at(now.at)).flatten();
        let sender = sender.map(|rtp_timestamp| SenderInfo {
            ntp: ntp(now.wall),
            rtp_timestamp,
            // 32-bit counters that wrap, by RFC 3550 §6.4.1.
            packets: packets as u32,
            octets: counters.counts.octets_sent.get() as u32,
        });
        self.sent = [self.sent[1], packets];

        let (last_sender_report, delay_since_sender_report) = incoming.last_sender_report(now);
        let silent_since = self.received[0];
        let mut received = 0;
        let block = incoming.reception().and_then(|reception| {
            received = reception.received();
            (received != silent_since).then(|| {
                let mut block = reception.report();
                block.last_sender_report = last_sender_report;
                block.delay_since_sender_report = delay_since_sender_report;
                block
            })
        });
        self.received = [self.received[1], received];
        Report { ssrc: clock.ssrc(), sender, block, cname: &self.cname, bye }.write(to)
    }
}

/// The splitmix64 generator: spreads reports in time, nothing secret. Seeded, so that a stream
/// behaves the same in each run of a test.
struct SplitMix(u64);

impl SplitMix {
    /// 0.5 to 1.5 times `interval` (RFC 3550 §6.2).
    fn jittered(&mut self, interval: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let fraction = (bits >> 40) as f64 / f64::from(1 << 24);
        interval.mul_f64(0.5 + fraction)
    }
}
