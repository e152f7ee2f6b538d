//! One stream over one window: what is missing, and how late each packet is against the 20 ms grid
//! that fits the stream best.

use super::histogram::Histogram;

/// Microseconds of a tick of the RTP clock at 8 kHz.
const MICROS_PER_TICK: i64 = 125;
/// A frame later than a packet time is lost to a jitter buffer of 20 ms.
const LATE_MICROS: u64 = 20_000;
/// A sequence number further away is another source with the same address (RFC 3550 A.1).
const MAX_STEP: u16 = 1_000;

/// Counts over all streams of a window.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Packets that came, doubled ones not counted.
    pub(super) packets: u64,
    /// Sequence numbers that never came.
    pub(super) lost: u64,
    /// Packets behind one with a higher sequence number.
    pub(super) reordered: u64,
    /// The sequence number just seen, again.
    pub(super) doubled: u64,
    /// Packets more than 20 ms behind their place on the grid.
    pub(super) late: u64,
    /// Lateness of every packet.
    pub(super) error: Histogram,
}

/// A stream from the first packet of a window on.
#[derive(Debug)]
pub(super) struct Grid {
    first: u64,
    highest: u64,
    packets: u64,
    reordered: u64,
    doubled: u64,
    /// Timestamp minus 160 a packet; when it jumps (a pause, a new source), a new grid begins.
    offset: u32,
    /// Timestamp and arrival of the first packet of this grid.
    origin: (u32, i64),
    /// Arrival minus nominal time of each packet of this grid, in microseconds.
    residuals: Vec<i32>,
    last_at: i64,
}

impl Grid {
    /// Begins with its first packet; `at` in microseconds of any clock.
    pub(super) fn new(at: i64, sequence: u16, timestamp: u32) -> Self {
        // Far from zero, so that an older packet does not wrap.
        let first = (1 << 32) + u64::from(sequence);
        let mut residuals = Vec::with_capacity(512);
        residuals.push(0);
        Self {
            first,
            highest: first,
            packets: 1,
            reordered: 0,
            doubled: 0,
            offset: offset(timestamp, first),
            origin: (timestamp, at),
            residuals,
            last_at: at,
        }
    }

    /// The next packet.
    pub(super) fn take(&mut self, at: i64, sequence: u16, timestamp: u32, tally: &mut Tally) {
        self.last_at = at;
        let step = sequence.wrapping_sub(self.highest as u16).cast_signed();
        let extended = self.highest.wrapping_add_signed(i64::from(step));
        if step == 0 {
            self.doubled += 1;
            return;
        }
        if step.unsigned_abs() > MAX_STEP {
            self.settle(tally);
            *self = Self::new(at, sequence, timestamp);
            return;
        }
        if step > 0 {
            self.highest = extended;
        } else {
            self.reordered += 1;
            if extended < self.first {
                // From before the window: not of its books.
                return;
            }
        }
        self.packets += 1;
        if offset(timestamp, extended) != self.offset {
            self.fit(tally);
            self.offset = offset(timestamp, extended);
            self.origin = (timestamp, at);
        }
        let ticks = timestamp.wrapping_sub(self.origin.0).cast_signed();
        let residual = at - self.origin.1 - i64::from(ticks) * MICROS_PER_TICK;
        self.residuals.push(i32::try_from(residual).unwrap_or(i32::MAX));
    }

    /// When the last packet came.
    pub(super) fn last_at(&self) -> i64 {
        self.last_at
    }

    /// Ends the window: everything goes into the books.
    pub(super) fn settle(&mut self, tally: &mut Tally) {
        self.fit(tally);
        let expected = self.highest - self.first + 1;
        tally.packets += self.packets;
        tally.lost += expected.saturating_sub(self.packets);
        tally.reordered += self.reordered;
        tally.doubled += self.doubled;
    }

    /// Anchors the grid at its earliest packet and books how late the others are.
    fn fit(&mut self, tally: &mut Tally) {
        let Some(least) = self.residuals.iter().min().copied() else { return };
        for residual in self.residuals.drain(..) {
            let late = u64::from(residual.abs_diff(least));
            tally.error.add(late);
            tally.late += u64::from(late > LATE_MICROS);
        }
    }
}

fn offset(timestamp: u32, extended: u64) -> u32 {
    timestamp.wrapping_sub((extended as u32).wrapping_mul(160))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets `n` with their arrivals in microseconds.
    fn judged(packets: &[(u16, i64)]) -> Tally {
        let mut tally = Tally::default();
        let timestamp = |n: u16| u32::from(n) * 160 + 7;
        let (first, at) = packets[0];
        let mut grid = Grid::new(at, first, timestamp(first));
        for &(n, at) in &packets[1..] {
            grid.take(at, n, timestamp(n), &mut tally);
        }
        grid.settle(&mut tally);
        tally
    }

    #[test]
    fn the_grid_goes_through_the_earliest_packet_not_the_first() {
        let tally = judged(&[(1, 5_000), (2, 20_000), (3, 41_000), (4, 90_000)]);
        assert_eq!((tally.packets, tally.lost, tally.late), (4, 0, 1));
        // Against 0, 20, 40 and 60 ms.
        assert_eq!(tally.error.max(), 30_000);
        assert!((1_000..1_020).contains(&tally.error.quantile(0.5)));
    }

    #[test]
    fn gaps_are_lost_and_late_comers_are_not() {
        let tally = judged(&[(1, 0), (2, 20_000), (5, 80_000), (4, 80_100), (4, 80_200)]);
        assert_eq!((tally.packets, tally.lost, tally.reordered), (5, 0, 2));
        let tally = judged(&[(1, 0), (2, 20_000), (5, 80_000), (5, 80_100)]);
        assert_eq!((tally.packets, tally.lost, tally.doubled), (3, 2, 1));
    }

    #[test]
    fn sequence_numbers_wrap_and_what_was_before_the_window_does_not_count() {
        let mut tally = Tally::default();
        let mut grid = Grid::new(0, 65_535, 0);
        grid.take(20_000, 0, 160, &mut tally);
        grid.take(20_100, 65_534, 0u32.wrapping_sub(160), &mut tally);
        grid.settle(&mut tally);
        assert_eq!((tally.packets, tally.lost, tally.reordered), (2, 0, 1));
        assert_eq!(tally.error.max(), 0);
    }

    #[test]
    fn a_pause_or_another_source_begins_another_grid() {
        let mut tally = Tally::default();
        let mut grid = Grid::new(0, 1, 160);
        // Silence of 3 s and 5 ms, which the timestamp says too, roughly.
        grid.take(3_025_000, 2, 160 + 24_160, &mut tally);
        grid.take(3_045_000, 3, 160 + 24_320, &mut tally);
        // A new source.
        grid.take(3_050_000, 9_000, 1 << 30, &mut tally);
        grid.settle(&mut tally);
        assert_eq!((tally.packets, tally.lost, tally.late), (4, 0, 0));
        assert_eq!(tally.error.max(), 0);
    }
}
