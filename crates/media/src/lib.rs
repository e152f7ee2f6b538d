//! Audio of Graphophone: WAV files in, RTP out. Knows nothing of calls.
//!
//! Streams that are to hear each other meet in a [`room`].
//!
//! A prompt is decoded once ([`prompt`]), encoded once per codec ([`codec`]) and shared by every
//! stream that plays it ([`engine`]).

pub mod analysis;
pub mod codec;
pub mod compressed;
pub mod dtmf;
pub mod ear;
pub mod engine;
pub mod jitter;
pub mod prompt;
pub mod resample;
pub mod room;
pub mod rtcp;
pub mod rtp;
pub mod srtp;
#[cfg(test)]
mod testing;
pub mod wav;
pub mod waveform;
