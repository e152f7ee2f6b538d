//! R-HOOK (test plan §7): webhook endpoints that misbehave in every way seen, and what becomes of the
//! notifications meanwhile: nothing is lost, nothing overtakes, nobody else waits (P3, P4, P6).
//!
//! The real outbox and store against real sockets; times are scaled, so that a day passes in seconds.

mod behaviours;
mod endpoint;
mod order;
mod tls;

use std::{sync::Arc, time::Duration};

use graphophone::outbox::{DeliverSettings, Deliverer, Outbox, Schedule, Settings, Trust};
use graphophone_call::{AppId, CallId, TenantId};
use graphophone_store::{
    Commit, NewNotification, NotificationId, NotificationRecord, Sequence, Store, UnixMillis,
};
use rustls::pki_types::CertificateDer;
use uuid::Uuid;

/// These tests measure how long somebody waits: one at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn call_id(n: u64) -> CallId {
    CallId::new(Uuid::from_u64_pair(7, n))
}

fn now() -> UnixMillis {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UnixMillis(i64::try_from(now.as_millis()).unwrap())
}

/// The `number`th notification of a call, from 0; the body says so.
fn notification(call: u64, number: u64, url: &str) -> NewNotification {
    NewNotification {
        id: NotificationId(Uuid::from_u64_pair(call + 1, number)),
        call_id: call_id(call),
        tenant: TenantId::new(Uuid::from_u128(1)),
        app: AppId::new(Uuid::from_u128(2)),
        url: url.to_owned(),
        body: Arc::from(format!("{call} {number}").into_bytes()),
        scenario_id: Uuid::from_u128(3),
        created_at: now(),
    }
}

/// Commits and enqueues as the task of a call does; the sequences come back.
async fn owe(store: &Store, outbox: &Outbox, owed: Vec<NewNotification>) -> Vec<Sequence> {
    let commit = Commit { notifications: owed, ..Commit::default() };
    let committed = store.commit(commit).await.unwrap().notifications;
    let sequences = committed.iter().map(|record| record.sequence).collect();
    outbox.enqueue(committed);
    sequences
}

async fn logged(store: &Store, sequence: Sequence) -> NotificationRecord {
    store.notification(sequence).await.unwrap().expect("nothing is forgotten")
}

fn deliverer(total_timeout: Duration, trusted: Vec<CertificateDer<'static>>) -> Deliverer {
    let connect_timeout = total_timeout / 3;
    Deliverer::new(
        Arc::new(|_, _| Ok(())),
        Arc::new(|_, _| "token".into()),
        Arc::new(now),
        Trust::system_and(trusted),
        DeliverSettings { connect_timeout, total_timeout, ..DeliverSettings::default() },
    )
}

/// Attempts every `every`, and `Retry-After` up to a second.
fn settings(every: Duration) -> Settings {
    Settings {
        schedule: Schedule {
            attempts_at: vec![Duration::ZERO, every],
            jitter: 0.0,
            retry_after_limit: Duration::from_secs(1),
            ..Schedule::default()
        },
        ..Settings::default()
    }
}
