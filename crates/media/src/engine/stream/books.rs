//! The books of what has left: credited to playouts, counted, and remembered for receipts.

use std::time::Duration;

use super::{Books, Content, Datagram, Lane, Now, ShardCounters, Stream};

impl Stream {
    /// Takes the books of a lane over, whose packets are all sent or refused.
    pub(in super::super) fn take_back(&mut self, lane: &Lane) {
        let Books { laid, sent, refused, late, max_lateness, octets, wall } = lane.books;
        let Some(playout) = self.playout.as_mut().filter(|_| laid > 0) else { return };
        let (position, samples) = playout.pass(laid, sent, wall);
        let first = lane.index - u64::from(laid);
        self.ledger.record(&playout.progress, (first, laid), position, samples);
        self.clock.pass(laid);
        self.due = self.clock.free_at().filter(|_| self.wants_to_send());
        let counts = &self.counters.counts;
        counts.packets_sent.add(sent.into());
        counts.octets_sent.add(octets.into());
        counts.send_errors.add(refused.into());
        counts.late_packets.add(late.into());
        self.counters.lateness(Duration::from_nanos(max_lateness.into()));
    }

    /// Keeps the books of a datagram of [`Self::tick`] or [`Self::report`] that was handed over, or
    /// could not be.
    pub(in super::super) fn settle(
        &mut self,
        now: Now,
        wall: u64,
        datagram: &Datagram,
        shard: &ShardCounters,
    ) {
        let counts = &self.counters.counts;
        if !datagram.sent {
            counts.send_errors.add(1);
            shard.send_errors.add(1);
        } else if datagram.content == Content::Report {
            counts.reports_sent.add(1);
        } else {
            counts.packets_sent.add(1);
            counts.octets_sent.add(datagram.payload_len(self.protect.is_some()) as u64);
            shard.packets_sent.add(1);
        }
        if let Content::Mixed { index } = datagram.content
            && let Some(overlays) = &mut self.overlays
        {
            let sent = datagram.sent.then_some(wall);
            let is_last = overlays.settle(index, sent, self.playout.as_ref(), &mut self.ledger);
            self.finish_overlays(now);
            if is_last {
                self.finish_if_over(now);
            }
        }
        if let Content::Audio { filled, index } = datagram.content
            && let Some(playout) = &self.playout
        {
            if datagram.sent {
                playout.credit(filled, wall);
            }
            let (position, samples) = (filled.position, filled.samples);
            self.ledger.record(&playout.progress, (index, 1), position, samples);
            if filled.last {
                self.finish_if_over(now);
            }
        }
    }
}
