//! The signing keys of one purpose over time: which one signs now, which ones others may still or
//! already check with, and their files.
//!
//! A new key is published before it signs, and an old one for [`OVERLAP`] after it has signed last:
//! whoever keeps a key set for no longer than that never meets a key that it does not know.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use super::{
    CLOCK_SKEW,
    jwk::Jwks,
    keys::{KeyFileError, SigningKey},
    private_file::{self, FileError},
};

/// How long a key that signs no more is still published and believed, in seconds: as long as an
/// access token may live, and the skew of two clocks.
pub const OVERLAP: u64 = 24 * 60 * 60 + CLOCK_SKEW;
/// Most keys of one purpose at a time; each rotation adds one and one goes after [`OVERLAP`].
const MAX_KEYS: usize = 16;

/// A key, and from when on it signs (unix seconds): until the next one does.
#[derive(Clone, Debug)]
struct Term<K> {
    signs_from: u64,
    key: K,
}

/// The key that signs at `now`, of terms in their order. A clock before all of them gets the first.
fn signing<K>(terms: &[Term<K>], now: u64) -> Option<&K> {
    let begun = terms.iter().rev().find(|term| term.signs_from <= now);
    begun.or(terms.first()).map(|term| &term.key)
}

/// When each key ceases to be believed; `None` for the last one.
fn ends<K>(terms: &[Term<K>]) -> impl Iterator<Item = (&Term<K>, Option<u64>)> {
    let next = terms.iter().skip(1).map(|next| Some(next.signs_from.saturating_add(OVERLAP)));
    terms.iter().zip(next.chain([None]))
}

/// The terms whose keys are believed at `now`.
fn published<K>(terms: &[Term<K>], now: u64) -> impl Iterator<Item = &Term<K>> {
    ends(terms).filter(move |(_, end)| end.is_none_or(|end| now < end)).map(|(term, _)| term)
}

/// When a new key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// So many seconds from now; it is published at once.
    In(u64),
    /// Now, and all others are forgotten: somebody else may have them. What they signed is refused.
    Compromised,
}

/// Why there is no new key.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// One has been published and does not sign yet.
    #[error("a new key is published already, it signs from {0} on (unix seconds)")]
    Pending(u64),
    /// More rotations within [`OVERLAP`] than keys are kept.
    #[error("there have been {MAX_KEYS} rotations within a day")]
    TooMany,
    /// The key file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The new key signs, but the file of an old one is still there, and counts at the next start.
    #[error("the new key signs, but the file of an old one cannot be removed: remove {} by hand", .0.display())]
    NotRemoved(PathBuf),
}

/// One key as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyStanding {
    /// Its name in tokens and key sets.
    pub kid: String,
    /// Unix seconds; 0 for the first one.
    pub signs_from: u64,
    /// Until when it is believed, unix seconds; `None` for the last one.
    pub published_until: Option<u64>,
    /// Whether it signs now.
    pub signs: bool,
}

/// The keys of one purpose. Signing and reading never wait for a rotation.
pub(super) struct Ring {
    /// Directory and beginning of the files' names; `None` in memory.
    files: Option<(PathBuf, &'static str)>,
    terms: RwLock<Arc<[Term<Arc<SigningKey>>]>>,
    rotating: Mutex<()>,
}

impl Ring {
    /// Reads `<stem>.pem` and `<stem>.<signs from>.pem` in `directory`; makes the first if there is
    /// none of them.
    pub(super) fn open(directory: &Path, stem: &'static str) -> Result<Self, KeyFileError> {
        let mut found = BTreeMap::new();
        for name in names(directory)? {
            if let Some(signs_from) = signs_from(&name, stem) {
                found.insert(signs_from, directory.join(name));
            }
        }
        if found.is_empty() {
            found.insert(0, directory.join(file_name(stem, 0)));
        }
        let terms = found.into_iter().map(|(signs_from, path)| {
            Ok(Term { signs_from, key: Arc::new(SigningKey::open(&path)?) })
        });
        let terms = terms.collect::<Result<Vec<_>, KeyFileError>>()?;
        Ok(Self::of(Some((directory.to_owned(), stem)), terms))
    }

    /// One new key that is in no file.
    pub(super) fn in_memory() -> Result<Self, KeyFileError> {
        let key = Arc::new(SigningKey::in_memory()?);
        Ok(Self::of(None, vec![Term { signs_from: 0, key }]))
    }

