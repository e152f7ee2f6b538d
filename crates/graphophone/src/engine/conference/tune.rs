//! The built-in hold music: made here, note by note, so that it is nobody's but ours.

use std::f64::consts::TAU;

/// Samples per second.
pub(super) const RATE: u32 = 16_000;
/// Milliseconds of one note; a bar is four.
const NOTE_MS: u64 = 240;
/// Loudest sample: about 12 dB below full scale.
const PEAK: f64 = 8_000.0;

/// Semitones above A3, four to a bar: a calm round through C, A minor, F and G.
const NOTES: [i32; 32] = [
    3, 7, 10, 15, 10, 7, 10, 7, 0, 3, 7, 12, 7, 3, 7, 3, //
    8, 12, 15, 20, 15, 12, 15, 12, 10, 14, 17, 22, 17, 14, 17, 14,
];

/// One round of it, some eight seconds; its end meets its beginning.
pub(super) fn samples() -> Vec<i16> {
    let length = (u64::from(RATE) * NOTE_MS / 1_000) as usize;
    let mut round = vec![0.0_f64; length * NOTES.len()];
    let total = round.len();
    for (number, semitones) in NOTES.into_iter().enumerate() {
        let hz = 220.0 * 2.0_f64.powf(f64::from(semitones) / 12.0);
        // A note is struck, and dies away under the three behind it.
        for n in 0..length * 4 {
            let time = n as f64 / f64::from(RATE);
            let attack = (time / 0.008).min(1.0);
            let release = 1.0 - n as f64 / (length * 4) as f64;
            let strike = attack * release * (-3.0 * time).exp();
            let sound = (TAU * hz * time).sin() + 0.25 * (TAU * 2.0 * hz * time).sin();
            round[(number * length + n) % total] += strike * sound;
        }
    }
    let loudest = round.iter().fold(0.0_f64, |most, sample| most.max(sample.abs()));
    round.into_iter().map(|sample| (sample / loudest * PEAK) as i16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tune_has_no_silence_and_joins_itself_without_a_click() {
        let tune = samples();
        assert_eq!(tune.len(), 32 * 3_840);
        let steps = tune.windows(2).map(|two| i32::from(two[1]) - i32::from(two[0]));
        let steepest = steps.map(i32::abs).max().unwrap();
        let seam = i32::from(tune[0]) - i32::from(*tune.last().unwrap());
        assert!(seam.abs() <= steepest, "{seam} at the seam, {steepest} elsewhere");
        for piece in tune.chunks(1_600) {
            let loudest = piece.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
            assert!(loudest > 500, "{loudest}");
        }
    }
}
