//! Room on the disk that is kept for the ends of things: with it, what was promised can still be
//! finished when everything else on the disk is full (promise P13).

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::FallocateFlags;
use tokio::sync::watch;

/// Size of the reserve in bytes.
pub const RESERVE: u64 = 10 << 20;
/// While the disk is full, room for the reserve is looked for so often.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// The reserve of one store, held by its writer.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    /// Whether the disk is full: the reserve is spent, and nothing new is begun.
    is_full: watch::Sender<bool>,
    tried: Instant,
}

impl Reserve {
    /// Sets the room aside, as far as there is any.
    pub(crate) fn new(path: PathBuf, now: Instant) -> Self {
        let is_full = match allocate(&path) {
            Ok(()) => false,
            Err(error) => {
                tracing::warn!(%error, "no room on the disk: nothing new is taken for now");
                true
            }
        };
        Self { path, is_full: watch::channel(is_full).0, tried: now }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.is_full.subscribe()
    }

    /// Whether new work is refused. Looks for room now and then.
    pub(crate) fn is_spent(&mut self, now: Instant) -> bool {
        if !*self.is_full.borrow() {
            return false;
        }
        if now.duration_since(self.tried) < TRY_EVERY {
            return true;
        }
        self.tried = now;
        let is_spent = allocate(&self.path).is_err();
        if !is_spent {
            tracing::info!("there is room on the disk again");
            self.is_full.send_replace(false);
        }
        is_spent
    }

    /// Gives the room to whatever must be written; `false` if that was done before.
    pub(crate) fn spend(&mut self, now: Instant) -> bool {
        if *self.is_full.borrow() {
            return false;
        }
        tracing::error!(
            "the disk of the store is full: running work is finished, new work refused"
        );
        self.tried = now;
        self.is_full.send_replace(true);
        match fs::remove_file(&self.path) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "the reserve of the store cannot be given free");
                false
            }
        }
    }
}

/// Blocks of its own for the file, not just a length.
fn allocate(path: &Path) -> io::Result<()> {
    let file: File = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    let allocated = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, RESERVE);
    if let Err(error) = allocated {
        drop(file);
        // What was allocated of it is needed for better things.
        fs::remove_file(path)?;
        return Err(error.into());
    }
    Ok(())
}
