//! How much of SQLite's write-ahead log was answered for, beside the log.
//!
//! SQLite takes the first frame of its log that fails its checksum for the torn end of a crash and
//! forgets what stands behind it. That is right for what nobody was told of, and a silent loss if a
//! bit has flipped in a transaction that was. So the writer notes after each transaction, before it
//! answers, how many frames are in the log; a log that has fewer good ones at the next start is
//! damaged. The note is not synced: it never runs ahead of the log, which is.
//!
//! Format of the log: <https://sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

const MARK_LENGTH: usize = 16;
const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// Magic numbers of a log; the last bit says that its checksums read words as big-endian.
const MAGIC: u32 = 0x377f_0682;

/// The note of one store, held open by its writer.
#[derive(Debug)]
pub(crate) struct LogMark {
    mark: File,
    path: PathBuf,
    log: PathBuf,
    /// The log, once it exists.
    open_log: Option<File>,
}

/// A log that is not what was answered for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DamagedLog {
    pub(crate) path: PathBuf,
    pub(crate) detail: String,
}

impl LogMark {
    /// Compares the log that an earlier process left behind with its note. To be called before
    /// SQLite opens the database, which rewrites both.
    ///
    /// # Errors
    /// The files cannot be read, or `Ok(Err(_))`: the log is damaged.
    pub(crate) fn check(database: &Path) -> io::Result<Result<(), DamagedLog>> {
        let (mark, log) = (beside(database, "-mark"), beside(database, "-wal"));
        let Some(noted) = read_if_there(&mark)? else { return Ok(Ok(())) };
        let damaged =
            |path: &Path, detail: String| Ok(Err(DamagedLog { path: path.into(), detail }));
        let Some((salts, frames)) = parse(&noted) else {
            // Cut short by a power cut before it was ever whole.
            if noted.len() < MARK_LENGTH {
                return Ok(Ok(()));
            }
            return damaged(&mark, "it does not agree with its checksum".into());
        };
        if frames == 0 {
            return Ok(Ok(()));
        }
        let Some(bytes) = read_if_there(&log)? else {
            return damaged(
                &log,
                "the log is missing, with transactions that were answered".into(),
            );
        };
        match good_frames(&bytes) {
            None => damaged(&log, "its header at offset 0 is damaged".into()),
            // A younger log: nothing of it was answered yet, and all of the older is folded.
            Some((found, ..)) if found != salts => Ok(Ok(())),
            Some((_, good, _)) if good >= frames => Ok(Ok(())),
            Some((_, good, end)) => damaged(
                &log,
                format!(
                    "{frames} frames were answered for, {good} are good: damage behind offset {end}"
                ),
            ),
        }
    }

    /// Begins with an empty note.
    pub(crate) fn start(database: &Path) -> io::Result<Self> {
        let path = beside(database, "-mark");
        let mark = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
        Ok(Self { mark, path, log: beside(database, "-wal"), open_log: None })
    }

    /// Notes that `frames` of the log are durable.
    ///
    /// # Errors
    /// When a file cannot be read or written; the older note stays.
    pub(crate) fn note(&mut self, frames: u32) -> io::Result<()> {
        if frames == 0 {
            // There may be no log yet.
            return self.mark.write_all_at(&written([0; 8], 0), 0);
        }
        let log = match &self.open_log {
            Some(log) => log,
            None => self.open_log.insert(File::open(&self.log)?),
        };
        let mut salts = [0; 8];
        log.read_exact_at(&mut salts, 16)?;
        self.mark.write_all_at(&written(salts, frames), 0)
    }

    /// Before SQLite folds the log away for good.
    pub(crate) fn close(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, "the mark of the store's log cannot be removed");
        }
    }
}

fn written(salts: [u8; 8], frames: u32) -> [u8; MARK_LENGTH] {
    let mut bytes = [0; MARK_LENGTH];
    bytes[..8].copy_from_slice(&salts);
    bytes[8..12].copy_from_slice(&frames.to_be_bytes());
    let sum = crc32fast::hash(&bytes[..12]);
    bytes[12..].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Option<([u8; 8], u32)> {
    let salts = bytes.first_chunk::<8>()?;
    let frames = word(bytes, 8)?;
    (bytes == written(*salts, frames)).then_some((*salts, frames))
}

/// Salts of a log, its good frames from the start on, and the offset behind them; `None` if its
/// header is none.
fn good_frames(log: &[u8]) -> Option<([u8; 8], u32, usize)> {
    let magic = word(log, 0)?;
    if magic & !1 != MAGIC {
        return None;
    }
    let is_big_endian = magic & 1 == 1;
    let page = usize::try_from(word(log, 8)?).ok()?;
    let salts: [u8; 8] = log.get(16..24)?.try_into().ok()?;
    let mut sum = checksum((0, 0), log.get(..24)?, is_big_endian);
    if Some(sum) != word(log, 24).zip(word(log, 28)) || !(512..=65_536).contains(&page) {
        return None;
    }
    let (mut frames, mut offset) = (0, HEADER);
    while let Some(frame) = log.get(offset..offset + FRAME_HEADER + page) {
        sum = checksum(sum, &frame[..8], is_big_endian);
        sum = checksum(sum, &frame[FRAME_HEADER..], is_big_endian);
        let is_good = frame[8..16] == salts && Some(sum) == word(frame, 16).zip(word(frame, 20));
        if !is_good {
            break;
        }
        frames += 1;
        offset += FRAME_HEADER + page;
    }
    Some((salts, frames, offset))
}

fn checksum(start: (u32, u32), bytes: &[u8], is_big_endian: bool) -> (u32, u32) {
    let read = |bytes: &[u8]| {
        let word = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if is_big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    };
    bytes.chunks_exact(8).fold(start, |(first, second), pair| {
        let first = first.wrapping_add(read(&pair[..4])).wrapping_add(second);
        (first, second.wrapping_add(read(&pair[4..])).wrapping_add(first))
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
}

fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(suffix);
    name.into()
}
