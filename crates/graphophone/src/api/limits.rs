//! `GET /graphophone/v1/limits`: how much of everything there may be, by the settings and constants
//! that are asked when it is too much (promise P37).

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use graphophone_graph::{
    action::{MAX_CLIENT_CONTEXT, play_prompt},
    json,
    resource::{create_call, media},
    uri,
};
use graphophone_media::wav;
use graphophone_sip::limits as sip;
use serde_json::{Value, json};

use super::{AppState, admin::Admin};
use crate::{
    auth::bearer,
    config::Config,
    outbox,
    prompts::{FetchLimits, GateLimits},
};

/// The whole list, for whoever runs the server.
pub(super) async fn limits(_: Admin, State(state): State<AppState>) -> Response {
    axum::Json(state.limits()).into_response()
}

/// Sizes in bytes, times in seconds. What happens beyond each is in docs/limits.md.
pub(super) fn of(config: &Config) -> Value {
    let fetch = FetchLimits::default();
    let gate = GateLimits::default();
    let lanes = outbox::Limits::default();
    json!({
        "calls": {
            "atOneTime": config.limits.calls,
            "queuedOperations": config.limits.queued_operations,
            "participants": config.limits.participants,
        },
        "connections": config.limits.connections,
        "dialling": {
            "ofApplication": config.dial.per_app_concurrent,
            "ofApplicationPerMinute": config.dial.per_app_per_minute,
            "longestCall": config.dial.max_call.0.as_secs(),
        },
        "requests": {
            "body": json::MAX_BODY,
            "createCallBody": create_call::MAX_KEPT_BODY,
            "nesting": json::MAX_DEPTH,
            "values": json::MAX_VALUES,
            "prompts": play_prompt::MAX_PROMPTS,
            "repeat": play_prompt::MAX_REPEAT,
            "clientContext": MAX_CLIENT_CONTEXT,
            "uri": uri::MAX_URI,
            "resourceId": media::MAX_RESOURCE_ID,
            "prefetch": media::MAX_PREFETCH,
            "targets": create_call::MAX_TARGETS,
            "token": bearer::LONGEST_TOKEN,
        },
        "prompts": {
            "file": config.prompts.max_bytes.0,
            "duration": config.prompts.max_duration.0.as_secs(),
            "channels": wav::MAX_CHANNELS,
            "lowestRate": wav::MIN_RATE,
            "highestRate": wav::MAX_RATE,
            "chunks": wav::MAX_CHUNKS,
            "fetchTime": config.prompts.timeout.0.as_secs(),
            "redirects": fetch.max_redirects,
            "fetches": gate.total,
            "fetchesOfHost": gate.per_host,
            "fetchesOfApplication": gate.per_app,
            "waiting": gate.waiting,
            "waitingOfApplication": gate.waiting_per_app,
            "disk": config.prompts.disk_budget.0,
            "memory": config.prompts.memory_budget.0,
            "uploads": config.prompts.uploads_budget.0,
        },
        "speech": {
            "texts": config.tts.concurrent,
            "time": config.tts.timeout.0.as_secs(),
        },
        "recordings": {
            "disk": config.recordings.disk_budget.0,
            "kept": config.recordings.keep.0.as_secs(),
            "tokenValid": config.recordings.token_valid.0.as_secs(),
        },
        "waiting": {
            "keepAlive": config.calls.keep_alive.0.as_secs(),
            "answer": config.calls.answer_within.0.as_secs(),
            "ring": config.calls.ring_for.0.as_secs(),
            "media": config.rtp.media_timeout.0.as_secs(),
        },
        "notifications": {
            "underWay": lanes.total,
            "underWayOfEndpoint": lanes.per_endpoint,
            "underWayOfCall": 1,
            "inMemoryOfCall": lanes.remembered_per_call,
            "attemptTime": config.callbacks.timeout.0.as_secs(),
            "answer": outbox::ANSWER_LIMIT,
        },
        "sip": {
            "message": sip::MESSAGE,
            "headers": sip::HEADERS,
            "header": sip::HEADER,
            "foldedLines": sip::FOLDED_LINES,
            "vias": sip::VIAS,
            "parameters": sip::PARAMETERS,
            "description": sip::DESCRIPTION,
            "mediaLines": sip::MEDIA_LINES,
            "transactions": sip::TRANSACTIONS,
            "connections": sip::CONNECTIONS,
            "connectionsOfAddress": sip::CONNECTIONS_OF_ADDRESS,
        },
    })
}
