//! Requests that are carried out once.

use graphophone_store::{Commit, Cutoff, Store, StoreError};

use crate::rows::{NOW, call, call_id, notification, operation, request};

fn asked(n: u128) -> Commit {
    Commit {
        call: Some(call(n, "establishing")),
        operations: vec![operation(n, n, "running")],
        notifications: vec![notification(n, n)],
        request: Some(request(1)),
        is_new_work: true,
    }
}

#[tokio::test]
async fn a_request_is_carried_out_once_whoever_else_is_in_the_batch() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.request(request(1).key).await.unwrap(), None);
    let (first, second, third) =
        tokio::join!(store.commit(asked(1)), store.commit(asked(2)), store.commit(asked(3)));
    first.unwrap();
    for repeated in [second, third] {
        assert!(matches!(repeated, Err(StoreError::CallerKnownRequest)), "{repeated:?}");
    }
    assert_eq!(store.request(request(1).key).await.unwrap(), Some(request(1)));
    assert_eq!(store.call(call_id(2)).await.unwrap(), None);
    assert_eq!(store.counts().await.unwrap().created, 1);
}

#[tokio::test]
async fn a_request_is_known_after_a_restart_and_forgotten_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.commit(asked(1)).await.unwrap();
    store.close().await;
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.request(request(1).key).await.unwrap(), Some(request(1)));
    let before = |requests| Cutoff { ended: NOW.plus(-1), given_up: NOW.plus(-1), requests };
    assert_eq!(store.prune(before(NOW)).await.unwrap().requests, 0);
    assert_eq!(store.prune(before(NOW.plus(1))).await.unwrap().requests, 1);
    assert_eq!(store.request(request(1).key).await.unwrap(), None);
    store.commit(asked(1)).await.unwrap();
}
