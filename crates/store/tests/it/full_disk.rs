//! A disk that takes no more: commits are refused, nothing answered is lost, reads go on, and
//! with room again the store goes on where it was.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use graphophone_store::{Sequence, Store, StoreError};

use crate::rows::owing;

const DIRECTORY: &str = "GRAPHOPHONE_FULL_DISK_TEST_DIRECTORY";

/// The child: no file of its own can grow beyond the limit that the parent has set.
#[tokio::test]
#[ignore = "runs as the child of a_full_disk_refuses_commits_and_loses_none"]
async fn child() {
    let directory = env::var_os(DIRECTORY).expect("set by the parent");
    let store = Store::open(Path::new(&directory)).unwrap();
    let mut answered = 0;
    let mut refused = 0;
    for n in 0..10_000 {
        match store.commit(owing(n, n)).await {
            Ok(committed) => {
                answered += 1;
                assert_eq!(committed.notifications[0].sequence, Sequence(answered));
            }
            Err(StoreError::DiskFull | StoreError::DiskFailed(_)) => {
                refused += 1;
                let counts = store.counts().await.expect("reads do not need room");
                assert_eq!(counts.pending, answered);
                if refused == 5 {
                    println!("\nanswered {answered}");
                    return;
                }
            }
            Err(other) => panic!("refused for the wrong reason: {other}"),
        }
    }
    panic!("the limit was never met");
}

#[tokio::test]
async fn a_full_disk_refuses_commits_and_loses_none() {
    let directory = tempfile::tempdir().unwrap();
    // 512 KiB per file; without the trap the kernel kills instead of refusing.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$0\" \"$@\""])
        .arg(env::current_exe().unwrap())
        .args(["full_disk::child", "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let answered = text.lines().find_map(|line| line.strip_prefix("answered ")).unwrap();
    let answered: u64 = answered.parse().unwrap();
    assert!(answered > 10, "the test has tested something: {answered}");

    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.counts().await.unwrap().pending, answered);
    let next = store.commit(owing(99_999, 1)).await.unwrap();
    assert_eq!(next.notifications[0].sequence, Sequence(answered + 1));
}