    fn of(files: Option<(PathBuf, &'static str)>, terms: Vec<Term<Arc<SigningKey>>>) -> Self {
        Self { files, terms: RwLock::new(terms.into()), rotating: Mutex::new(()) }
    }

    /// The key that signs at `now` (unix seconds).
    pub(super) fn signing(&self, now: u64) -> Arc<SigningKey> {
        Arc::clone(signing(&self.terms(), now).expect("a ring has at least one key"))
    }

    /// The key of that name, if it is believed at `now`.
    pub(super) fn find(&self, kid: &str, now: u64) -> Option<Arc<SigningKey>> {
        let terms = self.terms();
        let mut believed = published(&terms, now);
        believed.find(|term| term.key.kid() == kid).map(|term| Arc::clone(&term.key))
    }

    /// What others check with: the key that signs, and then the others.
    pub(super) fn jwks(&self, now: u64) -> Jwks {
        let (terms, signs) = (self.terms(), self.signing(now));
        let others = published(&terms, now).filter(|term| term.key.kid() != signs.kid());
        let others = others.map(|term| term.key.jwk());
        Jwks { keys: [signs.jwk()].into_iter().chain(others).collect() }
    }

    pub(super) fn standing(&self, now: u64) -> Vec<KeyStanding> {
        let (terms, signs) = (self.terms(), self.signing(now));
        let believed = ends(&terms).filter(|(_, end)| end.is_none_or(|end| now < end));
        believed
            .map(|(term, end)| KeyStanding {
                kid: term.key.kid().to_owned(),
                signs_from: term.signs_from,
                published_until: end,
                signs: term.key.kid() == signs.kid(),
            })
            .collect()
    }

    /// Makes a new key: about a second of work, which others do not wait for.
    pub(super) fn rotate(&self, now: u64, rotation: Rotation) -> Result<(), RotateError> {
        let _one_at_a_time = self.rotating.lock().unwrap_or_else(PoisonError::into_inner);
        let terms = self.terms();
        let last = terms.last().map_or(0, |term| term.signs_from);
        let signs_from = match rotation {
            Rotation::In(_) if last > now => return Err(RotateError::Pending(last)),
            // Two in one second need two names.
            Rotation::In(delay) => now.saturating_add(delay).max(last + 1),
            Rotation::Compromised => free_second(&terms, now),
        };
        let kept: Vec<_> = match rotation {
            Rotation::In(_) => published(&terms, now).cloned().collect(),
            Rotation::Compromised => Vec::new(),
        };
        if kept.len() >= MAX_KEYS {
            return Err(RotateError::TooMany);
        }
        let key = Arc::new(match &self.files {
            Some((directory, stem)) => {
                SigningKey::open(&directory.join(file_name(stem, signs_from)))?
            }
            None => SigningKey::in_memory()?,
        });
        let new = Term { signs_from, key };
        let new: Vec<_> = kept.into_iter().chain([new]).collect();
        let is_kept = |old: &Term<_>| new.iter().any(|term| term.signs_from == old.signs_from);
        let gone: Vec<_> =
            terms.iter().filter(|old| !is_kept(old)).map(|old| old.signs_from).collect();
        *self.terms.write().unwrap_or_else(PoisonError::into_inner) = new.into();
        for signs_from in gone {
            self.remove(signs_from)?;
        }
        Ok(())
    }

    fn remove(&self, signs_from: u64) -> Result<(), RotateError> {
        let Some((directory, stem)) = &self.files else { return Ok(()) };
        let path = directory.join(file_name(stem, signs_from));
        fs::remove_file(&path).map_err(|_| RotateError::NotRemoved(path))
    }

    fn terms(&self) -> Arc<[Term<Arc<SigningKey>>]> {
        Arc::clone(&self.terms.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.terms().iter().map(|term| term.key.kid())).finish()
    }
}

/// `now`, or the first second after it that no key has.
fn free_second<K>(terms: &[Term<K>], now: u64) -> u64 {
    let taken = |at: &u64| terms.iter().any(|term| term.signs_from == *at);
    (now..).find(|at| !taken(at)).unwrap_or(now)
}

fn names(directory: &Path) -> Result<Vec<String>, KeyFileError> {
    let unreadable = |source| FileError::Unreadable { path: directory.to_owned(), source };
    let entries = fs::read_dir(directory).map_err(unreadable)?;
    let names: Result<Vec<_>, _> =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect();
    Ok(names.map_err(unreadable)?)
}

fn file_name(stem: &str, signs_from: u64) -> String {
    match signs_from {
        0 => format!("{stem}.pem"),
        _ => format!("{stem}.{signs_from}.pem"),
    }
}

/// What a file's name says; `None` if it is none of that purpose.
fn signs_from(name: &str, stem: &str) -> Option<u64> {
    let middle = name.strip_prefix(stem)?.strip_suffix(".pem")?;
    if middle.is_empty() {
        return Some(0);
    }
    let signs_from = middle.strip_prefix('.')?.parse().ok()?;
    (file_name(stem, signs_from) == name).then_some(signs_from)
}

/// A directory must be there before its keys.
pub(super) fn prepare(directory: &Path) -> Result<(), FileError> {
    private_file::create_directory(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn terms(from: &[u64]) -> Vec<Term<u64>> {
        from.iter().map(|from| Term { signs_from: *from, key: *from }).collect()
    }

    #[test]
    fn a_key_signs_from_its_time_on_and_is_believed_for_a_day_after_the_next_one() {
        let terms = terms(&[0, 1_000, 2_000]);
        let at = |now| {
            let believed: Vec<u64> = published(&terms, now).map(|term| term.key).collect();
            (*signing(&terms, now).unwrap(), believed)
        };
        assert_eq!(at(0), (0, vec![0, 1_000, 2_000]), "new ones are published before they sign");
        assert_eq!(at(999), (0, vec![0, 1_000, 2_000]));
        assert_eq!(at(1_000), (1_000, vec![0, 1_000, 2_000]));
        assert_eq!(at(1_000 + OVERLAP - 1), (2_000, vec![0, 1_000, 2_000]));
        assert_eq!(at(1_000 + OVERLAP), (2_000, vec![1_000, 2_000]));
        assert_eq!(at(2_000 + OVERLAP), (2_000, vec![2_000]));
        assert_eq!(at(u64::MAX), (2_000, vec![2_000]), "the last one never ends");
        let later = [Term { signs_from: 5, key: 5 }];
        assert_eq!(signing(&later, 0), Some(&5), "a clock that went back");
    }

    #[test]
    fn file_names_say_when_and_nothing_else_is_taken_for_a_key() {
        for (name, expected) in [
            ("token-signing.pem", Some(0)),
            ("token-signing.1800000000.pem", Some(NOW)),
            ("token-signing.01.pem", None),
            ("token-signing.+1.pem", None),
            ("token-signing.0.pem", None),
            ("token-signing.x.pem", None),
            ("token-signing.pem.bak", None),
            ("token-signing-old.pem", None),
            ("notification-signing.pem", None),
            ("ca.pem", None),
        ] {
            assert_eq!(signs_from(name, "token-signing"), expected, "{name}");
        }
    }

    #[test]
    fn a_rotation_outlives_a_restart_and_its_old_file_goes_after_the_overlap() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Ring::open(directory.path(), "key").unwrap();
        let ring = open();
        let first = ring.signing(NOW).kid().to_owned();
        ring.rotate(NOW, Rotation::In(600)).unwrap();
        let pending = ring.rotate(NOW + 599, Rotation::In(0)).unwrap_err();
        assert!(matches!(pending, RotateError::Pending(at) if at == NOW + 600), "{pending}");
        for ring in [ring, open()] {
            assert_eq!(ring.signing(NOW + 599).kid(), first);
            let second = ring.signing(NOW + 600).kid().to_owned();
            assert_ne!(second, first);
            let jwks = |now| ring.jwks(now).keys.into_iter().map(|jwk| jwk.kid).collect::<Vec<_>>();
            assert_eq!(jwks(NOW), [first.clone(), second.clone()]);
            assert_eq!(jwks(NOW + 600), [second.clone(), first.clone()]);
            assert_eq!(jwks(NOW + 600 + OVERLAP), [second.as_str()]);
            assert!(ring.find(&first, NOW + 600 + OVERLAP - 1).is_some());
            assert!(ring.find(&first, NOW + 600 + OVERLAP).is_none());
        }
        let late = NOW + 601 + OVERLAP;
        open().rotate(late, Rotation::In(0)).unwrap();
        let mut left = names(directory.path()).unwrap();
        left.sort();
        assert_eq!(left, [format!("key.{}.pem", NOW + 600), format!("key.{late}.pem")]);
    }

    #[test]
    fn a_compromised_key_is_gone_at_once_and_from_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let ring = Ring::open(directory.path(), "key").unwrap();
        let first = ring.signing(NOW).kid().to_owned();
        ring.rotate(NOW, Rotation::In(86_400)).unwrap();
        let announced = ring.signing(NOW + 86_400).kid().to_owned();
        ring.rotate(NOW + 1, Rotation::Compromised).unwrap();
        // A key that was announced for later is none that anybody may trust, either.
        for kid in [&first, &announced] {
            assert!(ring.find(kid, NOW + 1).is_none());
        }
        assert_eq!(ring.jwks(NOW + 1).keys.len(), 1);
        assert_eq!(names(directory.path()).unwrap().len(), 1);
        let again = Ring::open(directory.path(), "key").unwrap();
        assert_eq!(again.signing(NOW + 1).kid(), ring.signing(NOW + 1).kid());
    }
}
