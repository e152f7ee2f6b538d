//! `GET /recordings/{id}`: a recording, for whoever has its own token. Tokens of the API do not open
//! it, and its token opens nothing else.

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

/// Without a bearer token 401, whatever was asked for; with one that opens nothing here 404: who does
/// not have the token cannot find out which recordings there are.
pub(super) async fn download(
    State(state): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(token) = bearer(&headers) else {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"recordings\"")];
        let text = "send the operation's recordingAccessToken: Authorization: Bearer <token>\n";
        return (StatusCode::UNAUTHORIZED, challenge, text).into_response();
    };
    let recordings = state.recordings().clone();
    let id = OperationId::new(Uuid::try_parse(&id).unwrap_or_default());
    let opened = tokio::task::spawn_blocking(move || recordings.read(id, &token)).await;
    let Some((file, length)) = opened.ok().flatten() else {
        let text = "there is no such recording for this token: it may have been deleted\n";
        return (StatusCode::NOT_FOUND, text).into_response();
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

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}
