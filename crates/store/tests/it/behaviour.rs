//! Commits, owed notifications, their settlement, retention.

use std::sync::Arc;

use graphophone_store::{
    Commit, Counts, Cutoff, DeliveryFilter, NewNotification, NotificationState, Pruned, Sequence,
    Store, StoreError, UnixMillis,
};

use crate::rows::{
    NOW, call, call_id, notification, notification_id, operation, operation_id, owing,
};

fn open() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

#[tokio::test]
async fn a_commit_is_found_again_whole_after_reopening() {
    let (directory, store) = open();
    let commit = Commit {
        call: Some(call(1, "established")),
        operations: vec![operation(1, 1, "running"), operation(2, 1, "completed")],
        notifications: vec![notification(1, 1), notification(2, 1)],
        ..Commit::default()
    };
    let committed = store.commit(commit.clone()).await.unwrap();
    store.close().await;
    let store = Store::open(directory.path()).unwrap();

    assert_eq!(store.call(call_id(1)).await.unwrap(), commit.call);
    assert_eq!(store.operations_of_call(call_id(1)).await.unwrap(), commit.operations);
    assert_eq!(store.operation(operation_id(2)).await.unwrap().as_ref(), commit.operations.last());
    let owed = store.owed_of_call(call_id(1), Sequence(0), 10).await.unwrap();
    assert_eq!(owed, committed.notifications);
    assert_eq!(owed[0].id, notification_id(1));
    assert_eq!(&owed[0].body[..], b"body 1");
    assert!(owed[0].sequence < owed[1].sequence);
}

#[tokio::test]
async fn a_refused_commit_leaves_nothing_and_does_not_harm_its_neighbours() {
    let (_directory, store) = open();
    let done = Commit { operations: vec![operation(1, 1, "completed")], ..Commit::default() };
    store.commit(done).await.unwrap();
    let refused = Commit {
        call: Some(call(2, "established")),
        operations: vec![operation(2, 2, "running"), operation(1, 1, "failed")],
        notifications: vec![notification(1, 2)],
        ..Commit::default()
    };

    // Sent at once, so that the writer finds several of them for one transaction.
    let all = (10..20).map(|n| {
        let commit = if n == 15 { refused.clone() } else { owing(n, n) };
        let store = store.clone();
        tokio::spawn(async move { store.commit(commit).await })
    });
    let mut failures = Vec::new();
    for answer in all.collect::<Vec<_>>() {
        failures.extend(answer.await.unwrap().err());
    }

    assert!(
        matches!(failures[..], [StoreError::CallerFinalOperation(id)] if id == operation_id(1))
    );
    assert_eq!(store.call(call_id(2)).await.unwrap(), None);
    assert_eq!(store.operation(operation_id(2)).await.unwrap(), None);
    assert_eq!(
        store.counts().await.unwrap(),
        Counts { created: 9, pending: 9, ..Counts::default() }
    );
}

#[tokio::test]
async fn a_final_status_never_changes_but_its_body_may() {
    let (_directory, store) = open();
    let put = |operation| Commit { operations: vec![operation], ..Commit::default() };
    store.commit(put(operation(1, 1, "running"))).await.unwrap();
    store.commit(put(operation(1, 1, "failed"))).await.unwrap();
    for status in ["completed", "running"] {
        let error = store.commit(put(operation(1, 1, status))).await.unwrap_err();
        assert!(matches!(error, StoreError::CallerFinalOperation(id) if id == operation_id(1)));
    }
    let mut receipt = operation(1, 1, "failed");
    receipt.body_json = r#"{"receipt":1}"#.into();
    store.commit(put(receipt.clone())).await.unwrap();
    assert_eq!(store.operation(operation_id(1)).await.unwrap(), Some(receipt));
}

#[tokio::test]
async fn a_terminated_call_stays_terminated() {
    let (_directory, store) = open();
    let put = |call| Commit { call: Some(call), ..Commit::default() };
    store.commit(put(call(1, "terminated"))).await.unwrap();
    let error = store.commit(put(call(1, "established"))).await.unwrap_err();
    assert!(matches!(error, StoreError::CallerTerminatedCall(id) if id == call_id(1)));
    assert_eq!(store.call(call_id(1)).await.unwrap().unwrap().state, "terminated");
}

