//! The mixer by what each listener hears: tones in, levels of tones out.

use std::f64::consts::TAU;

use super::*;
use crate::{
    analysis::{rms_db, tone_level_db},
    room::Gain,
};

/// Tones that are no multiples of each other.
const TONES: [f64; 8] = [440.0, 697.0, 1_013.0, 1_301.0, 1_607.0, 1_907.0, 2_203.0, 2_503.0];

/// A mixer whose members each say a tone, and what they have heard.
struct Table {
    mixer: Mixer,
    /// Amplitude of each member's tone.
    amplitudes: Vec<f64>,
    codecs: Vec<SampleCodec>,
    heard: Vec<Vec<i16>>,
    at: u32,
    /// Mixes of the last frame.
    mixes: usize,
}

impl Table {
    /// Members that all hear all others.
    fn of(members: usize, speakers: usize) -> Self {
        let mut table = Self::empty(speakers);
        (0..members).for_each(|_| table.sit(SampleCodec::Pcmu, false));
        table
    }

    fn empty(speakers: usize) -> Self {
        Self {
            mixer: Mixer::new(speakers),
            amplitudes: Vec::new(),
            codecs: Vec::new(),
            heard: Vec::new(),
            at: 0,
            mixes: 0,
        }
    }

    fn sit(&mut self, codec: SampleCodec, always: bool) {
        let at = self.mixer.insert(codec, always);
        assert_eq!(at, self.heard.len());
        for other in 0..at {
            self.mixer.set_gain(at, other, 1.0);
            self.mixer.set_gain(other, at, 1.0);
        }
        self.codecs.push(codec);
        self.heard.push(Vec::new());
        self.amplitudes.push(0.1);
    }

    fn tone(&self, member: usize) -> [i16; FRAME] {
        let (hz, amplitude) = (TONES[member % TONES.len()], self.amplitudes[member]);
        std::array::from_fn(|n| {
            let phase = TAU * hz * f64::from(self.at * 160 + n as u32) / 8_000.0;
            (32_767.0 * amplitude * phase.sin()).round() as i16
        })
    }

    fn talk(&mut self, frames: usize) {
        for _ in 0..frames {
            for member in 0..self.heard.len() {
                let tone = self.tone(member);
                self.mixer.say(member, (self.amplitudes[member] > 0.0).then_some(&tone));
            }
            let Self { mixer, heard, codecs, .. } = self;
            self.mixes = mixer.mix(|at, payload| codecs[at].decode_to(payload, &mut heard[at]));
            self.at += 1;
        }
    }

    /// Half a second later, half a second is listened to.
    fn listen(&mut self) {
        self.talk(25);
        self.heard.iter_mut().for_each(Vec::clear);
        self.talk(25);
    }

    /// How loud a listener hears a member's tone, in dB over what the member says.
    fn level(&self, listener: usize, source: usize) -> f64 {
        let said = 20.0 * self.amplitudes[source].log10();
        tone_level_db(&self.heard[listener], 8_000, TONES[source % TONES.len()]) - said
    }

    /// Whose tones a listener hears.
    fn hears(&self, listener: usize) -> Vec<usize> {
        let members = 0..self.heard.len();
        let spoken = members.filter(|source| self.amplitudes[*source] > 0.0);
        spoken.filter(|source| self.level(listener, *source) > -30.0).collect()
    }
}

#[test]
fn each_of_three_hears_exactly_the_other_two() {
    for codec in SampleCodec::ALL {
        let mut table = Table::empty(4);
        (0..3).for_each(|_| table.sit(codec, false));
        table.listen();
        for listener in 0..3 {
            for source in 0..3 {
                let level = table.level(listener, source);
                if listener == source {
                    assert!(level < -40.0, "{listener} hears itself at {level}");
                } else {
                    assert!(level.abs() < 0.5, "{listener} hears {source} at {level}");
                }
            }
        }
        assert_eq!(table.mixes, 3);
    }
}

#[test]
fn listeners_who_say_nothing_share_one_mix_for_each_codec() {
    let mut table = Table::empty(4);
    (0..60).for_each(|member| table.sit(SampleCodec::ALL[member % 2], false));
    table.amplitudes.iter_mut().skip(2).for_each(|amplitude| *amplitude = 0.0);
    table.listen();
    assert_eq!(table.mixes, 4, "one for each speaker, one for each codec of the others");
    assert_eq!(table.hears(0), [1]);
    assert_eq!(table.hears(1), [0]);
    (2..60).for_each(|listener| assert_eq!(table.hears(listener), [0, 1]));
}

