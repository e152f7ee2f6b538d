//! A store of an earlier version is taken over with everything in it.

use graphophone_store::{Counts, Cutoff, NotificationState, Sequence, Store};
use rusqlite::Connection;

use crate::rows::{NOW, call_id, operation_id, owing};

fn version_1(path: &std::path::Path) {
    let connection = Connection::open(path.join("graphophone.db")).unwrap();
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA application_id = {}; {}
             INSERT INTO call VALUES (x'{}', zeroblob(16), zeroblob(16), 'established', 0,
                                      'http://127.0.0.1:9/bot', '{{}}', 5, 6);
             INSERT INTO operation VALUES (x'{}', x'{}', zeroblob(16), zeroblob(16),
                                           'playPromptOperation', 'running', 0, '{{}}', 5, 6);
             INSERT INTO notification VALUES
                 (1, zeroblob(16), zeroblob(16), zeroblob(16), zeroblob(16), 'http://a', x'01',
                  zeroblob(16), 5, 1, 5, 1, NULL, 7),
                 (2, zeroblob(16), zeroblob(16), zeroblob(16), zeroblob(16), 'http://a', x'02',
                  zeroblob(16), 5, 3, 9, 0, 'HTTP 500', NULL),
                 (9, zeroblob(16), zeroblob(16), zeroblob(16), zeroblob(16), 'http://a', x'09',
                  zeroblob(16), 5, 3, 9, 2, 'HTTP 410', 7);
             DELETE FROM notification WHERE sequence = 9;
             UPDATE tally SET created = 3, delivered = 1, given_up = 1;
             PRAGMA user_version = 1;",
            0x4750_686E,
            include_str!("version_1.sql"),
            call_id(1).uuid().simple(),
            operation_id(1).uuid().simple(),
            call_id(1).uuid().simple(),
        ))
        .unwrap();
}

#[tokio::test]
async fn a_store_of_version_1_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    version_1(directory.path());
    for start in 0..2 {
        let store = Store::open(directory.path()).unwrap();
        let unfinished = store.unfinished().await.unwrap();
        assert_eq!(unfinished.calls.len(), 1);
        assert_eq!((unfinished.calls[0].id, &unfinished.calls[0].dialog), (call_id(1), &None));
        assert_eq!(unfinished.operations[0].id, operation_id(1));
        let owed = store.notification(Sequence(2)).await.unwrap().unwrap();
        assert_eq!((owed.state, owed.attempts), (NotificationState::Owed, 3));
        assert_eq!(owed.last_error.as_deref(), Some("HTTP 500"));
        let counts = Counts { created: 3 + start, delivered: 1, pending: 1 + start, given_up: 1 };
        assert_eq!(store.counts().await.unwrap(), counts);
        // The pruned 9 is not given again.
        let next = store.commit(owing(u128::from(start), 1)).await.unwrap();
        assert_eq!(next.notifications[0].sequence, Sequence(10 + start));
        store.close().await;
    }
    let store = Store::open(directory.path()).unwrap();
    let all = Cutoff { ended: NOW, given_up: NOW, requests: NOW };
    assert_eq!(store.prune(all).await.unwrap().notifications, 1);
}
