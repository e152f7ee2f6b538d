//! Recordings on disk: made by calls, downloaded with a token of their own, deleted on schedule.
//!
//! `{id}.wav` is the recording of the operation with that id, `{id}.json` beside it says whose it is,
//! what its tokens are made with and when both are deleted, so that all of that outlives the process. `{id}.part` is one that is being made; what a process leaves of those is deleted by
//! the next.

mod shelf;
mod token;

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use graphophone_call::{AppId, OperationId, TenantId};
use graphophone_media::ear::RECORDING_RATE;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::{info, warn};
use uuid::Uuid;

use crate::{auth::Secret, outbox::WallClock};
use shelf::{Kept, Shelf};
use token::{Key, Worth};

/// The longest sleep of the deleter: the wall clock may be set meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Where recordings are, for how long, and how much of them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Made if need be, readable by us alone.
    pub directory: PathBuf,
    /// Each is deleted so long after it was completed.
    pub keep: Duration,
    /// Each token opens its recording for so long.
    pub token_valid: Duration,
    /// Bytes of all of them, with those that are being made at their longest.
    pub disk_budget: u64,
}

/// All recordings of this server. Clones share them.
#[derive(Clone)]
pub struct Recordings(Arc<Inner>);

struct Inner {
    settings: Settings,
    now: WallClock,
    shelf: Mutex<Shelf>,
    changed: Notify,
}

/// A place on the disk for a recording that is being made. Dropping it deletes what there is.
pub(crate) struct Place {
    recordings: Recordings,
    id: OperationId,
    reserved: u64,
}

/// Why a recording cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeError {
    /// There are too many, or they are too long.
    #[error("The disk budget for recordings (recordings.disk_budget) is used up.")]
    Full,
    /// The file cannot be made or completed.
    #[error("The file cannot be written: {0}.")]
    Disk(#[from] io::Error),
}

/// Why a recording is not given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// A wrong token, an unknown recording and one that is gone are all the same.
    #[error("there is no such recording for this token")]
    Absent,
    /// The token was one of this recording.
    #[error("the token has expired")]
    Expired,
}

/// What stands beside a recording.
#[derive(Serialize, Deserialize)]
struct Sidecar {
    tenant: Uuid,
    app: Uuid,
    key: Key,
    /// Milliseconds since 1970.
    delete_at: i64,
}

