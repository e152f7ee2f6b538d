//! Writing 16-bit mono WAV files.

use std::io::{self, Cursor, Seek, Write};

/// Writes a 16-bit mono WAV file piece by piece.
///
/// The header is brought up to date by [`WavWriter::finish`], and by dropping (where an error goes
/// unseen).
pub struct WavWriter<W: Write + Seek> {
    inner: hound::WavWriter<W>,
}

impl<W: Write + Seek> WavWriter<W> {
    /// Writes the header; `rate` in Hz.
    ///
    /// # Errors
    /// When the sink refuses.
    pub fn new(sink: W, rate: u32) -> io::Result<Self> {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        Ok(Self { inner: hound::WavWriter::new(sink, spec).map_err(as_io)? })
    }

    /// Appends samples.
    ///
    /// # Errors
    /// When the sink refuses, or the file would exceed the 4 GiB of the format.
    pub fn write(&mut self, samples: &[i16]) -> io::Result<()> {
        if u64::from(self.inner.len()) + samples.len() as u64 > u64::from(u32::MAX / 2 - 64) {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a WAV file ends at 4 GiB"));
        }
        samples.iter().try_for_each(|&sample| self.inner.write_sample(sample)).map_err(as_io)
    }

    /// Completes the header.
    ///
    /// # Errors
    /// When the sink refuses.
    pub fn finish(self) -> io::Result<()> {
        self.inner.finalize().map_err(as_io)
    }
}

/// A whole 16-bit mono WAV file in memory; `rate` in Hz.
pub fn to_bytes(rate: u32, samples: &[i16]) -> Vec<u8> {
    let mut sink = Cursor::new(Vec::with_capacity(44 + samples.len() * 2));
    let written = WavWriter::new(&mut sink, rate).and_then(|mut writer| {
        writer.write(samples)?;
        writer.finish()
    });
    written.expect("memory takes every byte, and so many samples do not fit into it");
    sink.into_inner()
}

fn as_io(error: hound::Error) -> io::Error {
    match error {
        hound::Error::IoError(error) => error,
        other @ (hound::Error::FormatError(_)
        | hound::Error::TooWide
        | hound::Error::UnfinishedSample
        | hound::Error::Unsupported
        | hound::Error::InvalidSampleFormat) => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wav::WavReader;

    #[test]
    fn what_is_written_is_read_back_exactly() {
        let samples: Vec<i16> = (0..100_000_u32).map(|n| (n * 7_919) as i16).collect();
        let file = to_bytes(16_000, &samples);
        assert_eq!(file.len(), 44 + samples.len() * 2);
        let mut reader = WavReader::open(file.as_slice()).unwrap();
        reader.require_graph_format().unwrap();
        let mut back = Vec::new();
        while reader.read(&mut back).unwrap() > 0 {}
        assert_eq!(back, samples);
    }
}
