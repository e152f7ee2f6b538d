//! Which samples of which playout went out under which sequence numbers, so that receiver reports
//! can be read as receipts.

use std::{collections::VecDeque, sync::Arc};

use super::{PlayoutProgress, overlay::MAX_OVERLAYS};

/// Runs that are remembered. Reports come every few seconds and cover everything before them, so
/// only a far end that stays silent for many playouts makes the oldest be forgotten.
const CAPACITY: usize = 64;

/// How far an extended highest sequence number may fall back in reports that were misordered; more
/// is a far end that counts anew (RFC 3550 A.1, where the same number tells a restarted source).
const MAX_MISORDER: u32 = 100;

/// Audio packets that are not yet acknowledged, as runs of consecutive sequence numbers.
pub(super) struct Ledger {
    /// Samples of a packet.
    packet_samples: u64,
    runs: VecDeque<Run>,
    far: Option<FarCount>,
    /// The first index that no report has covered.
    uncovered: u64,
}

/// How the far end counts our packets.
struct FarCount {
    /// What is added to its extended sequence numbers to get our indices: it counts wraps from when
    /// it began to listen, we from our first packet.
    offset: i64,
    /// Its last extended highest sequence number.
    highest: u32,
    /// Packets it had lost by then; negative if more were doubled.
    lost: i32,
}

/// Consecutive packets of one playout.
struct Run {
    progress: Arc<PlayoutProgress>,
    first: u64,
    packets: u64,
    /// Samples of the playout before the run.
    position: u64,
    /// Samples in the run, without padding.
    samples: u64,
}

impl Ledger {
    /// Of a stream whose packets have `packet_samples` samples each, at the RTP clock rate.
    pub(super) fn new(packet_samples: u32) -> Self {
        Self {
            packet_samples: packet_samples.into(),
            runs: VecDeque::with_capacity(CAPACITY),
            far: None,
            uncovered: 0,
        }
    }

    /// Notes packets of consecutive numbers: `index` is the first one's sequence number with wraps
    /// counted, `position` the samples of the playout before it, `samples` those in all of them.
    /// Packets that the kernel refused are noted as well: they have a number, so the far end
    /// counts them as lost.
    pub(super) fn record(
        &mut self,
        progress: &Arc<PlayoutProgress>,
        (index, packets): (u64, u16),
        position: u64,
        samples: usize,
    ) {
        let (packets, samples) = (u64::from(packets), samples as u64);
        // The last run, but for overlays: each of them has one of its own.
        let continued = self.runs.iter_mut().rev().take(1 + MAX_OVERLAYS).find(|run| {
            run.first + run.packets == index
                && run.position + run.samples == position
                && Arc::ptr_eq(&run.progress, progress)
        });
        if let Some(run) = continued {
            run.packets += packets;
            run.samples += samples;
            return;
        }
        if self.runs.len() == CAPACITY {
            self.runs.pop_front();
        }
        self.runs.push_back(Run {
            progress: Arc::clone(progress),
            first: index,
            packets,
            position,
            samples,
        });
    }

    /// Takes the extended highest sequence number and the cumulative number of packets lost of a
    /// report block about us; `last` is the index of the last packet that was sent.
    pub(super) fn acknowledge(&mut self, highest: u32, lost: i32, last: u64) {
        let Some(offset) = self.offset(highest, last) else { return };
        let Ok(index) = u64::try_from(i64::from(highest) + offset) else { return };
        let (from, to) = (self.uncovered, self.uncovered.max(index + 1));
        let mut lost_samples = 0;
        if from < to {
            let before = self.far.as_ref().filter(|far| far.offset == offset);
            let more = lost.saturating_sub(before.map_or(0, |far| far.lost));
            // Fewer than before: some came late or doubled. Nothing is taken back for that.
            lost_samples = u64::try_from(more).unwrap_or(0).saturating_mul(self.packet_samples);
            self.far = Some(FarCount { offset, highest, lost });
            self.uncovered = to;
        }
        // Runs that the report does not reach are told as well: not heard yet is 0, not unknown.
        for run in &self.runs {
            let before = |index| run.samples_before(index, self.packet_samples);
            run.progress.acknowledge(before(from)..before(to), lost_samples);
        }
        while self.runs.front().is_some_and(|run| run.first + run.packets <= to) {
            self.runs.pop_front();
        }
    }

