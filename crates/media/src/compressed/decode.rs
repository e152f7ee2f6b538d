//! From a compressed file to samples, with every bound that the decoder itself has not.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use symphonia::{
    core::{
        codecs::{
            CodecParameters,
            audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions},
        },
        errors::Error,
        formats::{FormatOptions, FormatReader, Track},
        io::{MediaSource, MediaSourceStream, MediaSourceStreamOptions},
    },
    default::{
        formats::{FlacReader, MpaReader, OggReader},
        get_codecs,
    },
};

use super::{
    CompressedError, Packing,
    sniff::{LOOK, ogg_content},
};
use crate::{
    prompt::{Prompt, Sha256},
    wav::{MAX_CHANNELS, MAX_RATE, MIN_RATE},
};

/// Longest headers of a codec. Those of Vorbis hold its codebooks, 16 MiB of memory for each 16 KiB
/// at worst; real ones have less than 10 KiB.
const MAX_HEADERS: usize = 64 * 1024;
/// Samples of a second that count for the longest prompt, in Hz.
const FULL_RATE: u32 = 48_000;
/// Length of the header of an ID3v2 tag, and of its footer.
const ID3_HEADER: usize = 10;

/// A decoded file.
#[derive(Debug)]
pub struct Decoded {
    /// Its audio, mixed down to mono, at the file's rate.
    pub prompt: Prompt,
    /// Samples that the file's headers announce and its audio does not have.
    pub missing: u64,
    /// Whether that is all of it, or there is more than was asked for.
    pub is_whole: bool,
}

/// What the headers say.
struct Headers {
    rate: u32,
    channels: usize,
    /// Samples of each channel, if they say.
    announced: Option<u64>,
    parameters: AudioCodecParameters,
    track: u32,
}

/// Decodes a whole file and mixes its channels down. Encoder delay and padding that the file tells
/// of are left out. Stops soon after `longest`, counted with 48 kHz at most: of a file with a higher
/// rate less is taken, so that memory is bounded.
///
/// Memory is two bytes for each sample of mono, and at most ~70 MiB for the decoder's own tables. For
/// a blocking thread: an hour takes seconds.
///
/// # Errors
/// [`CompressedError`] names what was found instead of playable audio. A damaged packet is an error:
/// a prompt is played whole or not at all.
pub fn decode(file: File, packing: Packing, longest: Duration) -> Result<Decoded, CompressedError> {
    decode_source(file, packing, longest)
}

/// The same of any source. What panics here has been fed with bytes of somebody else, and leaves
/// nothing behind that anybody looks at again.
pub(super) fn decode_source(
    source: impl MediaSource + 'static,
    packing: Packing,
    longest: Duration,
) -> Result<Decoded, CompressedError> {
    let work = AssertUnwindSafe(|| read(source, packing, longest));
    catch_unwind(work).unwrap_or(Err(CompressedError::DecoderFailed(packing)))
}

fn read(
    mut source: impl MediaSource + 'static,
    packing: Packing,
    longest: Duration,
) -> Result<Decoded, CompressedError> {
    match packing {
        Packing::Mp3 => skip_id3(&mut source).map_err(CompressedError::Read)?,
        Packing::Ogg => require_played_content(&mut source)?,
        Packing::Flac => {}
    }
    let source = Box::new(source);
    let stream = MediaSourceStream::new(source, MediaSourceStreamOptions::default());
    let options = FormatOptions::default();
    let malformed = |error| broken(packing, error);
    let mut reader: Box<dyn FormatReader> = match packing {
        Packing::Mp3 => Box::new(MpaReader::try_new(stream, options).map_err(malformed)?),
        Packing::Flac => Box::new(FlacReader::try_new(stream, options).map_err(malformed)?),
        Packing::Ogg => Box::new(OggReader::try_new(stream, options).map_err(malformed)?),
    };
    let headers = Headers::of(reader.tracks(), packing)?;
    let options = AudioDecoderOptions::default().gapless(true).verify(false);
    let mut decoder =
        get_codecs().make_audio_decoder(&headers.parameters, &options).map_err(malformed)?;
    let most =
        longest.as_nanos().saturating_mul(headers.rate.min(FULL_RATE).into()) / 1_000_000_000;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let samples = mixed_down(reader.as_mut(), decoder.as_mut(), &headers, packing, most)?;
    if samples.is_empty() {
        return Err(CompressedError::NoAudio(packing));
    }
    let found = samples.len() as u64;
    let is_whole = samples.len() <= most;
    let missing = headers.announced.map_or(0, |announced| announced.saturating_sub(found));
    let sha256 = Sha256::of(&samples);
    Ok(Decoded { prompt: Prompt { rate: headers.rate, samples, sha256 }, missing, is_whole })
}

