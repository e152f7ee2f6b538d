//! `--ready-file`: where scripts read what a server has been given.

use std::{io::Write as _, path::Path};

use anyhow::Context as _;

use crate::server::Ready;

/// As it stands in the file.
pub(super) fn json(ready: &Ready) -> anyhow::Result<String> {
    serde_json::to_string(ready).context("the ready message cannot be written")
}

/// Writes it beside and renames it, so that nobody reads half of it; only the owner may read it at
/// all, because it has secrets.
pub(super) fn write(path: &Path, ready: &Ready) -> anyhow::Result<()> {
    let text = json(ready)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    // Of mode 0600, and never an existing file.
    tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            Ok(file.persist(path)?)
        })
        .map(drop)
        .with_context(|| format!("--ready-file {} cannot be written", path.display()))
}
