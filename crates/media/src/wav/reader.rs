//! The WAV reader: header to format, then mono samples on demand.

use std::io::Read;

use super::{
    Format, WavError,
    chunks::{Chunks, Container},
    format::{self, USED_SIZE},
    samples,
    source::CAPACITY,
};

/// Reads one WAV file, front to back. Stands at the first sample after [`WavReader::open`].
///
/// Patience, and who needs it: `LIST` between `fmt ` and `data` (ffmpeg); sizes of 0 or 2³²−1 and
/// a `data` chunk that ends early (ffmpeg and sox to a pipe, cut downloads); odd chunks without
/// padding; a block align that is too small; RF64 and BW64. Only the first `data` chunk is audio;
/// nothing after it is looked at.
pub struct WavReader<R> {
    chunks: Chunks<R>,
    format: Format,
    /// Bytes of the `data` chunk not decoded yet; `None` if its writer did not say.
    left: Option<u64>,
    missing: u64,
}

impl<R: Read> WavReader<R> {
    /// Reads up to the first sample.
    ///
    /// # Errors
    /// [`WavError`] says what was found instead of a playable file; [`WavError::NoAudio`] if there
    /// is not one whole frame.
    pub fn open(file: R) -> Result<Self, WavError> {
        let mut chunks = Chunks::open(file)?;
        let mut format = None;
        while let Some(chunk) = chunks.next()? {
            match &chunk.id {
                b"fmt " => {
                    let body = chunks.peek_body(USED_SIZE)?.to_vec();
                    let cut = body.len() < USED_SIZE.min(chunk.size as usize);
                    if cut && chunk.size <= format::MAX_SIZE {
                        let bytes = chunks.source.consumed() + body.len() as u64;
                        return Err(WavError::CutHeader { bytes });
                    }
                    let found = Format::parse(&body, chunk.size)?;
                    if format.is_some_and(|first| first != found) {
                        return Err(WavError::TwoFormats);
                    }
                    format = Some(found);
                }
                b"ds64" if chunks.container == Container::Rf64 => chunks.read_ds64()?,
                b"data" => {
                    let format = format.ok_or(WavError::DataBeforeFormat)?;
                    let left = chunks.data_size(chunk);
                    let mut reader = Self { chunks, format, left, missing: 0 };
                    return match reader.peek_frames(1)? {
                        [] => Err(WavError::NoAudio),
                        _ => Ok(reader),
                    };
                }
                _ => {}
            }
        }
        let bytes = chunks.source.consumed();
        // 12 bytes and nothing else: the download broke off, rather than the writer.
        Err(if bytes <= 12 { WavError::CutHeader { bytes } } else { WavError::NoData })
    }

    /// What the samples in the file are.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Refuses everything but 16 kHz mono 16-bit PCM in a RIFF file.
    ///
    /// # Errors
    /// [`WavError::NotGraphFormat`] names the difference.
    pub fn require_graph_format(&self) -> Result<(), WavError> {
        let container = match self.chunks.container {
            Container::Riff => None,
            Container::Rf64 => Some(format!("{} in an RF64 file", self.format)),
        };
        match container.or_else(|| self.format.departs_from_graph()) {
            None => Ok(()),
            Some(found) => Err(WavError::NotGraphFormat { found }),
        }
    }

    /// Appends some mono samples, at most 64 K of them, and says how many; 0 at the end.
    ///
    /// # Errors
    /// [`WavError::Read`] if the file could not be read.
    pub fn read(&mut self, samples: &mut Vec<i16>) -> Result<usize, WavError> {
        let format = self.format;
        let before = samples.len();
        let bytes = self.peek_frames(CAPACITY / format.frame_bytes())?;
        samples::decode(&format, bytes, samples);
        let used = bytes.len();
        self.chunks.source.consume(used);
        if let Some(left) = &mut self.left {
            *left -= used as u64;
        }
        if used == 0 {
            // What is left of a partial frame is there, though it is not played.
            let partial = self.chunks.source.peek(format.frame_bytes())?.len() as u64;
            self.missing = self.left.unwrap_or(0).saturating_sub(partial);
        }
        Ok(samples.len() - before)
    }

    /// Bytes that the `data` chunk promised and the file does not have; 0 before the end.
    pub fn missing_bytes(&self) -> u64 {
        self.missing
    }

    /// The bytes of the next whole frames, at most `frames`; none at the end.
    fn peek_frames(&mut self, frames: usize) -> Result<&[u8], WavError> {
        let frame = self.format.frame_bytes();
        let left = self.left.and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX);
        let bytes = self.chunks.source.peek(left.min(frames * frame))?;
        Ok(&bytes[..bytes.len() / frame * frame])
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn chunk(id: &[u8; 4], size: usize, body: &[u8]) -> Vec<u8> {
        [&id[..], &u32::try_from(size).unwrap().to_le_bytes(), body].concat()
    }

    /// 8 kHz mono 16-bit.
    fn fmt() -> Vec<u8> {
        let body = [1, 0, 1, 0, 0x40, 0x1F, 0, 0, 0x80, 0x3E, 0, 0, 2, 0, 16, 0];
        chunk(b"fmt ", 16, &body)
    }

    fn data(size: usize, samples: &[i16]) -> Vec<u8> {
        let body: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        chunk(b"data", size, &body)
    }

