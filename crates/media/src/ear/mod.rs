//! Ears: who listens to the audio of a stream.
//!
//! An [`Ear`] hangs on a tap of a stream ([`StreamHandle::tap`](crate::engine::StreamHandle::tap)).
//! Every 20 ms a worker thread visits it: packets are put in order on an axis of real time
//! (`timeline.rs`), decoded, and given to whatever is switched on: a recorder, a detector of voices,
//! and one of key presses as sound. All of that is pure (`hearing.rs`); the threads only wait, read
//! the clock and write files. What an ear finds out comes as [`EarEvent`]s, each with how long ago it
//! was, since an ear hears everything 200 ms late.

mod decode;
mod hearing;
mod recorder;
mod threads;
mod timeline;
mod voice;

use std::{
    fs::File,
    io,
    time::{Duration, Instant},
};

use crate::{codec::Codec, engine::EngineFull};

pub use recorder::RATE as RECORDING_RATE;
pub use threads::{Ear, Ears};
pub use voice::{Voice, VoiceChange};

/// Names a recording between its owner and its ear; chosen by the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordingId(pub u128);

/// A recording to be made.
#[derive(Debug)]
pub struct NewRecording {
    /// Its name.
    pub id: RecordingId,
    /// An empty file. It becomes a WAV file of 16 kHz, mono, 16 bits, and can be read at any time.
    pub file: File,
    /// Nothing before this is recorded. The recording begins with the first speech after it.
    pub from: Instant,
    /// The recording is never longer.
    pub longest: Duration,
}

/// What an ear tells its owner. `ago` is the time since it happened.
#[derive(Debug)]
pub enum EarEvent {
    /// The first packet has come.
    Hearing,
    /// The far end pressed a key that was heard as sound: RFC 4733 event code, 0–15.
    Tone(u8),
    /// Somebody has begun to speak; only while [`Ear::set_speech`] asks for it.
    Speech,
    /// A recording has begun, with speech, or as much before it as makes sure that none is cut off.
    Began {
        /// Its name.
        id: RecordingId,
        /// Since its first sample.
        ago: Duration,
    },
    /// Somebody speaks (again); only while a recording is being made.
    Spoke {
        /// The recording.
        id: RecordingId,
    },
    /// Nobody speaks any more; only while a recording is being made.
    FellSilent {
        /// The recording.
        id: RecordingId,
        /// Since the last sound.
        ago: Duration,
    },
    /// The answer to [`Ear::finish`].
    Recorded {
        /// The recording.
        id: RecordingId,
        /// Its file, complete but not synchronised with the disk. If nobody has spoken, the last
        /// moments of what was heard.
        file: RecordedFile,
    },
    /// The file could not be written; the recording is given up.
    Failed {
        /// The recording.
        id: RecordingId,
        /// What the operating system said.
        error: io::Error,
    },
}

/// A finished recording.
#[derive(Debug)]
pub struct RecordedFile {
    /// A complete WAV file.
    pub file: File,
    /// Its samples, at [`RECORDING_RATE`].
    pub samples: u64,
}

impl RecordedFile {
    /// How long it plays.
    pub fn duration(&self) -> Duration {
        crate::rtp::span(self.samples, RECORDING_RATE)
    }
}

/// There is no decoder for a codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("audio in {0:?} cannot be heard: there is no decoder for it")]
pub struct Deaf(pub Codec);

/// Why nobody listens.
#[derive(Debug, thiserror::Error)]
pub enum EarError {
    /// Nothing decodes the stream.
    #[error(transparent)]
    Deaf(#[from] Deaf),
    /// The stream takes no tap.
    #[error(transparent)]
    Engine(#[from] EngineFull),
    /// The workers' queue is full, or they have ended.
    #[error("those who listen are overloaded")]
    Full,
}
