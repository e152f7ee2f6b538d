//! What a payload's audio is, for the codecs that have a decoder here.

use super::Deaf;
use crate::codec::{Codec, SampleCodec};

/// Decodes the payloads of one stream.
#[derive(Debug)]
pub(super) struct Decoder {
    /// Samples per second of what comes out.
    rate: u32,
}

impl Decoder {
    pub(super) fn new(codec: Codec) -> Result<Self, Deaf> {
        match codec {
            Codec::Pcmu | Codec::Pcma => Ok(Self { rate: codec.rate() }),
            Codec::Opus => Err(Deaf(codec)),
        }
    }

    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// How many units of the RTP clock a payload plays; 0 for one that cannot be decoded.
    pub(super) fn units(&self, codec: Codec, payload: &[u8]) -> u64 {
        codec.sample().map_or(0, |_| payload.len() as u64)
    }

    /// Decodes a payload.
    pub(super) fn decode(&mut self, codec: Codec, payload: &[u8]) -> Vec<i16> {
        codec.sample().map(|codec: SampleCodec| codec.decode(payload)).unwrap_or_default()
    }
}