#[test]
fn of_many_who_speak_the_loudest_are_let_through() {
    let mut table = Table::of(8, 3);
    table.amplitudes = vec![0.02, 0.2, 0.02, 0.2, 0.02, 0.2, 0.02, 0.0];
    table.listen();
    assert_eq!(table.hears(7), [1, 3, 5]);
    let heard = table.hears(1);
    assert!(
        heard.len() == 3 && heard.contains(&3) && heard.contains(&5),
        "of the others: {heard:?}"
    );
}

#[test]
fn a_speaker_is_not_displaced_by_one_a_little_louder() {
    let mut table = Table::of(5, 2);
    table.amplitudes = vec![0.1, 0.1, 0.0, 0.0, 0.0];
    table.listen();
    table.amplitudes[2] = 0.15;
    table.listen();
    assert_eq!(table.hears(4), [0, 1]);
    assert_eq!(table.mixer.speaking().collect::<Vec<_>>(), [0, 1]);
    table.amplitudes[2] = 0.5;
    table.listen();
    let heard = table.hears(4);
    assert!(heard.len() == 2 && heard.contains(&2), "{heard:?}");
    // Silence makes room.
    table.amplitudes[2] = 0.0;
    table.listen();
    assert_eq!(table.hears(4), [0, 1]);
}

#[test]
fn one_who_is_always_let_through_takes_nobodys_place() {
    let mut table = Table::of(4, 2);
    table.sit(SampleCodec::Pcmu, true);
    table.amplitudes = vec![0.3, 0.3, 0.3, 0.0, 0.01];
    table.listen();
    let heard = table.hears(3);
    assert!(heard.len() == 3 && heard.contains(&4), "{heard:?}");
    assert!(!table.mixer.speaking().any(|at| at == 4));
}

#[test]
fn a_place_that_nobody_may_hear_is_not_among_the_speakers() {
    let mut table = Table::of(4, 1);
    table.amplitudes = vec![0.5, 0.05, 0.0, 0.0];
    (1..4).for_each(|listener| table.mixer.set_gain(listener, 0, 0.0));
    table.listen();
    assert_eq!(table.hears(2), [1]);
    assert_eq!(table.mixer.speaking().collect::<Vec<_>>(), [1]);
}

#[test]
fn gains_are_heard_as_they_are_set() {
    let mut table = Table::of(3, 4);
    table.mixer.set_gain(0, 1, Gain::from_db(-12.0).factor());
    table.mixer.set_gain(0, 2, Gain::from_db(6.0).factor());
    table.listen();
    assert!((table.level(0, 1) + 12.0).abs() < 0.5, "{}", table.level(0, 1));
    assert!((table.level(0, 2) - 6.0).abs() < 0.5, "{}", table.level(0, 2));
    assert!(table.level(2, 1).abs() < 0.5);
}

#[test]
fn other_sources_make_way_while_a_named_one_speaks() {
    let ducking = Ducking {
        lower: Gain::from_db(-20.0),
        upper: Gain::UNITY,
        ramp_down: std::time::Duration::from_millis(100),
        ramp_up: std::time::Duration::from_millis(200),
    };
    let mut table = Table::of(3, 4);
    table.mixer.set_ducking(0, Some(ducking), vec![1]);
    table.listen();
    assert!(table.level(0, 1).abs() < 0.5 && (table.level(0, 2) + 20.0).abs() < 0.7);
    assert!(table.level(1, 2).abs() < 0.5, "for others nothing changes");
    table.amplitudes[1] = 0.0;
    table.talk(50);
    table.listen();
    assert!(table.level(0, 2).abs() < 0.5);
}

