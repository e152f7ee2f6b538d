//! `/graphophone/v1/prompts…`: prompts that were uploaded to this server, for every application to play
//! as `graphophone:prompts/NAME`. Needs the admin token.

use axum::{
    Json,
    body::{Body, to_bytes},
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use graphophone_graph::prompt_uri::{SCHEME, check_name};
use serde_json::{Value, json};
use tracing::{error, info};

use super::{
    AppState,
    admin::{Admin, refusal},
};
use crate::prompts::{PrepareError, Upload, UploadError, UploadFailed, to_result};

/// `GET /graphophone/v1/prompts`: all of them, by name.
pub(super) async fn list(_: Admin, State(state): State<AppState>) -> Response {
    let uploads = state.calls().prompts().uploads().list();
    let items: Vec<Value> = uploads.iter().map(describe).collect();
    Json(json!({ "prompts": items })).into_response()
}

/// `GET /graphophone/v1/prompts/{name}`: what is known of one.
pub(super) async fn get(
    _: Admin,
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Response {
    match state.calls().prompts().uploads().get(&name) {
        Some(upload) => Json(describe(&upload)).into_response(),
        None => absent(),
    }
}

/// `PUT /graphophone/v1/prompts/{name}`: the body is the file, in any format that is played. 201 for a
/// new name, 200 for one that is replaced. Calls that play the one before play it to its end.
pub(super) async fn put(
    _: Admin,
    State(state): State<AppState>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    if let Err(fault) = check_name("the name in the path", &name) {
        return refusal(StatusCode::BAD_REQUEST, &fault.to_string());
    }
    let prompts = state.calls().prompts();
    let limit = prompts.max_bytes();
    let Ok(bytes) = to_bytes(body, usize::try_from(limit).unwrap_or(usize::MAX)).await else {
        let text =
            format!("the body broke off or is longer than {limit} bytes (prompts.max_bytes)");
        return refusal(StatusCode::PAYLOAD_TOO_LARGE, &text);
    };
    match prompts.upload(name, bytes).await {
        Ok((upload, is_new)) => {
            info!(name = upload.name, bytes = upload.bytes, is_new, "a prompt was uploaded");
            let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
            (status, Json(describe(&upload))).into_response()
        }
        Err(failure) => refused(&failure),
    }
}

/// `DELETE /graphophone/v1/prompts/{name}`: calls that play it play it to its end.
pub(super) async fn delete(
    _: Admin,
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Response {
    let uploads = state.calls().prompts().uploads().clone();
    let work = tokio::task::spawn_blocking(move || uploads.delete(&name));
    match work.await {
        Ok(Ok(true)) => StatusCode::NO_CONTENT.into_response(),
        Ok(Ok(false)) => absent(),
        Ok(Err(fault)) => {
            error!(%fault, "an uploaded prompt cannot be deleted");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "the file could not be deleted")
        }
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "the task was lost"),
    }
}

fn refused(failure: &UploadFailed) -> Response {
    match failure {
        UploadFailed::Unplayable(fault) => match fault.as_ref() {
            PrepareError::Internal { .. } => failed(failure),
            fault @ (PrepareError::Download { .. }
            | PrepareError::Busy { .. }
            | PrepareError::Format { .. }
            | PrepareError::Own { .. }
            | PrepareError::Shape { .. }
            | PrepareError::TooLong { .. }) => {
                refusal(StatusCode::BAD_REQUEST, &to_result(fault).message)
            }
        },
        UploadFailed::NotKept(full @ UploadError::Full { .. }) => {
            refusal(StatusCode::INSUFFICIENT_STORAGE, &full.to_string())
        }
        UploadFailed::NotKept(UploadError::Disk(_)) | UploadFailed::Disk(_) => failed(failure),
    }
}

fn failed(failure: &UploadFailed) -> Response {
    error!(error = failure as &dyn std::error::Error, "an uploaded prompt cannot be kept");
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "the file could not be kept")
}

fn absent() -> Response {
    refusal(StatusCode::NOT_FOUND, "no prompt was uploaded under this name")
}

fn describe(upload: &Upload) -> Value {
    let uploaded = time::OffsetDateTime::from_unix_timestamp(upload.uploaded as i64).ok();
    let uploaded =
        uploaded.and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok());
    json!({
        "name": upload.name,
        "uri": format!("{SCHEME}prompts/{}", upload.name),
        "bytes": upload.bytes,
        "format": upload.format,
        "durationMs": upload.duration_ms,
        "sha256": upload.sha256,
        "uploaded": uploaded,
    })
}
