//! `/graphophone/v1/keys`: which keys sign tokens and notifications, and new ones. Needs the admin
//! token.

use std::time::Duration;

use axum::{
    Json,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{
    AppState,
    admin::{Admin, refusal},
};
use crate::{
    auth::{RotateError, Rotation, unix_now},
    config::Interval,
};

/// How long a new key is published before it signs, unless asked otherwise: bots may keep a key set
/// for a day.
const ANNOUNCED: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest that may be asked for.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// `GET /graphophone/v1/keys`: for `tokens` and `notifications` a list of `kid`, `signsFrom` and
/// `publishedUntil` (unix seconds), and whether it `signs` now.
pub(super) async fn list(_: Admin, State(state): State<AppState>) -> Response {
    Json(state.authority().keys().report(unix_now())).into_response()
}

/// Query of `POST /graphophone/v1/keys/rotate`.
#[derive(Debug, Deserialize)]
pub(super) struct RotateQuery {
    /// When the new keys sign: `24h` from now if not said, `0s` for at once.
    r#in: Option<String>,
    /// `true`: at once, and what the old keys signed is refused from now on.
    #[serde(default)]
    compromised: bool,
}

/// `POST /graphophone/v1/keys/rotate`: new keys for both purposes, published at once. The old ones
/// stay published for a day after they have signed last.
pub(super) async fn rotate(
    _: Admin,
    State(state): State<AppState>,
    Query(query): Query<RotateQuery>,
) -> Response {
    let delay = match query.r#in.as_deref().map(str::parse::<Interval>) {
        None => ANNOUNCED,
        Some(Ok(Interval(delay))) if delay <= LONGEST => delay,
        Some(_) => return refusal(StatusCode::BAD_REQUEST, "in: a duration up to \"30days\""),
    };
    let rotation = match query.compromised {
        true => Rotation::Compromised,
        false => Rotation::In(delay.as_secs()),
    };
    let keys = state.authority().keys().clone();
    let now = unix_now();
    let made = tokio::task::spawn_blocking(move || keys.rotate(now, rotation)).await;
    match made {
        Ok(Ok(())) => {
            tracing::info!(?rotation, "the signing keys are rotated");
            Json(state.authority().keys().report(now)).into_response()
        }
        Ok(Err(error @ (RotateError::Pending(_) | RotateError::TooMany))) => {
            refusal(StatusCode::CONFLICT, &error.to_string())
        }
        Ok(Err(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the signing keys stay");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
        }
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "no key could be made"),
    }
}