#[test]
fn many_loud_voices_are_limited_and_not_clipped() {
    let mut table = Table::of(5, 4);
    table.amplitudes = vec![0.9, 0.9, 0.9, 0.9, 0.0];
    table.listen();
    let heard = &table.heard[4];
    // The limiter holds them at the highest peak of the sum, 4 · 0.9.
    let levels: Vec<_> = (0..4).map(|source| tone_level_db(heard, 8_000, TONES[source])).collect();
    for level in &levels {
        assert!((-13.5..-10.0).contains(level), "{levels:?}");
    }
    // Clipped, the sum would be full of harmonics: what is not the tones is far below them.
    let tones: f64 = levels.iter().map(|level| 10.0_f64.powf(level / 10.0)).sum();
    let all = 10.0_f64.powf(rms_db(heard) / 10.0);
    let rest = 10.0 * ((all - tones).max(1e-12) / all).log10();
    assert!(rest < -18.0, "{rest}");
    let silence = table.heard[4].iter().filter(|sample| sample.unsigned_abs() >= 32_124).count();
    assert!(silence < heard.len() / 200, "{silence} samples at the limit");
    // Quieter, nothing is lowered any more.
    table.amplitudes = vec![0.2, 0.2, 0.2, 0.2, 0.0];
    table.talk(100);
    table.listen();
    assert!(table.level(4, 0).abs() < 0.5);
}

/// The greatest step between neighbours.
fn steepest(samples: &[i16]) -> u16 {
    samples.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap_or(0)
}

#[test]
fn coming_going_and_muting_make_no_click() {
    let mut table = Table::of(3, 4);
    table.amplitudes = vec![0.4, 0.0, 0.0];
    table.talk(25);
    let smooth = steepest(&table.heard[2]);
    table.heard.iter_mut().for_each(Vec::clear);
    // Member 2 comes to share the mix of member 1, and parts from it again.
    for gain in [0.0, 1.0, 0.5, 1.0, 0.0, 1.0] {
        table.mixer.set_gain(2, 0, gain);
        table.talk(3);
    }
    let steps = steepest(&table.heard[2]);
    assert!(steps <= smooth + smooth / 4, "{steps} and {smooth}");
    assert!(steepest(&table.heard[1]) <= smooth + smooth / 10);
}

#[test]
fn who_begins_to_speak_is_heard_from_the_first_sample() {
    let mut table = Table::of(2, 4);
    table.amplitudes = vec![0.0, 0.0];
    table.talk(10);
    table.heard.iter_mut().for_each(Vec::clear);
    let mut click = [0; FRAME];
    click[..8].fill(20_000);
    table.mixer.say(0, Some(&click));
    table.mixer.say(1, None);
    let mut heard = Vec::new();
    table.mixer.mix(|at, payload| {
        if at == 1 {
            SampleCodec::Pcmu.decode_to(payload, &mut heard);
        }
    });
    let first = heard.iter().position(|sample| sample.unsigned_abs() > 10_000);
    // Both filters are 1.5 ms long.
    assert!(first.is_some_and(|at| at <= 24), "{first:?}");
    assert!(heard.iter().any(|sample| *sample > 18_000));
}

#[test]
fn who_leaves_is_silent_at_once_and_its_place_is_used_again() {
    let mut table = Table::of(3, 4);
    table.listen();
    table.mixer.remove(1);
    table.heard.iter_mut().for_each(Vec::clear);
    table.talk(25);
    assert!(table.level(0, 1) < -40.0 && table.level(0, 2).abs() < 0.5);
    assert!(table.heard[1].is_empty(), "and hears nothing");
    assert_eq!(table.mixer.insert(SampleCodec::Pcma, false), 1);
    table.codecs[1] = SampleCodec::Pcma;
    table.listen();
    assert_eq!((table.hears(0), table.hears(1)), (vec![2], vec![]));
}

#[test]
fn alone_in_a_room_one_hears_silence() {
    for codec in SampleCodec::ALL {
        let mut table = Table::empty(4);
        table.sit(codec, false);
        table.talk(5);
        assert_eq!(table.heard[0].len(), 5 * FRAME);
        assert!(table.heard[0].iter().all(|sample| sample.abs() <= 8));
    }
}

#[test]
fn mixing_allocates_nothing() {
    let mut table = Table::of(60, 4);
    table.talk(10);
    table.heard.iter_mut().for_each(|heard| heard.reserve(160 * 200));
    let allocations = allocation_counter::measure(|| {
        for round in 0..100 {
            // Others speak all the time, so that recipes change.
            for (member, amplitude) in table.amplitudes.iter_mut().enumerate() {
                *amplitude = if (member + round / 7).is_multiple_of(11) { 0.3 } else { 0.001 };
            }
            table.talk(1);
        }
    });
    assert_eq!(allocations.count_total, 0);
}