#[tokio::test]
async fn unfinished_lists_running_operations_and_live_calls_only() {
    let (_directory, store) = open();
    for (n, state, status) in [(1, "established", "running"), (2, "terminated", "completed")] {
        let commit = Commit {
            call: Some(call(n, state)),
            operations: vec![operation(n, n, status)],
            notifications: vec![],
            ..Commit::default()
        };
        store.commit(commit).await.unwrap();
    }
    let unfinished = store.unfinished().await.unwrap();
    assert_eq!(unfinished.calls, [call(1, "established")]);
    assert_eq!(unfinished.operations, [operation(1, 1, "running")]);
}

#[tokio::test]
async fn owed_names_each_call_once_in_the_order_of_its_first_notification() {
    let (_directory, store) = open();
    for (n, call) in [(1, 5), (2, 3), (3, 5), (4, 4)] {
        store.commit(owing(n, call)).await.unwrap();
    }
    store.delivered(Sequence(1), NOW).await.unwrap();
    store.attempt_failed(Sequence(2), "503".into(), NOW.plus(9)).await.unwrap();
    let owed = store.owed().await.unwrap();
    let spans: Vec<_> = owed.iter().map(|owed| (owed.call_id, owed.first.0, owed.last.0)).collect();
    assert_eq!(spans, [(call_id(3), 2, 2), (call_id(5), 3, 3), (call_id(4), 4, 4)]);
}

#[tokio::test]
async fn a_notification_is_settled_once_and_the_sums_agree() {
    let (_directory, store) = open();
    for n in 1..=4 {
        store.commit(owing(n, 1)).await.unwrap();
    }
    store.attempt_failed(Sequence(1), "timed out".into(), NOW.plus(1000)).await.unwrap();
    store.delivered(Sequence(1), NOW.plus(2000)).await.unwrap();
    store.given_up(Sequence(2), "410 Gone".into(), NOW).await.unwrap();
    let again = store.delivered(Sequence(2), NOW).await.unwrap_err();
    assert!(matches!(again, StoreError::CallerNotOwed(Sequence(2))));
    let again = store.given_up(Sequence(99), String::new(), NOW).await.unwrap_err();
    assert!(matches!(again, StoreError::CallerNotOwed(Sequence(99))));

    assert_eq!(
        store.counts().await.unwrap(),
        Counts { created: 4, delivered: 1, pending: 2, given_up: 1 }
    );
    let delivered = store.notification(Sequence(1)).await.unwrap().unwrap();
    assert_eq!(delivered.state, NotificationState::Delivered);
    assert_eq!(delivered.attempts, 2);
    assert_eq!(delivered.last_error.as_deref(), Some("timed out"));
    assert_eq!(delivered.settled_at, Some(NOW.plus(2000)));
}

#[tokio::test]
async fn deliveries_are_filtered_and_paged() {
    let (_directory, store) = open();
    for n in 1..=5 {
        store.commit(owing(n, n % 2)).await.unwrap();
    }
    store.given_up(Sequence(3), "410 Gone".into(), NOW).await.unwrap();
    let list = |filter: DeliveryFilter| {
        let store = store.clone();
        async move {
            let found = store.deliveries(filter).await.unwrap();
            found.iter().map(|delivery| delivery.sequence.0).collect::<Vec<_>>()
        }
    };
    let all = DeliveryFilter::default;
    assert_eq!(list(all()).await, [1, 2, 3, 4, 5]);
    assert_eq!(list(DeliveryFilter { after: Sequence(2), limit: 2, ..all() }).await, [3, 4]);
    assert_eq!(list(DeliveryFilter { call_id: Some(call_id(0)), ..all() }).await, [2, 4]);
    for (state, expected) in [
        (NotificationState::Owed, vec![1, 2, 4, 5]),
        (NotificationState::GivenUp, vec![3]),
        (NotificationState::Delivered, vec![]),
    ] {
        assert_eq!(list(DeliveryFilter { state: Some(state), ..all() }).await, expected);
    }
    let stranger = uuid::Uuid::from_u128(1).into();
    assert!(list(DeliveryFilter { tenant: Some(stranger), ..all() }).await.is_empty());
}

