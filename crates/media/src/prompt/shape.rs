//! A prompt made louder or softer, or cut at its beginning: another prompt, of the same audio.

use super::{EncodedAudio, EncodedPrompt, FrameTable};
use crate::codec::Codec;

/// Why a prompt cannot be played so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// Nothing of it would be left.
    #[error("it is {0} ms long, and nothing is left from there on")]
    NothingLeft(u64),
    /// Frames can be sent as they are only.
    #[error("a prompt encoded in frames cannot be made louder or softer")]
    Frames,
}

impl EncodedPrompt {
    /// The prompt without its first `start_ms`, louder by `gain_tenths` tenths of a decibel; what is
    /// too loud then is clipped. Digest and codec stay.
    ///
    /// # Errors
    /// [`ShapeError`].
    pub fn shaped(&self, gain_tenths: i16, start_ms: u32) -> Result<Self, ShapeError> {
        let rate = u64::from(self.codec().rate());
        let start = usize::try_from(u64::from(start_ms) * rate / 1_000).unwrap_or(usize::MAX);
        if start > 0 && start as u64 >= self.units() {
            return Err(ShapeError::NothingLeft(self.units() * 1_000 / rate));
        }
        match &self.audio {
            EncodedAudio::Samples { codec, bytes } => {
                let gain = 10_f64.powf(f64::from(gain_tenths) / 200.0);
                // `as` saturates.
                let louder = |code: u8| (f64::from(codec.sample(code)) * gain).round() as i16;
                let table: Vec<u8> = (0..=u8::MAX).map(|code| codec.code(louder(code))).collect();
                let rest = &bytes[start..];
                let bytes: Vec<u8> = match gain_tenths {
                    0 => rest.to_vec(),
                    _ => rest.iter().map(|code| table[usize::from(*code)]).collect(),
                };
                Ok(Self::samples(*codec, self.sha256, bytes))
            }
            EncodedAudio::Opus(_) if gain_tenths != 0 => Err(ShapeError::Frames),
            EncodedAudio::Opus(frames) => {
                let first = start / Codec::Opus.packet_units() as usize;
                let rest = (first..frames.len()).filter_map(|frame| frames.get(frame));
                let rest = FrameTable::opus(rest).map_err(|_| ShapeError::Frames)?;
                Ok(Self::opus(self.sha256, rest))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::tone_level_db,
        codec::SampleCodec,
        prompt::{Prompt, Sha256},
    };

    fn tone() -> EncodedPrompt {
        let step = std::f64::consts::TAU * 440.0 / 8_000.0;
        let samples: Vec<i16> =
            (0..8_000).map(|n| (8_000.0 * (step * f64::from(n)).sin()).round() as i16).collect();
        let sha256 = Sha256::of(&samples);
        Prompt { rate: 8_000, samples, sha256 }.encode(SampleCodec::Pcmu)
    }

    #[test]
    fn gain_is_in_decibels_and_clips() {
        let level = |prompt: &EncodedPrompt| tone_level_db(&prompt.decode().unwrap(), 8_000, 440.0);
        let before = level(&tone());
        for tenths in [-200, -60, 35, 100] {
            let louder = tone().shaped(tenths, 0).unwrap();
            let gained = level(&louder) - before;
            assert!((gained - f64::from(tenths) / 10.0).abs() < 0.2, "{tenths}: {gained}");
            assert_eq!((louder.sha256, louder.units()), (tone().sha256, 8_000));
        }
        let loudest = tone().shaped(200, 0).unwrap().decode().unwrap();
        let peak = loudest.iter().map(|sample| sample.unsigned_abs()).max();
        assert_eq!(peak, Some(32_124), "the loudest there is");
    }

    #[test]
    fn the_beginning_is_left_out_to_the_sample() {
        let cut = tone().shaped(0, 250).unwrap();
        assert_eq!(cut.decode().unwrap(), tone().decode().unwrap()[2_000..]);
        assert_eq!(tone().shaped(0, 1_000).unwrap_err(), ShapeError::NothingLeft(1_000));
        assert_eq!(tone().shaped(0, 0).unwrap().decode(), tone().decode());
    }

    #[test]
    fn frames_are_cut_between_frames_and_stay_as_loud_as_they_are() {
        let frames: Vec<Vec<u8>> = (0..5).map(|n| vec![19 << 3; 1 + n]).collect();
        let prompt = EncodedPrompt::opus(Sha256([1; 32]), FrameTable::opus(&frames).unwrap());
        let EncodedAudio::Opus(rest) = prompt.shaped(0, 50).unwrap().audio else { panic!() };
        assert_eq!((rest.len(), rest.get(0)), (3, Some(&frames[2][..])));
        assert_eq!(prompt.shaped(1, 0).unwrap_err(), ShapeError::Frames);
    }
}
