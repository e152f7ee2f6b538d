//! Recognises key presses as sound (ITU-T Q.23, Q.24): Goertzel filters over blocks of 20 ms, of
//! which one begins every 10 ms.
//!
//! A block is a key's if its two frequencies stand out in their groups, hold most of the energy,
//! differ in level by no more than lines do (twist), and have no second harmonic, which voices have.
//! Two such blocks in a row are a press, and two that are none its end: so tones and pauses of
//! 40 ms are enough, and a voice has to imitate a key for 30 ms.

use std::f32::consts::TAU;

use super::generate::{COLUMNS, KEYS, ROWS};

/// The weakest tone, as the amplitude relative to full scale: −40 dBFS, −37 dBm0.
const WEAKEST: f32 = 0.01;
/// By how much (power) a frequency stands out among the others of its group: 8 dB.
const STANDS_OUT: f32 = 6.3;
/// The column may be louder than the row by 4 dB, and weaker by 8 dB (power, with 0.5 dB for what
/// measuring adds).
const FORWARD_TWIST: f32 = 2.82;
const REVERSE_TWIST: f32 = 7.08;
/// Part of the block's energy that the two tones hold.
const PURITY: f32 = 0.74;
/// Power of a second harmonic relative to its tone: −10 dB.
const HARMONIC: f32 = 0.1;
/// How far from a key's frequency a tone may be, as a part of it (Q.24: 1.5 % at least).
const DEVIATIONS: [f32; 3] = [1.0, 0.988, 1.012];
/// Closer than this (Hz) to the column, the row's harmonic cannot be told from it.
const TOO_CLOSE: f32 = 110.0;

/// Listens to one signal.
#[derive(Debug)]
pub struct InBand {
    rate: f32,
    block: usize,
    samples: Vec<f32>,
    /// The key of the block before.
    before: Option<u8>,
    /// The key that is pressed.
    pressed: Option<u8>,
    misses: u8,
}

impl InBand {
    /// Listens to a signal of `rate` Hz, at least 8 kHz.
    pub fn new(rate: u32) -> Self {
        let block = (rate / 50).max(1) as usize;
        Self {
            rate: rate as f32,
            block,
            samples: Vec::with_capacity(block),
            before: None,
            pressed: None,
            misses: 0,
        }
    }

    /// Takes samples and calls `pressed` for each new press with its event code, 0–15.
    pub fn push(&mut self, samples: &[i16], mut pressed: impl FnMut(u8)) {
        for &sample in samples {
            self.samples.push(f32::from(sample) / 32_768.0);
            if self.samples.len() == self.block {
                if let Some(key) = self.block_is_over() {
                    pressed(key);
                }
                self.samples.drain(..self.block / 2);
            }
        }
    }

    fn block_is_over(&mut self) -> Option<u8> {
        let key = self.key();
        let twice = key.filter(|_| key == self.before);
        self.before = key;
        if key.is_some() && key == self.pressed {
            self.misses = 0;
            return None;
        }
        self.misses = self.misses.saturating_add(1);
        if self.misses >= 2 {
            self.pressed = None;
        }
        if twice.is_some() {
            (self.pressed, self.misses) = (twice, 0);
        }
        twice
    }

    /// The key that the block sounds like.
    fn key(&self) -> Option<u8> {
        let energy: f32 = self.samples.iter().map(|sample| sample * sample).sum();
        // As powers of sines: the energy of a sine of amplitude a over n samples is n·a²/2.
        let length = self.samples.len() as f32;
        if energy < length * WEAKEST * WEAKEST {
            return None;
        }
        let (row, row_power) = self.loudest(ROWS)?;
        let (column, column_power) = self.loudest(COLUMNS)?;
        if column_power > row_power * FORWARD_TWIST || row_power > column_power * REVERSE_TWIST {
            return None;
        }
        let (row_hz, column_hz) = (ROWS[row] as f32, COLUMNS[column] as f32);
        let (row_power, column_power) = (self.near(row_hz), self.near(column_hz));
        if row_power.min(column_power) < WEAKEST * WEAKEST {
            return None;
        }
        if (row_power + column_power) * length / 2.0 < energy * PURITY {
            return None;
        }
        let has_harmonic = |hz: f32, power: f32| self.power(hz * 2.0) > power * HARMONIC;
        if has_harmonic(column_hz, column_power)
            || (row_hz * 2.0 - column_hz).abs() > TOO_CLOSE && has_harmonic(row_hz, row_power)
        {
            return None;
        }
        Some(KEYS[row][column])
    }

