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
use graphophone_store::{Store, StoreError};
use tracing::{error, info};

use super::{
    call_task::View,
    ledger::{Entry, Ledger, parse_operation, unix_millis},
};
use crate::outbox::Outbox;

/// Settles what an earlier process of this server left behind. To be run before calls are taken.
///
/// # Errors
/// When the store fails.
pub async fn recover(store: &Store, outbox: &Outbox) -> Result<(), StoreError> {
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
    for record in &unfinished.operations {
        if let Some((operation, _)) = parse_operation(record) {
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
        }
    }
    for record in unfinished.calls {
        let details: CallDetails = match serde_json::from_str(&record.details_json) {
            Ok(details) => details,
            Err(error) => {
                error!(call_id = %record.id, %error, "a stored call is unreadable");
                continue;
            }
        };
        let result = ResultInfo::of_call(500, 9999, "The server was restarted.");
        let view = View {
            state: CallState::Terminated,
            media_active: false,
            result: Some(result.clone()),
            details: Arc::new(details),
        };
        let cut = operations.remove(&record.id).unwrap_or_default();
        let mut notifications: Vec<_> =
            cut.iter().cloned().map(Notification::OperationEnded).collect();
        notifications.push(Notification::Terminated(result));
        ledger
            .commit(
                Entry {
                    view: &view,
                    operations: cut
                        .iter()
                        .map(|operation| (operation, receipt(operation)))
                        .collect(),
                    notifications,
                },
                || {},
            )
            .await?;
    }
    // What is unfinished still cannot be read, and was logged: it must not come back at each start.
    let abandoned = store
        .abandon_unfinished(
            state_name(CallState::Terminated),
            status_name(OperationStatus::Failed),
            unix_millis(),
        )
        .await?;
    if abandoned > 0 {
        error!(abandoned, "unreadable calls and operations are marked as ended; nobody is told");
    }
    Ok(())
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
    use graphophone_store::{CallRecord, Commit, OperationRecord, UnixMillis};
    use uuid::Uuid;

    use super::*;
    use crate::outbox::{DeliverSettings, Deliverer, Settings, Trust};

    const THEN: UnixMillis = UnixMillis(1_790_000_000_000);

    #[tokio::test]
    async fn what_cannot_be_read_is_ended_at_the_first_start_and_not_met_again() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let call = CallId::new(Uuid::from_u128(1));
        let operation = OperationId::new(Uuid::from_u128(2));
        let (tenant, app) = (TenantId::new(Uuid::from_u128(7)), AppId::new(Uuid::from_u128(8)));
        let unreadable = || r#"{"of": "another build"}"#.to_owned();
        let commit = Commit {
            call: Some(CallRecord {
                id: call,
                tenant,
                app,
                state: "established".into(),
                is_terminated: false,
                callback_uri: None,
                details_json: unreadable(),
                created_at: THEN,
                updated_at: THEN,
            }),
            operations: vec![OperationRecord {
                id: operation,
                call_id: call,
                tenant,
                app,
                kind: "playPromptOperation".into(),
                status: "running".into(),
                is_final: false,
                body_json: unreadable(),
                created_at: THEN,
                updated_at: THEN,
            }],
            notifications: vec![],
        };
        store.commit(commit).await.unwrap();
        let deliverer = Deliverer::new(
            Arc::new(|_, _| Ok(())),
            Arc::new(|_, _| String::new()),
            Arc::new(unix_millis),
            Trust::system_and(vec![]),
            DeliverSettings::default(),
        );
        let outbox = Outbox::start(store.clone(), deliverer, Settings::default()).await.unwrap();

        recover(&store, &outbox).await.unwrap();

        let unfinished = store.unfinished().await.unwrap();
        assert!(unfinished.calls.is_empty() && unfinished.operations.is_empty());
        assert_eq!(store.call(call).await.unwrap().unwrap().state, "terminated");
        assert_eq!(store.operation(operation).await.unwrap().unwrap().status, "failed");
    }
}
