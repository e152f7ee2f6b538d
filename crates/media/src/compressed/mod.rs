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
