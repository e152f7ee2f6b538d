//! Changing the sampling rate of a whole signal: band-limited, delay compensated, exact in length.
//!
//! rubato's FFT resampler, with a filter long enough that its transition band is 5 % of the lower
//! Nyquist frequency: to 8 kHz, flat to 3.7 kHz and silent (below −90 dB) from 4 kHz on.
//!
//! Beyond its edges a signal is taken to go on as it was. One sound that is cut into two prompts is
//! one sound again when they are played in a row, though each is resampled on its own.

mod continuation;
pub(crate) mod halfband;
mod streaming;

use audioadapter_buffers::number_to_float::InterleavedNumbers;
pub use streaming::Doubling;

use rubato::{Fft, FixedSync, Resampler, WindowFunction};

/// Length of the anti-aliasing filter, in samples of the lower rate. At 8 kHz: 64 ms, of which only
/// the middle 10 ms carry weight, so that a click does not smear audibly.
const FILTER_LENGTH: usize = 512;

/// How many samples [`resample`] makes out of `length`: `length * to / from`, rounded half up.
pub fn resampled_len(length: usize, from: u32, to: u32) -> usize {
    let exact = (length as u128 * u128::from(to) * 2 + u128::from(from)) / (u128::from(from) * 2);
    usize::try_from(exact)
        .expect("rates of wav::MIN_RATE and above at most double a signal's bytes")
}

