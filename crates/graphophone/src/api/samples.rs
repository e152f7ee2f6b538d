//! `/graphophone/v1/samples/{name}`: the prompts that ship in the binary, for a first playPrompt in
//! the dev profile. Prompts are fetched without a token.

use axum::{
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{AppState, admin::refusal};
use crate::bot::PromptFile;

/// One of them, or 404; always 404 in production.
pub(super) async fn sample(State(state): State<AppState>, Path(name): Path<String>) -> Response {
    let wanted = |file: &PromptFile| state.phone().is_some() && file.name == name;
    match PromptFile::built_in().into_iter().find(wanted) {
        Some(file) => ([(header::CONTENT_TYPE, "audio/wav")], file.bytes).into_response(),
        None => refusal(StatusCode::NOT_FOUND, "no such sample"),
    }
}
