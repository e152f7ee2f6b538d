//! A prompt: what a media file says, decoded once, and encoded once per codec.

mod encoded;
mod shape;

use std::{fmt, io::Read, time::Duration};

use sha2::Digest;

pub use self::encoded::{EncodedAudio, EncodedPrompt, FrameError, FrameTable, MAX_FRAME_LEN};
pub use self::shape::ShapeError;
use crate::{
    codec::SampleCodec,
    resample::resample,
    wav::{WavError, WavReader},
};

/// Which files are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Every format that can be played.
    Any,
    /// Only what Graph documents: WAV, PCM, 16 kHz, mono, 16-bit. `WavError::NotGraphFormat` else.
    GraphOnly,
}

/// A decoded file: mono, 16-bit, at the file's own sampling rate.
#[derive(Debug)]
pub struct Prompt {
    /// Samples per second of `samples`.
    pub rate: u32,
    /// Mono samples.
    pub samples: Vec<i16>,
    /// SHA-256 over `samples` as little-endian bytes. For a 16-bit mono file: of its data chunk.
    pub sha256: Sha256,
}

/// A SHA-256 digest; displays as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// Digest of samples as little-endian bytes.
    pub fn of(samples: &[i16]) -> Self {
        let mut digest = sha2::Sha256::new();
        let mut bytes = Vec::with_capacity(8_192);
        for block in samples.chunks(4_096) {
            bytes.clear();
            bytes.extend(block.iter().flat_map(|sample| sample.to_le_bytes()));
            digest.update(&bytes);
        }
        Self(digest.finalize().into())
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Prompt {
    /// Reads a WAV file to the end of its audio. A file that ends before its audio should (a cut
    /// download, unless the transfer itself was seen to fail) is what it holds.
    ///
    /// Memory is two bytes per sample that the file really has, whatever it declares; the size of
    /// `file` is for the caller to limit.
    ///
    /// # Errors
    /// [`WavError`] names what was found instead of playable audio.
    pub fn decode(file: impl Read, accept: Accept) -> Result<Self, WavError> {
        Self::read(&mut WavReader::open(file)?, accept, usize::MAX)
    }

    /// The same of a file that is open. Stops soon after `limit` samples: a prompt that holds more
    /// is not whole.
    ///
    /// # Errors
    /// As for [`Prompt::decode`].
    pub fn read(
        reader: &mut WavReader<impl Read>,
        accept: Accept,
        limit: usize,
    ) -> Result<Self, WavError> {
        match accept {
            Accept::Any => {}
            Accept::GraphOnly => reader.require_graph_format()?,
        }
        let mut samples = Vec::new();
        while samples.len() <= limit && reader.read(&mut samples)? > 0 {}
        samples.shrink_to_fit();
        let sha256 = Sha256::of(&samples);
        Ok(Self { rate: reader.format().rate, samples, sha256 })
    }

    /// Resamples to the codec's rate and encodes. Never empty: what rounds to no sample at all
    /// becomes one of silence, so that looping over it takes time.
    pub fn encode(&self, codec: SampleCodec) -> EncodedPrompt {
        let mut bytes = codec.encode(&resample(&self.samples, self.rate, codec.rate()));
        if bytes.is_empty() {
            bytes.push(codec.silence());
        }
        EncodedPrompt::samples(codec, self.sha256, bytes)
    }

    /// Length at the file's rate.
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.samples.len() as f64 / f64::from(self.rate))
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::{analysis::tone_level_db, wav};

    #[test]
    fn the_digest_of_a_16_bit_mono_file_is_that_of_its_data_chunk() {
        let samples: Vec<i16> = (0..10_000_i16).map(|n| n.wrapping_mul(13)).collect();
        let file = wav::to_bytes(16_000, &samples);
        let prompt = Prompt::decode(file.as_slice(), Accept::GraphOnly).unwrap();
        assert_eq!(prompt.samples, samples);
        assert_eq!(prompt.sha256, Sha256(sha2::Sha256::digest(&file[44..]).into()));
        assert_eq!(prompt.duration(), Duration::from_millis(625));
    }

    #[test]
    fn digests_read_like_everywhere_else() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Sha256::of(&[]).to_string(), empty);
    }

    #[test]
    fn encoding_keeps_the_duration_and_the_digest() {
        let file = wav::to_bytes(16_000, &[1_000; 16_000]);
        let prompt = Prompt::decode(file.as_slice(), Accept::Any).unwrap();
        for codec in SampleCodec::ALL {
            let encoded = prompt.encode(codec);
            assert_eq!(encoded.duration(), Duration::from_secs(1));
            assert_eq!((encoded.codec(), encoded.sha256), (codec.into(), prompt.sha256));
        }
    }

    #[test]
    fn the_shortest_prompt_is_one_sample_and_not_nothing() {
        let file = wav::to_bytes(48_000, &[1_000]);
        let prompt = Prompt::decode(file.as_slice(), Accept::Any).unwrap();
        assert_eq!(prompt.encode(SampleCodec::Pcma).units(), 1);
    }

    #[test]
    fn a_44_kilohertz_stereo_float_file_is_heard_at_its_pitch_and_without_aliases() {
        // Left 440 Hz, right 7 kHz: decimated without a filter it would be heard at 1 kHz.
        let wave = |hz: f64, n: u32| 0.8 * (f64::from(n) * hz * TAU / 44_100.0).sin();
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x03\0\x02\0".to_vec();
        file.extend(44_100_u32.to_le_bytes());
        file.extend((44_100_u32 * 8).to_le_bytes());
        file.extend(b"\x08\0\x20\0data\xFF\xFF\xFF\xFF");
        for n in 0..44_100 {
            file.extend((wave(440.0, n) as f32).to_le_bytes());
            file.extend((wave(7_000.0, n) as f32).to_le_bytes());
        }
        let prompt = Prompt::decode(file.as_slice(), Accept::Any).unwrap();
        for codec in SampleCodec::ALL {
            let heard = prompt.encode(codec).decode().unwrap();
            assert_eq!(heard.len(), 8_000);
            let level = |hz| tone_level_db(&heard, 8_000, hz);
            // (L+R)/2 of 0.8 is 0.4: −7.96 dB.
            assert!((level(440.0) + 7.96).abs() < 0.1, "{}", level(440.0));
            assert!(level(1_000.0) < -58.0, "{}", level(1_000.0));
        }
    }

    #[test]
    fn the_strict_mode_names_what_it_got() {
        let file = wav::to_bytes(44_100, &[0; 100]);
        let refused = Prompt::decode(file.as_slice(), Accept::GraphOnly).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "16 kHz mono 16-bit WAV is required in this mode, got 44.1 kHz mono 16-bit"
        );
    }
}
