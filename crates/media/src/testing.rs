//! Sounds for tests: noise, tones, and a voice that says nothing.

use std::f64::consts::TAU;

/// A generator of numbers that are the same every time.
struct Random(u64);

impl Random {
    /// −1 to 1, evenly.
    fn next(&mut self) -> f64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) as f64 / u64::MAX as f64 * 2.0 - 1.0
    }
}

/// Brings a signal to a level in dBFS, as [`crate::analysis::rms_db`] measures it.
fn at_level(signal: &[f64], db: f64) -> Vec<i16> {
    let power = signal.iter().map(|sample| sample * sample).sum::<f64>() / signal.len() as f64;
    let scale = 32_768.0 * 10_f64.powf(db / 20.0) / (2.0 * power).sqrt();
    signal.iter().map(|sample| (sample * scale).round() as i16).collect()
}

fn length(rate: u32, ms: u32) -> usize {
    rate as usize * ms as usize / 1_000
}

/// A tone.
pub(crate) fn sine(rate: u32, hz: f64, db: f64, ms: u32) -> Vec<i16> {
    let step = TAU * hz / f64::from(rate);
    at_level(&(0..length(rate, ms)).map(|n| (n as f64 * step).sin()).collect::<Vec<_>>(), db)
}

/// White noise.
pub(crate) fn noise(rate: u32, db: f64, ms: u32, seed: u64) -> Vec<i16> {
    let mut random = Random(seed);
    at_level(&(0..length(rate, ms)).map(|_| random.next()).collect::<Vec<_>>(), db)
}

/// Noise that falls by 6 dB an octave, as of a car.
pub(crate) fn rumble(rate: u32, db: f64, ms: u32, seed: u64) -> Vec<i16> {
    let mut random = Random(seed);
    let mut sum = 0.0;
    let signal = (0..length(rate, ms)).map(|_| {
        sum = sum * 0.99 + random.next();
        sum
    });
    at_level(&signal.collect::<Vec<_>>(), db)
}

/// Somebody who speaks.
pub(crate) fn speech(rate: u32, db: f64, ms: u32) -> Vec<i16> {
    speech_from(rate, db, ms, 0)
}

/// Somebody who speaks: pulses of a voice whose pitch wanders, through the formants of a vowel that
/// is another in each syllable; consonants of noise between them, and short pauses.
pub(crate) fn speech_from(rate: u32, db: f64, ms: u32, seed: u64) -> Vec<i16> {
    const VOWELS: [[f64; 3]; 5] = [
        [730.0, 1_090.0, 2_440.0],
        [270.0, 2_290.0, 3_010.0],
        [300.0, 870.0, 2_240.0],
        [530.0, 1_840.0, 2_480.0],
        [570.0, 840.0, 2_410.0],
    ];
    let mut random = Random(seed.wrapping_mul(77) + 5);
    let rate_hz = f64::from(rate);
    let (mut signal, wanted) = (Vec::new(), length(rate, ms));
    let mut phase = 0.0;
    while signal.len() < wanted {
        let vowel = VOWELS[((random.next() + 1.0) * 2.499) as usize];
        let pitch = 130.0 + 40.0 * random.next();
        let glide = 25.0 * random.next();
        let voiced = length(rate, (160.0 + 60.0 * random.next()) as u32);
        // Two-pole resonators in a row.
        let mut states = [[0.0; 2]; 3];
        for n in 0..voiced {
            let part = n as f64 / voiced as f64;
            phase += (pitch + glide * part) / rate_hz;
            let pulse = if phase >= 1.0 {
                phase -= 1.0;
                1.0
            } else {
                0.0
            };
            let mut sample = pulse + 0.004 * random.next();
            for (state, formant) in states.iter_mut().zip(vowel) {
                let radius = (-TAU / 2.0 * 90.0 / rate_hz).exp();
                let cosine = (TAU * formant / rate_hz).cos();
                let next = sample + 2.0 * radius * cosine * state[0] - radius * radius * state[1];
                *state = [next, state[0]];
                sample = next * (1.0 - radius);
            }
            let edge = (part.min(1.0 - part) * 8.0).min(1.0);
            signal.push(sample * edge);
        }
        let scale = signal.iter().rev().take(voiced).fold(1e-9_f64, |most, it| most.max(it.abs()));
        let start = signal.len() - voiced;
        signal[start..].iter_mut().for_each(|sample| *sample /= scale);
        let consonant = length(rate, (50.0 + 20.0 * random.next()) as u32);
        let mut before = 0.0;
        for n in 0..consonant {
            let noise = random.next();
            let edge = (n.min(consonant - n) as f64 / consonant as f64 * 6.0).min(1.0);
            signal.push((noise - before) * 0.06 * edge);
            before = noise;
        }
        if random.next() > 0.5 {
            signal.extend(vec![0.0; length(rate, 80)]);
        }
    }
    signal.truncate(wanted);
    at_level(&signal, db)
}
