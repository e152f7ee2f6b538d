//! Finding one signal in another by normalised cross-correlation.

use realfft::{RealFftPlanner, num_complex::Complex};

/// Where in the heard signal the sent one is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alignment {
    /// Index in the heard signal of the first sample of the sent one; negative if its beginning is
    /// missing.
    pub offset_samples: i64,
    /// The same, in milliseconds.
    pub offset_ms: f64,
    /// Normalised correlation there, −1 to 1: 1 is the same audio at any volume, 0 is other audio,
    /// −1 is the same with its sign inverted. What of the sent signal lies outside the heard one
    /// counts as heard silence, so a prompt cut in half does not reach 1.
    pub correlation: f64,
    /// Samples of the sent signal that lie within the heard one.
    pub overlap_samples: usize,
    /// How much louder it was heard than sent, in dB (least squares).
    pub gain_db: f64,
}

/// Finds `sent` in `heard`, both at `rate`; `None` if one of them is digital silence.
///
/// Costs three FFTs over both lengths together: well under a second and about 100 bytes per sample
/// for minutes of telephony.
pub fn align(heard: &[i16], sent: &[i16], rate: u32) -> Option<Alignment> {
    let sent_energy = energy(sent);
    if sent_energy == 0.0 || energy(heard) == 0.0 {
        return None;
    }
    let products = cross_correlation(heard, sent);
    let energies = running_energy(heard);
    // A window that holds next to nothing would divide one rounding error by another.
    let floor = energy(heard) * 1e-9;
    let first = 1 - to_i64(sent.len());
    let best = (first..to_i64(heard.len()))
        .filter_map(|offset| {
            let (from, to) = window(offset, sent.len(), heard.len());
            let heard_energy = energies[to] - energies[from];
            let product = products[offset.rem_euclid(to_i64(products.len())) as usize];
            (heard_energy > floor)
                .then(|| (offset, product.abs() / (heard_energy * sent_energy).sqrt()))
        })
        .max_by(|(_, left), (_, right)| left.total_cmp(right))?;
    Some(exact(heard, sent, best.0, rate))
}

/// The alignment at a known offset, from the samples themselves.
fn exact(heard: &[i16], sent: &[i16], offset: i64, rate: u32) -> Alignment {
    let (from, to) = window(offset, sent.len(), heard.len());
    let within = &heard[from..to];
    let skipped = usize::try_from(-offset).unwrap_or(0);
    let product: f64 = within
        .iter()
        .zip(&sent[skipped..])
        .map(|(&heard, &sent)| f64::from(heard) * f64::from(sent))
        .sum();
    let overlap_energy = energy(&sent[skipped..skipped + within.len()]);
    Alignment {
        offset_samples: offset,
        offset_ms: offset as f64 * 1_000.0 / f64::from(rate),
        correlation: product / (energy(within) * energy(sent)).sqrt(),
        overlap_samples: within.len(),
        gain_db: super::decibels((product / overlap_energy).abs()),
    }
}

/// For every offset `n` (modulo the length) the sum of `heard[n + i] * sent[i]`.
fn cross_correlation(heard: &[i16], sent: &[i16]) -> Vec<f64> {
    // Doubles, because neighbouring periods of a steady tone differ by less than single precision.
    let length = smooth_length(heard.len() + sent.len() - 1);
    let mut planner = RealFftPlanner::<f64>::new();
    let forward = planner.plan_fft_forward(length);
    let spectrum = |samples: &[i16]| {
        let mut input = vec![0.0; length];
        input.iter_mut().zip(samples).for_each(|(slot, &sample)| *slot = f64::from(sample));
        let mut output = forward.make_output_vec();
        forward.process(&mut input, &mut output).expect("both buffers fit the plan");
        output
    };
    let mut product: Vec<Complex<f64>> = spectrum(heard);
    product.iter_mut().zip(spectrum(sent)).for_each(|(heard, sent)| *heard *= sent.conj());
    let inverse = planner.plan_fft_inverse(length);
    let mut output = inverse.make_output_vec();
    // The edges of a real signal's spectrum (0 Hz, and Nyquist as the length is even) are real;
    // the inverse insists on it, and rounding may say otherwise.
    let last = product.len() - 1;
    (product[0].im, product[last].im) = (0.0, 0.0);
    inverse.process(&mut product, &mut output).expect("both buffers fit the plan");
    let scale = 1.0 / length as f64;
    output.iter_mut().for_each(|value| *value *= scale);
    output
}

