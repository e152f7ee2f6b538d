//! Judging heard audio: levels, frequencies, gaps, and where in a recording a prompt is.
//!
//! Levels are in dBFS after AES17: a sine of full scale has 0 dB, so that [`tone_level_db`] and
//! [`rms_db`] of a pure tone agree (and a full-scale square wave has +3 dB). The lowest level is
//! [`SILENCE_DB`]. Rates are in Hz.

use std::f64::consts::TAU;

mod alignment;

pub use alignment::{Alignment, align};

/// The level that stands for silence, in dBFS; nothing is reported below.
pub const SILENCE_DB: f64 = -120.0;

/// Samples of at most this magnitude count as silence (−54 dBFS): above the idle noise of G.711,
/// below the softest speech.
pub const SILENCE_PEAK: u16 = 64;

/// A run of silence between two sounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gap {
    /// Where it begins, in milliseconds from the first sample.
    pub start_ms: f64,
    /// How long it lasts, in milliseconds.
    pub length_ms: f64,
}

/// Level of one frequency, in dBFS (Goertzel with a Hann window: tones that are 4 periods of the
/// whole signal away do not leak in by more than −60 dB).
pub fn tone_level_db(samples: &[i16], rate: u32, hz: f64) -> f64 {
    let step = TAU * hz / f64::from(rate);
    let coefficient = 2.0 * step.cos();
    let (mut last, mut before, mut weight) = (0.0, 0.0, 0.0);
    for (sample, window) in samples.iter().zip(hann(samples.len())) {
        let next = f64::from(*sample) * window + coefficient * last - before;
        (before, last) = (last, next);
        weight += window;
    }
    if weight == 0.0 {
        return SILENCE_DB;
    }
    let power = last * last + before * before - coefficient * last * before;
    // A sine of amplitude A sums up to A/2 times the window's weight.
    decibels(power.max(0.0).sqrt() * 2.0 / weight / 32_768.0)
}

/// The strongest frequency in Hz, to a fraction of a percent; `None` for silence. Frequencies below
/// 20 Hz do not count.
pub fn dominant_frequency(samples: &[i16], rate: u32) -> Option<f64> {
    // 8192 samples are a second of telephony; longer signals are averaged over such blocks.
    const BLOCK: usize = 8_192;
    let fft = realfft::RealFftPlanner::<f64>::new().plan_fft_forward(BLOCK);
    let mut spectrum = fft.make_output_vec();
    let mut power = vec![0.0; spectrum.len()];
    let length = samples.len().min(BLOCK);
    for block in samples.chunks_exact(length.max(1)) {
        let mean = block.iter().map(|&sample| f64::from(sample)).sum::<f64>() / length as f64;
        let mut input = fft.make_input_vec();
        for ((slot, sample), window) in input.iter_mut().zip(block).zip(hann(length)) {
            *slot = (f64::from(*sample) - mean) * window;
        }
        fft.process(&mut input, &mut spectrum).expect("both buffers were made by the plan");
        power.iter_mut().zip(&spectrum).for_each(|(sum, bin)| *sum += bin.norm_sqr());
    }
    let bin_hz = f64::from(rate) / BLOCK as f64;
    let lowest = (20.0 / bin_hz).ceil() as usize;
    let (peak, strength) = power
        .iter()
        .copied()
        .enumerate()
        .skip(lowest.max(1))
        .max_by(|(_, left), (_, right)| left.total_cmp(right))?;
    // One unit of a 16-bit sample, over the block: below it there is only rounding.
    let floor = samples.len() as f64 * length as f64 / 16.0;
    if strength <= floor {
        return None;
    }
    // A parabola through the logarithms of the peak and its neighbours: exact for a Gaussian main
    // lobe, and Hann's is close to one.
    let [left, middle, right] = [peak - 1, peak, peak + 1]
        .map(|bin| power.get(bin).copied().unwrap_or(0.0).max(f64::MIN_POSITIVE).ln());
    let curvature = left - 2.0 * middle + right;
    let offset = if curvature < 0.0 { (left - right) / (2.0 * curvature) } else { 0.0 };
    Some((peak as f64 + offset.clamp(-0.5, 0.5)) * bin_hz)
}

/// Runs of silence of at least `shortest_ms` milliseconds inside the signal; silence before the
/// first and after the last sound is not a gap.
pub fn gaps(samples: &[i16], rate: u32, shortest_ms: f64) -> Vec<Gap> {
    let milliseconds = |count: usize| count as f64 * 1_000.0 / f64::from(rate);
    let mut gaps = Vec::new();
    let mut last_sound = None;
    for (at, _) in samples.iter().enumerate().filter(|(_, sample)| is_sound(**sample)) {
        if let Some(last) = last_sound {
            let gap =
                Gap { start_ms: milliseconds(last + 1), length_ms: milliseconds(at - last - 1) };
            if gap.length_ms >= shortest_ms && at > last + 1 {
                gaps.push(gap);
            }
        }
        last_sound = Some(at);
    }
    gaps
}

