//! Changing the rate of a signal that comes piece by piece, as from a caller.

use audioadapter_buffers::{direct::SequentialSlice, number_to_float::InterleavedNumbers};
use rubato::{Fft, Resampler};

use super::{resampled_len, resampler};

/// Converts a signal piece by piece. What comes out is the signal without a delay, in the end of
/// exactly the length that [`resampled_len`] says; up to 128 ms of it are still inside meanwhile.
pub struct Streaming {
    /// `None` if the rates are equal.
    inner: Option<Box<Inner>>,
}

struct Inner {
    from: u32,
    to: u32,
    resampler: Fft<f32>,
    waiting: Vec<i16>,
    output: Vec<f32>,
    /// Samples that came in, and went out.
    taken: usize,
    given: usize,
    /// Samples of the filter's delay that are still to be left out.
    delay: usize,
}

impl Streaming {
    /// Both rates in Hz, not 0.
    pub fn new(from: u32, to: u32) -> Self {
        let inner = (from != to).then(|| {
            let resampler = resampler(from, to);
            Box::new(Inner {
                from,
                to,
                waiting: Vec::with_capacity(resampler.input_frames_max() * 2),
                output: vec![0.0; resampler.output_frames_max()],
                delay: resampler.output_delay(),
                resampler,
                taken: 0,
                given: 0,
            })
        });
        Self { inner }
    }

    /// Takes a piece and appends what is ready to `out`.
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        let Some(inner) = &mut self.inner else { return out.extend_from_slice(samples) };
        inner.taken += samples.len();
        inner.waiting.extend_from_slice(samples);
        inner.convert(usize::MAX, out);
    }

    /// Appends what is still inside; nothing may be pushed behind it.
    pub fn finish(mut self, out: &mut Vec<i16>) {
        let Some(inner) = &mut self.inner else { return };
        let whole = resampled_len(inner.taken, inner.from, inner.to);
        while inner.given < whole {
            let block = inner.resampler.input_frames_next();
            inner.waiting.resize(inner.waiting.len().next_multiple_of(block).max(block), 0);
            inner.convert(whole, out);
        }
    }
}

impl Inner {
    /// Converts whole blocks; gives out at most `whole` samples in all.
    fn convert(&mut self, whole: usize, out: &mut Vec<i16>) {
        let mut used = 0;
        loop {
            let block = self.resampler.input_frames_next();
            let Some(input) = self.waiting.get(used..used + block) else { break };
            let input = InterleavedNumbers::<_, f32>::new(input, 1, block)
                .expect("one channel of as many frames as there are samples");
            let frames = self.output.len();
            let mut output = SequentialSlice::new_mut(&mut self.output, 1, frames)
                .expect("one channel of as many frames as there are samples");
            let (read, written) = self
                .resampler
                .process_into_buffer(&input, &mut output, None)
                .expect("blocks are as long as the resampler asks for");
            used += read;
            let skipped = self.delay.min(written);
            self.delay -= skipped;
            let room = whole.saturating_sub(self.given);
            let ready = &self.output[skipped..written];
            let ready = &ready[..ready.len().min(room)];
            self.given += ready.len();
            // `as` saturates.
            out.extend(ready.iter().map(|sample| (sample * 32_768.0).round() as i16));
        }
        self.waiting.drain(..used);
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::resample::resample;

    #[test]
    fn pieces_give_what_the_whole_gives_and_as_much() {
        for (from, to) in [(8_000, 16_000), (48_000, 16_000), (16_000, 8_000), (8_000, 8_000)] {
            let mut signal = vec![0; 1_000];
            signal.extend(
                (0..20_000).map(|n| {
                    (9_000.0 * (TAU * 440.0 * f64::from(n) / f64::from(from)).sin()) as i16
                }),
            );
            signal.extend([0; 1_003]);
            let mut streaming = Streaming::new(from, to);
            let mut out = Vec::new();
            for piece in signal.chunks(160) {
                streaming.push(piece, &mut out);
            }
            streaming.finish(&mut out);
            let whole = resample(&signal, from, to);
            assert_eq!(out.len(), whole.len());
            let error = out.iter().zip(&whole).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(error <= 2, "{from} to {to}: {error}");
        }
    }

    #[test]
    fn short_signals_have_their_length_too() {
        for length in [0, 1, 7, 511, 512, 513] {
            let mut streaming = Streaming::new(8_000, 16_000);
            let mut out = Vec::new();
            streaming.push(&vec![100; length], &mut out);
            streaming.finish(&mut out);
            assert_eq!(out.len(), length * 2);
        }
    }
}
