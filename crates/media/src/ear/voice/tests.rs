//! Speech, and what is none.

use super::*;
use crate::testing::{noise, rumble, sine, speech, speech_from};

const RATE: u32 = 8_000;

fn changes(samples: &[i16]) -> Vec<VoiceChange> {
    let mut voice = Voice::new(RATE);
    let mut changes = Vec::new();
    for piece in samples.chunks(160) {
        voice.push(piece, |change| changes.push(change));
    }
    changes
}

fn silence(ms: usize) -> Vec<i16> {
    vec![0; ms * 8]
}

fn mixed(left: &[i16], right: &[i16]) -> Vec<i16> {
    left.iter().zip(right).map(|(a, b)| a.saturating_add(*b)).collect()
}

/// Milliseconds from the first beginning to the last end.
fn spoken(changes: &[VoiceChange]) -> Option<(i64, i64)> {
    let VoiceChange::Began(first) = *changes.first()? else { return None };
    let VoiceChange::Ended(last) = *changes.last()? else { return None };
    Some(((first / 8).cast_signed(), (last / 8).cast_signed()))
}

#[test]
fn speech_is_heard_from_its_beginning_to_its_end_at_any_usual_level() {
    for db in [-10.0, -20.0, -30.0, -40.0] {
        let speech = speech(RATE, db, 3_000);
        let signal = [silence(1_000), speech, silence(1_000)].concat();
        let changes = changes(&signal);
        let (began, ended) = spoken(&changes).unwrap_or_else(|| panic!("{db} dB: {changes:?}"));
        println!("speech at {db} dB: {began}..{ended} of 1000..4000 ms");
        assert!((900..=1_150).contains(&began), "{db} dB: began at {began} ms");
        assert!((3_600..=4_200).contains(&ended), "{db} dB: ended at {ended} ms");
    }
}

#[test]
fn somebody_who_speaks_from_the_first_moment_on_is_heard() {
    let signal = [speech(RATE, -20.0, 4_000), silence(600)].concat();
    let (began, ended) = spoken(&changes(&signal)).unwrap();
    assert!(began <= 150 && (3_600..=4_200).contains(&ended), "{began}..{ended}");
}

#[test]
fn noise_of_any_level_is_no_speech() {
    for db in [-70.0, -60.0, -50.0, -40.0, -30.0, -20.0, -10.0] {
        let white = changes(&noise(RATE, db, 20_000, 1));
        let brown = changes(&rumble(RATE, db, 20_000, 2));
        assert_eq!((white, brown), (vec![], vec![]), "{db} dB");
    }
}

#[test]
fn the_silence_of_a_line_and_comfort_noise_are_no_speech() {
    assert_eq!(changes(&silence(5_000)), []);
    // Silence, then the comfort noise of a gateway, then silence.
    let comfort = [silence(1_500), noise(RATE, -55.0, 3_000, 3), silence(1_500)].concat();
    assert_eq!(changes(&comfort), []);
    // What µ-law makes of silence: a step up and down.
    let steps: Vec<i16> = (0..40_000).map(|n| if n % 7 == 0 { 8 } else { 0 }).collect();
    assert_eq!(changes(&steps), []);
}

#[test]
fn speech_over_noise_is_heard_while_it_lasts() {
    for (speech_db, noise_db) in [(-20.0, -45.0), (-20.0, -40.0), (-15.0, -30.0)] {
        let background = noise(RATE, noise_db, 7_000, 4);
        let foreground = [silence(2_500), speech(RATE, speech_db, 2_500), silence(2_000)].concat();
        let changes = changes(&mixed(&background, &foreground));
        let (began, ended) = spoken(&changes).unwrap_or_else(|| panic!("{noise_db}: {changes:?}"));
        println!("speech at {speech_db} dB over {noise_db} dB: {began}..{ended} of 2500..5000 ms");
        assert!((2_400..=2_700).contains(&began), "{noise_db} dB: began at {began} ms");
        assert!((4_500..=5_300).contains(&ended), "{noise_db} dB: ended at {ended} ms");
    }
}

#[test]
fn a_tone_is_sound_for_as_long_as_it_lasts() {
    for hz in [300.0, 440.0, 697.0, 1_004.0, 1_800.0] {
        let signal = [silence(500), sine(RATE, hz, -16.0, 6_000), silence(600)].concat();
        let found = changes(&signal);
        let (began, ended) = spoken(&found).unwrap_or_else(|| panic!("{hz} Hz: {found:?}"));
        assert_eq!(found.len(), 2, "{hz} Hz: {found:?}");
        assert!((400..=650).contains(&began) && (6_400..=6_560).contains(&ended), "{hz} Hz");
    }
}

#[test]
fn a_pause_between_two_sentences_is_told() {
    let sentence = |seed| speech_from(RATE, -20.0, 2_000, seed);
    let signal = [silence(500), sentence(1), silence(1_500), sentence(2), silence(500)].concat();
    let found = changes(&signal);
    let ends: Vec<_> =
        found.iter().filter(|change| matches!(change, VoiceChange::Ended(_))).collect();
    assert_eq!((found.len(), ends.len()), (4, 2), "{found:?}");
}

#[test]
fn a_click_is_no_speech_but_a_lasting_sound_without_pitch_is_for_a_while() {
    let mut click = silence(2_000);
    click.extend(noise(RATE, -12.0, 60, 5));
    click.extend(silence(1_000));
    assert_eq!(changes(&click), []);
    // A hiss that goes on becomes the floor.
    let hiss = [silence(2_000), noise(RATE, -20.0, 8_000, 6)].concat();
    let (began, ended) = spoken(&changes(&hiss)).unwrap();
    assert!((1_900..=2_100).contains(&began) && ended < 5_500, "{began}..{ended}");
}

#[test]
fn mains_hum_is_no_speech() {
    for hz in [50.0, 60.0] {
        assert_eq!(changes(&sine(RATE, hz, -30.0, 6_000)), [], "{hz} Hz");
    }
}
