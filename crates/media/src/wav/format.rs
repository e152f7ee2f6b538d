//! The `fmt ` chunk: what the samples are, checked before one of them is decoded.

use std::fmt;

use super::{MAX_CHANNELS, MAX_RATE, MIN_RATE, WavError, chunks::word};

/// Bytes of a `fmt ` chunk that mean something: WAVEFORMATEXTENSIBLE.
pub(super) const USED_SIZE: usize = 40;

/// `fmt ` chunks of real formats stay far below; a larger size is damage.
pub(super) const MAX_SIZE: u32 = 4_096;

/// How samples are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Integers of 8 to 32 bits in the fewest whole bytes, left-justified (unused bits are the low
    /// ones); unsigned up to 8 bits, signed above.
    Pcm {
        /// Bits of a sample.
        bits: u16,
    },
    /// IEEE floats, full scale ±1.
    Float32,
    /// IEEE doubles, full scale ±1.
    Float64,
    /// G.711 A-law.
    ALaw,
    /// G.711 µ-law.
    MuLaw,
}

/// What the samples of a file are. Displays as "44.1 kHz stereo float".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Frames per second.
    pub rate: u32,
    /// Samples per frame, 1 to [`MAX_CHANNELS`].
    pub channels: u16,
    /// How each sample is stored.
    pub encoding: Encoding,
    /// Bits that carry signal, as WAVE_FORMAT_EXTENSIBLE says (`encoding`'s size without it).
    /// Information only: samples are left-justified, so the decoder does not need it.
    pub valid_bits: u16,
    /// Bytes per frame as the file says, which may be nonsense; see [`Format::frame_bytes`].
    pub declared_frame_bytes: u16,
}

impl Encoding {
    /// Bytes that one sample takes in the file.
    pub fn sample_bytes(self) -> usize {
        match self {
            Self::Pcm { bits } => usize::from(bits.div_ceil(8)),
            Self::Float32 => 4,
            Self::Float64 => 8,
            Self::ALaw | Self::MuLaw => 1,
        }
    }
}

impl Format {
    /// Reads the body of a `fmt ` chunk (its first [`USED_SIZE`] bytes) of the declared size.
    pub(super) fn parse(body: &[u8], size: u32) -> Result<Self, WavError> {
        let bad_size = || WavError::BadFormatSize { size };
        if size > MAX_SIZE {
            return Err(bad_size());
        }
        let half = |offset: usize| match body.get(offset..offset + 2) {
            Some(&[low, high]) => Ok(u16::from_le_bytes([low, high])),
            _ => Err(bad_size()),
        };
        let (mut tag, channels, declared_frame_bytes, bits) =
            (half(0)?, half(2)?, half(12)?, half(14)?);
        let rate = word(body, 4).ok_or_else(bad_size)?;
        let mut valid_bits = bits;
        if tag == tag::EXTENSIBLE {
            // cbSize (offset 16) is not looked at: what counts is that the 22 bytes are there.
            valid_bits = half(18)?;
            let guid = body.get(24..40).ok_or_else(bad_size)?;
            if guid[2..] != tag::GUID_TAIL {
                return Err(WavError::UnsupportedEncoding { name: guid_name(guid) });
            }
            tag = u16::from_le_bytes([guid[0], guid[1]]);
        }
        let encoding = encoding(tag, bits)?;
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(WavError::UnsupportedChannels(channels));
        }
        if !(MIN_RATE..=MAX_RATE).contains(&rate) {
            return Err(WavError::UnsupportedRate(rate));
        }
        let valid_bits = if valid_bits == 0 { bits } else { valid_bits };
        let format = Self { rate, channels, encoding, valid_bits, declared_frame_bytes };
        // A frame too small for its samples is a writer that cannot count: what the samples are is
        // still clear. A larger one leaves open where in it the samples are: refuse, not guess.
        if usize::from(declared_frame_bytes) > format.frame_bytes() {
            return Err(WavError::ContradictoryFormat {
                frame: declared_frame_bytes,
                found: format.to_string(),
            });
        }
        Ok(format)
    }

    /// Bytes per frame, derived from the encoding.
    pub fn frame_bytes(&self) -> usize {
        self.encoding.sample_bytes() * usize::from(self.channels)
    }

    /// Why this is not 16 kHz mono 16-bit PCM to the letter; `None` if it is.
    pub(super) fn departs_from_graph(&self) -> Option<String> {
        let Self { rate, channels, encoding, valid_bits, declared_frame_bytes } = *self;
        if (rate, channels, encoding) != (16_000, 1, Encoding::Pcm { bits: 16 }) {
            Some(self.to_string())
        } else if valid_bits != 16 {
            Some(format!("{self} with {valid_bits} valid bits"))
        } else if declared_frame_bytes != 2 {
            Some(format!("{self} with a block align of {declared_frame_bytes}"))
        } else {
            None
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `f64` prints the shortest form: 16, 44.1, 11.025.
        write!(f, "{} kHz ", f64::from(self.rate) / 1_000.0)?;
        match self.channels {
            1 => f.write_str("mono ")?,
            2 => f.write_str("stereo ")?,
            channels => write!(f, "{channels}-channel ")?,
        }
        match self.encoding {
            Encoding::Pcm { bits } => write!(f, "{bits}-bit"),
            Encoding::Float32 => f.write_str("float"),
            Encoding::Float64 => f.write_str("64-bit float"),
            Encoding::ALaw => f.write_str("A-law"),
            Encoding::MuLaw => f.write_str("µ-law"),
        }
    }
}

