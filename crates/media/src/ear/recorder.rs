//! A recording on its way to disk: 16 kHz, mono, 16 bits, and a file that can be read at any time.

use std::{fs::File, io, os::unix::fs::FileExt};

use crate::resample::Doubling;

/// Samples per second of a recording, the one rate that Graph has.
pub const RATE: u32 = 16_000;
/// That of telephones.
const HALF_RATE: u32 = RATE / 2;
const HEADER_LEN: usize = 44;
/// Bytes that are written together: 2 s. The header is brought up to date with them.
const BLOCK: usize = 64_000;

/// Writes one recording.
pub(super) struct Recorder {
    file: File,
    /// Unless what comes in has [`RATE`].
    doubling: Option<Box<Doubling>>,
    /// What is not in the file yet.
    waiting: Vec<u8>,
    converted: Vec<i16>,
    /// Bytes of audio in the file.
    written: u64,
    /// Samples that came in, at their rate, and the most that are wanted.
    taken: u64,
    most: u64,
}

impl Recorder {
    /// Begins an empty file. `rate` is that of what comes in (8 or 16 kHz), and `most` how many samples of it are
    /// taken.
    pub(super) fn new(file: File, rate: u32, most: u64) -> io::Result<Self> {
        let doubling = match rate {
            RATE => None,
            HALF_RATE => Some(Box::default()),
            _ => return Err(io::Error::new(io::ErrorKind::Unsupported, format!("{rate} Hz"))),
        };
        file.write_all_at(&header(0), 0)?;
        Ok(Self {
            file,
            doubling,
            waiting: Vec::with_capacity(BLOCK + 4_096),
            converted: Vec::new(),
            written: 0,
            taken: 0,
            most,
        })
    }

    /// Appends samples, as far as there is room for them.
    pub(super) fn push(&mut self, samples: &[i16]) -> io::Result<()> {
        let room = usize::try_from(self.most - self.taken).unwrap_or(usize::MAX);
        let samples = &samples[..samples.len().min(room)];
        self.taken += samples.len() as u64;
        match &mut self.doubling {
            Some(doubling) => doubling.push(samples, &mut self.converted),
            None => self.converted.extend_from_slice(samples),
        }
        self.keep();
        if self.waiting.len() >= BLOCK { self.write() } else { Ok(()) }
    }

    #[cfg(test)]
    pub(super) fn is_full(&self) -> bool {
        self.taken >= self.most
    }

    /// Completes the file; returns it with the number of its samples. It is not synchronised with
    /// the disk.
    pub(super) fn finish(mut self) -> io::Result<(File, u64)> {
        if let Some(doubling) = self.doubling.take() {
            doubling.finish(&mut self.converted);
        }
        self.keep();
        self.write()?;
        Ok((self.file, self.written / 2))
    }

    fn keep(&mut self) {
        let start = self.waiting.len();
        self.waiting.resize(start + 2 * self.converted.len(), 0);
        let places = self.waiting[start..].as_chunks_mut().0.iter_mut();
        places.zip(&self.converted).for_each(|(to, sample)| *to = sample.to_le_bytes());
        self.converted.clear();
    }

    /// The audio goes first: a header never promises what is not there.
    fn write(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.waiting, HEADER_LEN as u64 + self.written)?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        self.file.write_all_at(&header(self.written), 0)
    }
}

/// The header of a file with so many bytes of audio; what does not fit into 4 GiB is not told.
fn header(bytes: u64) -> [u8; HEADER_LEN] {
    let length = u32::try_from(bytes).unwrap_or(u32::MAX - HEADER_LEN as u32);
    let mut header = [0; HEADER_LEN];
    let fields: [&[u8]; 13] = [
        b"RIFF",
        &(length + HEADER_LEN as u32 - 8).to_le_bytes(),
        b"WAVE",
        b"fmt ",
        &16_u32.to_le_bytes(),
        // PCM, one channel.
        &1_u16.to_le_bytes(),
        &1_u16.to_le_bytes(),
        &RATE.to_le_bytes(),
        &(RATE * 2).to_le_bytes(),
        &2_u16.to_le_bytes(),
        &16_u16.to_le_bytes(),
        b"data",
        &length.to_le_bytes(),
    ];
    let mut at = 0;
    for field in fields {
        header[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    }
    header
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::wav::WavReader;

    fn read(mut file: &[u8]) -> Vec<i16> {
        let mut reader = WavReader::open(&mut file).unwrap();
        reader.require_graph_format().unwrap();
        let mut samples = Vec::new();
        while reader.read(&mut samples).unwrap() > 0 {}
        samples
    }

    #[test]
    fn the_file_has_the_samples_that_came_and_can_be_read_at_any_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let mut recorder = Recorder::new(File::create_new(&path).unwrap(), RATE, 100_000).unwrap();
        assert_eq!(fs::read(&path).unwrap(), header(0));
        let samples: Vec<i16> = (0..120_000_u32).map(|n| (n * 7_919) as i16).collect();
        for piece in samples.chunks(320) {
            recorder.push(piece).unwrap();
        }
        assert!(recorder.is_full());
        let so_far = read(&fs::read(&path).unwrap());
        assert_eq!(so_far, samples[..so_far.len()]);
        assert!(so_far.len() > 50_000, "as after a crash");
        let (_, count) = recorder.finish().unwrap();
        assert_eq!(count, 100_000);
        assert_eq!(read(&fs::read(&path).unwrap()), samples[..100_000]);
    }

    #[test]
    fn a_disk_that_takes_nothing_is_an_error() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let refused = Recorder::new(full, 8_000, 100).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
    }
}
