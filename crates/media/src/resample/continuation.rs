//! Guesses how a sound goes on beyond its edges, by linear prediction with Burg's method, so that a
//! filter that reaches over an edge finds what would have been there, and not silence.

/// How many samples before it a sample is predicted from: enough for a few tones, or for a voice's
/// formants.
const ORDER: usize = 32;

/// Samples at an edge that the prediction is learned from.
const WINDOW: usize = 1_024;

/// `samples` with `count` more on each side. Silence goes on as silence. Burg's predictors are
/// stable: what they make up dies away or goes on, and never grows.
pub(super) fn continued(samples: &[i16], count: usize) -> Vec<i16> {
    let edge = samples.len().min(WINDOW);
    let head = samples[..edge].iter().rev().map(|&sample| f64::from(sample));
    let tail = samples[samples.len() - edge..].iter().map(|&sample| f64::from(sample));
    // `as` saturates.
    let rounded = |sample: f64| sample.round() as i16;
    let mut out = Vec::with_capacity(samples.len() + 2 * count);
    out.extend(continuation(head.collect(), count).into_iter().rev().map(rounded));
    out.extend(samples);
    out.extend(continuation(tail.collect(), count).into_iter().map(rounded));
    out
}

/// The `count` samples that should follow `signal`.
fn continuation(mut signal: Vec<f64>, count: usize) -> Vec<f64> {
    let coefficients = predictor(&signal);
    let length = signal.len();
    for _ in 0..count {
        let past = signal.iter().rev();
        let next = coefficients.iter().zip(past).map(|(coefficient, past)| coefficient * past);
        signal.push(next.sum());
    }
    signal.split_off(length)
}

/// The weights, nearest first, with which the samples before it predict a sample.
fn predictor(signal: &[f64]) -> Vec<f64> {
    let mut coefficients: Vec<f64> = Vec::with_capacity(ORDER);
    // Errors of the best prediction so far, from the past and from the future.
    let (mut forward, mut backward) = (signal.to_vec(), signal.to_vec());
    for order in 0..ORDER.min(signal.len() / 2) {
        let pairs = || forward[order + 1..].iter().zip(&backward[order..]);
        let power: f64 = pairs().map(|(f, b)| f * f + b * b).sum();
        if power == 0.0 {
            break;
        }
        let reflection = 2.0 * pairs().map(|(f, b)| f * b).sum::<f64>() / power;
        let mirrored: Vec<f64> = coefficients.iter().rev().copied().collect();
        for (coefficient, mirrored) in coefficients.iter_mut().zip(mirrored) {
            *coefficient -= reflection * mirrored;
        }
        coefficients.push(reflection);
        for at in (order + 1..signal.len()).rev() {
            let (f, b) = (forward[at], backward[at - 1]);
            forward[at] = f - reflection * b;
            backward[at] = b - reflection * f;
        }
    }
    coefficients
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tone_goes_on_on_both_sides() {
        let tone = |n: i32| (10_000.0 * (0.4 + f64::from(n) * 0.3).sin()).round() as i16;
        let samples: Vec<i16> = (0..2_000).map(tone).collect();
        let out = continued(&samples, 60);
        for (n, &sample) in (-60..2_060).zip(&out) {
            assert!(sample.abs_diff(tone(n)) <= 100, "{n}: {sample}, not {}", tone(n));
        }
        assert_eq!(out.len(), 2_120);
    }

    #[test]
    fn silence_and_levels_go_on() {
        assert_eq!(continued(&[0; 500], 3), [0; 506]);
        assert_eq!(continued(&[700; 500], 300), [700; 1_100]);
        assert_eq!(continued(&[5], 2), [0, 0, 5, 0, 0], "one sample says nothing");
    }

    proptest! {
        #[test]
        fn what_is_made_up_stays_within_bounds(
            samples in proptest::collection::vec(any::<i16>(), 1..300),
        ) {
            let signal: Vec<f64> = samples.iter().map(|&sample| f64::from(sample)).collect();
            let far = continuation(signal, 20_000);
            prop_assert!(far.iter().all(|sample| sample.abs() < 1e6));
        }
    }
}
