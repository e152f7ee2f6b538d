//! Changing the sampling rate of a whole signal: band-limited, delay compensated, exact in length.
//!
//! rubato's FFT resampler, with a filter long enough that its transition band is 5 % of the lower
//! Nyquist frequency: to 8 kHz, flat to 3.7 kHz and silent (below −90 dB) from 4 kHz on.

use audioadapter_buffers::number_to_float::InterleavedNumbers;
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
    let mut resampler = resampler(from, to);
    let input = InterleavedNumbers::<_, f32>::new(samples, 1, samples.len())
        .expect("one channel of as many frames as there are samples");
    let resampled = resampler
        .process_all(&input, samples.len(), None)
        .expect("the input has the one channel that the resampler was made for");
    let mut out: Vec<i16> = resampled
        .take_data()
        .into_iter()
        .take(length)
        // `as` saturates, and a NaN cannot come out of a linear filter fed with integers.
        .map(|sample| (sample * 32_768.0).round() as i16)
        .collect();
    // rubato rounds its length up, so this only guards against a float that fell below.
    out.resize(length, 0);
    out
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