    /// What makes our indices of the far end's extended sequence numbers.
    fn offset(&self, highest: u32, last: u64) -> Option<i64> {
        let known = self
            .far
            .as_ref()
            .filter(|far| highest >= far.highest.saturating_sub(MAX_MISORDER))
            .map(|far| far.offset);
        if known.is_some_and(|offset| i64::from(highest) + offset <= last as i64) {
            return known;
        }
        // The first report, or a far end that counts anew: the nearest index that is not in the
        // future and has the same lower half.
        let behind = (last as u16).wrapping_sub(highest as u16);
        if behind > u16::MAX / 2 {
            return None;
        }
        let index = last.checked_sub(u64::from(behind))?;
        Some(index as i64 - i64::from(highest))
    }
}

impl Run {
    /// Samples of the playout before packet `index`, or the end of the run that is nearer.
    fn samples_before(&self, index: u64, packet_samples: u64) -> u64 {
        let packets = index.saturating_sub(self.first).min(self.packets);
        self.position + (packets * packet_samples).min(self.samples)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::progress::Block, *};
    use crate::{
        codec::SampleCodec,
        engine::Segment,
        prompt::{EncodedPrompt, Sha256},
    };

    fn playout(samples: usize) -> Arc<PlayoutProgress> {
        let bytes = vec![0; samples];
        let prompt = Arc::new(EncodedPrompt::samples(SampleCodec::Pcmu, Sha256([0; 32]), bytes));
        let block = Block::new(&[Segment { prompt, repeat: 1 }]);
        // As if everything had been sent: this is about what the ledger adds.
        block.segments[0].sent(samples as u64, 1);
        Arc::new(PlayoutProgress::new(block))
    }

    fn acknowledged(progress: &PlayoutProgress) -> Option<u64> {
        progress.segments()[0].samples_acknowledged
    }

    fn send(ledger: &mut Ledger, progress: &Arc<PlayoutProgress>, first: u64, packets: u64) {
        for packet in 0..packets {
            ledger.record(progress, (first + packet, 1), packet * 160, 160);
        }
    }

    #[test]
    fn reports_acknowledge_up_to_their_highest_sequence_number_across_wraps() {
        let (mut ledger, progress) = (Ledger::new(160), playout(200_000 * 160));
        let first = 0xFFF0;
        send(&mut ledger, &progress, first, 200_000);
        let last = first + 199_999;
        assert_eq!(acknowledged(&progress), None);
        // The far end joined late and counts its wraps from there.
        let heard = last - 9;
        let theirs = u32::try_from(heard & 0xFFFF).unwrap();
        ledger.acknowledge(theirs, 0, last);
        assert_eq!(acknowledged(&progress), Some((200_000 - 9) * 160));
        // An old report lowers nothing.
        ledger.acknowledge(theirs.wrapping_sub(5), 0, last);
        assert_eq!(acknowledged(&progress), Some((200_000 - 9) * 160));
    }

    #[test]
    fn a_far_end_that_hears_nothing_any_more_acknowledges_nothing_more() {
        let (mut ledger, progress) = (Ledger::new(160), playout(100_000 * 160));
        send(&mut ledger, &progress, 5, 100);
        ledger.acknowledge(54, 0, 104);
        assert_eq!(acknowledged(&progress), Some(50 * 160));
        for packet in 100..100_000 {
            ledger.record(&progress, (5 + packet, 1), packet * 160, 160);
        }
        ledger.acknowledge(54, 0, 100_004);
        assert_eq!(acknowledged(&progress), Some(50 * 160), "same number, one wrap later");
    }

    #[test]
    fn numbers_from_the_future_acknowledge_nothing() {
        let (mut ledger, progress) = (Ledger::new(160), playout(160_000));
        send(&mut ledger, &progress, 10, 10);
        ledger.acknowledge(20, 0, 19);
        assert_eq!(acknowledged(&progress), None);
        ledger.acknowledge(14, 0, 19);
        assert_eq!(acknowledged(&progress), Some(800), "and spoil no later report");
    }