fn mixed_down(
    reader: &mut dyn FormatReader,
    decoder: &mut dyn AudioDecoder,
    headers: &Headers,
    packing: Packing,
    limit: usize,
) -> Result<Vec<i16>, CompressedError> {
    let (mut samples, mut interleaved) = (Vec::new(), Vec::<f32>::new());
    // A stream that was joined late does not begin at 0.
    let mut begins_at = None;
    let damaged = |samples: &[i16], reason: String| CompressedError::Damaged {
        packing,
        milliseconds: samples.len() as u64 * 1_000 / u64::from(headers.rate),
        reason,
    };
    while samples.len() <= limit {
        let packet = match reader.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            // The file ends within a packet: like a WAV file it is what it holds.
            Err(Error::IoError(error)) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(Error::IoError(error)) => return Err(CompressedError::Read(error)),
            Err(error) => return Err(damaged(&samples, said(&error))),
        };
        if packet.track_id != headers.track {
            continue;
        }
        let audio = match decoder.decode(&packet) {
            Ok(audio) => audio,
            Err(error) => return Err(damaged(&samples, said(&error))),
        };
        if audio.spec().rate() != headers.rate || audio.num_planes() != headers.channels {
            let reason = "it changes its rate or channels".to_owned();
            return Err(damaged(&samples, reason));
        }
        if audio.is_empty() {
            continue;
        }
        // Pages of Ogg and frames of FLAC are numbered: one that is gone would be a hole in the prompt.
        // Frames of MP3 are not.
        let at = packet.pts.get().saturating_add_unsigned(packet.trim_start.get());
        let begun_at = *begins_at.get_or_insert(at);
        if at.saturating_sub(begun_at) != samples.len() as i64 {
            return Err(damaged(&samples, "a piece is missing".to_owned()));
        }
        audio.copy_to_vec_interleaved(&mut interleaved);
        // The scale of 16 bits, and the mean of the channels.
        let scale = 32_768.0 / headers.channels as f32;
        let frames = interleaved.chunks_exact(headers.channels);
        // `as` saturates, and makes silence of what is no number.
        samples.extend(frames.map(|frame| (frame.iter().sum::<f32>() * scale).round() as i16));
    }
    samples.shrink_to_fit();
    Ok(samples)
}

impl Headers {
    /// Of the first audio track.
    fn of(tracks: &[Track], packing: Packing) -> Result<Self, CompressedError> {
        let audio = |track: &Track| match &track.codec_params {
            Some(CodecParameters::Audio(parameters)) => {
                Some((track.id, track.num_frames, parameters.clone()))
            }
            _ => None,
        };
        let (track, announced, parameters) =
            tracks.iter().find_map(audio).ok_or(CompressedError::NoAudio(packing))?;
        let headers = parameters.extra_data.as_ref().map_or(0, |data| data.len());
        if headers > MAX_HEADERS {
            let (bytes, limit) = (headers, MAX_HEADERS);
            return Err(CompressedError::HeadersTooLong { packing, bytes, limit });
        }
        let rate = parameters.sample_rate.unwrap_or(0);
        if !(MIN_RATE..=MAX_RATE).contains(&rate) {
            return Err(CompressedError::UnsupportedRate(rate));
        }
        let channels = parameters.channels.as_ref().map_or(0, |channels| channels.count());
        if !(1..=usize::from(MAX_CHANNELS)).contains(&channels) {
            return Err(CompressedError::UnsupportedChannels(channels));
        }
        // Of MP3 the reader only guesses, unless a tag tells; a guess is nobody's promise.
        let announced = announced.filter(|_| packing != Packing::Mp3);
        Ok(Self { rate, channels, announced, parameters, track })
    }
}

/// Stands behind the ID3v2 tags at the beginning, of which there may be several (ID3v2.4 §3.1).
fn skip_id3(source: &mut (impl Read + Seek)) -> io::Result<()> {
    /// More than any real file has; each is read from a place of its own.
    const MOST_TAGS: usize = 16;
    let mut at = 0;
    for _ in 0..MOST_TAGS {
        source.seek(SeekFrom::Start(at))?;
        let mut header = [0; ID3_HEADER];
        if beginning(source, &mut header)? < ID3_HEADER || !header.starts_with(b"ID3") {
            break;
        }
        // Seven bits in each byte.
        let size = header[6..].iter().fold(0, |size, byte| size << 7 | u64::from(byte & 0x7F));
        let footer = if header[5] & 0x10 != 0 { ID3_HEADER as u64 } else { 0 };
        at += ID3_HEADER as u64 + size + footer;
    }
    source.seek(SeekFrom::Start(at)).map(drop)
}

/// Refuses an Ogg file whose codec is not played, by its name.
fn require_played_content(source: &mut (impl Read + Seek)) -> Result<(), CompressedError> {
    let mut first = [0; LOOK];
    let read = beginning(source, &mut first).map_err(CompressedError::Read)?;
    source.seek(SeekFrom::Start(0)).map_err(CompressedError::Read)?;
    match ogg_content(&first[..read]) {
        Some("Vorbis" | "FLAC" | "a skeleton") | None => Ok(()),
        Some(content) => Err(CompressedError::UnsupportedContent { content }),
    }
}

/// Reads until the buffer is full or the file ends.
fn beginning(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match source.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn broken(packing: Packing, error: Error) -> CompressedError {
    let mut reason = said(&error);
    if let Error::IoError(error) = error {
        if error.kind() != io::ErrorKind::UnexpectedEof {
            return CompressedError::Read(error);
        }
        "it ends in its headers".clone_into(&mut reason);
    }
    CompressedError::Malformed { packing, reason }
}

/// The decoder's words, which are texts of its source and never bytes of the file.
fn said(error: &Error) -> String {
    error.to_string()
}
