//! What the store keeps, in its own form: neither wire nor domain.

use std::{fmt, sync::Arc};

use graphophone_call::{AppId, CallId, OperationId, TenantId};
use uuid::Uuid;

/// Wall-clock time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// This time moved by `millis` milliseconds, saturating.
    #[must_use]
    pub const fn plus(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

/// Place of a notification in the order of its store: from 1, growing, never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A notification; the same on every attempt and after a restart (`webhook-id`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NotificationId(pub Uuid);

impl fmt::Display for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.as_hyphenated(), f)
    }
}

/// A call as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// Its Graph id.
    pub id: CallId,
    /// Tenant that owns it.
    pub tenant: TenantId,
    /// Application that owns it.
    pub app: AppId,
    /// Graph `callState`; free text for the store.
    pub state: String,
    /// Nothing more will happen to it. Once true, neither this nor `state` changes again.
    pub is_terminated: bool,
    /// Where notifications of this call go; `None` before an incoming call is answered.
    pub callback_uri: Option<String>,
    /// Everything else, as JSON of the server's making.
    pub details_json: String,
    /// What is needed to end the call's SIP dialog after a crash; `None` before there is one.
    pub dialog: Option<String>,
    /// When it was first committed; kept from the first commit.
    pub created_at: UnixMillis,
    /// When it was last committed; retention counts from here.
    pub updated_at: UnixMillis,
}

/// An operation as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationRecord {
    /// Its Graph id.
    pub id: OperationId,
    /// The call it belongs to.
    pub call_id: CallId,
    /// Tenant that owns it.
    pub tenant: TenantId,
    /// Application that owns it.
    pub app: AppId,
    /// Graph type, such as `playPromptOperation`; free text for the store.
    pub kind: String,
    /// Graph `operationStatus`; free text for the store.
    pub status: String,
    /// Whether `status` is final. Once true, neither changes again; `body_json` still may (a
    /// receipt is completed after the end).
    pub is_final: bool,
    /// The operation as JSON of the server's making.
    pub body_json: String,
    /// When it was accepted; kept from the first commit.
    pub created_at: UnixMillis,
    /// When it was last committed.
    pub updated_at: UnixMillis,
}

/// A notification to be owed from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNotification {
    /// Its id, made by the caller.
    pub id: NotificationId,
    /// The call it tells about; deliveries of one call keep their order.
    pub call_id: CallId,
    /// Tenant that owns the call.
    pub tenant: TenantId,
    /// Application that is told.
    pub app: AppId,
    /// Where to POST it, exactly as given.
    pub url: String,
    /// The request body.
    pub body: Arc<[u8]>,
    /// Correlation id of the call for `Scenario-Id` and the chain id.
    pub scenario_id: Uuid,
    /// When it came to be owed.
    pub created_at: UnixMillis,
}

/// What became of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotificationState {
    /// Still to be delivered.
    Owed,
    /// Answered 2xx.
    Delivered,
    /// Not delivered, and no further attempt will be made.
    GivenUp,
}

/// A notification as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationRecord {
    /// Its id.
    pub id: NotificationId,
    /// Its place in the store's order.
    pub sequence: Sequence,
    /// The call it tells about.
    pub call_id: CallId,
    /// Tenant that owns the call.
    pub tenant: TenantId,
    /// Application that is told.
    pub app: AppId,
    /// Where to POST it.
    pub url: String,
    /// The request body, the same bytes on every attempt.
    pub body: Arc<[u8]>,
    /// Correlation id of the call.
    pub scenario_id: Uuid,
    /// When it came to be owed.
    pub created_at: UnixMillis,
    /// Attempts whose outcome is recorded.
    pub attempts: u32,
    /// When the next attempt is due; meaningless unless owed.
    pub next_attempt_at: UnixMillis,
    /// What became of it.
    pub state: NotificationState,
    /// Why the last failed attempt failed.
    pub last_error: Option<String>,
    /// When it was delivered or given up; `None` while owed.
    pub settled_at: Option<UnixMillis>,
}

/// Things made durable together: all of them or none.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// The call's new state, if it changed.
    pub call: Option<CallRecord>,
    /// New or changed operations.
    pub operations: Vec<OperationRecord>,
    /// Notifications owed because of it, in order.
    pub notifications: Vec<NewNotification>,
    /// The request it answers, if that must not be carried out again.
    pub request: Option<RequestRecord>,
    /// Whether it begins something: refused when only the reserve of the disk is left.
    pub is_new_work: bool,
}

/// A request that made something, kept so that its repetition makes nothing (promise P7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// Who asked for what under which id of the client: a digest of all that.
    pub key: [u8; 16],
    /// Digest of the body.
    pub digest: [u8; 16],
    /// The call that it made or was about.
    pub call_id: CallId,
    /// The operation that it made, if it made one.
    pub operation: Option<OperationId>,
    /// When it was carried out.
    pub created_at: UnixMillis,
}

/// What a commit assigned.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The owed notifications in the order given, with their sequences.
    pub notifications: Vec<NotificationRecord>,
}

/// A call with owed notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// The call.
    pub call_id: CallId,
    /// Its first owed notification.
    pub first: Sequence,
    /// Its last owed notification.
    pub last: Sequence,
    /// Where the first one goes.
    pub url: String,
}

/// What a crash or stop left unfinished.
#[derive(Clone, Debug, Default)]
pub struct Unfinished {
    /// Calls that are not terminated, oldest first.
    pub calls: Vec<CallRecord>,
    /// Operations that are not final, oldest first.
    pub operations: Vec<OperationRecord>,
    /// Terminated calls whose dialogs were not struck out: a crash cut their end.
    pub dialogs: Vec<CallRecord>,
}

/// Which deliveries to list.
#[derive(Clone, Debug)]
pub struct DeliveryFilter {
    /// Only in this state.
    pub state: Option<NotificationState>,
    /// Only of this call.
    pub call_id: Option<CallId>,
    /// Only to this application.
    pub app: Option<AppId>,
    /// Only of this tenant.
    pub tenant: Option<TenantId>,
    /// Only behind this sequence: the last one of the previous page.
    pub after: Sequence,
    /// Only up to this sequence, itself included.
    pub up_to: Sequence,
    /// At most this many; values above 1,000 count as 1,000.
    pub limit: u32,
}

impl Default for DeliveryFilter {
    /// The first 100 of all.
    fn default() -> Self {
        Self {
            state: None,
            call_id: None,
            app: None,
            tenant: None,
            after: Sequence(0),
            up_to: Sequence(u64::MAX),
            limit: 100,
        }
    }
}

/// Notifications since the store was made, pruned ones included: `created` is always
/// `delivered + pending + given_up`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ever owed.
    pub created: u64,
    /// Answered 2xx.
    pub delivered: u64,
    /// Owed now: counted in the table, not derived from the other three.
    pub pending: u64,
    /// Given up.
    pub given_up: u64,
}

/// What [`crate::Store::prune`] may forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutoff {
    /// Calls and operations that ended, and notifications that were delivered, before this time.
    pub ended: UnixMillis,
    /// Notifications given up before this time.
    pub given_up: UnixMillis,
    /// Requests carried out before this time.
    pub requests: UnixMillis,
}

/// Rows removed by [`crate::Store::prune`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Terminated calls.
    pub calls: u64,
    /// Final operations.
    pub operations: u64,
    /// Delivered and given-up notifications.
    pub notifications: u64,
    /// Requests that may be repeated now.
    pub requests: u64,
}