/// Converts from one rate to another (both in Hz, not 0). Peaks beyond full scale saturate. With
/// equal rates the samples are unchanged.
///
/// # Panics
/// If a rate is 0. [`crate::wav`] accepts none below [`crate::wav::MIN_RATE`].
pub fn resample(samples: &[i16], from: u32, to: u32) -> Vec<i16> {
    if from == to || samples.is_empty() {
        return samples.to_vec();
    }
    let length = resampled_len(samples.len(), from, to);
    // The filter reaches over the edges by half its length. What is put there is a whole number of
    // samples at both rates, so that it can be cut off again.
    let divisor = greatest_common_divisor(from, to);
    let (step_in, step_out) = ((from / divisor) as usize, (to / divisor) as usize);
    let steps = (FILTER_LENGTH / 2).div_ceil(step_in.min(step_out));
    let samples = continuation::continued(samples, steps * step_in);

    let mut resampler = resampler(from, to);
    let input = InterleavedNumbers::<_, f32>::new(samples.as_slice(), 1, samples.len())
        .expect("one channel of as many frames as there are samples");
    let resampled = resampler
        .process_all(&input, samples.len(), None)
        .expect("the input has the one channel that the resampler was made for");
    resampled
        .take_data()
        .into_iter()
        .skip(steps * step_out)
        .take(length)
        // `as` saturates, and a NaN cannot come out of a linear filter fed with integers.
        .map(|sample| (sample * 32_768.0).round() as i16)
        .collect()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn resampler(from: u32, to: u32) -> Fft<f32> {
    let (from, to) = (from as usize, to as usize);
    // The block is given in input frames; the filter has as many taps as a block has.
    let block = if from > to { (FILTER_LENGTH * from).div_ceil(to) } else { FILTER_LENGTH };
    let window = WindowFunction::BlackmanHarris2;
    Fft::new_custom(from, to, block, 1, 1, window, FixedSync::Both)
        .expect("the rates and the block size are not zero")
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::analysis::{dominant_frequency, rms_db, tone_level_db};

    const RATES: [u32; 12] = [
        4_000, 8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000,
        192_000,
    ];

    fn sine(rate: u32, hz: f64, amplitude: f64, ms: u32) -> Vec<i16> {
        (0..rate as usize * ms as usize / 1_000)
            .map(|n| amplitude * 32_767.0 * (TAU * hz * n as f64 / f64::from(rate)).sin())
            .map(|sample| sample.round() as i16)
            .collect()
    }

    /// Without the first and the last 50 ms, where a tone that begins at once has no one frequency.
    fn steady(samples: &[i16], rate: u32) -> &[i16] {
        let edge = rate as usize / 20;
        &samples[edge..samples.len() - edge]
    }

    #[test]
    fn the_passband_is_flat_to_3400_hz() {
        for from in RATES.into_iter().filter(|&rate| rate >= 8_000) {
            for hz in [60.0, 300.0, 440.0, 1_000.0, 2_500.0, 3_000.0, 3_400.0] {
                let out = resample(&sine(from, hz, 0.5, 500), from, 8_000);
                let level = tone_level_db(steady(&out, 8_000), 8_000, hz);
                assert!((level + 6.02).abs() < 0.1, "{hz} Hz at {from}: {level:.2} dB");
                let found = dominant_frequency(&out, 8_000).unwrap();
                assert!((found - hz).abs() < hz * 0.01, "{hz} Hz at {from} became {found}");
            }
        }
    }

    #[test]
    fn nothing_above_4_khz_folds_down() {
        for from in [16_000, 22_050, 44_100, 48_000, 96_000] {
            for hz in [4_000.0, 4_100.0, 4_500.0, 5_000.0, 6_500.0, 7_560.0, 12_345.0, 21_000.0] {
                if hz < f64::from(from) / 2.0 {
                    let out = resample(&sine(from, hz, 0.9, 500), from, 8_000);
                    let level = rms_db(steady(&out, 8_000));
                    assert!(level < -80.0, "{hz} Hz at {from}: {level:.1} dB");
                }
            }
        }
    }

    #[test]
    fn no_images_appear_when_the_rate_goes_up() {
        for (from, to) in [(4_000, 8_000), (8_000, 16_000), (11_025, 16_000), (8_000, 44_100)] {
            let hz = f64::from(from) * 0.4;
            let out = resample(&sine(from, hz, 0.5, 500), from, to);
            let out = steady(&out, to);
            assert!((tone_level_db(out, to, hz) + 6.02).abs() < 0.1, "{from} to {to}");
            let image = tone_level_db(out, to, f64::from(from) - hz);
            assert!(image < -80.0, "{from} to {to}: {image:.1} dB");
        }
    }

    /// How far the two halves of `whole`, resampled each on its own, are from the whole resampled:
    /// the greatest error within 5 ms of the seam, relative to full scale.
    fn error_at_seam_db(whole: &[i16], from: u32) -> f64 {
        let (first, second) = whole.split_at(whole.len() / 2);
        let joined = [resample(first, from, 8_000), resample(second, from, 8_000)].concat();
        let seam = joined.len() / 2;
        let expected = resample(whole, from, 8_000);
        let error = (seam - 40..seam + 40).map(|at| joined[at].abs_diff(expected[at])).max();
        20.0 * (f64::from(error.unwrap()) / 32_768.0).log10()
    }

    #[test]
    fn a_tone_cut_in_two_has_no_tick_at_the_seam() {
        for from in [16_000, 44_100, 48_000] {
            for hz in [301.3, 440.7, 1_000.2, 3_000.4] {
                let error = error_at_seam_db(&sine(from, hz, 0.5, 2_000), from);
                assert!(error < -65.0, "{hz} Hz at {from}: {error:.1} dB");
            }
        }
    }

    #[test]
    fn a_voice_cut_in_two_has_hardly_a_tick_at_the_seam() {
        // Harmonics of 140 Hz that fall by 6 dB per octave, each with a phase of its own.
        let voice: Vec<i16> = (0..32_000)
            .map(|n| f64::from(n) / 16_000.0)
            .map(|t| {
                (1..40)
                    .map(|k| {
                        (TAU * 140.0 * f64::from(k) * t + f64::from(k * k)).cos() / f64::from(k)
                    })
                    .sum::<f64>()
            })
            .map(|sample| (sample * 8_000.0) as i16)
            .collect();
        let error = error_at_seam_db(&voice, 16_000);
        assert!(error < -35.0, "{error:.1} dB");
    }

    #[test]
    fn what_begins_or_ends_at_once_rings_no_more_for_it() {
        let level = resample(&[9_000; 1_600], 16_000, 8_000);
        assert!(level.iter().all(|sample| sample.abs_diff(9_000) <= 1), "{level:?}");
        let mut click = vec![0; 3_200];
        click[1_600] = 30_000;
        let after_silence = resample(&click, 16_000, 8_000);
        assert_eq!(resample(&click[1_600..], 16_000, 8_000), after_silence[800..]);
    }

    #[test]
    fn silence_at_the_edges_stays_silent() {
        let tone = sine(16_000, 440.0, 0.5, 200);
        let padded = |ms: usize| [vec![0; ms * 16], tone.clone(), vec![0; ms * 16]].concat();
        let (short, long) =
            (resample(&padded(100), 16_000, 8_000), resample(&padded(200), 16_000, 8_000));
        assert_eq!(short, long[800..long.len() - 800]);
        assert_eq!(short[..400], [0; 400]);
    }

    #[test]
    fn lengths_are_exact() {
        for from in RATES {
            for length in [0, 1, 2, 3, 79, 441, 1_000, 12_345, from as usize] {
                let out = resample(&vec![100; length], from, 8_000);
                let exact = (length as f64 * 8_000.0 / f64::from(from)).round() as usize;
                assert_eq!(out.len(), exact, "{length} samples at {from}");
            }
        }
        assert_eq!(resample(&[7], 16_000, 8_000).len(), 1);
    }

    #[test]
    fn an_impulse_stays_where_it_was() {
        for from in [16_000, 44_100, 48_000, 4_000] {
            let mut signal = vec![0; from as usize];
            signal[from as usize / 2] = 30_000;
            let out = resample(&signal, from, 8_000);
            let peak = (0..out.len()).max_by_key(|&at| out[at].unsigned_abs()).unwrap();
            assert_eq!(peak, 4_000, "from {from}");
        }
    }

    #[test]
    fn equal_rates_change_nothing() {
        let samples: Vec<i16> = (i16::MIN..=i16::MAX).collect();
        assert_eq!(resample(&samples, 8_000, 8_000), samples);
    }

    #[test]
    fn overshoot_saturates_instead_of_wrapping() {
        // A full-scale square wave: the band limit makes it overshoot by about 9 %.
        let square: Vec<i16> =
            (0..44_100).map(|n| if n / 441 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let out = resample(&square, 44_100, 8_000);
        for (at, &sample) in out.iter().enumerate() {
            let into_half_wave = at % 80;
            if (10..70).contains(&into_half_wave) {
                assert_eq!(sample > 0, at / 80 % 2 == 0, "sample {at} is {sample}");
            }
        }
        assert!(out.contains(&i16::MAX) && out.contains(&i16::MIN));
    }

    #[test]
    fn rates_without_a_common_divisor_work() {
        let out = resample(&sine(44_101, 440.0, 0.5, 500), 44_101, 8_000);
        assert!((tone_level_db(steady(&out, 8_000), 8_000, 440.0) + 6.02).abs() < 0.1);
        assert_eq!(resample(&[1; 10], 191_999, 8_000).len(), 0);
    }
}
