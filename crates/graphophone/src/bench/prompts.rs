//! What is played: noise in which every place can be told from every other.

use std::sync::Arc;

use graphophone_media::{
    codec::SampleCodec,
    prompt::{Accept, EncodedAudio, Prompt},
    wav,
};

use super::content::Expected;

/// Sampling rate of the files: what Graph documents.
const RATE: u32 = 16_000;
/// Samples by which a prompt begins later in the noise than the one before it: a packet.
const SHIFT: usize = 320;

/// The prompts of one case.
#[derive(Clone, Debug)]
pub(super) struct PromptSet {
    files: Vec<Arc<[u8]>>,
    tables: Vec<Arc<[u8]>>,
}

impl PromptSet {
    /// `count` different prompts of `seconds` each.
    ///
    /// # Errors
    /// When our own file cannot be read, which a test excludes.
    pub(super) fn new(count: usize, seconds: f64) -> anyhow::Result<Self> {
        let length = (f64::from(RATE) * seconds).round().max(1.0) as usize;
        let noise = noise(length + count.saturating_sub(1) * SHIFT);
        let mut set = Self { files: Vec::new(), tables: Vec::new() };
        for number in 0..count {
            let samples = &noise[number * SHIFT..number * SHIFT + length];
            let file = wav::to_bytes(RATE, samples);
            let prompt = Prompt::decode(file.as_slice(), Accept::Any)?;
            let EncodedAudio::Samples { bytes: table, .. } = prompt.encode(SampleCodec::Pcmu).audio
            else {
                anyhow::bail!("PCMU is a codec of samples");
            };
            set.files.push(file.into());
            set.tables.push(table);
        }
        Ok(set)
    }

    /// The WAV file that the call with this number plays.
    pub(super) fn file(&self, number: usize) -> Arc<[u8]> {
        Arc::clone(&self.files[number % self.files.len()])
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// What the call with this number should hear.
    pub(super) fn expected(&self, number: u32) -> Expected {
        Expected::Loop(Arc::clone(&self.tables[number as usize % self.tables.len()]))
    }
}

/// Noise at about −16 dBFS, the same in every run.
fn noise(samples: usize) -> Vec<i16> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        // Xorshift (Marsaglia).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 48) as u16
    };
    (0..samples).map(|_| next().cast_signed() / 4).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_differ_and_are_as_long_as_asked() {
        let set = PromptSet::new(3, 0.5).unwrap();
        assert_eq!(set.tables.iter().map(|table| table.len()).collect::<Vec<_>>(), [4_000; 3]);
        assert_ne!(set.tables[0], set.tables[1]);
        assert_ne!(set.file(1), set.file(2));
        assert_eq!(set.file(1), set.file(4));
    }
}
