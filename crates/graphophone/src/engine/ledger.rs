//! Where a call's facts become durable: states, operations and owed notifications, together.

use std::sync::Arc;

use graphophone_call::{AppId, CallId, CallState, Notification, Operation, OperationId, TenantId};
use graphophone_graph::{
    compat::ApiVersion,
    notification::{self, NotificationContext},
    resource::{
        call::state_name,
        operation::{status_name, type_name},
        receipt::Receipt,
    },
};
use graphophone_store::{
    CallRecord, Commit, NewNotification, NotificationId, OperationRecord, Store, StoreError,
    UnixMillis,
};
use uuid::Uuid;

use super::{record::StoredOperation, request::View};
use crate::outbox::Outbox;

/// What one input changed.
pub(super) struct Entry<'a> {
    /// The call as it is now.
    pub(super) view: &'a View,
    /// What ends its SIP dialog after a crash, as long as there is one.
    pub(super) dialog: Option<&'a str>,
    /// Whether its row in the store is another one now.
    pub(super) is_new: bool,
    /// New or changed operations, with their receipts.
    pub(super) operations: Vec<(&'a Operation, Option<Receipt>)>,
    /// What the bot is owed, in order.
    pub(super) notifications: Vec<Notification>,
}

impl Entry<'_> {
    /// The rows of it; notifications are rendered here, once.
    pub(super) fn to_commit(&self) -> Commit {
        let now = unix_millis();
        let operation = |(operation, receipt): &(&Operation, Option<Receipt>)| {
            operation_record(self.view, operation, receipt, now)
        };
        Commit {
            call: self.is_new.then(|| call_record(self.view, self.dialog, now)),
            operations: self.operations.iter().map(operation).collect(),
            notifications: self
                .notifications
                .iter()
                .filter(|notification| is_for(self.view, notification))
                .map(|notification| new_notification(self, notification, now))
                .collect(),
            ..Commit::default()
        }
    }
}

/// The store, and the outbox behind it.
#[derive(Clone)]
pub(super) struct Ledger {
    pub(super) store: Store,
    pub(super) outbox: Outbox,
}

impl Ledger {
    /// Commits in one transaction, then hands the notifications to the outbox. `on_durable` comes
    /// between the two: what it shows is there before a bot is told.
    pub(super) async fn commit(
        &self,
        commit: impl Into<Arc<Commit>>,
        on_durable: impl FnOnce(),
    ) -> Result<(), StoreError> {
        let committed = self.store.commit(commit).await?;
        on_durable();
        self.outbox.enqueue(committed.notifications);
        Ok(())
    }

    /// The legs that a call has left behind are over: their dialogs need no ending after a crash.
    pub(super) async fn forget_dialogs(&self, view: &View) {
        let call = Some(call_record(view, None, unix_millis()));
        if let Err(error) = self.store.commit(Commit { call, ..Commit::default() }).await {
            // The next start says BYE once more, which is answered 481.
            tracing::debug!(call_id = %view.details.id, %error, "dialogs are not struck out");
        }
    }

    /// Keeps what ends dialogs that no call is with, in a row that is no call of anybody's.
    pub(super) async fn keep_dialogs(
        &self,
        id: CallId,
        (tenant, app): (TenantId, AppId),
        dialogs: Option<String>,
    ) -> Result<(), StoreError> {
        let now = unix_millis();
        let call = Some(CallRecord {
            id,
            tenant,
            app,
            state: state_name(CallState::Terminated).to_owned(),
            is_terminated: true,
            callback_uri: None,
            // Not what a call has: nobody reads it as one.
            details_json: "{}".to_owned(),
            dialog: dialogs,
            created_at: now,
            updated_at: now,
        });
        self.store.commit(Commit { call, ..Commit::default() }).await.map(drop)
    }