impl Recordings {
    /// Takes the directory over: what is to be deleted by now, or was never completed, goes.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn open(settings: Settings, now: WallClock) -> io::Result<Self> {
        let directory = &settings.directory;
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        if !fs::symlink_metadata(directory)?.is_dir() {
            let text = format!("{} is a link, not a directory", directory.display());
            return Err(io::Error::new(io::ErrorKind::NotADirectory, text));
        }
        fs::set_permissions(directory, Permissions::from_mode(0o700))?;
        let shelf = Shelf::read(directory)?;
        let (shelf, changed) = (Mutex::new(shelf), Notify::new());
        let recordings = Self(Arc::new(Inner { settings, now, shelf, changed }));
        recordings.delete_due();
        Ok(recordings)
    }

    /// Makes room for a recording that is never longer than `longest`. Blocks for the disk.
    pub(crate) fn begin(
        &self,
        id: OperationId,
        longest: Duration,
    ) -> Result<(Place, File), MakeError> {
        let samples = longest.as_millis() as u64 * u64::from(RECORDING_RATE) / 1_000;
        let reserved = samples * 2 + 1_024;
        if !self.lock().reserve(reserved, self.0.settings.disk_budget) {
            return Err(MakeError::Full);
        }
        let place = Place { recordings: self.clone(), id, reserved };
        let file = private(&self.path(id, "part"))?;
        Ok((place, file))
    }

    /// Opens a recording for whoever has a token of it: the file and its length. Blocks for the disk.
    pub(crate) fn read(&self, id: OperationId, token: &str) -> Result<(File, u64), ReadError> {
        let now = self.now();
        let kept = self.lock().find(id.uuid()).filter(|kept| now < kept.delete_at);
        // Where there is none, as long is spent with a key that opens nothing.
        let known = kept.is_some();
        let key = kept.map_or_else(Key::random, |kept| kept.key);
        match key.worth(id.uuid(), token, now) {
            Worth::Opens if known => {}
            Worth::Expired if known => return Err(ReadError::Expired),
            Worth::Opens | Worth::Expired | Worth::Nothing => return Err(ReadError::Absent),
        }
        let file = File::open(self.path(id, "wav")).map_err(|_| ReadError::Absent)?;
        let length = file.metadata().map_err(|_| ReadError::Absent)?.len();
        Ok((file, length))
    }

    /// Another token for a recording that is still there: for the application whose it is, which the
    /// caller has made sure of.
    pub(crate) fn fresh_token(&self, id: OperationId) -> Option<Secret> {
        let now = self.now();
        let kept = self.lock().find(id.uuid()).filter(|kept| now < kept.delete_at)?;
        Some(kept.key.token(id.uuid(), now.saturating_add(millis(self.0.settings.token_valid))))
    }

    /// Deletes each recording when its time has come. Never ends.
    pub(crate) async fn delete_on_schedule(self) {
        loop {
            let changed = self.0.changed.notified();
            let next = self.lock().next_due();
            let wait = next.map_or(LOOK_AGAIN, |due| {
                let left = u64::try_from(due - self.now()).unwrap_or(0);
                Duration::from_millis(left).min(LOOK_AGAIN)
            });
            if tokio::time::timeout(wait, changed).await.is_err() {
                let recordings = self.clone();
                let deleted = tokio::task::spawn_blocking(move || recordings.delete_due()).await;
                if deleted.is_err() {
                    warn!("recordings are not deleted");
                }
            }
        }
    }

    fn delete_due(&self) {
        let due = self.lock().take_due(self.now());
        let count = due.len();
        for id in due {
            for end in ["json", "wav"] {
                let path = self.0.settings.directory.join(format!("{id}.{end}"));
                match fs::remove_file(&path) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => warn!(%error, "a recording cannot be deleted"),
                }
            }
        }
        if count > 0 {
            info!(count, "recordings deleted");
        }
    }

    /// Milliseconds since 1970.
    fn now(&self) -> i64 {
        (self.0.now)().0
    }

    fn path(&self, id: OperationId, end: &str) -> PathBuf {
        self.0.settings.directory.join(format!("{id}.{end}"))
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Makes a complete file durable, and what opens it. Blocks for the disk.
    pub(crate) fn keep(self, file: &File, owner: (TenantId, AppId)) -> Result<Secret, MakeError> {
        let (recordings, id) = (self.recordings.clone(), self.id);
        file.sync_all()?;
        let length = file.metadata()?.len();
        let key = Key::random();
        let now = recordings.now();
        let delete_at = now.saturating_add(millis(recordings.0.settings.keep));
        let (tenant, app) = (owner.0.uuid(), owner.1.uuid());
        let sidecar = Sidecar { tenant, app, key: key.clone(), delete_at };
        // Before the recording has its name: one without its sidecar is deleted at the next start.
        let mut beside = private(&recordings.path(id, "json"))?;
        beside.write_all(&serde_json::to_vec(&sidecar).map_err(io::Error::from)?)?;
        beside.sync_all()?;
        fs::rename(recordings.path(id, "part"), recordings.path(id, "wav"))?;
        File::open(&recordings.0.settings.directory)?.sync_all()?;
        let until = now.saturating_add(millis(recordings.0.settings.token_valid));
        let token = key.token(id.uuid(), until);
        recordings.lock().keep(id.uuid(), Kept { bytes: length, delete_at, key });
        recordings.0.changed.notify_one();
        Ok(token)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is kept has its own place in the books by now, and another name.
        self.recordings.lock().release(self.reserved);
        let _ = fs::remove_file(self.recordings.path(self.id, "part"));
    }
}

/// An empty file that nobody else may read.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).read(true).create_new(true).mode(0o600).open(path)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
