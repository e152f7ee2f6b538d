//! How many durable commits per second the store does, each one operation and one owed
//! notification, at 1, 64 and 256 concurrent writers:
//! `cargo run --release -p graphophone-store --example commit_rate [DIRECTORY]`.
//! Give a directory on the disk to be measured; the default is one under the current directory.

use std::{
    error::Error,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use graphophone_call::{AppId, CallId, OperationId, TenantId};
use graphophone_store::{
    Commit, NewNotification, NotificationId, OperationRecord, Store, UnixMillis,
};
use uuid::Uuid;

const RUN: Duration = Duration::from_secs(4);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let base = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    println!("writers  commits/s  p50 ms  p99 ms  max ms");
    for writers in [1, 64, 256] {
        let directory = tempfile::tempdir_in(&base)?;
        let store = Store::open(directory.path())?;
        let start = Instant::now();
        let tasks: Vec<_> = (0..writers)
            .map(|writer| tokio::spawn(commit_until(store.clone(), writer, start + RUN)))
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await?);
        }
        let elapsed = start.elapsed().as_secs_f64();
        times.sort_unstable();
        let at = |part: f64| {
            let index = (part * (times.len() - 1) as f64) as usize;
            times[index].as_secs_f64() * 1e3
        };
        println!(
            "{writers:7}  {:9.0}  {:6.2}  {:6.2}  {:6.2}",
            times.len() as f64 / elapsed,
            at(0.5),
            at(0.99),
            at(1.0)
        );
        store.close().await;
    }
    Ok(())
}

async fn commit_until(store: Store, writer: u64, end: Instant) -> Vec<Duration> {
    let call_id = CallId::new(Uuid::from_u64_pair(1, writer));
    let (tenant, app) = (TenantId::new(Uuid::from_u128(1)), AppId::new(Uuid::from_u128(2)));
    let body: Arc<[u8]> = Arc::from(vec![b'x'; 900]);
    let now = UnixMillis(1_790_000_000_000);
    let mut times = Vec::new();
    for n in 0.. {
        // Ids scattered as random ones are, which is what the indexes have to bear.
        let id = Uuid::from_u64_pair((writer << 32 | n).wrapping_mul(0x9E37_79B9_7F4A_7C15), n);
        let commit = Commit {
            call: None,
            operations: vec![OperationRecord {
                id: OperationId::new(id),
                call_id,
                tenant,
                app,
                kind: "playPromptOperation".into(),
                status: "completed".into(),
                is_final: true,
                body_json: "x".repeat(500),
                created_at: now,
                updated_at: now,
            }],
            notifications: vec![NewNotification {
                id: NotificationId(id),
                call_id,
                tenant,
                app,
                url: "https://bot.example.com/calls".into(),
                body: Arc::clone(&body),
                scenario_id: id,
                created_at: now,
            }],
            ..Commit::default()
        };
        let begin = Instant::now();
        if begin >= end {
            break;
        }
        store.commit(commit).await.expect("the disk takes the commit");
        times.push(begin.elapsed());
    }
    times
}