    /// Those dialogs are over.
    pub(super) async fn forget_own_dialogs(&self, id: CallId, owner: (TenantId, AppId)) {
        if let Err(error) = self.keep_dialogs(id, owner, None).await {
            // The next start says BYE once more, which is answered 481.
            tracing::debug!(%error, "dialogs are not struck out");
        }
    }

    /// An operation of a call that is not live any more.
    pub(super) async fn operation(
        &self,
        id: OperationId,
    ) -> Result<Option<(OperationRecord, Operation, Option<Receipt>)>, StoreError> {
        let Some(record) = self.store.operation(id).await? else { return Ok(None) };
        let Some((operation, receipt)) = parse_operation(&record) else { return Ok(None) };
        Ok(Some((record, operation, receipt)))
    }
}

/// Reads a stored operation back.
pub(super) fn parse_operation(record: &OperationRecord) -> Option<(Operation, Option<Receipt>)> {
    serde_json::from_str::<StoredOperation>(&record.body_json)
        .inspect_err(
            |error| tracing::error!(id = %record.id, %error, "a stored operation is unreadable"),
        )
        .ok()
        .map(|stored| stored.into_domain(record.id))
}

fn call_record(view: &View, dialog: Option<&str>, now: UnixMillis) -> CallRecord {
    let details = &view.details;
    CallRecord {
        id: details.id,
        tenant: details.tenant,
        app: details.app,
        state: state_name(view.state).to_owned(),
        is_terminated: view.state == CallState::Terminated,
        callback_uri: Some(details.callback_uri.clone()),
        details_json: serde_json::to_string(&**details)
            .expect("details have string keys and no failing serializers"),
        dialog: dialog.map(str::to_owned),
        created_at: now,
        updated_at: now,
    }
}

fn operation_record(
    view: &View,
    operation: &Operation,
    receipt: &Option<Receipt>,
    now: UnixMillis,
) -> OperationRecord {
    let stored = StoredOperation::new(operation, receipt.clone());
    OperationRecord {
        id: operation.id,
        call_id: view.details.id,
        tenant: view.details.tenant,
        app: view.details.app,
        kind: type_name(&operation.kind).to_owned(),
        status: status_name(operation.status).to_owned(),
        is_final: operation.status.is_final(),
        body_json: serde_json::to_string(&stored)
            .expect("stored operations have string keys and no failing serializers"),
        created_at: now,
        updated_at: now,
    }
}

/// Whether the version of the bot has the notification: clients of v1.0 read a state `ringing` as
/// none at all (spec/state-machines.md §1).
fn is_for(view: &View, notification: &Notification) -> bool {
    *notification != Notification::Ringing || view.details.version == ApiVersion::Beta
}

fn new_notification(
    entry: &Entry<'_>,
    notification: &Notification,
    now: UnixMillis,
) -> NewNotification {
    let details = &entry.view.details;
    let receipt = match notification {
        Notification::OperationEnded(ended) => entry
            .operations
            .iter()
            .find(|(operation, _)| operation.id == ended.id)
            .and_then(|(_, receipt)| receipt.as_ref()),
        Notification::Incoming
        | Notification::Establishing
        | Notification::Ringing
        | Notification::Established
        | Notification::Media { .. }
        | Notification::Tone { .. }
        | Notification::Roster(_)
        | Notification::Terminating
        | Notification::Rejected
        | Notification::Transferring
        | Notification::TransferAccepted
        | Notification::TransferFailed(_)
        | Notification::Transferred { .. }
        | Notification::Redirected(_)
        | Notification::Terminated(_) => None,
    };
    let context = NotificationContext { details, with_id: true };
    NewNotification {
        id: NotificationId(Uuid::new_v4()),
        call_id: details.id,
        tenant: details.tenant,
        app: details.app,
        url: details.callback_uri.clone(),
        body: Arc::from(notification::render(&context, notification, receipt).into_bytes()),
        scenario_id: details.scenario_id,
        created_at: now,
    }
}

/// Milliseconds since 1970; before that, 0.
pub(crate) fn unix_millis() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    UnixMillis(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}