    /// The frequency of a group that stands out, and its power.
    fn loudest(&self, group: [f64; 4]) -> Option<(usize, f32)> {
        let powers = self.powers(group.map(|hz| hz as f32));
        let (at, &most) = powers.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        let others = powers.iter().enumerate().filter(|(other, _)| *other != at);
        others.into_iter().all(|(_, power)| power * STANDS_OUT < most).then_some((at, most))
    }

    /// The power of a tone near a frequency.
    fn near(&self, hz: f32) -> f32 {
        self.powers(DEVIATIONS.map(|deviation| hz * deviation)).into_iter().fold(0.0, f32::max)
    }

    fn power(&self, hz: f32) -> f32 {
        let [power] = self.powers([hz]);
        power
    }

    /// The power of each frequency: the square of a sine's amplitude (Goertzel). Several at one
    /// time, since each step waits for the one before.
    fn powers<const N: usize>(&self, hz: [f32; N]) -> [f32; N] {
        let coefficients = hz.map(|hz| 2.0 * (TAU * hz / self.rate).cos());
        let (mut last, mut before) = ([0.0_f32; N], [0.0_f32; N]);
        for sample in &self.samples {
            let mut next = [0.0_f32; N];
            for lane in 0..N {
                next[lane] = (sample - before[lane]) + coefficients[lane] * last[lane];
            }
            (before, last) = (last, next);
        }
        let scale = 2.0 / self.samples.len() as f32;
        std::array::from_fn(|lane| {
            let (last, before) = (last[lane], before[lane]);
            (last * last + before * before - coefficients[lane] * last * before) * scale * scale
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        codec::SampleCodec,
        dtmf::generate::{frequencies, tone},
        testing::{noise, rumble, sine, speech_from},
    };

    fn heard_at(rate: u32, samples: &[i16]) -> Vec<u8> {
        let mut inband = InBand::new(rate);
        let mut heard = Vec::new();
        for piece in samples.chunks(rate as usize / 50) {
            inband.push(piece, |code| heard.push(code));
        }
        heard
    }

    fn heard(samples: &[i16]) -> Vec<u8> {
        heard_at(8_000, samples)
    }

    /// A press of two sines, of these levels in dBFS and moved by a part of their frequencies.
    fn press(code: u8, row_db: f64, column_db: f64, moved: f64, ms: u32) -> Vec<i16> {
        let (row, column) = frequencies(code).unwrap();
        let row = sine(8_000, row * (1.0 + moved), row_db, ms);
        let column = sine(8_000, column * (1.0 + moved), column_db, ms);
        row.iter().zip(column).map(|(a, b)| a.saturating_add(b)).collect()
    }

    fn silence(ms: usize) -> Vec<i16> {
        vec![0; ms * 8]
    }

    /// Each key once, at whatever place in the blocks it falls.
    fn all_keys(press: impl Fn(u8) -> Vec<i16>, pause: usize, shift: usize) -> (Vec<i16>, Vec<u8>) {
        let keys: Vec<u8> = (0..16).flat_map(|code| [code, code]).collect();
        let mut signal = vec![0; 400 + shift];
        for &key in &keys {
            signal.extend(press(key));
            signal.extend(silence(pause));
        }
        signal.extend(silence(100));
        (signal, keys)
    }

    #[test]
    fn tones_and_pauses_of_40_ms_are_heard_once_each_wherever_they_fall() {
        for shift in 0..160 {
            let (signal, keys) = all_keys(|key| press(key, -10.0, -10.0, 0.0, 40), 40, shift);
            assert_eq!(heard(&signal), keys, "shifted by {shift} samples");
        }
    }

    #[test]
    fn long_presses_are_heard_once_at_any_rate_and_through_both_laws() {
        for rate in [8_000, 16_000, 48_000] {
            for ms in [60, 100, 1_500] {
                let sound = |key| tone(key, rate, Duration::from_millis(ms)).unwrap();
                let pause = vec![0; rate as usize / 20];
                let signal: Vec<i16> =
                    (0..16).flat_map(|key| [sound(key), pause.clone()].concat()).collect();
                assert_eq!(heard_at(rate, &signal), (0..16).collect::<Vec<u8>>(), "{rate} {ms}");
                if rate == 8_000 {
                    for codec in SampleCodec::ALL {
                        let decoded = codec.decode(&codec.encode(&signal));
                        assert_eq!(heard(&decoded), (0..16).collect::<Vec<u8>>(), "{codec:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn twist_is_accepted_as_far_as_lines_make_it_and_no_further() {
        for (twist, accepted) in
            [(-12.0, false), (-8.0, true), (0.0, true), (4.0, true), (7.5, false)]
        {
            let (signal, keys) = all_keys(|key| press(key, -18.0, -18.0 + twist, 0.0, 50), 50, 33);
            let expected = if accepted { keys } else { vec![] };
            assert_eq!(heard(&signal), expected, "twist of {twist} dB");
        }
    }

    #[test]
    fn tones_off_by_1_5_percent_and_weak_ones_are_heard() {
        for moved in [-0.015, 0.015] {
            let (signal, keys) = all_keys(|key| press(key, -12.0, -10.0, moved, 60), 50, 7);
            assert_eq!(heard(&signal), keys, "{moved}");
        }
        for (db, accepted) in [(-3.0 - 6.0, true), (-28.0, true), (-34.0, true), (-58.0, false)] {
            let (signal, keys) = all_keys(|key| press(key, db, db, 0.0, 50), 50, 19);
            let expected = if accepted { keys } else { vec![] };
            assert_eq!(heard(&signal), expected, "{db} dB");
        }
    }

    #[test]
    fn noise_15_db_below_the_tones_does_no_harm() {
        for seed in 0..10 {
            let (signal, keys) = all_keys(|key| press(key, -15.0, -15.0, 0.0, 50), 50, 50);
            let ms = u32::try_from(signal.len() / 8).unwrap();
            let noise = noise(8_000, -27.0, ms, seed);
            let mixed: Vec<i16> =
                signal.iter().zip(noise).map(|(a, b)| a.saturating_add(b)).collect();
            assert_eq!(heard(&mixed), keys, "seed {seed}");
        }
    }

    #[test]
    fn presses_that_are_too_short_are_none() {
        let (signal, _) = all_keys(|key| press(key, -10.0, -10.0, 0.0, 20), 60, 0);
        assert_eq!(heard(&signal), [0; 0]);
    }

    #[test]
    fn voices_noise_and_single_tones_are_no_keys() {
        let minutes = 20;
        for seed in 0..minutes {
            let voice = speech_from(8_000, -16.0, 60_000, seed);
            assert_eq!(heard(&voice), [0; 0], "voice {seed}");
        }
        println!("no key in {minutes} minutes of voice");
        for db in [-10.0, -30.0] {
            assert_eq!(heard(&noise(8_000, db, 60_000, 1)), [0; 0]);
            assert_eq!(heard(&rumble(8_000, db, 60_000, 1)), [0; 0]);
        }
        for hz in (300..3_400).step_by(7) {
            assert_eq!(heard(&sine(8_000, f64::from(hz), -10.0, 200)), [0; 0], "{hz} Hz");
        }
    }
}
