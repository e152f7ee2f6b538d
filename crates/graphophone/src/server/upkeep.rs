//! What a running server does beside its work: forgets what is old, ends what an earlier process
//! left on the line, and makes room on a full disk.

use std::{sync::Arc, time::Duration};

use graphophone_sip::Endpoint;
use graphophone_store::{CallRecord, Commit, Cutoff, Store, StoreError};
use tracing::{debug, info, warn};

use crate::{config::Config, engine::unix_millis, prompts::Prompts};

/// How long what an earlier process left on the line is remembered: longer than a BYE is repeated
/// (32 s, RFC 3261 §17.1.2.2) and than most phones ring. A BYE too many is answered 481.
const REMEMBER: Duration = Duration::from_secs(180);

/// Forgets what ended longer ago than it is kept.
pub(super) async fn prune(store: Store, config: Arc<Config>) {
    let (keep, given_up) = (config.operations.keep.0, config.callbacks.keep_given_up.0);
    let requests = config.operations.remember_requests.0;
    let before =
        |keep: Duration| unix_millis().plus(-i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
    let shortest = keep.min(given_up).min(requests);
    loop {
        tokio::time::sleep(shortest.clamp(Duration::from_secs(1), Duration::from_secs(60))).await;
        let cutoff =
            Cutoff { ended: before(keep), given_up: before(given_up), requests: before(requests) };
        match store.prune(cutoff).await {
            Ok(pruned) => debug!(?pruned, "forgot what ended long ago"),
            Err(error) => warn!(%error, "the store cannot be pruned"),
        }
    }
}

/// Says BYE in the dialogs of calls that an earlier process left behind.
pub(super) async fn release(sip: &Endpoint, left: &[CallRecord]) {
    if left.is_empty() {
        return;
    }
    info!(dialogs = left.len(), "releasing what an earlier process left on the line");
    let dialogs: Vec<String> = left.iter().filter_map(|call| call.dialog.clone()).collect();
    sip.release(&dialogs).await;
}

/// Strikes them out when they are surely over. If the server stops before, the next start says BYE
/// once more.
pub(super) async fn forget_dialogs(store: Store, left: Vec<CallRecord>) {
    if left.is_empty() {
        return;
    }
    tokio::time::sleep(REMEMBER).await;
    for call in left {
        let call = Some(CallRecord { dialog: None, ..call });
        match store.commit(Commit { call, ..Commit::default() }).await {
            Ok(_) => {}
            Err(StoreError::StoreClosed) => return,
            Err(error) => debug!(%error, "an ended dialog is kept until the next start"),
        }
    }
}

/// Gives up cached prompts that nobody plays when the disk is full: they can be fetched again.
pub(super) async fn make_room(store: Store, prompts: Prompts) {
    let mut is_full = store.is_full();
    loop {
        if *is_full.borrow_and_update() {
            let bytes = prompts.give_up_unused().await;
            info!(bytes, "cached prompts made room on the disk");
        }
        if is_full.changed().await.is_err() {
            return;
        }
    }
}
