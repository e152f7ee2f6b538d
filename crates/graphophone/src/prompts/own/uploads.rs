//! Uploaded prompts: kept on disk under hashed names, replaced whole or not at all, known again after
//! a restart. They belong to the server; every application may play them.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, Permissions},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use graphophone_media::prompt::Sha256;
use serde::{Deserialize, Serialize};
use sha2::Digest;
use tracing::warn;

use super::{OwnPromptError, disk};
use crate::prompts::PrepareError;

/// How names of kept files end; nothing else in the directory is touched.
const SUFFIX: &str = ".upload";
const TEMPORARY: &str = ".upload-new";
/// Longest first line of a kept file, which describes the rest.
const MAX_HEADER: u64 = 4_096;
/// Least weight of a file: a block. With the budget it bounds how many there are.
const LEAST_WEIGHT: u64 = 4_096;

/// Where uploads are kept, and how much.
#[derive(Clone, Debug)]
pub struct UploadLimits {
    /// Made if need be, mode 0700.
    pub directory: PathBuf,
    /// Most bytes of all uploads together.
    pub budget: u64,
}

/// An uploaded prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upload {
    /// What it was uploaded as.
    pub name: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// What the file is: `WAV`, `MP3`, `FLAC` or `Ogg`.
    pub format: String,
    /// Playing time in ms, rounded.
    pub duration_ms: u64,
    /// SHA-256 of the decoded audio, as in receipts: 64 lower-case hex digits.
    pub sha256: String,
    /// When it was uploaded, in seconds since 1970.
    pub uploaded: u64,
    /// SHA-256 of the file.
    pub(crate) file_digest: [u8; 32],
}

/// Why an upload is not kept.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// There is no room for it.
    #[error(
        "{bytes} bytes do not fit: {used} of {budget} bytes are used (prompts.uploads_budget); \
         delete some"
    )]
    Full {
        /// Of the file.
        bytes: u64,
        /// By the others.
        used: u64,
        /// [`UploadLimits::budget`].
        budget: u64,
    },
    /// The disk refused it.
    #[error("the file could not be kept")]
    Disk(#[from] io::Error),
}

