//! Records to commit.

use std::sync::Arc;

use graphophone_call::{AppId, CallId, OperationId, TenantId};
use graphophone_store::{
    CallRecord, Commit, NewNotification, NotificationId, OperationRecord, RequestRecord, UnixMillis,
};
use uuid::Uuid;

pub(crate) const NOW: UnixMillis = UnixMillis(1_790_000_000_000);
pub(crate) const TENANT: TenantId = TenantId::new(Uuid::from_u128(7));
pub(crate) const APP: AppId = AppId::new(Uuid::from_u128(8));

pub(crate) fn call_id(n: u128) -> CallId {
    CallId::new(Uuid::from_u128(0x1000_0000 + n))
}

pub(crate) fn operation_id(n: u128) -> OperationId {
    OperationId::new(Uuid::from_u128(0x2000_0000 + n))
}

pub(crate) fn notification_id(n: u128) -> NotificationId {
    NotificationId(Uuid::from_u128(0x3000_0000 + n))
}

pub(crate) fn call(n: u128, state: &str) -> CallRecord {
    CallRecord {
        id: call_id(n),
        tenant: TENANT,
        app: APP,
        state: state.into(),
        is_terminated: state == "terminated",
        callback_uri: Some("http://127.0.0.1:9/bot?ticket=1".into()),
        details_json: "{}".into(),
        dialog: (state != "terminated").then(|| format!("dialog {n}")),
        created_at: NOW,
        updated_at: NOW,
    }
}

pub(crate) fn operation(n: u128, call: u128, status: &str) -> OperationRecord {
    OperationRecord {
        id: operation_id(n),
        call_id: call_id(call),
        tenant: TENANT,
        app: APP,
        kind: "playPromptOperation".into(),
        status: status.into(),
        is_final: status != "running",
        body_json: format!(r#"{{"status":"{status}"}}"#),
        created_at: NOW,
        updated_at: NOW,
    }
}

pub(crate) fn notification(n: u128, call: u128) -> NewNotification {
    NewNotification {
        id: notification_id(n),
        call_id: call_id(call),
        tenant: TENANT,
        app: APP,
        url: "http://127.0.0.1:9/bot?ticket=1".into(),
        body: Arc::from(format!("body {n}").into_bytes()),
        scenario_id: Uuid::from_u128(9),
        created_at: NOW,
    }
}

pub(crate) fn owing(n: u128, call: u128) -> Commit {
    Commit { notifications: vec![notification(n, call)], ..Commit::default() }
}

pub(crate) fn request(n: u128) -> RequestRecord {
    RequestRecord {
        key: (0x4000_0000 + n).to_be_bytes(),
        digest: (0x5000_0000 + n).to_be_bytes(),
        call_id: call_id(n),
        operation: n.is_multiple_of(2).then(|| operation_id(n)),
        created_at: NOW,
    }
}
