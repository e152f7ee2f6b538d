//! Key material on disk: read, or written whole or not at all, with its permissions from the first
//! byte on.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// A file or directory that the operating system does not let us use. The text names it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// It cannot be created.
    #[error("{} cannot be written", path.display())]
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// Permission bits of a file that holds a private key.
pub(super) const PRIVATE: u32 = 0o600;
/// Permission bits of a file that everyone may read.
pub(super) const PUBLIC: u32 = 0o644;

/// The contents of `path`.
///
/// # Errors
/// [`FileError::Unreadable`].
pub(super) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|source| FileError::Unreadable { path: path.to_owned(), source })
}

/// The contents of `path`, which is made with `make` if it is not there.
///
/// # Errors
/// [`FileError`], and what `make` fails with.
pub(super) fn read_or_create<E: From<FileError>>(
    path: &Path,
    mode: u32,
    make: impl FnOnce() -> Result<String, E>,
) -> Result<Vec<u8>, E> {
    if !path.exists() {
        match create_new(path, make()?.as_bytes(), mode) {
            // Another process made one in the meantime: its file counts.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                let path = path.to_owned();
                return Err(FileError::Unwritable { path, source: error }.into());
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(read(path)?)
}

/// Creates `path` with exactly `contents`, durable when it returns.
///
/// # Errors
/// `AlreadyExists` if another process was quicker; the file is then left as it is.
fn create_new(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(directory)?;
    file.write_all(contents)?;
    // The umask may have taken bits away from a file that is meant to be public.
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    fs::File::open(directory)?.sync_all()
}

/// Makes the data directory, readable by its owner only, if it is not there.
///
/// # Errors
/// [`FileError::Unwritable`].
pub(super) fn create_directory(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
        .map_err(|source| FileError::Unwritable { path: path.to_owned(), source })
}

/// Whether people other than the owner and the group may read the file.
pub(super) fn world_readable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o007 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_whole_owner_only_and_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        create_new(&path, b"first", PRIVATE).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!world_readable(&path));

        let second = create_new(&path, b"second", PRIVATE).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file stays");
    }
}