/// Why a file that was sent is not taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadFailed {
    /// It cannot be played.
    #[error(transparent)]
    Unplayable(#[from] Box<PrepareError>),
    /// It cannot be kept.
    #[error(transparent)]
    NotKept(#[from] UploadError),
    /// The disk refused it.
    #[error("the file could not be kept")]
    Disk(#[from] io::Error),
}

/// All uploads; cheap to clone.
#[derive(Clone, Debug)]
pub struct Uploads(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: UploadLimits,
    index: Mutex<BTreeMap<String, Upload>>,
    /// Held by whoever writes, so that the index and the directory change together.
    writing: Mutex<()>,
}

impl Uploads {
    /// Reads what an earlier run has kept. A file that cannot be understood is left alone, and said
    /// so in the log.
    ///
    /// # Errors
    /// The directory cannot be made or read.
    pub(super) fn open(limits: UploadLimits) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&limits.directory)?;
        fs::set_permissions(&limits.directory, Permissions::from_mode(0o700))?;
        let mut index = BTreeMap::new();
        for entry in fs::read_dir(&limits.directory)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.ends_with(TEMPORARY) {
                // A process died while it wrote it.
                fs::remove_file(&path)?;
            } else if name.ends_with(SUFFIX) {
                match File::open(&path).and_then(|file| header(&mut BufReader::new(file))) {
                    Ok(upload) if path == path_of(&limits.directory, &upload.name) => {
                        index.insert(upload.name.clone(), upload);
                    }
                    Ok(_) => warn!(file = name, "an uploaded prompt has another one's name"),
                    Err(error) => warn!(file = name, %error, "an uploaded prompt is unreadable"),
                }
            }
        }
        let index = Mutex::new(index);
        Ok(Self(Arc::new(Inner { limits, index, writing: Mutex::new(()) })))
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<Upload> {
        self.index().values().cloned().collect()
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<Upload> {
        self.index().get(name).cloned()
    }

    /// Keeps a file in the place of what has its name; durable when it comes back. True if there was
    /// none. For a blocking thread.
    ///
    /// # Errors
    /// [`UploadError`]; then the one before stays.
    pub(crate) fn put(&self, upload: Upload, bytes: &[u8]) -> Result<bool, UploadError> {
        let _writing = self.0.writing.lock().expect("nothing panics while it writes");
        let UploadLimits { directory, budget } = &self.0.limits;
        let used: u64 = {
            let index = self.index();
            let others = index.values().filter(|other| other.name != upload.name);
            others.map(weight).sum()
        };
        if used + weight(&upload) > *budget {
            let (bytes, budget) = (upload.bytes, *budget);
            return Err(UploadError::Full { bytes, used, budget });
        }
        // Mode 0600, of a name that nobody knows before.
        let mut file = tempfile::Builder::new().suffix(TEMPORARY).tempfile_in(directory)?;
        serde_json::to_writer(&mut file, &upload).map_err(io::Error::from)?;
        file.write_all(b"\n")?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path_of(directory, &upload.name)).map_err(|error| error.error)?;
        File::open(directory)?.sync_all()?;
        Ok(self.index().insert(upload.name.clone(), upload).is_none())
    }

    /// Forgets one; false if there is none. Calls that play it go on. For a blocking thread.
    ///
    /// # Errors
    /// The disk refused it.
    pub(crate) fn delete(&self, name: &str) -> io::Result<bool> {
        let _writing = self.0.writing.lock().expect("nothing panics while it writes");
        if self.get(name).is_none() {
            return Ok(false);
        }
        let directory = &self.0.limits.directory;
        match fs::remove_file(path_of(directory, name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        File::open(directory)?.sync_all()?;
        self.index().remove(name);
        Ok(true)
    }

    /// The file's bytes; `None` if there is none of this name. For a blocking thread.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, OwnPromptError> {
        let file = match File::open(path_of(&self.0.limits.directory, name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(disk(error)),
        };
        let mut file = BufReader::new(file);
        let mut bytes = Vec::new();
        header(&mut file).map_err(disk)?;
        file.read_to_end(&mut bytes).map_err(disk)?;
        Ok(Some(bytes))
    }

    fn index(&self) -> MutexGuard<'_, BTreeMap<String, Upload>> {
        self.0.index.lock().expect("nothing panics while it looks")
    }
}

fn weight(upload: &Upload) -> u64 {
    upload.bytes.max(LEAST_WEIGHT)
}

/// A hash: no name of anybody's choice becomes a path.
fn path_of(directory: &Path, name: &str) -> PathBuf {
    let digest = Sha256(sha2::Sha256::digest(name).into());
    directory.join(format!("{digest}{SUFFIX}"))
}

/// Reads the first line; the audio follows.
fn header(file: &mut impl BufRead) -> io::Result<Upload> {
    let mut line = Vec::new();
    file.take(MAX_HEADER).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(name: &str, bytes: &[u8]) -> Upload {
        Upload {
            name: name.to_owned(),
            bytes: bytes.len() as u64,
            format: "WAV".to_owned(),
            duration_ms: 1,
            sha256: String::new(),
            uploaded: 7,
            file_digest: sha2::Sha256::digest(bytes).into(),
        }
    }

    fn open(directory: &Path) -> Uploads {
        let limits = UploadLimits { directory: directory.join("uploads"), budget: 10_000 };
        Uploads::open(limits).unwrap()
    }

    #[test]
    fn what_is_put_survives_a_restart_and_is_replaced_whole() {
        let parent = tempfile::tempdir().unwrap();
        let uploads = open(parent.path());
        assert!(uploads.put(upload("a", b"one"), b"one").unwrap());
        assert!(!uploads.put(upload("a", b"another\none"), b"another\none").unwrap());
        fs::write(parent.path().join(format!("uploads/left{TEMPORARY}")), "half").unwrap();
        fs::write(parent.path().join(format!("uploads/odd{SUFFIX}")), "no json").unwrap();
        let again = open(parent.path());
        assert_eq!(again.list(), [upload("a", b"another\none")]);
        assert_eq!(again.read("a").unwrap().unwrap(), b"another\none");
        let mut files: Vec<_> = fs::read_dir(parent.path().join("uploads"))
            .unwrap()
            .map(|entry| entry.unwrap())
            .collect();
        files.sort_by_key(fs::DirEntry::file_name);
        assert_eq!(files.len(), 2, "the kept one and the odd one");
        let kept = files.iter().find(|file| file.file_name() != "odd.upload").unwrap();
        assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(again.delete("a").unwrap());
        assert!(!again.delete("a").unwrap());
        assert_eq!(again.read("a").unwrap(), None);
    }

    #[test]
    fn the_budget_counts_the_others_and_a_block_for_the_smallest() {
        let parent = tempfile::tempdir().unwrap();
        let uploads = open(parent.path());
        uploads.put(upload("a", b"1"), b"1").unwrap();
        uploads.put(upload("b", b"2"), b"2").unwrap();
        let full = uploads.put(upload("c", b"3"), b"3").unwrap_err().to_string();
        assert_eq!(
            full,
            "1 bytes do not fit: 8192 of 10000 bytes are used (prompts.uploads_budget); delete some"
        );
        let large = [0; 5_900];
        uploads.put(upload("a", &large), &large).unwrap();
        assert!(uploads.put(upload("b", &large), &large).is_err());
        assert_eq!(uploads.read("b").unwrap().unwrap(), b"2", "the one before stays");
    }
}
