//! After a restart: everything that was running is reported failed, every open call terminated.

use std::{collections::BTreeMap, sync::Arc};

use graphophone_call::{
    CallId, CallState, CompletionReason, MediaPrompt, Notification, Operation, OperationKind,
    OperationStatus, ResultInfo,
};
use graphophone_graph::resource::{
    call::{CallDetails, state_name},
    operation::status_name,
    receipt::{PromptEnd, PromptReceipt, Receipt},
};
use graphophone_store::{CallRecord, Commit, OperationRecord, Store, StoreError};
use tracing::{error, info};

use super::{
    ledger::{Entry, Ledger, parse_operation},
    participants::GroupView,
    request::View,
};
use crate::outbox::Outbox;

/// Settles what an earlier process of this server left behind. To be run before calls are taken.
/// The calls whose dialogs may still stand come back: their peers are to be released.
///
/// # Errors
/// When the store fails.
pub async fn recover(store: &Store, outbox: &Outbox) -> Result<Vec<CallRecord>, StoreError> {
    let ledger = Ledger { store: store.clone(), outbox: outbox.clone() };
    let unfinished = store.unfinished().await?;
    if !unfinished.calls.is_empty() {
        info!(
            calls = unfinished.calls.len(),
            operations = unfinished.operations.len(),
            "reporting what a restart cut"
        );
    }
    let mut operations: BTreeMap<CallId, Vec<Operation>> = BTreeMap::new();
    // What cannot be read is closed by its columns, or it would be looked at after every restart.
    let mut unreadable = Commit::default();
    for record in unfinished.operations {
        if let Some((operation, _)) = parse_operation(&record) {
            operations.entry(record.call_id).or_default().push(Operation {
                status: OperationStatus::Failed,
                completion_reason: Some(CompletionReason::Unknown),
                result: Some(ResultInfo::new(
                    500,
                    9999,
                    "Action failed, the server was restarted.",
                )),
                ..operation
            });
        } else {
            let status = status_name(OperationStatus::Failed).to_owned();
            unreadable.operations.push(OperationRecord { status, is_final: true, ..record });
        }
    }
    ledger.commit(unreadable, || {}).await?;
    let mut left = unfinished.dialogs;
    for record in unfinished.calls {
        let details: CallDetails = match serde_json::from_str(&record.details_json) {
            Ok(details) => details,
            Err(error) => {
                error!(call_id = %record.id, %error, "a stored call is unreadable");
                let state = state_name(CallState::Terminated).to_owned();
                let call = CallRecord { state, is_terminated: true, ..record };
                left.extend(call.dialog.is_some().then(|| call.clone()));
                ledger.commit(Commit { call: Some(call), ..Commit::default() }, || {}).await?;
                continue;
            }
        };
        let result = ResultInfo::of_call(500, 9999, "The server was restarted.");
        let view = View {
            state: CallState::Terminated,
            media_active: None,
            tone: None,
            group: GroupView::default(),
            result: Some(result.clone()),
            details: Arc::new(details),
        };
        let cut = operations.remove(&record.id).unwrap_or_default();
        let mut notifications: Vec<_> =
            cut.iter().cloned().map(Notification::OperationEnded).collect();
        notifications.push(Notification::Terminated(result));
        let entry = Entry {
            view: &view,
            // Until its peer is surely released.
            dialog: record.dialog.as_deref(),
            is_new: true,
            operations: cut.iter().map(|operation| (operation, receipt(operation))).collect(),
            notifications,
        };
        let commit = entry.to_commit();
        left.extend(commit.call.clone().filter(|call| call.dialog.is_some()));
        ledger.commit(commit, || {}).await?;
    }
    Ok(left)
}

/// Nobody knows how much was sent before the end; to say 0 would be false.
fn receipt(operation: &Operation) -> Option<Receipt> {
    let OperationKind::PlayPrompt { prompts, .. } = &operation.kind else { return None };
    let cut = |prompt: &MediaPrompt| PromptReceipt {
        milliseconds_sent: None,
        reason: PromptEnd::ServerRestarted,
        ..PromptReceipt::waiting(prompt.uri.clone(), prompt.resource_id.clone())
    };
    Some(Receipt { prompts: prompts.iter().map(cut).collect() })
}

#[cfg(test)]
mod tests {
    use graphophone_call::{AppId, OperationId, TenantId};
    use graphophone_store::UnixMillis;
    use uuid::Uuid;

    use super::*;
    use crate::engine::testing::silent_outbox;

    #[tokio::test]
    async fn what_cannot_be_read_is_closed_once_and_for_all() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let (id, tenant, app) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let (tenant, app) = (TenantId::new(tenant), AppId::new(app));
        let call = CallRecord {
            id: CallId::new(id),
            tenant,
            app,
            state: "established".into(),
            is_terminated: false,
            callback_uri: None,
            details_json: "not what we write".into(),
            dialog: Some("a dialog".into()),
            created_at: UnixMillis(1),
            updated_at: UnixMillis(1),
        };
        let operation = OperationRecord {
            id: OperationId::new(id),
            call_id: call.id,
            tenant,
            app,
            kind: "playPromptOperation".into(),
            status: "running".into(),
            is_final: false,
            body_json: "nor this".into(),
            created_at: UnixMillis(1),
            updated_at: UnixMillis(1),
        };
        let commit = Commit { call: Some(call), operations: vec![operation], ..Commit::default() };
        store.commit(commit).await.unwrap();

        let dialogs = recover(&store, &silent_outbox(&store).await).await.unwrap();
        assert_eq!(dialogs.len(), 1);
        let left = store.unfinished().await.unwrap();
        assert_eq!((left.calls, left.operations), (Vec::new(), Vec::new()));
        assert_eq!(left.dialogs, dialogs);
        let closed = store.call(CallId::new(id)).await.unwrap().unwrap();
        assert_eq!((closed.state.as_str(), closed.details_json.len()), ("terminated", 17));
        let closed = store.operation(OperationId::new(id)).await.unwrap().unwrap();
        assert_eq!((closed.status.as_str(), closed.body_json.as_str()), ("failed", "nor this"));
    }
}
