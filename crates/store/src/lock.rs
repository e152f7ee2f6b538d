//! The lock that keeps a second server out of a store directory.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    path::Path,
};

use crate::error::OpenError;

const LOCK_FILE: &str = "lock";

/// Held as long as any thread of the store lives; the kernel releases it when the process dies,
/// so a crash leaves nothing to clean up.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Makes the directory if needed (readable by its owner only) and locks it.
    pub(crate) fn acquire(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(LOCK_FILE);
        let refuse =
            |source: io::Error| OpenError::ConfigDirectory { path: directory.to_owned(), source };
        create_private(directory).map_err(refuse)?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(refuse)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only a hint for the reader of the message: unreadable is as good as empty.
                let _ = file.take(64).read_to_string(&mut holder);
                return Err(OpenError::ConfigInUse { path, holder: holder.trim().to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(refuse(source)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "pid {}", std::process::id()))
            .map_err(refuse)?;
        Ok(Self { _file: file })
    }
}

fn create_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}
