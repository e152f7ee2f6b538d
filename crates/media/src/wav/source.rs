//! Bytes of a file behind a fixed look-ahead buffer, so that nothing above depends on how the
//! bytes happened to be split into reads.

use std::io::{self, Read};

/// Size of the look-ahead buffer, in bytes: the only memory that reading needs.
pub(super) const CAPACITY: usize = 64 * 1024;

/// A reader with look-ahead of up to [`CAPACITY`] bytes.
pub(super) struct Source<R> {
    inner: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    consumed: u64,
    ended: bool,
}

impl<R: Read> Source<R> {
    pub(super) fn new(inner: R) -> Self {
        let buffer = vec![0; CAPACITY].into_boxed_slice();
        Self { inner, buffer, start: 0, end: 0, consumed: 0, ended: false }
    }

    /// The next `wanted` bytes without consuming them, fewer only if the file ends there.
    pub(super) fn peek(&mut self, wanted: usize) -> io::Result<&[u8]> {
        let wanted = wanted.min(CAPACITY);
        if wanted > self.buffer.len() - self.start {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while self.end - self.start < wanted && !self.ended {
            let free = &mut self.buffer[self.end..];
            match self.inner.read(free) {
                Ok(0) => self.ended = true,
                // `min`: a reader that claims more than it was given must not reach a panic.
                Ok(count) => self.end += count.min(free.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.buffer[self.start..self.end.min(self.start + wanted)])
    }

    /// Steps over bytes that were peeked at.
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.consumed += count as u64;
    }

    /// Steps over `count` bytes, or to the end of the file.
    pub(super) fn skip(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let wanted = usize::try_from(count).unwrap_or(CAPACITY).min(CAPACITY);
            let found = self.peek(wanted)?.len();
            if found == 0 {
                break;
            }
            self.consume(found);
            count -= found as u64;
        }
        Ok(())
    }

    /// Bytes consumed so far.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }
}
