//! The RIFF structure: from chunk to chunk, without trusting one of their sizes.

use std::io::Read;

use super::{MAX_CHUNKS, Opening, WavError, opening::LOOK, source::Source};

/// A size field that says "not known", left by writers to a pipe.
const UNKNOWN_SIZE: u32 = u32::MAX;

/// A chunk header that was just passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) id: [u8; 4],
    pub(super) size: u32,
}

/// Which container holds the chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    /// 32-bit sizes.
    Riff,
    /// RF64 or BW64 (EBU Tech 3306): a size of 2³²−1 is found in the `ds64` chunk.
    Rf64,
}

/// Goes over the chunks of a file in order.
pub(super) struct Chunks<R> {
    pub(super) source: Source<R>,
    pub(super) container: Container,
    riff_size: u32,
    long_data_size: Option<u64>,
    seen: u32,
    /// Bytes of the current chunk that are not consumed yet.
    left: u64,
    /// The current chunk is of odd size, so a padding byte should follow it.
    odd: bool,
}

impl<R: Read> Chunks<R> {
    /// Reads the 12 bytes of the file header.
    pub(super) fn open(inner: R) -> Result<Self, WavError> {
        let mut source = Source::new(inner);
        let head = source.peek(LOOK)?;
        let container = match head {
            [] => return Err(WavError::EmptyFile),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Container::Riff,
            [b'R' | b'B', rest @ ..] if rest.starts_with(b"F64") || rest.starts_with(b"W64") => {
                if rest.get(7..11) != Some(b"WAVE") {
                    return Err(WavError::NotWav(Opening::of(head)));
                }
                Container::Rf64
            }
            [b'R', b'I', b'F', b'F', ..] if head.len() < 12 => {
                return Err(WavError::CutHeader { bytes: head.len() as u64 });
            }
            _ => return Err(WavError::NotWav(Opening::of(head))),
        };
        let riff_size = word(head, 4).expect("12 bytes were matched");
        source.consume(12);
        let (seen, left, odd) = (0, 0, false);
        Ok(Self { source, container, riff_size, long_data_size: None, seen, left, odd })
    }

    /// Steps over the rest of the current chunk to the next one; `None` at the end of the file.
    ///
    /// The size in the RIFF header is not a bound: streaming writers leave 0 or 2³²−1 there, and
    /// editors that append forget it.
    pub(super) fn next(&mut self) -> Result<Option<Chunk>, WavError> {
        self.source.skip(self.left)?;
        if self.odd && !self.padding_is_missing()? {
            self.source.skip(1)?;
        }
        let head = self.source.peek(8)?;
        let &[a, b, c, d, ..] = head else { return Ok(None) };
        let Some(size) = word(head, 4) else { return Ok(None) };
        let chunk = Chunk { id: [a, b, c, d], size };
        self.source.consume(8);
        self.left = u64::from(size);
        self.odd = size % 2 == 1;
        self.seen += 1;
        if self.seen > MAX_CHUNKS {
            return Err(WavError::TooManyChunks);
        }
        Ok(Some(chunk))
    }

    /// The first `wanted` bytes of the current chunk, fewer if the chunk or the file is shorter.
    pub(super) fn peek_body(&mut self, wanted: usize) -> Result<&[u8], WavError> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        Ok(self.source.peek(wanted.min(left))?)
    }

    /// Takes the size of a later `data` chunk out of the current chunk, a `ds64`.
    pub(super) fn read_ds64(&mut self) -> Result<(), WavError> {
        if let Some(&[a, b, c, d, e, f, g, h]) = self.peek_body(16)?.get(8..16) {
            self.long_data_size = Some(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
        }
        Ok(())
    }

    /// How many bytes the `data` chunk that was just passed says it has; `None` if its writer did
    /// not know, which means all that follow.
    pub(super) fn data_size(&self, chunk: Chunk) -> Option<u64> {
        let streamed = self.riff_size == 0 || self.riff_size == UNKNOWN_SIZE;
        match (self.container, chunk.size) {
            (Container::Rf64, UNKNOWN_SIZE) => self.long_data_size,
            (Container::Riff, UNKNOWN_SIZE) => None,
            // Writers to a pipe that could not go back leave zeros in both places.
            (Container::Riff, 0) if streamed => None,
            (Container::Riff | Container::Rf64, size) => Some(u64::from(size)),
        }
    }

    /// Whether the chunk after one of odd size begins at once. RIFF asks for a zero byte between
    /// them; some writers leave it out, and some pad with another byte.
    fn padding_is_missing(&mut self) -> Result<bool, WavError> {
        let next = self.source.peek(5)?;
        let Some(unpadded) = next.get(..4) else { return Ok(false) };
        if next.get(1..5).is_some_and(is_known_id) {
            return Ok(false);
        }
        Ok(unpadded.iter().all(|byte| (b' '..=b'~').contains(byte)))
    }
}

/// The 32-bit number at an offset.
pub(super) fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    match bytes.get(offset..offset.checked_add(4)?)? {
        &[a, b, c, d] => Some(u32::from_le_bytes([a, b, c, d])),
        _ => None,
    }
}

fn is_known_id(id: &[u8]) -> bool {
    const KNOWN: [&[u8; 4]; 16] = [
        b"fmt ", b"data", b"LIST", b"fact", b"cue ", b"smpl", b"inst", b"bext", b"iXML", b"junk",
        b"JUNK", b"PAD ", b"id3 ", b"ID3 ", b"PEAK", b"ds64",
    ];
    KNOWN.iter().any(|known| id == *known)
}
