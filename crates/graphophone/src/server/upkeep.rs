//! What a running server does beside its work: ends what an earlier process left on the line, and
//! makes room on a full disk.

use std::time::Duration;

use graphophone_sip::Endpoint;
use graphophone_store::{CallRecord, Commit, Store, StoreError};
use tracing::{debug, info};

use crate::prompts::Prompts;

/// How long what an earlier process left on the line is remembered: longer than a BYE is repeated
/// (32 s, RFC 3261 §17.1.2.2) and than most phones ring. A BYE too many is answered 481.
const REMEMBER: Duration = Duration::from_secs(180);

/// Says BYE in the dialogs of calls that an earlier process left behind.
pub(super) async fn release(sip: &Endpoint, left: &[CallRecord]) {
    if left.is_empty() {
        return;
    }
    info!(dialogs = left.len(), "releasing what an earlier process left on the line");
    // A group call has several: one in each line.
    let dialogs = left.iter().filter_map(|call| call.dialog.as_deref()).flat_map(str::lines);
    let dialogs: Vec<String> =
        dialogs.filter(|dialog| !dialog.is_empty()).map(str::to_owned).collect();
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
