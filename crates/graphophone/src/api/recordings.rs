//! `GET /recordings/{id}`: a recording, for whoever has a token of its own. Tokens of the API do not
//! open it, and its tokens open nothing else. They expire; a GET of the operation shows a fresh one.

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use graphophone_call::OperationId;
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use super::AppState;
use crate::recordings::ReadError;

/// Without a bearer token 401, whatever was asked for; with one that opens nothing here 404: who never
/// had a token cannot find out which recordings there are. An expired one gets 401 (RFC 6750 §3.1).
pub(super) async fn download(
    State(state): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(token) = bearer(&headers) else {
        return unauthorized(
            "Bearer realm=\"recordings\"",
            "send the operation's recordingAccessToken: Authorization: Bearer <token>\n",
        );
    };
    let recordings = state.recordings().clone();
    let id = OperationId::new(Uuid::try_parse(&id).unwrap_or_default());
    let opened = tokio::task::spawn_blocking(move || recordings.read(id, &token)).await;
    let (file, length) = match opened.unwrap_or(Err(ReadError::Absent)) {
        Ok(opened) => opened,
        Err(ReadError::Expired) => {
            return unauthorized(
                "Bearer realm=\"recordings\", error=\"invalid_token\", \
                 error_description=\"the token has expired\"",
                "this recordingAccessToken has expired: GET the operation, it shows a fresh one\n",
            );
        }
        Err(ReadError::Absent) => {
            let text = "there is no such recording for this token: it may have been deleted\n";
            return (StatusCode::NOT_FOUND, text).into_response();
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{id}.wav\"")),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (headers, Body::from_stream(ReaderStream::new(tokio::fs::File::from_std(file)))).into_response()
}

fn unauthorized(challenge: &'static str, text: &'static str) -> Response {
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], text).into_response()
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}
