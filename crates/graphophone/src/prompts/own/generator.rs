//! Tones and silence.

use std::{f64::consts::TAU, time::Duration};

/// Samples per second of what is generated: what Graph documents for prompts.
pub(super) const RATE: u32 = 16_000;

/// The sum of sines of equal strength whose peak is `level_db` below full scale.
pub(super) fn tone(frequencies: &[u32], duration: Duration, level_db: i32) -> Vec<i16> {
    let peak = 10_f64.powf(f64::from(level_db) / 20.0) * f64::from(i16::MAX);
    let amplitude = peak / frequencies.len().max(1) as f64;
    let steps: Vec<f64> = frequencies.iter().map(|hz| TAU * f64::from(*hz)).collect();
    (0..length(duration))
        .map(|n| n as f64 / f64::from(RATE))
        .map(|at| steps.iter().map(|step| (step * at).sin()).sum::<f64>() * amplitude)
        // `as` saturates.
        .map(|sample| sample.round() as i16)
        .collect()
}

pub(super) fn silence(duration: Duration) -> Vec<i16> {
    vec![0; length(duration)]
}

fn length(duration: Duration) -> usize {
    let samples = duration.as_millis() * u128::from(RATE) / 1_000;
    usize::try_from(samples).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use graphophone_media::analysis::{dominant_frequency, tone_level_db};

    use super::*;

    #[test]
    fn a_tone_has_its_frequency_level_and_length() {
        let samples = tone(&[440], Duration::from_millis(500), -10);
        assert_eq!(samples.len(), 8_000);
        assert!((dominant_frequency(&samples, RATE).unwrap() - 440.0).abs() < 1.0);
        assert!((tone_level_db(&samples, RATE, 440.0) + 10.0).abs() < 0.05);
    }

    #[test]
    fn two_frequencies_share_the_level_and_never_clip() {
        let samples = tone(&[350, 440], Duration::from_secs(1), 0);
        for hz in [350.0, 440.0] {
            assert!((tone_level_db(&samples, RATE, hz) + 6.02).abs() < 0.05, "{hz}");
        }
        let peak = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
        assert!(peak <= i16::MAX.unsigned_abs(), "{peak}");
    }

    #[test]
    fn silence_is_exact() {
        assert_eq!(silence(Duration::from_millis(3)), [0; 48]);
    }
}
