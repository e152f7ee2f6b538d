//! The cache directory: ours alone, readable by us alone, empty at start.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// How the names of downloaded files end; nothing else in the directory is ever deleted.
pub(crate) const SPOOL_SUFFIX: &str = ".prompt";
const LOCK: &str = "prompts.lock";

/// Makes the directory if need be, locks it and deletes what an earlier run left.
pub(crate) fn take(directory: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    if !fs::symlink_metadata(directory)?.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            format!("{} is a link, not a directory", directory.display()),
        ));
    }
    fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    let lock = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(directory.join(LOCK))?;
    lock.try_lock().map_err(|error| match error {
        fs::TryLockError::WouldBlock => io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!("{} is in use by another server", directory.display()),
        ),
        fs::TryLockError::Error(error) => error,
    })?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.ends_with(SPOOL_SUFFIX));
        if is_ours && !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_private_emptied_of_our_files_and_taken_once() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("cache/prompts");
        fs::create_dir_all(&directory).unwrap();
        for name in ["a.prompt", "keep.txt"] {
            fs::write(directory.join(name), "x").unwrap();
        }
        let lock = take(&directory).unwrap();
        assert!(!directory.join("a.prompt").exists());
        assert!(directory.join("keep.txt").exists());
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(take(&directory).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop(lock);
        take(&directory).unwrap();
    }

    #[test]
    fn a_link_in_the_place_of_the_directory_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        fs::create_dir(parent.path().join("real")).unwrap();
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(parent.path().join("real"), &link).unwrap();
        assert_eq!(take(&link).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }
}
