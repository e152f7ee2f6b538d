//! A prompt as packets carry it: bytes that can be cut at any sample, or a table of frames.

use std::{fmt, sync::Arc, time::Duration};

use super::Sha256;
use crate::codec::{Codec, SampleCodec, opus};

/// The longest frame of a [`FrameTable`], in bytes: 160 kbit/s, far beyond what Opus needs for
/// speech (RFC 7587 §3.1.1).
pub const MAX_FRAME_LEN: usize = 400;

/// A prompt encoded for one codec: immutable, shared by all streams that play it.
#[derive(Clone)]
pub struct EncodedPrompt {
    /// Digest of the decoded audio it was made from.
    pub sha256: Sha256,
    /// What is sent.
    pub audio: EncodedAudio,
}

/// Encoded audio; clones share it.
#[derive(Clone)]
pub enum EncodedAudio {
    /// One byte per sample at the codec's rate. Packets are cut across the borders of prompts, so
    /// that a list of them is the exact concatenation.
    Samples {
        /// The codec of `bytes`.
        codec: SampleCodec,
        /// One byte per sample.
        bytes: Arc<[u8]>,
    },
    /// Opus, a frame per packet. A prompt begins and ends with a frame: whoever encodes it pads the
    /// last one, with less than 20 ms.
    Opus(Arc<FrameTable>),
}

/// Opus packets of 20 ms, one after another.
#[derive(Debug)]
pub struct FrameTable {
    bytes: Box<[u8]>,
    /// Where each frame ends in `bytes`; the next begins there.
    ends: Box<[u32]>,
}

/// Why frames make no [`FrameTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It would not fit into a datagram of ours.
    #[error("frame {frame} has {length} bytes, more than {MAX_FRAME_LEN}")]
    TooLong {
        /// Its place, from 0.
        frame: usize,
        /// Its bytes.
        length: usize,
    },
    /// Packets leave every 20 ms: anything else would be played too fast or too slowly.
    #[error("frame {frame} is not an Opus packet of 20 ms")]
    Duration {
        /// Its place, from 0.
        frame: usize,
    },
    /// More than 4 GiB.
    #[error("there are too many frames")]
    TooMany,
}

impl EncodedPrompt {
    /// A prompt of a sample codec, one byte per sample.
    pub fn samples(codec: SampleCodec, sha256: Sha256, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self { sha256, audio: EncodedAudio::Samples { codec, bytes: bytes.into() } }
    }

    /// A prompt of Opus frames.
    pub fn opus(sha256: Sha256, frames: FrameTable) -> Self {
        Self { sha256, audio: EncodedAudio::Opus(Arc::new(frames)) }
    }

    /// The codec it is encoded for.
    pub fn codec(&self) -> Codec {
        match &self.audio {
            EncodedAudio::Samples { codec, .. } => codec.codec(),
            EncodedAudio::Opus(_) => Codec::Opus,
        }
    }

    /// Length in units of the RTP clock, [`Codec::rate`] a second; samples, for a sample codec.
    pub fn units(&self) -> u64 {
        self.audio.units() as u64
    }

    /// Playing time.
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.units() as f64 / f64::from(self.codec().rate()))
    }

    /// Bytes in memory.
    pub fn weight(&self) -> u64 {
        match &self.audio {
            EncodedAudio::Samples { bytes, .. } => bytes.len() as u64,
            EncodedAudio::Opus(frames) => {
                (frames.bytes.len() + size_of_val::<[u32]>(&frames.ends)) as u64
            }
        }
    }

    /// Whether anybody else has the audio, such as a stream that plays it.
    pub fn is_shared(&self) -> bool {
        match &self.audio {
            EncodedAudio::Samples { bytes, .. } => Arc::strong_count(bytes) > 1,
            EncodedAudio::Opus(frames) => Arc::strong_count(frames) > 1,
        }
    }

    /// 16-bit samples at [`Codec::rate`]; `None` for a frame codec, which we cannot decode.
    pub fn decode(&self) -> Option<Vec<i16>> {
        match &self.audio {
            EncodedAudio::Samples { codec, bytes } => Some(codec.decode(bytes)),
            EncodedAudio::Opus(_) => None,
        }
    }
}

