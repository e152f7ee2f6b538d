//! How far a playout is: written by the engine thread, read by anyone, without locks.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::Segment;

/// How far a playout is, readable at any time, also after the stream is gone. While it plays, what
/// is read may be behind by 16 packets (320 ms); from [`super::StreamEvent::Finished`] or
/// [`super::StreamEvent::Stopped`] on it is all that was sent.
pub struct PlayoutProgress {
    /// Whether a report of the far end has come.
    reported: AtomicBool,
    first: Arc<Block>,
}

/// Snapshot of one segment. Samples are at the RTP clock rate of the stream's codec: 8 kHz for
/// PCMU and PCMA, 48 kHz for Opus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentProgress {
    /// Samples of the segment with its repeats; a loop plays so many in each round.
    pub samples_planned: u64,
    /// Samples handed to the kernel, without padding, over all repeats and loops.
    pub samples_sent: u64,
    /// Samples that [`super::StreamHandle::seek`] went over.
    pub samples_skipped: u64,
    /// Of those sent, samples that the far end's RTCP receiver reports prove to have arrived; `None` if
    /// none came. That is everything up to the highest sequence number a report names, less what it
    /// counts as lost. It does not say which packets those were, so they are taken off each
    /// segment it newly covers. Packets before the first that arrived are nobody's loss (RFC 3550
    /// A.3) and count as arrived.
    pub samples_acknowledged: Option<u64>,
    /// When its first packet left.
    pub first_packet: Option<SystemTime>,
    /// When its last packet so far left.
    pub last_packet: Option<SystemTime>,
}

/// No value yet.
const NONE: u64 = u64::MAX;

/// The counters of the segments of one `play` or `extend`; a list that only grows.
pub(super) struct Block {
    pub(super) segments: Box<[Arc<Counters>]>,
    next: OnceLock<Arc<Self>>,
}

/// The counters of one segment. Written by one engine thread.
pub(super) struct Counters {
    /// Samples of all repeats.
    length: u64,
    sent: AtomicU64,
    skipped: AtomicU64,
    acknowledged: AtomicU64,
    /// Nanoseconds since 1970, or [`NONE`].
    first_packet: AtomicU64,
    last_packet: AtomicU64,
}

impl PlayoutProgress {
    pub(super) fn new(first: Arc<Block>) -> Self {
        Self { reported: AtomicBool::new(false), first }
    }

    /// One entry per segment that was given to `play` and `extend`, in order.
    pub fn segments(&self) -> Vec<SegmentProgress> {
        let reported = self.reported.load(Ordering::Acquire);
        self.counters().map(|counters| counters.snapshot(reported)).collect()
    }

    /// Takes a report that covers these samples, counted from the start of the playout over repeats
    /// and loops, of which up to `lost` did not arrive.
    pub(super) fn acknowledge(&self, samples: Range<u64>, lost: u64) {
        let total = self.counters().map(|counters| counters.length).sum();
        let mut start = 0;
        for counters in self.counters() {
            let covered = |position| covered(position, start, counters.length, total);
            let newly = covered(samples.end) - covered(samples.start);
            counters.acknowledged(newly.saturating_sub(lost));
            start += counters.length;
        }
        self.reported.store(true, Ordering::Release);
    }

    /// Appends the counters of an `extend`. Called by one owner at a time.
    pub(super) fn append(&self, block: Arc<Block>) {
        let last = self.blocks().last().expect("there is a first block");
        let appended = last.next.set(block);
        debug_assert!(appended.is_ok(), "only one owner appends");
    }

    fn counters(&self) -> impl Iterator<Item = &Counters> {
        self.blocks().flat_map(|block| block.segments.iter().map(Arc::as_ref))
    }

    fn blocks(&self) -> impl Iterator<Item = &Arc<Block>> {
        std::iter::successors(Some(&self.first), |block| block.next.get())
    }
}

/// How much of a segment a playout has passed at `position`: its whole length in each complete
/// round of `total` samples, and its share of the round that is under way.
fn covered(position: u64, start: u64, length: u64, total: u64) -> u64 {
    let (rounds, rest) = match (position.checked_div(total), position.checked_rem(total)) {
        (Some(rounds), Some(rest)) => (rounds, rest),
        _ => (0, 0),
    };
    rounds * length + rest.saturating_sub(start).min(length)
}

impl Block {
    pub(super) fn new(segments: &[Segment]) -> Arc<Self> {
        let counters = |segment: &Segment| Counters {
            length: segment.prompt.units() * u64::from(segment.repeat.max(1)),
            sent: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            first_packet: AtomicU64::new(NONE),
            last_packet: AtomicU64::new(NONE),
        };
        let segments = segments.iter().map(|segment| Arc::new(counters(segment)));
        Arc::new(Self { segments: segments.collect(), next: OnceLock::new() })
    }
}

impl Counters {
    /// Counts samples that a packet carried out at `wall`, nanoseconds since 1970.
    pub(super) fn sent(&self, samples: u64, wall: u64) {
        if self.first_packet.load(Ordering::Relaxed) == NONE {
            self.first_packet.store(wall, Ordering::Relaxed);
        }
        self.last_packet.store(wall, Ordering::Relaxed);
        // One writer: no read-modify-write is needed.
        self.sent.store(self.sent.load(Ordering::Relaxed) + samples, Ordering::Release);
    }

    /// Counts samples that are not to be sent.
    pub(super) fn skipped(&self, samples: u64) {
        self.skipped.fetch_add(samples, Ordering::Release);
    }

    /// Whether a packet of it has left.
    pub(super) fn has_begun(&self) -> bool {
        self.first_packet.load(Ordering::Relaxed) != NONE
    }

    fn acknowledged(&self, samples: u64) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        self.acknowledged.store(before + samples, Ordering::Release);
    }

    fn snapshot(&self, reported: bool) -> SegmentProgress {
        // Before what was sent, so that it cannot be ahead of it.
        let acknowledged = self.acknowledged.load(Ordering::Acquire);
        let samples_sent = self.sent.load(Ordering::Acquire);
        let wall = |at: &AtomicU64| match at.load(Ordering::Relaxed) {
            NONE => None,
            nanoseconds => Some(UNIX_EPOCH + Duration::from_nanos(nanoseconds)),
        };
        SegmentProgress {
            samples_planned: self.length,
            samples_sent,
            samples_skipped: self.skipped.load(Ordering::Acquire),
            // Less was sent than is covered where the kernel refused packets.
            samples_acknowledged: reported.then(|| acknowledged.min(samples_sent)),
            first_packet: wall(&self.first_packet),
            last_packet: wall(&self.last_packet),
        }
    }
}

impl fmt::Debug for PlayoutProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.segments()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_shared_out_over_segments_and_rounds() {
        // Two segments of 100 and 50 samples, two and a bit rounds.
        assert_eq!(covered(0, 0, 100, 150), 0);
        assert_eq!(covered(100, 0, 100, 150), 100);
        assert_eq!(covered(100, 100, 50, 150), 0);
        assert_eq!(covered(150, 100, 50, 150), 50);
        assert_eq!(covered(300 + 120, 0, 100, 150), 300);
        assert_eq!(covered(300 + 120, 100, 50, 150), 120);
        assert_eq!(covered(0, 0, 0, 0), 0);
    }
}
