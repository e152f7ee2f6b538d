//! SIGKILL in the middle of commits: nothing acknowledged is lost, nothing is half there.

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use graphophone_store::{Commit, DeliveryFilter, NotificationState, Sequence, Store};

use crate::rows::{NOW, call_id, notification, operation, operation_id};

const DIRECTORY: &str = "GRAPHOPHONE_KILL_TEST_DIRECTORY";
const ROUND: &str = "GRAPHOPHONE_KILL_TEST_ROUND";
const WRITERS: u128 = 8;
const ROUNDS: usize = 6;

/// The victim, started by the test below as a process of its own: commits until it is killed and
/// prints the number of each commit that was answered.
#[test]
#[ignore = "runs as the child of a_killed_store_keeps_every_answered_commit"]
fn victim() {
    let directory = env::var_os(DIRECTORY).expect("set by the parent");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = Store::open(Path::new(&directory)).unwrap();
        // Far apart, because the number of a commit that the kill cut off may be in use.
        let round: u64 = env::var(ROUND).unwrap().parse().unwrap();
        let next = Arc::new(AtomicU64::new(round * 1_000_000));
        let writers: Vec<_> = (0..WRITERS)
            .map(|call| tokio::spawn(commit_for_ever(store.clone(), call, Arc::clone(&next))))
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

async fn commit_for_ever(store: Store, call: u128, next: Arc<AtomicU64>) {
    loop {
        let n: u128 = next.fetch_add(1, Ordering::Relaxed).into();
        let commit = Commit {
            call: None,
            operations: vec![operation(n, call, "completed")],
            notifications: vec![notification(n, call)],
            ..Commit::default()
        };
        let committed = store.commit(commit).await.unwrap();
        let sequence = committed.notifications[0].sequence;
        if n.is_multiple_of(3) {
            store.delivered(sequence, NOW).await.unwrap();
            writeln!(std::io::stdout().lock(), "delivered {n} {sequence}").unwrap();
        } else {
            writeln!(std::io::stdout().lock(), "committed {n} {sequence}").unwrap();
        }
    }
}

#[tokio::test]
async fn a_killed_store_keeps_every_answered_commit() {
    let directory = tempfile::tempdir().unwrap();
    let mut answered = BTreeSet::new();
    let mut delivered = BTreeSet::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["kill::victim", "--exact", "--ignored", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        // Killed after a different number of answers each time; then the pipe is read to its
        // end, because an answer that was printed was given.
        for line in lines {
            let line = line.unwrap();
            let mut words = line.split(' ');
            let verb = words.next();
            let (Some("committed" | "delivered"), Some(n), Some(sequence)) =
                (verb, words.next(), words.next())
            else {
                continue; // the test harness talks too
            };
            let pair: (u128, u64) = (n.parse().unwrap(), sequence.parse().unwrap());
            answered.insert(pair);
            if verb == Some("delivered") {
                delivered.insert(pair.1);
            }
            seen += 1;
            if seen == 40 + round * 37 {
                child.kill().unwrap();
            }
        }
        let status = child.wait().unwrap();
        assert!(!status.success(), "the child ended by itself: {status}");

        let store = Store::open(directory.path()).unwrap();
        check(&store, &answered, &delivered).await;
        store.close().await;
    }
    assert!(delivered.len() > 50, "the test has tested something");
}

async fn check(store: &Store, answered: &BTreeSet<(u128, u64)>, delivered: &BTreeSet<u64>) {
    for &(n, sequence) in answered {
        let found = store.operation(operation_id(n)).await.unwrap();
        assert!(found.is_some_and(|found| found.is_final), "operation {n} is lost");
        let found = store.notification(Sequence(sequence)).await.unwrap();
        let found = found.unwrap_or_else(|| panic!("notification {sequence} is lost"));
        assert_eq!(&found.body[..], format!("body {n}").as_bytes());
        if delivered.contains(&sequence) {
            assert_eq!(found.state, NotificationState::Delivered);
        }
    }
    // Nothing is half there: as many operations as notifications, and sums that agree.
    let counts = store.counts().await.unwrap();
    assert_eq!(counts.created, counts.delivered + counts.pending + counts.given_up);
    let mut operations = 0;
    for call in 0..WRITERS {
        operations += store.operations_of_call(call_id(call)).await.unwrap().len() as u64;
    }
    assert_eq!(operations, counts.created);
    let mut rows = 0;
    let mut after = Sequence(0);
    loop {
        let filter = DeliveryFilter { after, limit: 1_000, ..DeliveryFilter::default() };
        let page = store.deliveries(filter).await.unwrap();
        let Some(last) = page.last() else { break };
        rows += page.len() as u64;
        after = last.sequence;
    }
    assert_eq!(rows, counts.created);
}
