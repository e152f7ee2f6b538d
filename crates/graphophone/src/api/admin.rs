//! `/graphophone/v1/…`: ours, for whoever runs the server. Needs the admin token.

use std::time::Duration;

use axum::{
    extract::{FromRequestParts, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use graphophone_store::Written;
use serde_json::json;

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

pub(super) fn refusal(status: StatusCode, message: &str) -> Response {
    (status, axum::Json(json!({"error": {"message": message}}))).into_response()
}
