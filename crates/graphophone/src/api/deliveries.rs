//! `/graphophone/v1/deliveries`: the delivery log, and sending what is in it again. Needs the admin
//! token.

use axum::{
    extract::{Path, Query, State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use graphophone_call::{AppId, CallId};
use graphophone_store::{
    DeliveryFilter, NotificationRecord, NotificationState, Sequence, StoreError,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    AppState,
    admin::{Admin, refusal},
};

/// Which deliveries: the query of a list, the body of a replay.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// `pending`, `delivered` or `failed`.
    state: Option<String>,
    /// Graph id of a call.
    call: Option<String>,
    /// Id of an application.
    app: Option<String>,
    /// Only behind this sequence: `next` of the page before.
    #[serde(default)]
    after: u64,
    /// 1 to 1,000; 100 without it. A replay has no pages.
    limit: Option<u32>,
}

/// `GET /graphophone/v1/deliveries`: what is owed, what was delivered, what was given up.
///
/// `created` is always `delivered + pending + failed`, pruned ones included. Each entry of `value`
/// has `state`, `attempts`, `lastError` (of the last attempt that failed), `createdAt`, `settledAt`
/// and, while it is pending, `nextAttemptAt` (at the latest: a recovered endpoint is tried at once),
/// in milliseconds since 1970. `next` is what to ask `after` for the next page; null on the last.
pub(super) async fn list(
    _: Admin,
    State(state): State<AppState>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let filter = match wanted.filter() {
        Ok(filter) => filter,
        Err(message) => return refusal(StatusCode::BAD_REQUEST, message),
    };
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let store = state.store();
    match (store.deliveries(filter).await, store.counts().await) {
        (Ok(records), Ok(counts)) => {
            let last = records.last().filter(|_| records.len() == limit);
            axum::Json(json!({
                "created": counts.created,
                "delivered": counts.delivered,
                "pending": counts.pending,
                "failed": counts.given_up,
                "next": last.map(|record| record.sequence.0),
                "value": records.iter().map(render).collect::<Vec<_>>(),
            }))
            .into_response()
        }
        (Err(error), _) | (_, Err(error)) => unavailable(&error),
    }
}

/// `POST /graphophone/v1/deliveries/{sequence}/replay`: sends a settled one again, with the id and
/// the bytes of the first time.
pub(super) async fn replay_one(
    _: Admin,
    State(state): State<AppState>,
    Path(sequence): Path<u64>,
) -> Response {
    let found = match state.store().notification(Sequence(sequence)).await {
        Ok(found) => found,
        Err(error) => return unavailable(&error),
    };
    let Some(record) = found else {
        return refusal(StatusCode::NOT_FOUND, "there is no such delivery, or it was forgotten");
    };
    let filter = DeliveryFilter {
        after: Sequence(sequence.saturating_sub(1)),
        up_to: Sequence(sequence),
        ..DeliveryFilter::default()
    };
    let is_pending = record.state == NotificationState::Owed;
    match state.outbox().replay(filter).await {
        Ok(0) if is_pending => refusal(StatusCode::CONFLICT, "it is pending already"),
        Ok(replayed) => accepted(replayed),
        Err(error) => unavailable(&error),
    }
}

/// `POST /graphophone/v1/deliveries/replay`: sends all again that are in `state` (`failed`, unless
/// the body says `delivered`), of one `call` or `app` if it says so, in the order of each call.
pub(super) async fn replay_all(
    _: Admin,
    State(state): State<AppState>,
    body: Result<axum::Json<Wanted>, JsonRejection>,
) -> Response {
    let mut wanted = match body {
        Ok(axum::Json(wanted)) => wanted,
        Err(rejection) => return refusal(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let state_wanted = wanted.state.get_or_insert_with(|| "failed".to_owned());
    if !matches!(state_wanted.as_str(), "failed" | "delivered") {
        return refusal(StatusCode::BAD_REQUEST, "state: failed or delivered");
    }
    let filter = match wanted.filter() {
        Ok(filter) => filter,
        Err(message) => return refusal(StatusCode::BAD_REQUEST, message),
    };
    match state.outbox().replay(filter).await {
        Ok(replayed) => accepted(replayed),
        Err(error) => unavailable(&error),
    }
}

impl Wanted {
    fn filter(&self) -> Result<DeliveryFilter, &'static str> {
        let state = match self.state.as_deref() {
            None => None,
            Some("pending") => Some(NotificationState::Owed),
            Some("delivered") => Some(NotificationState::Delivered),
            Some("failed") => Some(NotificationState::GivenUp),
            Some(_) => return Err("state: pending, delivered or failed"),
        };
        let call = self.call.as_deref().map(str::parse::<CallId>).transpose();
        let app = self.app.as_deref().map(str::parse::<uuid::Uuid>).transpose();
        Ok(DeliveryFilter {
            state,
            call_id: call.map_err(|_| "call: the Graph id of a call")?,
            app: app.map_err(|_| "app: the id of an application")?.map(AppId::new),
            after: Sequence(self.after),
            limit: self.limit.unwrap_or(100).clamp(1, 1_000),
            ..DeliveryFilter::default()
        })
    }
}

fn render(record: &NotificationRecord) -> Value {
    let is_pending = record.state == NotificationState::Owed;
    json!({
        "sequence": record.sequence.0,
        "id": record.id.to_string(),
        "call": record.call_id.to_string(),
        "application": record.app.to_string(),
        // A callback's query may carry a secret.
        "url": record.url.split(['?', '#']).next(),
        "state": match record.state {
            NotificationState::Owed => "pending",
            NotificationState::Delivered => "delivered",
            NotificationState::GivenUp => "failed",
        },
        "attempts": record.attempts,
        "createdAt": record.created_at.0,
        "nextAttemptAt": is_pending.then_some(record.next_attempt_at.0),
        "settledAt": record.settled_at.map(|at| at.0),
        "lastError": record.last_error,
    })
}

fn accepted(replayed: u64) -> Response {
    (StatusCode::ACCEPTED, axum::Json(json!({"replayed": replayed}))).into_response()
}

fn unavailable(error: &StoreError) -> Response {
    tracing::error!(%error, "the delivery log cannot be used");
    refusal(StatusCode::SERVICE_UNAVAILABLE, "the store cannot be used")
}
