//! Doubling and halving the sampling rate between the telephones' 8 kHz and the 16 kHz of rooms and
//! recordings.
//!
//! A half-band filter (every other coefficient is 0) with 12 pairs: flat to 3.4 kHz within 0.05 dB,
//! −53 dB from 4.6 kHz on, 1.5 ms of delay each way. A signal at 16 kHz is kept as its even and its
//! odd samples, which is how the filter reads and writes it: all loops are over neighbours.

/// Samples of 20 ms in each phase.
pub(crate) const FRAME: usize = 160;
/// Samples of each phase before a frame that the filter reaches back to.
pub(crate) const HISTORY: usize = 2 * REACH - 1;
/// Frames with what the filter needs of the one before.
pub(crate) const SPAN: usize = HISTORY + FRAME;

/// Samples at 8 kHz that the doubled signal is late.
pub(crate) const DELAY: usize = HISTORY - (REACH - 1);

const REACH: usize = COEFFICIENTS.len();

/// sin(πn/2)/(πn/2) for n = 1, 3, 5 …, under a Kaiser window (β = 5) of half-width 24, scaled to a
/// sum of ½. A test computes them anew.
const COEFFICIENTS: [f32; 12] = [
    0.634_723_8,
    -0.205_088_05,
    0.115_556_47,
    -0.075_001_18,
    0.051_187_905,
    -0.035_384_648,
    0.024_250_556,
    -0.016_213_411,
    0.010_406_669,
    -0.006_282_231,
    0.003_449_827,
    -0.001_605_705,
];

/// 20 ms at 16 kHz and what was before them.
#[derive(Clone, Debug)]
pub(crate) struct Wide {
    pub(crate) even: [f32; SPAN],
    pub(crate) odd: [f32; SPAN],
}

impl Wide {
    pub(crate) const fn silence() -> Self {
        Self { even: [0.0; SPAN], odd: [0.0; SPAN] }
    }

    /// Makes the frame what was before.
    pub(crate) fn advance(&mut self) {
        advance(&mut self.even);
        advance(&mut self.odd);
    }

    /// Fills the frame with 8 kHz samples at twice their rate.
    pub(crate) fn double(&mut self, narrow: &[f32; SPAN]) {
        // Even samples are the signal itself, as late as the filter between them is.
        self.even[HISTORY..].copy_from_slice(&narrow[REACH - 1..REACH - 1 + FRAME]);
        let odd: &mut [f32; FRAME] =
            (&mut self.odd[HISTORY..]).try_into().expect("what follows the history is a frame");
        filter(narrow, odd);
    }

    /// The frame at half the rate.
    pub(crate) fn halve(&self, narrow: &mut [f32; FRAME]) {
        filter(&self.even, narrow);
        for (sample, centre) in narrow.iter_mut().zip(&self.odd[REACH - 1..]) {
            *sample = 0.5 * (*sample + centre);
        }
    }
}

/// Makes the frame what was before.
pub(crate) fn advance(phase: &mut [f32; SPAN]) {
    phase.copy_within(FRAME.., 0);
}

/// What lies between the samples `REACH - 1` and `REACH` of the input, and the following.
fn filter(input: &[f32; SPAN], output: &mut [f32; FRAME]) {
    output.fill(0.0);
    for (k, coefficient) in COEFFICIENTS.iter().enumerate() {
        let left: &[f32; FRAME] =
            input[REACH - 1 - k..].first_chunk().expect("the history is behind the frame");
        let right: &[f32; FRAME] =
            input[REACH + k..].first_chunk().expect("the filter ends with the frame");
        for ((sample, left), right) in output.iter_mut().zip(left).zip(right) {
            *sample += coefficient * (left + right);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::{PI, TAU};

    use super::*;
    use crate::analysis::{rms_db, tone_level_db};

    #[test]
    fn the_coefficients_are_those_of_the_window() {
        let bessel = |x: f64| {
            let (mut term, mut sum) = (1.0, 1.0);
            for k in 1..60 {
                term *= (x / 2.0 / f64::from(k)).powi(2);
                sum += term;
            }
            sum
        };
        let half_width = f64::from(2 * COEFFICIENTS.len() as u32);
        let exact: Vec<f64> = (0..COEFFICIENTS.len() as u32)
            .map(|k| f64::from(2 * k + 1))
            .map(|n| {
                let window = bessel(5.0 * (1.0 - (n / half_width).powi(2)).sqrt()) / bessel(5.0);
                (PI * n / 2.0).sin() / (PI * n / 2.0) * window
            })
            .collect();
        let sum: f64 = exact.iter().sum();
        for (coefficient, exact) in COEFFICIENTS.iter().zip(exact) {
            assert!((f64::from(*coefficient) - exact / sum / 2.0).abs() < 1e-6);
        }
    }

    /// A tone of half of full scale through both filters; at 16 kHz, and at 8 kHz again.
    fn there_and_back(hz: f64) -> (Vec<i16>, Vec<i16>) {
        let (mut narrow, mut wide) = ([0.0; SPAN], Wide::silence());
        let (mut doubled, mut back) = (Vec::new(), Vec::new());
        for frame in 0..50_u32 {
            advance(&mut narrow);
            for (at, sample) in (frame * 160..).zip(&mut narrow[HISTORY..]) {
                *sample = (16_384.0 * (TAU * hz * f64::from(at) / 8_000.0).sin()) as f32;
            }
            wide.advance();
            wide.double(&narrow);
            for (even, odd) in wide.even[HISTORY..].iter().zip(&wide.odd[HISTORY..]) {
                doubled.extend([*even as i16, *odd as i16]);
            }
            let mut halved = [0.0; FRAME];
            wide.halve(&mut halved);
            back.extend(halved.map(|sample| sample as i16));
        }
        // Without the first moments, in which it began.
        (doubled.split_off(1_600), back.split_off(800))
    }

    #[test]
    fn telephone_frequencies_pass_both_ways_without_images_or_loss() {
        for hz in [60.0, 300.0, 1_000.0, 2_500.0, 3_400.0] {
            let (doubled, back) = there_and_back(hz);
            let level = tone_level_db(&doubled, 16_000, hz);
            assert!((level + 6.02).abs() < 0.05, "{hz}: {level}");
            let image = tone_level_db(&doubled, 16_000, 8_000.0 - hz);
            assert!(image < -58.0, "{hz}: image {image}");
            let level = tone_level_db(&back, 8_000, hz);
            assert!((level + 6.02).abs() < 0.1, "{hz}: {level}");
            assert!((rms_db(&back) - level).abs() < 0.05, "{hz}: nothing else");
        }
    }

    #[test]
    fn what_8_khz_cannot_hold_does_not_fold_down() {
        for hz in [4_600.0, 5_500.0, 7_000.0] {
            let mut wide = Wide::silence();
            let mut back = Vec::new();
            for frame in 0..20_u32 {
                wide.advance();
                let tone =
                    |at: u32| (16_384.0 * (TAU * hz * f64::from(at) / 16_000.0).sin()) as f32;
                for at in 0..160 {
                    wide.even[HISTORY + at as usize] = tone(frame * 320 + 2 * at);
                    wide.odd[HISTORY + at as usize] = tone(frame * 320 + 2 * at + 1);
                }
                let mut halved = [0.0; FRAME];
                wide.halve(&mut halved);
                back.extend(halved.map(|sample| sample as i16));
            }
            let level = rms_db(&back[400..]);
            assert!(level < -50.0, "{hz}: {level}");
        }
    }
}