#[tokio::test]
async fn what_is_replayed_is_owed_again_as_it_was_and_the_sums_agree() {
    let (directory, store) = open();
    for n in 1..=6 {
        store.commit(owing(n, n % 2)).await.unwrap();
    }
    store.given_up(Sequence(1), "410 Gone".into(), NOW).await.unwrap();
    store.delivered(Sequence(2), NOW).await.unwrap();
    store.given_up(Sequence(3), "timed out".into(), NOW).await.unwrap();
    store.given_up(Sequence(5), "timed out".into(), NOW).await.unwrap();
    let before = store.notification(Sequence(3)).await.unwrap().unwrap();
    let later = NOW.plus(5_000);

    // One of them: that which stands alone between two sequences.
    let one = DeliveryFilter { after: Sequence(2), up_to: Sequence(3), ..Default::default() };
    let replayed = store.replay(one.clone(), later).await.unwrap();
    let now = store.notification(Sequence(3)).await.unwrap().unwrap();
    assert_eq!(replayed, std::slice::from_ref(&now));
    assert_eq!((now.state, now.next_attempt_at), (NotificationState::Owed, later));
    assert_eq!((now.id, &now.body, now.attempts), (before.id, &before.body, 1));
    assert_eq!((now.settled_at, now.last_error.as_deref()), (None, Some("timed out")));
    assert_eq!(
        store.counts().await.unwrap(),
        Counts { created: 6, delivered: 1, pending: 3, given_up: 2 }
    );
    assert_eq!(store.replay(one, later).await.unwrap(), [], "it is owed already");

    // In one batch with what cancels it out in the sums, and by a filter.
    let failed =
        DeliveryFilter { state: Some(NotificationState::GivenUp), limit: 1, ..Default::default() };
    let (replayed, delivered) =
        tokio::join!(store.replay(failed, later), store.delivered(Sequence(3), later));
    assert_eq!(replayed.unwrap()[0].sequence, Sequence(1), "the first page only");
    delivered.unwrap();
    let counts = Counts { created: 6, delivered: 2, pending: 3, given_up: 1 };
    assert_eq!(store.counts().await.unwrap(), counts);
    store.close().await;
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.counts().await.unwrap(), counts);
    let owed = store.owed_of_call(call_id(1), Sequence(0), 10).await.unwrap();
    assert_eq!(owed.iter().map(|owed| owed.sequence.0).collect::<Vec<_>>(), [1]);
    // Without a state: whatever is settled, past those that are owed.
    let rest = DeliveryFilter { limit: 3, ..Default::default() };
    let replayed = store.replay(rest, later).await.unwrap();
    assert_eq!(replayed.iter().map(|one| one.sequence.0).collect::<Vec<_>>(), [2, 3, 5]);
    assert_eq!(
        store.counts().await.unwrap(),
        Counts { created: 6, pending: 6, ..Counts::default() }
    );
    assert_eq!(store.last_notification().await.unwrap(), Sequence(6));
}

fn up_to(time: UnixMillis) -> Cutoff {
    Cutoff { ended: time, given_up: time, requests: time }
}

#[tokio::test]
async fn pruning_removes_what_is_over_and_old_and_nothing_else() {
    let (directory, store) = open();
    let old = NOW.plus(-10_000);
    let aged = |n, state: &str, status: &str, at: UnixMillis| {
        let mut commit = Commit {
            call: Some(call(n, state)),
            operations: vec![operation(n, n, status)],
            notifications: vec![notification(n, n)],
            ..Commit::default()
        };
        let call = commit.call.as_mut().unwrap();
        call.updated_at = at;
        // Legs that have outlived it: a bridge, a conference without a bot.
        call.dialog = (n == 6).then(|| "a dialog".to_owned());
        commit.operations[0].updated_at = at;
        commit
    };
    for (n, state, status, at) in [
        (1, "terminated", "completed", old),  // over and old: goes
        (2, "terminated", "completed", NOW),  // too young
        (3, "established", "completed", old), // lives; its ended operation goes
        (4, "terminated", "running", old),    // has an unfinished operation
        (5, "terminated", "completed", old),  // still owes; its operation goes
        (6, "terminated", "completed", old),  // its legs are still up; its operation goes
    ] {
        store.commit(aged(n, state, status, at)).await.unwrap();
    }
    for (sequence, at) in [(1, old), (2, NOW), (3, NOW), (4, NOW), (6, NOW)] {
        store.delivered(Sequence(sequence), at).await.unwrap();
    }
    let before = store.counts().await.unwrap();

    let pruned = store.prune(up_to(NOW.plus(-1))).await.unwrap();

    assert_eq!(pruned, Pruned { calls: 1, operations: 4, notifications: 1, requests: 0 });
    assert_eq!(store.call(call_id(1)).await.unwrap(), None);
    for n in 2..=6 {
        assert!(store.call(call_id(n)).await.unwrap().is_some(), "call {n} is gone");
    }
    for n in [2, 4] {
        assert!(store.operation(operation_id(n)).await.unwrap().is_some(), "operation {n} is gone");
    }
    assert_eq!(store.counts().await.unwrap(), before, "the sums outlive pruned rows");

    // The highest sequence is pruned too, and is still not given again.
    store.delivered(Sequence(5), old).await.unwrap();
    store.prune(up_to(NOW.plus(1))).await.unwrap();
    store.close().await;
    let store = Store::open(directory.path()).unwrap();
    let next = store.commit(owing(7, 7)).await.unwrap();
    assert_eq!(next.notifications[0].sequence, Sequence(7));
}