/// The signal without the silence before its first and after its last sound.
pub fn trim_silence(samples: &[i16]) -> &[i16] {
    let Some(first) = samples.iter().position(|sample| is_sound(*sample)) else { return &[] };
    let last = samples.iter().rposition(|sample| is_sound(*sample)).unwrap_or(first);
    &samples[first..=last]
}

/// Level of the whole signal (root of the mean square), in dBFS.
pub fn rms_db(samples: &[i16]) -> f64 {
    if samples.is_empty() {
        return SILENCE_DB;
    }
    let sum: f64 = samples.iter().map(|&sample| f64::from(sample).powi(2)).sum();
    // √2: the mean square of a full-scale sine is ½.
    decibels((2.0 * sum / samples.len() as f64).sqrt() / 32_768.0)
}

fn is_sound(sample: i16) -> bool {
    sample.unsigned_abs() > SILENCE_PEAK
}

fn decibels(amplitude: f64) -> f64 {
    (20.0 * amplitude.log10()).max(SILENCE_DB)
}

/// A Hann window without the zeros at its ends, so that a single sample still has a weight.
fn hann(length: usize) -> impl Iterator<Item = f64> {
    let step = TAU / (length as f64 + 1.0);
    (0..length).map(move |n| 0.5 - 0.5 * ((n as f64 + 1.0) * step).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(rate: u32, hz: f64, amplitude: f64, ms: u32) -> Vec<i16> {
        let count = rate as usize * ms as usize / 1_000;
        (0..count)
            .map(|n| {
                let phase = TAU * hz * n as f64 / f64::from(rate);
                (amplitude * 32_767.0 * phase.sin()).round() as i16
            })
            .collect()
    }

    fn close(left: f64, right: f64, tolerance: f64) {
        assert!((left - right).abs() <= tolerance, "{left} is not {right} ± {tolerance}");
    }

    #[test]
    fn a_tone_has_the_same_level_by_goertzel_and_by_rms() {
        for (hz, amplitude) in [(440.0, 0.5), (1_000.3, 0.01), (3_400.0, 1.0)] {
            let tone = sine(8_000, hz, amplitude, 1_000);
            close(tone_level_db(&tone, 8_000, hz), 20.0 * amplitude.log10(), 0.05);
            close(rms_db(&tone), 20.0 * amplitude.log10(), 0.05);
        }
    }

    #[test]
    fn a_tone_does_not_leak_into_other_frequencies() {
        let tone = sine(8_000, 440.0, 1.0, 1_000);
        for hz in [430.0, 450.0, 880.0, 3_900.0] {
            assert!(tone_level_db(&tone, 8_000, hz) < -60.0, "{hz}");
        }
    }

    #[test]
    fn silence_has_the_lowest_level() {
        assert_eq!(rms_db(&[]), SILENCE_DB);
        assert_eq!(rms_db(&[0; 100]), SILENCE_DB);
        assert_eq!(tone_level_db(&[], 8_000, 440.0), SILENCE_DB);
        assert_eq!(tone_level_db(&[0; 100], 8_000, 440.0), SILENCE_DB);
        assert_eq!(dominant_frequency(&[], 8_000), None);
        assert_eq!(dominant_frequency(&[0; 10_000], 8_000), None);
        assert_eq!(dominant_frequency(&[-32_768; 10_000], 8_000), None);
        assert!(rms_db(&[-32_768; 10]) > 3.0);
    }

    #[test]
    fn the_dominant_frequency_is_found_in_long_and_short_signals() {
        for (hz, ms) in [(440.0, 1_000), (440.0, 31), (440.0, 20), (1_234.5, 3_000), (50.0, 500)] {
            let found = dominant_frequency(&sine(8_000, hz, 0.5, ms), 8_000).unwrap();
            close(found, hz, hz * 0.01);
        }
        let mut two = sine(16_000, 440.0, 0.2, 1_000);
        two.iter_mut().zip(sine(16_000, 697.0, 0.3, 1_000)).for_each(|(a, b)| *a += b);
        close(dominant_frequency(&two, 16_000).unwrap(), 697.0, 0.5);
    }

    #[test]
    fn only_silence_between_sounds_is_a_gap() {
        let mut signal = vec![0; 800];
        signal.extend(sine(8_000, 440.0, 0.5, 100));
        signal.extend([5; 480]);
        signal.extend(sine(8_000, 440.0, 0.5, 100));
        signal.extend([0; 4_000]);
        let found = gaps(&signal, 8_000, 40.0);
        assert_eq!(found.len(), 1, "{found:?}");
        close(found[0].start_ms, 200.0, 0.5);
        close(found[0].length_ms, 60.0, 1.0);
        assert!(gaps(&signal, 8_000, 70.0).is_empty());
        assert!(gaps(&[0; 8_000], 8_000, 0.0).is_empty());
    }

    #[test]
    fn trimming_leaves_the_sounds_and_what_is_between_them() {
        assert_eq!(trim_silence(&[0, 3, -64, 500, 0, -500, 64, 0]), [500, 0, -500]);
        assert_eq!(trim_silence(&[0; 10]), [0_i16; 0]);
    }
}
