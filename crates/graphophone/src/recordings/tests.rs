//! Recordings as their disk sees them.

use std::{
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicI64, Ordering},
};

use graphophone_store::UnixMillis;

use super::*;
use crate::engine::unix_millis;

const MINUTE: i64 = 60_000;

fn owner() -> (TenantId, AppId) {
    (TenantId::new(Uuid::from_u128(1)), AppId::new(Uuid::from_u128(2)))
}

fn id(number: u128) -> OperationId {
    OperationId::new(Uuid::from_u128(number))
}

fn settings(directory: &Path) -> Settings {
    let keep = Duration::from_secs(3_600);
    let token_valid = Duration::from_secs(600);
    Settings { directory: directory.join("recordings"), keep, token_valid, disk_budget: 1 << 20 }
}

fn open(settings: &Settings) -> Recordings {
    Recordings::open(settings.clone(), Arc::new(unix_millis)).unwrap()
}

/// A clock that is set by hand, in milliseconds since 1970.
fn clock(at: &Arc<AtomicI64>) -> WallClock {
    let at = at.clone();
    Arc::new(move || UnixMillis(at.load(Ordering::SeqCst)))
}

fn made(recordings: &Recordings, number: u128) -> Secret {
    let (place, mut file) = recordings.begin(id(number), Duration::from_secs(1)).unwrap();
    file.write_all(b"RIFF and so on").unwrap();
    place.keep(&file, owner()).unwrap()
}

fn names(settings: &Settings) -> Vec<String> {
    let entries = fs::read_dir(&settings.directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn only_the_token_of_a_recording_opens_it_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let recordings = open(&settings);
    let (first, second) = (made(&recordings, 1), made(&recordings, 2));
    let recordings = open(&settings);
    assert_eq!(recordings.read(id(1), first.expose()).unwrap().1, 14);
    assert_eq!(recordings.read(id(2), second.expose()).unwrap().1, 14);
    for (number, token) in [(1, second.expose()), (1, ""), (3, first.expose())] {
        assert_eq!(recordings.read(id(number), token).unwrap_err(), ReadError::Absent);
    }
    for name in names(&settings) {
        let path = settings.directory.join(name);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let bytes = fs::read(path).unwrap();
        let token = first.expose().as_bytes();
        assert!(!bytes.windows(token.len()).any(|window| window == token), "the token is written");
    }
}

#[test]
fn what_is_due_or_was_never_completed_is_deleted_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let recordings = open(&settings);
    made(&recordings, 1);
    let unfinished = recordings.begin(id(2), Duration::from_secs(1)).unwrap();
    assert_eq!(names(&settings).len(), 3);
    // As a crash leaves it.
    std::mem::forget(unfinished);
    fs::write(settings.directory.join("notes.txt"), "not ours").unwrap();
    fs::write(settings.directory.join(format!("{}.wav", Uuid::from_u128(7))), "alone").unwrap();
    let later = open(&Settings { keep: Duration::ZERO, ..settings.clone() });
    let mut kept = names(&settings);
    kept.retain(|name| name != "notes.txt");
    assert_eq!(kept.len(), 2, "{kept:?}");
    // Due at once.
    made(&later, 3);
    open(&settings);
    assert!(!names(&settings).iter().any(|name| name.contains(&id(3).to_string())));
}

#[test]
fn a_token_opens_for_ten_minutes_and_a_fresh_one_for_ten_more_while_the_file_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let time = Arc::new(AtomicI64::new(1_000_000));
    let settings = settings(folder.path());
    let recordings = Recordings::open(settings.clone(), clock(&time)).unwrap();
    let first = made(&recordings, 1);
    let pass = |by| time.fetch_add(by, Ordering::SeqCst);
    pass(10 * MINUTE - 1);
    recordings.read(id(1), first.expose()).unwrap();
    pass(1);
    assert_eq!(recordings.read(id(1), first.expose()).unwrap_err(), ReadError::Expired);
    assert_eq!(recordings.read(id(2), first.expose()).unwrap_err(), ReadError::Absent);

    // Also by the next process, which has the key from the disk.
    let recordings = Recordings::open(settings.clone(), clock(&time)).unwrap();
    assert_eq!(recordings.read(id(1), first.expose()).unwrap_err(), ReadError::Expired);
    let second = recordings.fresh_token(id(1)).unwrap();
    recordings.read(id(1), second.expose()).unwrap();
    assert!(recordings.fresh_token(id(2)).is_none());
    pass(10 * MINUTE);
    assert_eq!(recordings.read(id(1), second.expose()).unwrap_err(), ReadError::Expired);
    let last = recordings.fresh_token(id(1)).unwrap();
    // The file goes on its own schedule, whatever tokens there are.
    pass(40 * MINUTE - 1);
    let later = recordings.fresh_token(id(1)).unwrap();
    recordings.read(id(1), later.expose()).unwrap();
    pass(1);
    for token in [first, second, last, later] {
        assert_eq!(recordings.read(id(1), token.expose()).unwrap_err(), ReadError::Absent);
    }
    assert!(recordings.fresh_token(id(1)).is_none());
    recordings.delete_due();
    assert_eq!(names(&settings), [""; 0]);
}

#[tokio::test]
async fn recordings_are_deleted_when_their_time_has_come() {
    let folder = tempfile::tempdir().unwrap();
    let keep = Duration::from_millis(300);
    let settings = Settings { keep, ..settings(folder.path()) };
    let recordings = open(&settings);
    tokio::spawn(recordings.clone().delete_on_schedule());
    let token = made(&recordings, 1);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !names(&settings).is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", names(&settings));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(recordings.read(id(1), token.expose()).unwrap_err(), ReadError::Absent);
    assert!(recordings.fresh_token(id(1)).is_none());
    assert_eq!(recordings.lock().next_due(), None);
}

#[test]
fn the_disk_budget_counts_what_is_kept_and_what_may_become_of_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { disk_budget: 100_000, ..settings(folder.path()) };
    let recordings = open(&settings);
    made(&recordings, 1);
    let one = recordings.begin(id(2), Duration::from_secs(2)).unwrap();
    let refused = recordings.begin(id(3), Duration::from_secs(2)).err().unwrap();
    assert!(refused.to_string().contains("recordings.disk_budget"), "{refused}");
    drop(one);
    recordings.begin(id(3), Duration::from_secs(2)).unwrap();
}