#[tokio::test]
async fn given_up_notifications_are_kept_longer_than_delivered_ones() {
    let (_directory, store) = open();
    for n in 1..=3 {
        store.commit(owing(n, n)).await.unwrap();
    }
    store.delivered(Sequence(1), NOW).await.unwrap();
    store.given_up(Sequence(2), "410 Gone".into(), NOW).await.unwrap();
    store.given_up(Sequence(3), "410 Gone".into(), NOW.plus(-10_000)).await.unwrap();
    let before = Cutoff { ended: NOW.plus(1), given_up: NOW.plus(-5_000), requests: NOW };
    store.prune(before).await.unwrap();
    let left = store.deliveries(DeliveryFilter::default()).await.unwrap();
    assert_eq!(left.iter().map(|one| one.sequence.0).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn many_steps_of_pruning_remove_everything() {
    let (_directory, store) = open();
    let commits = (0..1_200).map(|n| {
        let store = store.clone();
        let commit = Commit {
            call: Some(call(n, "terminated")),
            operations: vec![operation(n, n, "completed")],
            notifications: vec![],
            ..Commit::default()
        };
        tokio::spawn(async move { store.commit(commit).await })
    });
    for commit in commits.collect::<Vec<_>>() {
        commit.await.unwrap().unwrap();
    }
    let pruned = store.prune(up_to(NOW.plus(1))).await.unwrap();
    assert_eq!(pruned, Pruned { calls: 1_200, operations: 1_200, notifications: 0, requests: 0 });
}

#[tokio::test]
async fn closing_writes_what_was_queued_and_refuses_what_comes_later() {
    let (directory, store) = open();
    // Polled once, each commit is in the queue; none has been answered yet.
    let mut queued: Vec<_> = (0..50).map(|n| Box::pin(store.commit(owing(n, n)))).collect();
    for commit in &mut queued {
        std::future::poll_fn(|context| {
            let _ = commit.as_mut().poll(context);
            std::task::Poll::Ready(())
        })
        .await;
    }
    store.close().await;
    for commit in queued {
        commit.await.unwrap();
    }
    let late = store.commit(owing(99, 99)).await.unwrap_err();
    assert!(matches!(late, StoreError::StoreClosed));
    assert!(matches!(store.counts().await, Err(StoreError::StoreClosed)));
    let reopened = Store::open(directory.path()).unwrap();
    assert_eq!(reopened.counts().await.unwrap().created, 50);
}

#[tokio::test]
async fn bodies_are_bytes_and_come_back_as_they_were() {
    let (_directory, store) = open();
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let mut commit = owing(1, 1);
    commit.notifications[0].body = Arc::from(bytes.clone());
    store.commit(commit).await.unwrap();
    let read = store.notification(Sequence(1)).await.unwrap().unwrap();
    assert_eq!(&read.body[..], &bytes[..]);
}

#[tokio::test]
async fn the_log_stays_short_while_the_store_is_open() {
    let (directory, store) = open();
    let length = |name: &str| std::fs::metadata(directory.path().join(name)).unwrap().len();
    // 120 commits of more than 64 pages of 4 KiB: 30 MiB altogether.
    let body: Arc<[u8]> = Arc::from(vec![b'x'; 1 << 18]);
    for n in 0..120 {
        let commit = Commit {
            notifications: vec![NewNotification { body: Arc::clone(&body), ..notification(n, 1) }],
            ..Commit::default()
        };
        store.commit(commit).await.unwrap();
    }
    // The next commit may be there before the writer looks whether anybody waits, so 4,000 pages
    // and one commit are the most.
    let log = length("graphophone.db-wal");
    assert!(log < 17 << 20, "the log has {log} bytes");
    assert!(length("graphophone.db") > 12 << 20, "too little was folded into the database");
    assert_eq!(store.counts().await.unwrap().created, 120);
    store.close().await;
}
