//! Codecs of RTP audio. All of them are sample codecs so far: one byte per sample.

pub mod g711;

/// An audio codec that can be negotiated (RFC 3551 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

impl Codec {
    /// Every codec, in the order in which we offer them.
    pub const ALL: [Self; 2] = [Self::Pcmu, Self::Pcma];

    /// Samples per second, which is also the RTP clock rate.
    pub const fn rate(self) -> u32 {
        8_000
    }

    /// Static RTP payload type (RFC 3551 table 4).
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }

    /// Encoding name in SDP `a=rtpmap`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    /// The byte that encodes a sample of silence; pads the last packet of a playout.
    pub const fn silence(self) -> u8 {
        match self {
            Self::Pcmu => 0xFF,
            Self::Pcma => 0xD5,
        }
    }

    /// Encodes 16-bit samples, one byte each.
    pub fn encode(self, samples: &[i16]) -> Vec<u8> {
        match self {
            Self::Pcmu => g711::encode_ulaw(samples),
            Self::Pcma => g711::encode_alaw(samples),
        }
    }

    /// Decodes a payload to 16-bit samples, one per byte.
    pub fn decode(self, payload: &[u8]) -> Vec<i16> {
        match self {
            Self::Pcmu => g711::decode_ulaw(payload),
            Self::Pcma => g711::decode_alaw(payload),
        }
    }
}
