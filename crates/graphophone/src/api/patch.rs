//! `PATCH` of a call: generated for the SDKs, without a meaning in the documents. A bot was seen that
//! sends its modalities with it. In open mode what would change nothing is answered with the call;
//! what would is refused, because nothing of a call changes by being written.

use axum::{body::Body, http::StatusCode};
use graphophone_call::CallId;
use graphophone_graph::{action::update_call, compat::Compat, error::ApiError};

use super::{
    calls::{as_graph, find},
    reply::Reply,
    request::Request,
};

pub(super) async fn handle(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    match request.compat() {
        Compat::Open => {}
        Compat::StrictBeta | Compat::StrictV1 => return Err(ApiError::BotMethodNotAllowed),
    }
    let view = find(request, id)?;
    let body = request.json(body).await?;
    let rendered = as_graph(&view).render(&request.service());
    update_call::parse(&body, &rendered)?;
    Ok(Reply::json(StatusCode::OK, rendered))
}
