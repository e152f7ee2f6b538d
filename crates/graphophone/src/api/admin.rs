//! `/graphophone/v1/…`: ours, for whoever runs the server. Needs the admin token.

use axum::{
    extract::{FromRequestParts, Query, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use graphophone_store::{DeliveryFilter, NotificationRecord, NotificationState, Sequence};
use serde::Deserialize;
use serde_json::{Value, json};

use super::AppState;

/// Proof that a request carries the admin token.
pub(super) struct Admin;

impl FromRequestParts<AppState> for Admin {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let authorization = parts.headers.get(header::AUTHORIZATION);
        if state.is_admin(authorization.and_then(|value| value.to_str().ok())) {
            return Ok(Self);
        }
        Err(refusal(StatusCode::UNAUTHORIZED, "send the admin token as a bearer token"))
    }
}

/// Query of `GET /graphophone/v1/deliveries`.
#[derive(Debug, Deserialize)]
pub(super) struct DeliveriesQuery {
    /// `pending`, `delivered` or `failed`; all without it.
    state: Option<String>,
    /// Graph id of a call.
    call: Option<String>,
    /// Only behind this sequence: the last one of the page before.
    #[serde(default)]
    after: u64,
    /// 1 to 1,000.
    limit: Option<u32>,
}

/// The delivery log: what is owed, what was delivered, what was given up.
pub(super) async fn deliveries(
    _: Admin,
    State(state): State<AppState>,
    Query(query): Query<DeliveriesQuery>,
) -> Response {
    let wanted = match query.state.as_deref() {
        None => None,
        Some("pending") => Some(NotificationState::Owed),
        Some("delivered") => Some(NotificationState::Delivered),
        Some("failed") => Some(NotificationState::GivenUp),
        Some(_) => {
            return refusal(StatusCode::BAD_REQUEST, "state: pending, delivered or failed");
        }
    };
    let Ok(call_id) = query.call.as_deref().map(str::parse).transpose() else {
        return refusal(StatusCode::BAD_REQUEST, "call: the Graph id of a call");
    };
    let filter = DeliveryFilter {
        state: wanted,
        call_id,
        after: Sequence(query.after),
        limit: query.limit.unwrap_or(100).clamp(1, 1_000),
        ..DeliveryFilter::default()
    };
    let store = state.store();
    match (store.deliveries(filter).await, store.counts().await) {
        (Ok(records), Ok(counts)) => axum::Json(json!({
            "created": counts.created,
            "delivered": counts.delivered,
            "pending": counts.pending,
            "failed": counts.given_up,
            "value": records.iter().map(render).collect::<Vec<_>>(),
        }))
        .into_response(),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "the store cannot be read");
            refusal(StatusCode::SERVICE_UNAVAILABLE, "the store cannot be read")
        }
    }
}

fn render(record: &NotificationRecord) -> Value {
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
        "nextAttemptAt": record.next_attempt_at.0,
        "settledAt": record.settled_at.map(|at| at.0),
        "lastError": record.last_error,
    })
}

pub(super) fn refusal(status: StatusCode, message: &str) -> Response {
    (status, axum::Json(json!({"error": {"message": message}}))).into_response()
}