    #[test]
    fn what_the_far_end_lost_is_not_acknowledged() {
        let (mut ledger, progress) = (Ledger::new(160), playout(1_000 * 160));
        send(&mut ledger, &progress, 5, 1_000);
        let mut report = |packets: u32, lost| {
            ledger.acknowledge(4 + packets, lost, 1_004);
            acknowledged(&progress).unwrap() / 160
        };
        assert_eq!(report(100, 3), 97);
        assert_eq!(report(100, 3), 97, "the same again");
        assert_eq!(report(200, 3), 197, "nothing more was lost");
        assert_eq!(report(300, 1), 297, "late or doubled packets bring nothing back");
        assert_eq!(report(400, 5), 393, "and hide no loss that follows");
        assert_eq!(report(410, 400), 393, "never less than before");
        assert_eq!(report(410, -7), 393);
        assert_eq!(report(510, 400), 493);
    }

    #[test]
    fn a_loss_is_taken_off_every_playout_it_may_have_hit() {
        let (mut ledger, first, second) = (Ledger::new(160), playout(1_600), playout(1_600));
        send(&mut ledger, &first, 1, 10);
        send(&mut ledger, &second, 11, 10);
        ledger.acknowledge(15, 2, 20);
        assert_eq!((acknowledged(&first), acknowledged(&second)), (Some(1_280), Some(480)));
        ledger.acknowledge(20, 2, 20);
        assert_eq!((acknowledged(&first), acknowledged(&second)), (Some(1_280), Some(1_280)));
    }

    #[test]
    fn a_far_end_that_counts_anew_after_a_wrap_is_followed() {
        let (mut ledger, progress) = (Ledger::new(160), playout(100_000 * 160));
        send(&mut ledger, &progress, 0, 100_000);
        ledger.acknowledge(80_000, 10, 90_000);
        assert_eq!(acknowledged(&progress), Some(79_991 * 160));
        // Another receiver behind the same address: it has seen neither the wrap nor the losses.
        ledger.acknowledge(90_000 - 65_536, 0, 91_000);
        assert_eq!(acknowledged(&progress), Some(89_991 * 160));
        ledger.acknowledge(95_000 - 65_536, 4, 96_000);
        assert_eq!(acknowledged(&progress), Some(94_987 * 160));
    }

    #[test]
    fn an_old_report_does_not_count_its_losses_again() {
        let (mut ledger, progress) = (Ledger::new(160), playout(100_000 * 160));
        send(&mut ledger, &progress, 0, 100_000);
        ledger.acknowledge(80_000, 10, 80_000);
        ledger.acknowledge(79_500, 9, 80_000);
        ledger.acknowledge(80_500, 10, 81_000);
        assert_eq!(acknowledged(&progress), Some(80_491 * 160));
    }

    #[test]
    fn padding_is_not_acknowledged_and_later_playouts_start_at_zero() {
        let (mut ledger, first, second) = (Ledger::new(160), playout(200), playout(1_600));
        ledger.record(&first, (7, 1), 0, 160);
        ledger.record(&first, (8, 1), 160, 40);
        // Index 9 was a telephone-event.
        send(&mut ledger, &second, 10, 3);
        ledger.acknowledge(7, 0, 12);
        assert_eq!((acknowledged(&first), acknowledged(&second)), (Some(160), Some(0)));
        ledger.acknowledge(9, 0, 12);
        assert_eq!((acknowledged(&first), acknowledged(&second)), (Some(200), Some(0)));
        ledger.acknowledge(11, 0, 12);
        assert_eq!(acknowledged(&second), Some(320));
    }

    #[test]
    fn it_stays_bounded_if_no_report_comes() {
        let mut ledger = Ledger::new(160);
        let playouts: Vec<_> = (0..1_000).map(|_| playout(160)).collect();
        for (index, playout) in playouts.iter().enumerate() {
            ledger.record(playout, (index as u64 * 2, 1), 0, 160);
        }
        assert_eq!((ledger.runs.len(), ledger.runs.capacity()), (CAPACITY, CAPACITY));
        ledger.acknowledge(1_998, 0, 1_998);
        assert_eq!(acknowledged(&playouts[999]), Some(160));
    }
}