/// Format tags (`mmreg.h`, RFC 2361).
mod tag {
    pub(super) const PCM: u16 = 0x0001;
    pub(super) const FLOAT: u16 = 0x0003;
    pub(super) const A_LAW: u16 = 0x0006;
    pub(super) const MU_LAW: u16 = 0x0007;
    pub(super) const EXTENSIBLE: u16 = 0xFFFE;

    /// The end of every sub-format GUID that stands for a format tag.
    pub(super) const GUID_TAIL: [u8; 14] =
        [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71];
}

fn encoding(tag: u16, bits: u16) -> Result<Encoding, WavError> {
    let size = |encoding| Err(WavError::UnsupportedSampleSize { encoding, bits });
    match (tag, bits) {
        (tag::PCM, 8..=32) => Ok(Encoding::Pcm { bits }),
        (tag::PCM, _) => size("PCM"),
        (tag::FLOAT, 32) => Ok(Encoding::Float32),
        (tag::FLOAT, 64) => Ok(Encoding::Float64),
        (tag::FLOAT, _) => size("float"),
        (tag::A_LAW, 8) => Ok(Encoding::ALaw),
        (tag::A_LAW, _) => size("A-law"),
        (tag::MU_LAW, 8) => Ok(Encoding::MuLaw),
        (tag::MU_LAW, _) => size("µ-law"),
        _ => Err(WavError::UnsupportedEncoding { name: tag_name(tag) }),
    }
}

/// Names of formats that exist in WAV files but are not played.
fn tag_name(tag: u16) -> String {
    match tag {
        0x0002 => "Microsoft ADPCM",
        0x0011 => "IMA ADPCM",
        0x0014 | 0x0040 | 0x0045 | 0x0064 => "G.726 ADPCM",
        0x0028 | 0x008F | 0x0065 => "G.722",
        0x0031 => "GSM 6.10",
        0x0042 => "G.723.1",
        0x0050 => "MPEG layer 2",
        0x0055 => "MP3",
        0x0083 => "G.729",
        0x0092 => "AC-3",
        0x00FF | 0x1600..=0x1610 => "AAC",
        0x0160..=0x0163 => "Windows Media",
        0x674F..=0x6771 => "Ogg Vorbis",
        0x704F => "Opus",
        0xF1AC => "FLAC",
        _ => return format!("format {tag:#06x}"),
    }
    .to_owned()
}

fn guid_name(guid: &[u8]) -> String {
    let hex: String = guid.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sub-format {hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fmt_chunk(tag: u16, channels: u16, rate: u32, frame: u16, bits: u16) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(tag.to_le_bytes());
        body.extend(channels.to_le_bytes());
        body.extend(rate.to_le_bytes());
        body.extend((rate.wrapping_mul(u32::from(frame))).to_le_bytes());
        body.extend(frame.to_le_bytes());
        body.extend(bits.to_le_bytes());
        body
    }

    fn parse(
        tag: u16,
        channels: u16,
        rate: u32,
        frame: u16,
        bits: u16,
    ) -> Result<Format, WavError> {
        Format::parse(&fmt_chunk(tag, channels, rate, frame, bits), 16)
    }

    #[test]
    fn a_format_reads_like_a_developer_would_say_it() {
        for (format, text) in [
            (parse(3, 2, 44_100, 8, 32), "44.1 kHz stereo float"),
            (parse(1, 1, 16_000, 2, 16), "16 kHz mono 16-bit"),
            (parse(1, 6, 48_000, 18, 24), "48 kHz 6-channel 24-bit"),
            (parse(6, 1, 8_000, 1, 8), "8 kHz mono A-law"),
            (parse(1, 1, 11_025, 1, 8), "11.025 kHz mono 8-bit"),
        ] {
            assert_eq!(format.unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_error_names_what_is_wrong() {
        for (result, text) in [
            (parse(0x55, 2, 44_100, 1, 0), "MP3 audio in a WAV container is not supported"),
            (
                parse(0x1234, 1, 8_000, 1, 8),
                "format 0x1234 audio in a WAV container is not supported",
            ),
            (parse(1, 1, 16_000, 0, 0), "PCM samples of 0 bits are not supported"),
            (parse(3, 1, 16_000, 2, 16), "float samples of 16 bits are not supported"),
            (parse(1, 0, 16_000, 0, 16), "a WAV file of 0 channels is not supported (1 to 8 are)"),
            (
                parse(1, 1, 1, 2, 16),
                "a sampling rate of 1 Hz is not supported (4000 to 192000 Hz are)",
            ),
            (
                parse(1, 1, 48_000, 4, 24),
                "the fmt chunk contradicts itself: 4 bytes per frame do not fit 48 kHz mono 24-bit",
            ),
            (
                Format::parse(&fmt_chunk(1, 1, 16_000, 2, 16)[..14], 14),
                "the fmt chunk of the WAV file is damaged: 14 bytes long",
            ),
        ] {
            assert_eq!(result.unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn only_the_documented_format_is_graphs() {
        assert_eq!(parse(1, 1, 16_000, 2, 16).unwrap().departs_from_graph(), None);
        for (format, found) in [
            (parse(1, 2, 16_000, 4, 16), "16 kHz stereo 16-bit"),
            (parse(1, 1, 16_000, 1, 16), "16 kHz mono 16-bit with a block align of 1"),
        ] {
            assert_eq!(format.unwrap().departs_from_graph().as_deref(), Some(found));
        }
    }
}
