//! WAV files: a streaming reader that turns what bots send into mono 16-bit samples, and a writer.
//!
//! The reader goes once over any [`std::io::Read`], never seeks, never allocates by a size that the
//! file declares, and knows four stages, one file each: `source` (bounded look-ahead), `chunks`
//! (RIFF structure), `format` (the `fmt ` chunk) and `samples` (bytes to mono samples).
//! [`WavReader`] joins them. What cannot be played is named by [`WavError`].

use std::io;

mod chunks;
mod format;
mod opening;
mod reader;
mod samples;
mod source;
mod writer;

pub use format::{Encoding, Format};
pub use opening::Opening;
pub use reader::WavReader;
pub use writer::{WavWriter, to_bytes};

/// Channels a file may have.
pub const MAX_CHANNELS: u16 = 8;
/// Lowest sampling rate that is played, in Hz. Below it a small file would become hours of audio.
pub const MIN_RATE: u32 = 4_000;
/// Highest sampling rate that is played, in Hz.
pub const MAX_RATE: u32 = 192_000;
/// Chunks a file may have up to and including its `data` chunk.
pub const MAX_CHUNKS: u32 = 1_024;

/// Why a file is not playable audio. The text names what was found, for the bot's developer.
#[derive(Debug, thiserror::Error)]
pub enum WavError {
    /// The file could not be read.
    #[error("the file could not be read")]
    Read(#[from] io::Error),
    /// There are no bytes at all.
    #[error("not a WAV file: it is empty")]
    EmptyFile,
    /// The first bytes are not those of a RIFF/WAVE file.
    #[error("not a WAV file: it starts with {0}")]
    NotWav(Opening),
    /// Only 16 kHz mono 16-bit PCM is accepted ([`crate::prompt::Accept::GraphOnly`]).
    #[error("16 kHz mono 16-bit WAV is required in this mode, got {found}")]
    NotGraphFormat {
        /// What the file holds instead.
        found: String,
    },
    /// A RIFF/WAVE file with an audio format that is not played.
    #[error("{name} audio in a WAV container is not supported")]
    UnsupportedEncoding {
        /// Name of the format, or its number in the file.
        name: String,
    },
    /// A sample size that the encoding does not have.
    #[error("{encoding} samples of {bits} bits are not supported")]
    UnsupportedSampleSize {
        /// The encoding.
        encoding: &'static str,
        /// Bits per sample in the `fmt ` chunk.
        bits: u16,
    },
    /// No channels, or more than [`MAX_CHANNELS`].
    #[error("a WAV file of {0} channels is not supported (1 to {MAX_CHANNELS} are)")]
    UnsupportedChannels(u16),
    /// A rate below [`MIN_RATE`] or above [`MAX_RATE`].
    #[error("a sampling rate of {0} Hz is not supported ({MIN_RATE} to {MAX_RATE} Hz are)")]
    UnsupportedRate(u32),
    /// The file ends before its audio begins.
    #[error("the WAV file is cut off in its header, after {bytes} bytes")]
    CutHeader {
        /// Length of the file.
        bytes: u64,
    },
    /// A `fmt ` chunk too small or too large for the format that it declares.
    #[error("the fmt chunk of the WAV file is damaged: {size} bytes long")]
    BadFormatSize {
        /// Declared size of the chunk.
        size: u32,
    },
    /// The members of the `fmt ` chunk exclude each other: decoding it could only be a guess.
    #[error("the fmt chunk contradicts itself: {frame} bytes per frame do not fit {found}")]
    ContradictoryFormat {
        /// Declared bytes per frame (`nBlockAlign`).
        frame: u16,
        /// What the other members say.
        found: String,
    },
    /// Two `fmt ` chunks that differ.
    #[error("the WAV file has two fmt chunks that differ")]
    TwoFormats,
    /// The `data` chunk comes first, so its samples cannot be understood when they pass.
    #[error("the WAV file has no fmt chunk before its data chunk")]
    DataBeforeFormat,
    /// The file ends without a `data` chunk.
    #[error("the WAV file has no data chunk")]
    NoData,
    /// There is a `data` chunk, but not one whole sample in it.
    #[error("the WAV file has no audio: its data chunk is empty")]
    NoAudio,
    /// More than [`MAX_CHUNKS`] chunks before the audio.
    #[error("the WAV file has more than {MAX_CHUNKS} chunks before its audio")]
    TooManyChunks,
}
