//! From a downloaded file to packets' bytes: decoded once, resampled once, encoded for every codec.

use std::{
    fs,
    io::{self, Read},
    sync::Arc,
};

use graphophone_media::{
    codec::{Codec, SampleCodec},
    compressed::{self, CompressedError, LOOK, Packing},
    prompt::{Accept, EncodedPrompt, Prompt},
    resample::resample,
    wav::{WavError, WavReader},
};

use super::{PrepareError, Settings, fetch::Body, fetch_error::FetchError, outcome::FormatError};

/// Sizes of a `data` chunk from here on were left there by a writer that could not go back (ffmpeg,
/// sox and GStreamer to a pipe): they promise nothing.
const STREAMED_SIZE: u64 = 0x7FFF_FF00;

/// One prompt in every codec. Encoding is cheap next to decoding and resampling, which are shared.
#[derive(Debug)]
pub(crate) struct Audio {
    pcmu: Arc<EncodedPrompt>,
    pcma: Arc<EncodedPrompt>,
}

impl Audio {
    /// Resamples and encodes; for a blocking thread.
    pub(crate) fn of(prompt: Prompt) -> Self {
        // Both codecs have the same rate.
        let rate = SampleCodec::Pcmu.rate();
        let samples = resample(&prompt.samples, prompt.rate, rate);
        let resampled = Prompt { rate, samples, sha256: prompt.sha256 };
        let encoded = |codec| Arc::new(resampled.encode(codec));
        Self { pcmu: encoded(SampleCodec::Pcmu), pcma: encoded(SampleCodec::Pcma) }
    }

    pub(crate) fn encoded(&self, codec: Codec) -> &Arc<EncodedPrompt> {
        match codec {
            // No SDP of ours agrees on Opus; such a stream would refuse the prompt.
            Codec::Pcmu | Codec::Opus => &self.pcmu,
            Codec::Pcma => &self.pcma,
        }
    }

    /// Bytes in memory.
    pub(crate) fn weight(&self) -> u64 {
        self.pcmu.weight() + self.pcma.weight()
    }

    /// Whether somebody plays it.
    pub(crate) fn in_use(&self) -> bool {
        [&self.pcmu, &self.pcma]
            .into_iter()
            .any(|encoded| Arc::strong_count(encoded) > 1 || encoded.is_shared())
    }
}

/// Decodes a downloaded file, whatever its name and Content-Type say; for a blocking thread. `uri` is
/// for the error's text.
///
/// Memory is two bytes per sample, of which there are at most [`Settings::max_duration`].
pub(crate) fn decode(body: &Body, uri: &str, settings: &Settings) -> Result<Prompt, PrepareError> {
    let file = || fs::File::open(&body.file).map_err(|error| broken(uri, error));
    let mut beginning = Vec::new();
    let look = file()?.take(LOOK as u64).read_to_end(&mut beginning);
    look.map_err(|error| broken(uri, error))?;
    match (Packing::of(&beginning), settings.accept) {
        (None, _) => decode_wav(file()?, body, uri, settings),
        (Some(packing), Accept::Any) => decode_compressed(file()?, packing, body, uri, settings),
        (Some(packing), Accept::GraphOnly) => {
            let found = packing.to_string();
            Err(unplayable(body, uri, WavError::NotGraphFormat { found }))
        }
    }
}

fn decode_wav(
    file: fs::File,
    body: &Body,
    uri: &str,
    settings: &Settings,
) -> Result<Prompt, PrepareError> {
    let unplayable = |fault| unplayable(body, uri, fault);
    let mut reader = WavReader::open(file).map_err(unplayable)?;
    let limit = settings.max_duration;
    let most = limit.as_nanos().saturating_mul(reader.format().rate.into()) / 1_000_000_000;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let prompt = Prompt::read(&mut reader, settings.accept, most).map_err(unplayable)?;
    if prompt.samples.len() > most {
        return Err(PrepareError::TooLong { uri: uri.to_owned(), limit });
    }
    let missing = reader.missing_bytes();
    let read = prompt.samples.len() * reader.format().frame_bytes();
    let declared = missing.saturating_add(read as u64);
    if missing > 0 && declared < STREAMED_SIZE {
        require_framed(body, uri, Some(body.length.saturating_add(missing)))?;
    }
    Ok(prompt)
}

fn decode_compressed(
    file: fs::File,
    packing: Packing,
    body: &Body,
    uri: &str,
    settings: &Settings,
) -> Result<Prompt, PrepareError> {
    let limit = settings.max_duration;
    let decoded = compressed::decode(file, packing, limit);
    let decoded = decoded.map_err(|fault| unplayable(body, uri, fault))?;
    if !decoded.is_whole {
        return Err(PrepareError::TooLong { uri: uri.to_owned(), limit });
    }
    if decoded.missing > 0 {
        require_framed(body, uri, None)?;
    }
    Ok(decoded.prompt)
}

/// A file that ends early is what it holds, if HTTP said that this is all of it: else nothing but the
/// file itself says whether it is whole.
fn require_framed(body: &Body, uri: &str, expected: Option<u64>) -> Result<(), PrepareError> {
    if body.framed {
        return Ok(());
    }
    let source = FetchError::PeerTruncated { received: body.length, expected };
    Err(PrepareError::Download { uri: uri.to_owned(), source })
}

fn broken(uri: &str, error: io::Error) -> PrepareError {
    PrepareError::Internal { uri: uri.to_owned(), source: Some(Arc::new(error)) }
}

fn unplayable(body: &Body, uri: &str, fault: impl Into<FormatError>) -> PrepareError {
    match fault.into() {
        FormatError::Wav(WavError::Read(error))
        | FormatError::Compressed(CompressedError::Read(error)) => broken(uri, error),
        fault @ (FormatError::Wav(_) | FormatError::Compressed(_)) => PrepareError::Format {
            uri: uri.to_owned(),
            content_type: body.content_type.clone(),
            source: Arc::new(fault),
        },
    }
}
