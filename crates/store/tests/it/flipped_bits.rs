//! Bits that flip on the disk: every answer afterwards is what was written, or an error.
//!
//! `GRAPHOPHONE_FLIPS=10000 cargo test --release -p graphophone-store --test it flipped` tries
//! more of them; `GRAPHOPHONE_SEED` makes them others.

use std::{env, fs, path::Path};

use graphophone_store::{
    CallRecord, Commit, Counts, DeliveryFilter, NotificationRecord, OpenError, OperationRecord,
    Owed, RequestRecord, Store, StoreError,
};

use crate::rows::{NOW, call, call_id, notification, operation, operation_id, request};

/// What a crash leaves behind; the lock and SQLite's shared memory are made anew.
const FILES: [&str; 3] = ["graphophone.db", "graphophone.db-wal", "graphophone.db-mark"];
const CALLS: u128 = 40;

/// Everything that a store can be asked.
#[derive(Debug, PartialEq)]
struct Answers {
    calls: Vec<Option<CallRecord>>,
    operations: Vec<Option<OperationRecord>>,
    of_calls: Vec<Vec<OperationRecord>>,
    deliveries: Vec<NotificationRecord>,
    owed: Vec<Owed>,
    requests: Vec<Option<RequestRecord>>,
    unfinished: (Vec<CallRecord>, Vec<OperationRecord>),
    counts: Counts,
}

async fn ask(store: &Store) -> Result<Answers, StoreError> {
    let (mut calls, mut operations, mut of_calls) = (Vec::new(), Vec::new(), Vec::new());
    let mut requests = Vec::new();
    for n in 0..CALLS + 1 {
        calls.push(store.call(call_id(n)).await?);
        operations.push(store.operation(operation_id(n)).await?);
        of_calls.push(store.operations_of_call(call_id(n)).await?);
        requests.push(store.request(request(n).key).await?);
    }
    let filter = DeliveryFilter { limit: 1_000, ..DeliveryFilter::default() };
    let unfinished = store.unfinished().await?;
    Ok(Answers {
        calls,
        operations,
        of_calls,
        requests,
        deliveries: store.deliveries(filter).await?,
        owed: store.owed().await?,
        unfinished: (unfinished.calls, unfinished.operations),
        counts: store.counts().await?,
    })
}

/// A store with rows of every kind, part of them in the database and part in the log.
async fn written(directory: &Path) -> Store {
    let fill = async |store: &Store, numbers: std::ops::Range<u128>| {
        for n in numbers {
            let ends = n.is_multiple_of(3);
            let commit = Commit {
                call: Some(call(n, if ends { "terminated" } else { "established" })),
                operations: vec![operation(n, n, if ends { "completed" } else { "running" })],
                notifications: vec![notification(2 * n, n), notification(2 * n + 1, n)],
                request: Some(request(n)),
                is_new_work: true,
            };
            let committed = store.commit(commit).await.unwrap();
            let first = committed.notifications[0].sequence;
            match n % 4 {
                0 => store.delivered(first, NOW).await.unwrap(),
                1 => store.given_up(first, "HTTP 410 Gone".into(), NOW).await.unwrap(),
                2 => store.attempt_failed(first, "timed out".into(), NOW.plus(9)).await.unwrap(),
                _ => {}
            }
        }
    };
    let store = Store::open(directory).unwrap();
    fill(&store, 0..CALLS / 2).await;
    store.close().await;
    let store = Store::open(directory).unwrap();
    fill(&store, CALLS / 2..CALLS).await;
    store
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in FILES {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

/// A generator that gives the same flips in every run (splitmix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::test]
async fn a_flipped_bit_is_found_or_does_no_harm() {
    let flips = number("GRAPHOPHONE_FLIPS", 250);
    let mut state = number("GRAPHOPHONE_SEED", 4);
    let root = tempfile::tempdir().unwrap();
    let live = root.path().join("live");
    let store = written(&live).await;
    let truth = ask(&store).await.unwrap();
    let image = root.path().join("image");
    copy(&live, &image);
    store.close().await;

    let trial = root.path().join("trial");
    let (mut refused, mut told, mut harmless) = (0, 0, 0);
    for n in 0..flips {
        let _ = fs::remove_dir_all(&trial);
        copy(&image, &trial);
        // As many in the small mark as chance gives, and the log as often as the database.
        let file = FILES[[0, 0, 0, 0, 1, 1, 1, 1, 2][(next(&mut state) % 9) as usize]];
        let path = trial.join(file);
        let mut bytes = fs::read(&path).unwrap();
        let (at, bit) = (next(&mut state) as usize % bytes.len(), next(&mut state) % 8);
        bytes[at] ^= 1 << bit;
        fs::write(&path, bytes).unwrap();
        match Store::open(&trial) {
            Err(OpenError::StoreFailed { source, .. }) => {
                panic!("flip {n} in {file} at {at}.{bit}: not known for a damage: {source}");
            }
            Err(refusal) => {
                assert!(refusal.is_configuration(), "{refusal}");
                refused += 1;
            }
            Ok(store) => {
                match ask(&store).await {
                    Ok(answers) => {
                        assert_eq!(answers, truth, "flip {n} in {file} at {at}.{bit}");
                        harmless += 1;
                    }
                    Err(StoreError::StoreDamaged(_)) => told += 1,
                    Err(other) => panic!("flip {n} in {file} at {at}.{bit}: {other}"),
                }
                store.close().await;
            }
        }
    }
    println!(
        "{flips} flips: {refused} refused at start, {told} told on reading, {harmless} harmless"
    );
    assert!(refused > flips / 10, "the test has tested something");
}

#[tokio::test]
async fn a_log_that_is_cut_or_gone_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let live = root.path().join("live");
    let store = written(&live).await;
    let image = root.path().join("image");
    let log = image.join("graphophone.db-wal");
    copy(&live, &image);
    let whole = fs::read(&log).unwrap();
    fs::write(&log, &whole[..whole.len() - 1]).unwrap();
    let refusal = Store::open(&image).unwrap_err().to_string();
    assert!(refusal.contains("damage behind offset"), "{refusal}");
    fs::remove_file(&log).unwrap();
    let refusal = Store::open(&image).unwrap_err().to_string();
    assert!(refusal.contains("the log is missing"), "{refusal}");

    // Frames that nobody was answered for may be torn.
    fs::write(&log, [whole.as_slice(), &[7; 3_000]].concat()).unwrap();
    let reopened = Store::open(&image).unwrap();
    assert_eq!(ask(&reopened).await.unwrap(), ask(&store).await.unwrap());
}
