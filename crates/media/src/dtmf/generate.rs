//! Key presses as sound (ITU-T Q.23), for far ends that take no telephone-events.

use std::{f64::consts::TAU, time::Duration};

/// Frequencies of the rows of a keypad, in hertz (Q.23).
pub const ROWS: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
/// Frequencies of its columns, in hertz.
pub const COLUMNS: [f64; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];

/// The event codes (RFC 4733 §3.2) of a keypad's keys, by row and column.
pub const KEYS: [[u8; 4]; 4] = [[1, 2, 3, 12], [4, 5, 6, 13], [7, 8, 9, 14], [10, 0, 11, 15]];

/// Amplitudes relative to full scale: −7 dBm0 for the row and −5 dBm0 for the column, as phones
/// send, the higher a little louder because lines carry it worse.
const ROW_AMPLITUDE: f64 = 0.31;
const COLUMN_AMPLITUDE: f64 = 0.39;

/// How long a tone takes to begin and to end, so that it does not click.
const RAMP_SECONDS: f64 = 0.002;

/// The two frequencies of a key, row first; `None` for what is no key of a pad (flash).
pub fn frequencies(code: u8) -> Option<(f64, f64)> {
    let rows = KEYS.iter().zip(ROWS);
    rows.into_iter().find_map(|(keys, row)| {
        let column = keys.iter().position(|key| *key == code)?;
        Some((row, COLUMNS[column]))
    })
}

/// The sound of a key at `rate` hertz; `None` for what is no key of a pad (flash).
pub fn tone(code: u8, rate: u32, duration: Duration) -> Option<Vec<i16>> {
    let (row, column) = frequencies(code)?;
    let rate = f64::from(rate);
    let samples = (duration.as_secs_f64() * rate).round() as usize;
    let ramp = RAMP_SECONDS * rate;
    let sound = (0..samples).map(|at| {
        let edge = (at as f64 + 0.5).min((samples - at) as f64 - 0.5);
        let weight = (edge / ramp).min(1.0);
        let time = at as f64 / rate;
        let sum = ROW_AMPLITUDE * (TAU * row * time).sin()
            + COLUMN_AMPLITUDE * (TAU * column * time).sin();
        (sum * weight * 32_767.0).round() as i16
    });
    Some(sound.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::tone_level_db;

    #[test]
    fn every_key_of_a_pad_has_its_two_frequencies() {
        let mut heard = Vec::new();
        for code in 0..16 {
            let sound = tone(code, 8_000, Duration::from_millis(200)).unwrap();
            assert_eq!(sound.len(), 1_600);
            let loud = |hz: &&f64| tone_level_db(&sound, 8_000, **hz) > -12.0;
            let rows: Vec<_> = ROWS.iter().filter(loud).collect();
            let columns: Vec<_> = COLUMNS.iter().filter(loud).collect();
            assert_eq!((rows.len(), columns.len()), (1, 1), "{code}");
            heard.push(format!("{rows:?}{columns:?}"));
        }
        heard.sort();
        heard.dedup();
        assert_eq!(heard.len(), 16, "no two keys sound alike");
        assert_eq!(frequencies(5), Some((770.0, 1_336.0)));
        assert_eq!(frequencies(11), Some((941.0, 1_477.0)));
        assert_eq!(tone(16, 8_000, Duration::from_millis(200)), None);
    }
}
