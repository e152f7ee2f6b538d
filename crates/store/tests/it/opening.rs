//! Which stores are refused at start, and how the refusal reads.

use std::{error::Error, fs, path::Path};

use graphophone_store::{Commit, OpenError, Store};

use crate::rows::{call, owing};

#[tokio::test]
async fn two_servers_cannot_share_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let refusal = Store::open(directory.path()).unwrap_err();
    assert!(matches!(refusal, OpenError::ConfigInUse { .. }));
    assert!(!refusal.is_configuration(), "the other one may be stopping");
    let text = refusal.to_string();
    assert!(text.contains(directory.path().to_str().unwrap()), "{text}");
    assert!(text.contains(&format!("pid {}", std::process::id())), "{text}");
    store.close().await;
    Store::open(directory.path()).unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    Store::open(directory.path()).unwrap().close().await;
    execute(directory.path(), "PRAGMA user_version = 99");
    let refusal = Store::open(directory.path()).unwrap_err();
    assert!(matches!(refusal, OpenError::ConfigNewerSchema { found: 99, .. }), "{refusal}");
    assert!(refusal.to_string().contains("graphophone.db"));
}

#[test]
fn a_database_of_somebody_else_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    execute(directory.path(), "CREATE TABLE precious (x)");
    let refusal = Store::open(directory.path()).unwrap_err();
    assert!(matches!(refusal, OpenError::ConfigForeignFile { found: 0, .. }), "{refusal}");
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("graphophone.db"), vec![b'x'; 8192]).unwrap();
    let refusal = Store::open(directory.path()).unwrap_err();
    assert!(matches!(refusal, OpenError::StoreDamaged { .. }), "{refusal}");
}

#[tokio::test]
async fn a_damaged_page_is_found_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for n in 0..200 {
        let mut commit = owing(n, n);
        commit.call = Some(call(n, "established"));
        store.commit(commit).await.unwrap();
    }
    store.close().await;
    let path = directory.path().join("graphophone.db");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 64].fill(0xA5);
    fs::write(&path, bytes).unwrap();
    let refusal = Store::open(directory.path()).unwrap_err();
    assert!(matches!(refusal, OpenError::StoreDamaged { .. }), "{refusal}");
}

#[test]
fn an_unusable_directory_is_named_with_its_cause() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let refusal = Store::open(&file.join("store")).unwrap_err();
    assert!(refusal.to_string().contains("file/store"), "{refusal}");
    assert!(refusal.source().is_some());
}

#[tokio::test]
async fn a_start_cut_short_before_the_tables_is_made_good() {
    let directory = tempfile::tempdir().unwrap();
    execute(directory.path(), &format!("PRAGMA application_id = {}", 0x4750_686E));
    let store = Store::open(directory.path()).unwrap();
    store.commit(Commit::default()).await.unwrap();
    assert_eq!(store.counts().await.unwrap().created, 0);
}

fn execute(directory: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(directory.join("graphophone.db")).unwrap();
    connection.execute_batch(sql).unwrap();
}
