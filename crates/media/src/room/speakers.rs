//! Who speaks: the level of each source over time, and who of many is let through.
//!
//! Speakers stand in an order, in which one passes another only by being 6 dB louder, for some frames
//! and not for a click; a speaker's level sinks slowly, so that pauses between words do not count.
//! The first in the order are let through: those of them that a listener may hear.

/// Part of a louder frame that is taken into the level at once.
const RISE: f32 = 0.4;
/// What remains of a level after a frame of silence: −11 dB a second.
const FALL: f32 = 0.95;
/// How much louder one must be to pass another: 6 dB, in power.
const LOUDER: f32 = 4.0;
/// Mean square from which on somebody speaks (−45 dBFS).
const SPEECH: f32 = 17_000.0;
/// Frames that somebody is said to speak for after the last that was loud enough: half a second.
const HANGOVER: u8 = 25;
/// No sample above this is no sound at all: idle codes of G.711.
const IDLE: f32 = 16.0;

/// How loud a source is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loudness {
    /// Mean square, smoothed.
    level: f32,
    hangover: u8,
    /// Frames since the last that was not idle, up to what is of interest.
    idle: u8,
}

impl Default for Loudness {
    fn default() -> Self {
        Self { level: 0.0, hangover: 0, idle: u8::MAX }
    }
}

impl Loudness {
    /// Takes a frame.
    pub(super) fn hear(&mut self, frame: &[f32]) {
        let power = frame.iter().map(|sample| sample * sample).sum::<f32>() / frame.len() as f32;
        let peak = frame.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        if power > self.level {
            self.level += RISE * (power - self.level);
        } else {
            self.level = (self.level * FALL).max(power);
        }
        self.hangover = if power > SPEECH { HANGOVER } else { self.hangover.saturating_sub(1) };
        self.idle = if peak > IDLE { 0 } else { self.idle.saturating_add(1) };
    }

    /// Takes a frame in which there was nothing.
    pub(super) fn hear_nothing(&mut self) {
        self.level *= FALL;
        self.hangover = self.hangover.saturating_sub(1);
        self.idle = self.idle.saturating_add(1);
    }

    /// Whether it speaks, or has just paused.
    pub(super) fn speaks(&self) -> bool {
        self.hangover > 0
    }

    /// Whether there is anything to be mixed, now or in what the filters still hold.
    pub(super) fn is_audible(&self) -> bool {
        self.idle < 2
    }

    /// Whether it passes another in the order of speakers.
    pub(super) fn passes(&self, other: &Self) -> bool {
        self.level > LOUDER * other.level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(loudness: &mut Loudness, frames: usize, amplitude: f32) {
        (0..frames).for_each(|_| loudness.hear(&[amplitude; 160]));
    }

    #[test]
    fn a_speaker_stays_through_pauses_between_words_and_ends_half_a_second_later() {
        let mut loudness = Loudness::default();
        assert!(!loudness.speaks());
        after(&mut loudness, 3, 2_000.0);
        assert!(loudness.speaks());
        after(&mut loudness, 24, 1.0);
        assert!(loudness.speaks() && !loudness.is_audible());
        after(&mut loudness, 1, 1.0);
        assert!(!loudness.speaks());
    }

    #[test]
    fn a_place_is_lost_only_to_somebody_much_louder_for_some_frames() {
        let (mut speaker, mut other) = (Loudness::default(), Loudness::default());
        after(&mut speaker, 50, 2_000.0);
        after(&mut other, 50, 3_000.0);
        assert!(!other.passes(&speaker), "3.5 dB are not enough");
        let mut click = Loudness::default();
        click.hear(&[5_000.0; 160]);
        assert!(!click.passes(&speaker), "one frame is not enough");
        after(&mut other, 10, 5_000.0);
        assert!(other.passes(&speaker));
    }
}
