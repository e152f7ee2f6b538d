//! After a restart: everything that was running is reported failed, every open call terminated.

use std::{collections::BTreeMap, sync::Arc};

use graphophone_call::{
    CallId, CallState, CompletionReason, MediaPrompt, Notification, Operation, OperationKind,
    OperationStatus, ResultInfo,
};
use graphophone_graph::resource::{
    call::CallDetails,
    receipt::{PromptEnd, PromptReceipt, Receipt},
};
use graphophone_store::{Store, StoreError};
use tracing::{error, info};

use super::{
    call_task::View,
    ledger::{Entry, Ledger, parse_operation},
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
