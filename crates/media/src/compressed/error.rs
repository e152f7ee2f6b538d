//! Why a compressed file is not playable.

use std::io;

use super::Packing;

/// Why a compressed file is not playable audio. The text names what was found, for the bot's
/// developer.
#[derive(Debug, thiserror::Error)]
pub enum CompressedError {
    /// The file could not be read.
    #[error("the file could not be read")]
    Read(#[source] io::Error),
    /// It begins like such a file and is none, or ends before its audio.
    #[error("the {packing} file cannot be read: {reason}")]
    Malformed {
        /// What it looks like.
        packing: Packing,
        /// What the decoder said.
        reason: String,
    },
    /// The audio is damaged: playing on would leave something out.
    #[error("the {packing} file is damaged after {milliseconds} ms of audio: {reason}")]
    Damaged {
        /// What it is.
        packing: Packing,
        /// Audio before the damage.
        milliseconds: u64,
        /// What the decoder said.
        reason: String,
    },
    /// An Ogg file of another codec.
    #[error("{content} in an Ogg file is not supported (Vorbis and FLAC are)")]
    UnsupportedContent {
        /// The codec.
        content: &'static str,
    },
    /// No channels, or more than [`crate::wav::MAX_CHANNELS`].
    #[error("a file of {0} channels is not supported (1 to {max} are)", max = crate::wav::MAX_CHANNELS)]
    UnsupportedChannels(usize),
    /// A rate below [`crate::wav::MIN_RATE`] or above [`crate::wav::MAX_RATE`].
    #[error(
        "a sampling rate of {0} Hz is not supported ({min} to {max} Hz are)",
        min = crate::wav::MIN_RATE,
        max = crate::wav::MAX_RATE
    )]
    UnsupportedRate(u32),
    /// The headers ask for tables that no real file needs.
    #[error("the headers of the {packing} file are {bytes} bytes long, more than {limit}")]
    HeadersTooLong {
        /// What it is.
        packing: Packing,
        /// Their length.
        bytes: usize,
        /// The most that is taken.
        limit: usize,
    },
    /// There is not one sample in it.
    #[error("the {0} file has no audio")]
    NoAudio(Packing),
    /// The decoder crashed.
    #[error("the decoder cannot cope with this {0} file")]
    DecoderFailed(Packing),
}
