//! The books of the recordings: how many bytes they have, when each is due, and what opens it.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    path::Path,
};

use uuid::Uuid;

use super::{Sidecar, token::Key};

#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// Those that are complete, and when each is due.
    kept: HashMap<Uuid, Kept>,
    due: BTreeSet<(i64, Uuid)>,
    /// Bytes of all of them, and what those that are being made may become.
    used: u64,
}

/// A complete recording.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) bytes: u64,
    /// Milliseconds since 1970.
    pub(super) delete_at: i64,
    pub(super) key: Key,
}

impl Shelf {
    /// What an earlier process left: what is complete is kept, everything else of ours is deleted.
    pub(super) fn read(directory: &Path) -> io::Result<Self> {
        let mut shelf = Self::default();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|name| name.to_str());
            let Some(id) = name.and_then(|name| Uuid::try_parse(name).ok()) else { continue };
            let kept = match path.extension().and_then(|end| end.to_str()) {
                Some("wav") => {
                    let sidecar = fs::read(path.with_extension("json")).ok();
                    sidecar.and_then(|json| serde_json::from_slice::<Sidecar>(&json).ok())
                }
                Some("json") if path.with_extension("wav").exists() => continue,
                Some("json" | "part") => None,
                Some(_) | None => continue,
            };
            match kept {
                Some(sidecar) => {
                    let Sidecar { key, delete_at, .. } = sidecar;
                    let bytes = fs::metadata(&path)?.len();
                    shelf.keep(id, Kept { bytes, delete_at, key });
                }
                None => fs::remove_file(&path)?,
            }
        }
        Ok(shelf)
    }

    /// Sets bytes aside; false if there are not so many left.
    pub(super) fn reserve(&mut self, bytes: u64, budget: u64) -> bool {
        let fits = self.used.saturating_add(bytes) <= budget;
        if fits {
            self.used += bytes;
        }
        fits
    }

    pub(super) fn release(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }

    pub(super) fn keep(&mut self, id: Uuid, kept: Kept) {
        self.due.insert((kept.delete_at, id));
        self.used += kept.bytes;
        self.kept.insert(id, kept);
    }

    pub(super) fn find(&self, id: Uuid) -> Option<Kept> {
        self.kept.get(&id).cloned()
    }

    /// When the next one is due, in milliseconds since 1970.
    pub(super) fn next_due(&self) -> Option<i64> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Strikes out what is due.
    pub(super) fn take_due(&mut self, now: i64) -> Vec<Uuid> {
        let mut taken = Vec::new();
        while let Some((due, id)) = self.due.first().copied()
            && due <= now
        {
            self.due.pop_first();
            self.used -= self.kept.remove(&id).map_or(0, |kept| kept.bytes);
            taken.push(id);
        }
        taken
    }
}