    fn file(id: &[u8; 4], size: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
        [&id[..], &size.to_le_bytes(), b"WAVE", &chunks.concat()].concat()
    }

    /// The samples, and how many bytes were missing.
    fn read(bytes: &[u8]) -> Result<(Vec<i16>, u64), WavError> {
        let mut reader = WavReader::open(bytes)?;
        let mut samples = Vec::new();
        while reader.read(&mut samples)? > 0 {}
        Ok((samples, reader.missing_bytes()))
    }

    const SAMPLES: [i16; 4] = [100, -200, 300, -400];

    #[test]
    fn padding_is_recognised_and_its_absence_too() {
        for junk in [&b"abc\0"[..], b"abc", b"abcx"] {
            let chunks = [fmt(), chunk(b"junk", 3, junk), data(8, &SAMPLES)];
            assert_eq!(
                read(&file(b"RIFF", 0, &chunks)).unwrap(),
                (SAMPLES.to_vec(), 0),
                "{junk:?}"
            );
        }
    }

    #[test]
    fn sizes_that_a_pipe_left_open_mean_to_the_end() {
        for (riff_size, data_size) in [(0, 0), (u32::MAX, 0xFFFF_FFFF), (36, 0xFFFF_FFFF)] {
            let bytes = file(b"RIFF", riff_size, &[fmt(), data(data_size, &SAMPLES)]);
            assert_eq!(read(&bytes).unwrap(), (SAMPLES.to_vec(), 0));
        }
    }

    #[test]
    fn an_empty_data_chunk_of_a_finished_file_is_no_audio() {
        let bytes = file(b"RIFF", 36, &[fmt(), data(0, &[]), chunk(b"LIST", 4, b"INFO")]);
        assert!(matches!(read(&bytes), Err(WavError::NoAudio)));
    }

    #[test]
    fn a_cut_file_is_what_it_holds_and_the_rest_is_counted() {
        let mut bytes = file(b"RIFF", 36, &[fmt(), data(20, &SAMPLES)]);
        assert_eq!(read(&bytes).unwrap(), (SAMPLES.to_vec(), 12));
        bytes.pop();
        assert_eq!(read(&bytes).unwrap(), (SAMPLES[..3].to_vec(), 13));
    }

    #[test]
    fn half_a_sample_at_the_end_of_the_chunk_is_not_missing() {
        let bytes = file(b"RIFF", 36, &[fmt(), data(7, &SAMPLES)]);
        assert_eq!(read(&bytes).unwrap(), (SAMPLES[..3].to_vec(), 0));
    }

    #[test]
    fn only_the_first_data_chunk_is_audio() {
        let chunks = [fmt(), data(8, &SAMPLES), chunk(b"LIST", 4, b"INFO"), data(2, &[9])];
        assert_eq!(read(&file(b"RIFF", 36, &chunks)).unwrap().0, SAMPLES);
    }

    #[test]
    fn an_rf64_file_takes_its_size_from_ds64() {
        let mut sizes = [0; 28];
        sizes[8] = 8;
        let chunks = [
            chunk(b"ds64", 28, &sizes),
            fmt(),
            data(0xFFFF_FFFF, &SAMPLES),
            chunk(b"LIST", 4, b"INFO"),
        ];
        for id in [b"RF64", b"BW64"] {
            let bytes = file(id, u32::MAX, &chunks);
            assert_eq!(read(&bytes).unwrap(), (SAMPLES.to_vec(), 0));
            let refusal = WavReader::open(bytes.as_slice()).unwrap().require_graph_format();
            assert!(refusal.unwrap_err().to_string().ends_with("16-bit in an RF64 file"));
        }
    }

    #[test]
    fn a_repeated_fmt_chunk_is_fine_and_another_one_is_not() {
        let mut other = fmt();
        other[12] = 0x80;
        let twice = file(b"RIFF", 36, &[fmt(), fmt(), data(8, &SAMPLES)]);
        assert_eq!(read(&twice).unwrap().0, SAMPLES);
        let differing = file(b"RIFF", 36, &[fmt(), other, data(8, &SAMPLES)]);
        assert!(matches!(read(&differing), Err(WavError::TwoFormats)));
    }

    #[test]
    fn a_flood_of_chunks_is_refused() {
        let mut chunks = vec![chunk(b"junk", 0, b""); 1_022];
        chunks.extend([fmt(), data(8, &SAMPLES)]);
        assert_eq!(read(&file(b"RIFF", 36, &chunks)).unwrap().0, SAMPLES);
        chunks.insert(0, chunk(b"junk", 0, b""));
        assert!(matches!(read(&file(b"RIFF", 36, &chunks)), Err(WavError::TooManyChunks)));
    }

    #[test]
    fn an_error_of_the_disk_is_not_blamed_on_the_file() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("disk on fire"))
            }
        }
        let bytes = file(b"RIFF", 36, &[fmt(), data(200_000, &[1; 100_000])]);
        let mut reader = WavReader::open(bytes[..100].chain(Broken)).unwrap();
        assert!(matches!(reader.read(&mut Vec::new()), Err(WavError::Read(_))));
        assert!(matches!(WavReader::open(Broken), Err(WavError::Read(_))));
    }
}
