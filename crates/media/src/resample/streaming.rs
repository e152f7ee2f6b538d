//! Doubling the rate of a signal that comes piece by piece, as from a caller.

use super::halfband::{self, DELAY, FRAME, HISTORY, SPAN, Wide};

/// Doubles the rate of a signal piece by piece. What comes out is the signal without a delay, in the
/// end of exactly twice its length; up to 22 ms of it are still inside meanwhile.
pub struct Doubling {
    /// What comes in, after what the filter needs of the frame before.
    narrow: [f32; SPAN],
    /// Samples of the frame that are there.
    filled: usize,
    wide: Wide,
    /// Samples that came in, and went out.
    taken: u64,
    given: u64,
    /// Samples of the filter's delay that are still to be left out.
    delay: usize,
}

impl Default for Doubling {
    fn default() -> Self {
        Self {
            narrow: [0.0; SPAN],
            filled: 0,
            wide: Wide::silence(),
            taken: 0,
            given: 0,
            delay: 2 * DELAY,
        }
    }
}

impl Doubling {
    /// Takes a piece and appends what is ready to `out`.
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        self.taken += samples.len() as u64;
        self.fill(samples, out);
    }

    /// Appends what is still inside; nothing may be pushed behind it.
    pub fn finish(mut self, out: &mut Vec<i16>) {
        while self.given < 2 * self.taken {
            self.fill(&[0; FRAME], out);
        }
    }

    fn fill(&mut self, mut samples: &[i16], out: &mut Vec<i16>) {
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(FRAME - self.filled));
            let place = HISTORY + self.filled;
            for (to, sample) in self.narrow[place..place + now.len()].iter_mut().zip(now) {
                *to = f32::from(*sample);
            }
            self.filled += now.len();
            samples = later;
            if self.filled == FRAME {
                self.wide.double(&self.narrow);
                self.give(out);
                halfband::advance(&mut self.narrow);
                self.filled = 0;
            }
        }
    }

    /// Appends a frame, less what is late at the beginning and what is too much at the end.
    fn give(&mut self, out: &mut Vec<i16>) {
        let skipped = self.delay.min(2 * FRAME);
        self.delay -= skipped;
        let mut frame = [0_i16; 2 * FRAME];
        let pairs = self.wide.even[HISTORY..].iter().zip(&self.wide.odd[HISTORY..]);
        for (to, (even, odd)) in frame.as_chunks_mut().0.iter_mut().zip(pairs) {
            *to = [rounded(*even), rounded(*odd)];
        }
        let room = usize::try_from(2 * self.taken - self.given).unwrap_or(usize::MAX);
        let ready = &frame[skipped..];
        let ready = &ready[..ready.len().min(room)];
        out.extend_from_slice(ready);
        self.given += ready.len() as u64;
    }
}

/// `f32::round` is a call of a function where the processor may be old. `as` saturates.
fn rounded(sample: f32) -> i16 {
    (sample + 0.5_f32.copysign(sample)) as i16
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::resample::resample;

    #[test]
    fn pieces_give_what_the_whole_gives_and_as_much() {
        let mut signal = vec![0; 1_000];
        signal.extend((0..20_000).map(|n| {
            let fade = (f64::from(n.min(20_000 - n)) / 400.0).min(1.0);
            (9_000.0 * fade * (TAU * 440.0 * f64::from(n) / 8_000.0).sin()) as i16
        }));
        signal.extend([0; 1_003]);
        let whole = resample(&signal, 8_000, 16_000);
        for piece in [1, 37, 160, 1_000] {
            let mut doubling = Doubling::default();
            let mut out = Vec::new();
            for piece in signal.chunks(piece) {
                doubling.push(piece, &mut out);
                assert!(out.len() <= 2 * signal.len(), "never more than there is");
            }
            doubling.finish(&mut out);
            assert_eq!(out.len(), whole.len());
            let error = out.iter().zip(&whole).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            // 0.05 dB of ripple.
            assert!(error <= 54, "pieces of {piece}: {error}");
        }
    }

    #[test]
    fn short_signals_have_their_length_too() {
        for length in [0, 1, 7, 159, 160, 161, 513] {
            let mut doubling = Doubling::default();
            let mut out = Vec::new();
            doubling.push(&vec![100; length], &mut out);
            doubling.finish(&mut out);
            assert_eq!(out.len(), length * 2);
        }
    }
}
