//! MP3, FLAC and Ogg Vorbis files as mono 16-bit samples: told apart by their content, decoded by
//! symphonia, whose panics and appetites end here.

mod decode;
mod error;
mod sniff;
#[cfg(test)]
mod tests;

pub use self::{
    decode::{Decoded, decode},
    error::CompressedError,
    sniff::{LOOK, Packing},
};

/// For `fuzz/`: as [`decode`], of bytes in memory.
///
/// # Errors
/// [`CompressedError`], as there.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub fn decode_bytes(
    bytes: Vec<u8>,
    packing: Packing,
    longest: std::time::Duration,
) -> Result<Decoded, CompressedError> {
    decode::decode_source(std::io::Cursor::new(bytes), packing, longest)
}
