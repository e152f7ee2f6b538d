//! A file system of a few MiB of its own, to be filled up.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A tmpfs, unmounted when dropped.
pub struct SmallDisk {
    directory: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts one; `None`, said on stderr, where nobody may (that takes CAP_SYS_ADMIN).
    pub fn mount(mebibytes: u32) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(directory.path())
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self { directory });
        }
        // Past the test harness, which shows what passing tests print to nobody.
        let _ = writeln!(std::io::stderr(), "NOT RUN: a small file system cannot be mounted here");
        None
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file can be made");
        let mut piece = 1 << 20;
        while piece > 0 {
            if file.write_all(&vec![b'x'; piece]).is_err() {
                piece /= 16;
            }
        }
    }

    /// Gives it back.
    pub fn free(&self) {
        std::fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that was just killed may still hold it.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
