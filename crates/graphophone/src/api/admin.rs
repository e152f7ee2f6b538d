//! `/graphophone/v1/…`: ours, for whoever runs the server. Needs the admin token.

use std::time::Duration;

use axum::{
    extract::{FromRequestParts, Query, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use graphophone_store::{DeliveryFilter, NotificationRecord, NotificationState, Sequence, Written};
use serde::Deserialize;
use serde_json::{Value, json};

use super::AppState;
use crate::engine::{LoadReport, Reason};

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

/// `GET /graphophone/v1/load`: how much is to do, and whether new calls are taken.
///
/// - `decision`: `state` is `open` or `refusing`, the latter with `reason` (`engineBusy`,
///   `processBusy`, `packetsLate`, `commandsWait`, `tasksWait`, `fetchesWait`, `storeWaits`);
///   `room` in calls until the next sample, `admitted` since the last one, `refused` since the
///   start; `streamCost` in processors for each playing stream, `setUpMilliseconds` of processor
///   time for each new call.
/// - `sample`: the last one, over `spanMilliseconds`; null before the first. Use is in processors,
///   times are in milliseconds.
/// - `threads`: what each engine thread did meanwhile; `busy` is the time awake, `cpu` the
///   processor's, both 0 to 1.
/// - `engine` and `store`: counted since the start; `writes` over `transactions` is the group commit.
/// - `tasks`: asynchronous tasks that are alive now; back where it was when all calls are over.
pub(super) async fn load(_: Admin, State(state): State<AppState>) -> Response {
    let LoadReport { standing, latest, engine } = state.calls().door().report();
    let Written { transactions, writes, rows } = state.store().written();
    let ms = |span: Duration| span.as_secs_f64() * 1e3;
    let sample = latest.as_ref().map(|(sample, window)| {
        json!({
            "spanMilliseconds": ms(sample.span),
            "calls": sample.calls,
            "streams": window.streams(),
            "playing": sample.playing,
            "engineUse": sample.engine,
            "busiestThreadUse": sample.busiest,
            "processUse": sample.process,
            "processors": sample.processors,
            "latenessMilliseconds": {
                "p50": ms(window.lateness.quantile(0.5)),
                "p99": ms(sample.lateness),
                "max": ms(window.lateness.max()),
            },
            "commandAgeMilliseconds": ms(sample.command_age),
            "taskLagMilliseconds": ms(sample.task_lag),
            "fetchWaitMilliseconds": ms(sample.fetch_wait),
            "storeAgeMilliseconds": ms(sample.store_age),
        })
    });
    let threads = latest.iter().flat_map(|(_, window)| &window.threads).map(|thread| {
        json!({
            "streams": thread.streams,
            "sentPerSecond": thread.sent_per_second,
            "receivedPerSecond": thread.received_per_second,
            "busy": thread.busy,
            "cpu": thread.cpu,
        })
    });
    axum::Json(json!({
        "decision": {
            "state": if standing.refuses.is_some() { "refusing" } else { "open" },
            "reason": standing.refuses.map(Reason::name),
            "room": standing.room.max(0.0).floor(),
            "admitted": standing.admitted,
            "refused": standing.refused,
            "streamCost": standing.stream_cost,
            "setUpMilliseconds": ms(standing.set_up_cost),
        },
        "sample": sample,
        "threads": threads.collect::<Vec<_>>(),
        "engine": engine.map(|stats| json!({
            "streams": stats.streams,
            "packetsSent": stats.packets_sent,
            "packetsReceived": stats.packets_received,
            "sendErrors": stats.send_errors,
            "receiveErrors": stats.receive_errors,
            "wakes": stats.wakes,
            "latePackets": stats.late_packets,
            "maxLatenessMilliseconds": ms(stats.max_lateness),
            "commandsRefused": stats.commands_refused,
        })),
        "store": { "transactions": transactions, "writes": writes, "rows": rows },
        "tasks": tokio::runtime::Handle::current().metrics().num_alive_tasks(),
    }))
    .into_response()
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