impl EncodedAudio {
    /// Length in units of the RTP clock.
    pub(crate) fn units(&self) -> usize {
        match self {
            Self::Samples { bytes, .. } => bytes.len(),
            Self::Opus(frames) => frames.len() * Codec::Opus.packet_units() as usize,
        }
    }
}

impl FrameTable {
    /// Takes Opus packets of 20 ms in order, without RTP headers (RFC 7587 §4.2).
    ///
    /// # Errors
    /// [`FrameError`] names the first frame that cannot be sent so.
    pub fn opus<F: AsRef<[u8]>>(frames: impl IntoIterator<Item = F>) -> Result<Self, FrameError> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for (frame, packet) in frames.into_iter().enumerate() {
            let packet = packet.as_ref();
            if packet.len() > MAX_FRAME_LEN {
                return Err(FrameError::TooLong { frame, length: packet.len() });
            }
            if opus::packet_units(packet) != Some(Codec::Opus.packet_units()) {
                return Err(FrameError::Duration { frame });
            }
            bytes.extend_from_slice(packet);
            ends.push(u32::try_from(bytes.len()).map_err(|_| FrameError::TooMany)?);
        }
        Ok(Self { bytes: bytes.into(), ends: ends.into() })
    }

    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A frame by its place, from 0; `None` behind the last.
    pub fn get(&self, frame: usize) -> Option<&[u8]> {
        let end = *self.ends.get(frame)? as usize;
        let begin = frame.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.bytes.get(begin..end)
    }
}

impl fmt::Debug for EncodedPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncodedPrompt({:?}, {:?}, {})", self.codec(), self.duration(), self.sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first byte of a CELT packet of one 20 ms frame.
    const TOC: u8 = 19 << 3;

    #[test]
    fn frames_of_any_length_are_found_again() {
        let frames: Vec<_> = (0..5).map(|seed| vec![TOC + 4; 1 + seed * 33]).collect();
        let table = FrameTable::opus(&frames).unwrap();
        let found: Vec<_> = (0..table.len()).filter_map(|frame| table.get(frame)).collect();
        assert_eq!(found, frames);
        assert_eq!(table.get(5), None);
        let prompt = EncodedPrompt::opus(Sha256([0; 32]), table);
        assert_eq!((prompt.codec(), prompt.units()), (Codec::Opus, 5 * 960));
        assert_eq!(prompt.duration(), Duration::from_millis(100));
        assert_eq!(prompt.weight(), 335 + 20);
        assert_eq!(prompt.decode(), None);
    }

    #[test]
    fn frames_that_cannot_be_sent_every_20_ms_are_refused() {
        let refused = |frames: &[&[u8]]| FrameTable::opus(frames).unwrap_err();
        assert_eq!(refused(&[&[TOC], &[]]), FrameError::Duration { frame: 1 });
        assert_eq!(refused(&[&[18 << 3]]), FrameError::Duration { frame: 0 }, "10 ms");
        let long = [TOC; MAX_FRAME_LEN + 1];
        assert_eq!(refused(&[&long]), FrameError::TooLong { frame: 0, length: 401 });
        assert!(FrameTable::opus([&long[1..]]).is_ok());
        assert!(FrameTable::opus([[0; 0]; 0]).unwrap().is_empty());
    }

    #[test]
    fn whoever_plays_a_prompt_shares_it() {
        let prompt = EncodedPrompt::samples(SampleCodec::Pcma, Sha256([0; 32]), [1, 2]);
        assert!(!prompt.is_shared());
        let played = prompt.audio.clone();
        assert!(prompt.is_shared());
        drop(played);
        assert!(!prompt.is_shared());
    }
}
