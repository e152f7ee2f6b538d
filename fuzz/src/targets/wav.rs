//! A WAV file: read at once and in any pieces it is the same, in memory that depends on what the
//! file holds and not on what it declares, and what comes out can be resampled and encoded.

use std::io::{self, Read};

use graphophone_media::{
    codec::SampleCodec,
    prompt::{Accept, Prompt},
    wav::{MAX_RATE, MIN_RATE, WavReader},
};

use super::Numbers;

/// Samples up to which the audio is also resampled: time.
const SOME: usize = 4_000;

pub(crate) fn run(data: &[u8]) {
    let mut whole = None;
    let used = allocation_counter::measure(|| whole = Some(decode(data)));
    // The look-ahead, a vector of samples that doubles, and what the digest needs.
    assert!(used.bytes_max <= 6 * data.len() as u64 + 160 * 1024, "{} bytes", used.bytes_max);
    let whole = whole.expect("measured");
    let pieces = decode(Pieces { rest: data, numbers: Numbers::of(data) });
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => {
            assert_eq!(whole.rate, pieces.rate);
            assert!(whole.samples == pieces.samples, "the samples depend on how they were read");
        }
        (Err(whole), Err(pieces)) => assert_eq!(whole, pieces),
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => panic!("read in pieces: {error}"),
    }
    let Ok(prompt) = whole else { return };
    assert!(!prompt.samples.is_empty() && prompt.samples.len() <= data.len());
    assert!((MIN_RATE..=MAX_RATE).contains(&prompt.rate));
    if prompt.samples.len() <= SOME {
        for codec in SampleCodec::ALL {
            let encoded = prompt.encode(codec);
            let expected = prompt.samples.len() as u64 * u64::from(codec.rate());
            let off = encoded.units().abs_diff(expected.div_ceil(u64::from(prompt.rate)));
            assert!(off <= 1, "{} units of {}", encoded.units(), prompt.samples.len());
        }
    }
}

fn decode(file: impl Read) -> Result<Prompt, String> {
    let mut reader = WavReader::open(file).map_err(|error| error.to_string())?;
    Prompt::read(&mut reader, Accept::Any, usize::MAX).map_err(|error| error.to_string())
}

/// A file that comes in pieces of 1 to 64 bytes, and interrupted.
struct Pieces<'a> {
    rest: &'a [u8],
    numbers: Numbers,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.numbers.below(16) == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = buffer.len().min(1 + self.numbers.below(64));
        self.rest.read(&mut buffer[..most])
    }
}