/// Entry `n` is the energy of the first `n` samples. Sums of squares of 16-bit samples are exact
/// in doubles for 2²³ full-scale samples, and good to 10⁻¹² beyond.
fn running_energy(samples: &[i16]) -> Vec<f64> {
    let mut sum = 0.0;
    std::iter::once(0.0)
        .chain(samples.iter().map(|&sample| {
            sum += f64::from(sample).powi(2);
            sum
        }))
        .collect()
}

fn energy(samples: &[i16]) -> f64 {
    samples.iter().map(|&sample| f64::from(sample).powi(2)).sum()
}

/// The part of `heard` under a sent signal of `length` samples at `offset`.
fn window(offset: i64, length: usize, heard: usize) -> (usize, usize) {
    let clamp = |at: i64| usize::try_from(at).unwrap_or(0).min(heard);
    (clamp(offset), clamp(offset + to_i64(length)))
}

/// The smallest even length of at least `least` without a prime factor above 5: FFTs like those.
fn smooth_length(least: usize) -> usize {
    let mut best = least.next_power_of_two().max(2);
    let mut fives = 1;
    while fives < best {
        let mut threes = fives;
        while threes < best {
            let mut length = threes * 2;
            while length < least {
                length *= 2;
            }
            best = best.min(length);
            threes *= 3;
        }
        fives *= 5;
    }
    best
}

fn to_i64(count: usize) -> i64 {
    i64::try_from(count).expect("a slice of samples has fewer than 2⁶² of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deterministic noise.
    fn noise(count: usize, mut seed: u32) -> Vec<i16> {
        std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((seed >> 16) as i16) / 4
        })
        .take(count)
        .collect()
    }

    #[test]
    fn a_prompt_is_found_where_it_begins() {
        let sent = noise(4_000, 1);
        for offset in [0_usize, 1, 777, 9_000] {
            let mut heard = vec![0; offset];
            heard.extend(sent.iter().map(|sample| sample / 2));
            heard.extend(noise(1_000, 2));
            let found = align(&heard, &sent, 8_000).unwrap();
            assert_eq!(found.offset_samples, i64::try_from(offset).unwrap());
            assert_eq!(found.overlap_samples, sent.len());
            assert!(found.correlation > 0.999, "{found:?}");
            assert!((found.gain_db + 6.02).abs() < 0.02, "{found:?}");
            assert!((found.offset_ms - offset as f64 / 8.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_missing_beginning_gives_a_negative_offset_and_less_than_one() {
        let sent = noise(4_000, 1);
        let found = align(&sent[1_000..], &sent, 8_000).unwrap();
        assert_eq!((found.offset_samples, found.overlap_samples), (-1_000, 3_000));
        assert!((found.correlation - 0.75_f64.sqrt()).abs() < 0.02, "{found:?}");
    }

    #[test]
    fn other_audio_and_inverted_audio_are_told_apart() {
        let sent = noise(8_000, 1);
        assert!(align(&noise(8_000, 9), &sent, 8_000).unwrap().correlation.abs() < 0.1);
        let inverted: Vec<i16> = sent.iter().map(|sample| -sample).collect();
        assert!(align(&inverted, &sent, 8_000).unwrap().correlation < -0.999);
    }

    #[test]
    fn a_steady_tone_is_not_off_by_a_period() {
        let tone: Vec<i16> = (0..80_000)
            .map(|n| (f64::from(n) * 440.0 * std::f64::consts::TAU / 8_000.0).sin())
            .map(|value| (value * 16_000.0) as i16)
            .collect();
        let heard = [&[0; 123], tone.as_slice(), &[0; 456]].concat();
        let found = align(&heard, &tone, 8_000).unwrap();
        assert_eq!(found.offset_samples, 123);
        assert!(found.correlation > 0.999_999);
    }

    #[test]
    fn silence_aligns_with_nothing() {
        assert_eq!(align(&[0; 100], &noise(50, 1), 8_000), None);
        assert_eq!(align(&noise(50, 1), &[0; 100], 8_000), None);
        assert_eq!(align(&[], &[], 8_000), None);
    }

    #[test]
    fn minutes_of_audio_are_aligned() {
        let sent = noise(8_000 * 120, 5);
        let heard = [noise(4_321, 6), sent.clone(), noise(100, 7)].concat();
        let found = align(&heard, &sent, 8_000).unwrap();
        assert_eq!(found.offset_samples, 4_321);
        assert!(found.correlation > 0.999);
    }

    #[test]
    fn lengths_are_even_smooth_and_not_much_longer() {
        for least in 1..5_000 {
            let mut length = smooth_length(least);
            assert!(length >= least && length.is_multiple_of(2) && length < least * 5 / 4 + 8);
            for prime in [2, 3, 5] {
                while length.is_multiple_of(prime) {
                    length /= prime;
                }
            }
            assert_eq!(length, 1);
        }
    }
}
