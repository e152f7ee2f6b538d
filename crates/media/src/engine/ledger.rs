//! Which samples of which playout went out under which sequence numbers, so that receiver reports
//! can be read as receipts.

use std::{collections::VecDeque, sync::Arc};

use super::{PlayoutProgress, playout::PACKET_SAMPLES};

/// Runs that are remembered. Reports come every few seconds and cover everything before them, so
/// only a far end that stays silent for many playouts makes the oldest be forgotten.
const CAPACITY: usize = 64;

/// Sent packets that are not yet acknowledged, as runs of consecutive sequence numbers.
pub(super) struct Ledger {
    runs: VecDeque<Run>,
    /// What is added to the far end's extended sequence numbers to get our indices. The far end
    /// counts wraps from when it began to listen, we from our first packet.
    offset: Option<i64>,
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
    pub(super) fn new() -> Self {
        Self { runs: VecDeque::with_capacity(CAPACITY), offset: None }
    }

    /// Notes a packet: `index` is its sequence number with wraps counted, `position` the samples
    /// of the playout before it.
    pub(super) fn record(
        &mut self,
        progress: &Arc<PlayoutProgress>,
        index: u64,
        position: u64,
        samples: usize,
    ) {
        let samples = samples as u64;
        if let Some(run) = self.runs.back_mut()
            && run.first + run.packets == index
            && run.position + run.samples == position
            && Arc::ptr_eq(&run.progress, progress)
        {
            run.packets += 1;
            run.samples += samples;
            return;
        }
        if self.runs.len() == CAPACITY {
            self.runs.pop_front();
        }
        self.runs.push_back(Run {
            progress: Arc::clone(progress),
            first: index,
            packets: 1,
            position,
            samples,
        });
    }

    /// Takes the extended highest sequence number of a report block about us; `last` is the index
    /// of the last packet that was sent.
    pub(super) fn acknowledge(&mut self, highest: u32, last: u64) {
        let Some(index) = self.index(highest, last) else { return };
        while let Some(run) = self.runs.front() {
            if index + 1 < run.first + run.packets {
                break;
            }
            run.progress.acknowledge(run.position + run.samples);
            self.runs.pop_front();
        }
        // A report has come, so what it does not cover counts as not (yet) heard: 0, not unknown.
        for run in &self.runs {
            let packets = (index + 1).saturating_sub(run.first);
            let samples = (packets * PACKET_SAMPLES as u64).min(run.samples);
            run.progress.acknowledge(run.position + samples);
        }
    }

    /// Our index of the far end's extended sequence number.
    fn index(&mut self, highest: u32, last: u64) -> Option<u64> {
        let known = self.offset.and_then(|offset| u64::try_from(i64::from(highest) + offset).ok());
        if let Some(index) = known.filter(|index| *index <= last) {
            return Some(index);
        }
        // The first report, or a far end that counts anew: the nearest index that is not in the
        // future and has the same lower half.
        let behind = (last as u16).wrapping_sub(highest as u16);
        let index = last.checked_sub(u64::from(behind))?;
        self.offset = Some(index as i64 - i64::from(highest));
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::progress::Block, *};
    use crate::{
        codec::Codec,
        engine::Segment,
        prompt::{EncodedPrompt, Sha256},
    };

    fn playout(samples: usize) -> Arc<PlayoutProgress> {
        let prompt = Arc::new(EncodedPrompt {
            codec: Codec::Pcmu,
            sha256: Sha256([0; 32]),
            bytes: vec![0; samples].into(),
        });
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
            ledger.record(progress, first + packet, packet * 160, 160);
        }
    }

    #[test]
    fn reports_acknowledge_up_to_their_highest_sequence_number_across_wraps() {
        let (mut ledger, progress) = (Ledger::new(), playout(200_000 * 160));
        let first = 0xFFF0;
        send(&mut ledger, &progress, first, 200_000);
        let last = first + 199_999;
        assert_eq!(acknowledged(&progress), None);
        // The far end joined late and counts its wraps from there.
        let heard = last - 9;
        let theirs = u32::try_from(heard & 0xFFFF).unwrap();
        ledger.acknowledge(theirs, last);
        assert_eq!(acknowledged(&progress), Some((200_000 - 9) * 160));
        // An old report lowers nothing.
        ledger.acknowledge(theirs.wrapping_sub(5), last);
        assert_eq!(acknowledged(&progress), Some((200_000 - 9) * 160));
    }

    #[test]
    fn a_far_end_that_hears_nothing_any_more_acknowledges_nothing_more() {
        let (mut ledger, progress) = (Ledger::new(), playout(100_000 * 160));
        send(&mut ledger, &progress, 5, 100);
        ledger.acknowledge(54, 104);
        assert_eq!(acknowledged(&progress), Some(50 * 160));
        for packet in 100..100_000 {
            ledger.record(&progress, 5 + packet, packet * 160, 160);
        }
        ledger.acknowledge(54, 100_004);
        assert_eq!(acknowledged(&progress), Some(50 * 160), "same number, one wrap later");
    }

    #[test]
    fn numbers_from_the_future_acknowledge_nothing() {
        let (mut ledger, progress) = (Ledger::new(), playout(160_000));
        send(&mut ledger, &progress, 10, 10);
        ledger.acknowledge(20, 19);
        assert_eq!(acknowledged(&progress), None);
    }

    #[test]
    fn padding_is_not_acknowledged_and_later_playouts_start_at_zero() {
        let (mut ledger, first, second) = (Ledger::new(), playout(200), playout(1_600));
        ledger.record(&first, 7, 0, 160);
        ledger.record(&first, 8, 160, 40);
        // Index 9 was a telephone-event.
        send(&mut ledger, &second, 10, 3);
        ledger.acknowledge(7, 12);
        assert_eq!((acknowledged(&first), acknowledged(&second)), (Some(160), Some(0)));
        ledger.acknowledge(9, 12);
        assert_eq!((acknowledged(&first), acknowledged(&second)), (Some(200), Some(0)));
        ledger.acknowledge(11, 12);
        assert_eq!(acknowledged(&second), Some(320));
    }

    #[test]
    fn it_stays_bounded_if_no_report_comes() {
        let mut ledger = Ledger::new();
        let playouts: Vec<_> = (0..1_000).map(|_| playout(160)).collect();
        for (index, playout) in playouts.iter().enumerate() {
            ledger.record(playout, index as u64 * 2, 0, 160);
        }
        assert_eq!((ledger.runs.len(), ledger.runs.capacity()), (CAPACITY, CAPACITY));
        ledger.acknowledge(1_998, 1_998);
        assert_eq!(acknowledged(&playouts[999]), Some(160));
    }
}
