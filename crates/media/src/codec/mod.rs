//! Codecs of RTP audio: sample codecs, which can be cut anywhere, and frame codecs, which cannot.

pub mod g711;
pub mod opus;

/// An audio codec that a stream can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 µ-law (RFC 3551 §4.5.14).
    Pcmu,
    /// G.711 A-law (RFC 3551 §4.5.14).
    Pcma,
    /// Opus (RFC 7587), in packets of 20 ms. We have no encoder and no decoder: such streams play
    /// [`FrameTable`](crate::prompt::FrameTable)s that were made elsewhere.
    Opus,
}

/// A codec with one byte per sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SampleCodec {
    /// [`Codec::Pcmu`].
    Pcmu,
    /// [`Codec::Pcma`].
    Pcma,
}

impl Codec {
    /// RTP clock rate in hertz. For Opus it is 48 kHz, whatever the audio was (RFC 7587 §4.1).
    pub const fn rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8_000,
            Self::Opus => 48_000,
        }
    }

    /// RTP clock units in a packet of 20 ms.
    pub const fn packet_units(self) -> u32 {
        self.rate() / 50
    }

    /// Encoding name in SDP `a=rtpmap`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::Opus => "opus",
        }
    }

    /// The sample codec that it is, if it is one.
    pub const fn sample(self) -> Option<SampleCodec> {
        match self {
            Self::Pcmu => Some(SampleCodec::Pcmu),
            Self::Pcma => Some(SampleCodec::Pcma),
            Self::Opus => None,
        }
    }
}

impl SampleCodec {
    /// Every sample codec, in the order in which we offer them.
    pub const ALL: [Self; 2] = [Self::Pcmu, Self::Pcma];

    /// The same among all codecs.
    pub const fn codec(self) -> Codec {
        match self {
            Self::Pcmu => Codec::Pcmu,
            Self::Pcma => Codec::Pcma,
        }
    }

    /// Samples per second, which is also the RTP clock rate.
    pub const fn rate(self) -> u32 {
        self.codec().rate()
    }

    /// Encoding name in SDP `a=rtpmap`.
    pub const fn name(self) -> &'static str {
        self.codec().name()
    }

    /// Static RTP payload type (RFC 3551 table 4).
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }

    /// The byte that encodes a sample of silence; pads the last packet of a playout.
    pub const fn silence(self) -> u8 {
        match self {
            Self::Pcmu => 0xFF,
            Self::Pcma => 0xD5,
        }
    }

    /// The 16-bit sample of one byte.
    pub(crate) fn sample(self, code: u8) -> i16 {
        match self {
            Self::Pcmu => g711::ulaw_sample(code),
            Self::Pcma => g711::alaw_sample(code),
        }
    }

    /// The byte of one 16-bit sample.
    pub(crate) fn code(self, sample: i16) -> u8 {
        match self {
            Self::Pcmu => g711::ulaw(sample),
            Self::Pcma => g711::alaw(sample),
        }
    }

    /// Encodes 16-bit samples, one byte each.
    pub fn encode(self, samples: &[i16]) -> Vec<u8> {
        match self {
            Self::Pcmu => g711::encode_ulaw(samples),
            Self::Pcma => g711::encode_alaw(samples),
        }
    }

    /// Encodes 16-bit samples to as many bytes, without allocating.
    ///
    /// # Panics
    /// If there are not as many bytes as samples.
    pub fn encode_to(self, samples: &[i16], bytes: &mut [u8]) {
        assert_eq!(samples.len(), bytes.len(), "a byte for each sample");
        let code = match self {
            Self::Pcmu => g711::ulaw,
            Self::Pcma => g711::alaw,
        };
        bytes.iter_mut().zip(samples).for_each(|(byte, sample)| *byte = code(*sample));
    }

    /// Decodes a payload and appends its samples; allocates only where `samples` has no room.
    pub fn decode_to(self, payload: &[u8], samples: &mut Vec<i16>) {
        match self {
            Self::Pcmu => samples.extend(payload.iter().map(|code| g711::ulaw_sample(*code))),
            Self::Pcma => samples.extend(payload.iter().map(|code| g711::alaw_sample(*code))),
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

impl From<SampleCodec> for Codec {
    fn from(codec: SampleCodec) -> Self {
        codec.codec()
    }
}
