//! What a playPrompt may ask for beyond Graph: where it takes its place among what else is played,
//! what ends it early, and how each prompt is played.

use std::time::Duration;

use crate::{ids::ParticipantId, tones::Tone};

/// How a playPrompt is played. The default is Graph's way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayOptions {
    /// Its place among what else is played.
    pub mode: PlayMode,
    /// What ends it before its last sample.
    pub stop_on: StopOn,
    /// Of a group call: the one participant who hears it. `None` is all.
    pub participant: Option<ParticipantId>,
}

/// The place of a playPrompt among what else is played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlayMode {
    /// Behind everything that was asked for before.
    #[default]
    Queue,
    /// In the place of everything that was asked for before: as soon as its first prompt can be
    /// played, what plays and what waits before it ends as cancelled. If it cannot be played, nothing
    /// is cut.
    Interrupt,
    /// Over what plays, at once; mixed with it.
    Overlay,
}

/// What of the far end ends a playPrompt that plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopOn {
    /// One of these keys.
    pub tones: ToneSet,
    /// Speech.
    pub speech: bool,
}

/// A set of tones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToneSet(u32);

impl ToneSet {
    /// All of them.
    pub const ALL: Self = Self((1 << Tone::ALL.len()) - 1);

    /// Whether a tone is in it.
    pub const fn has(self, tone: Tone) -> bool {
        self.0 & 1 << tone.event_code() != 0
    }

    /// Those in it, in the order of their event codes.
    pub fn tones(self) -> impl Iterator<Item = Tone> {
        Tone::ALL.into_iter().filter(move |tone| self.has(*tone))
    }
}

impl FromIterator<Tone> for ToneSet {
    fn from_iter<I: IntoIterator<Item = Tone>>(tones: I) -> Self {
        Self(tones.into_iter().fold(0, |set, tone| set | 1 << tone.event_code()))
    }
}

/// How one prompt is played. The default is as it is, from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shaping {
    /// Tenths of a decibel by which it is louder, if positive; −600 to 200.
    pub gain_tenths: i16,
    /// Milliseconds at its beginning that are left out, in each repeat.
    pub start_ms: u32,
}

/// What a bot may do with one operation that plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlayControl {
    /// Silence until [`Self::Resume`]; nothing of the prompts is skipped.
    Pause,
    /// On from where it was.
    Resume,
    /// On from so far behind the beginning of the first prompt, repeats counted.
    Seek(Duration),
    /// Ends it as cancelled, also while it waits.
    Stop,
}
