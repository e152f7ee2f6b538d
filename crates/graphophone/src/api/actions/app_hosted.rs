//! Actions for calls whose media the bot handles: on telephone lines no screens are shared and no
//! pictures are sent, so nothing comes of them.

use axum::{body::Body, http::StatusCode};
use graphophone_call::{CallId, CallState, Rejection};
use graphophone_graph::{
    action::{add_large_gallery_view, change_screen_sharing_role},
    error::ApiError,
};

use super::{Reply, Request};
use crate::{api::calls::find, engine::View};

/// Graph "call: changeScreenSharingRole".
pub(in crate::api) async fn change_screen_sharing_role(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    let view = find(request, id)?;
    let body = request.json(body).await?;
    change_screen_sharing_role::parse(&body, request.version(), request.compat())?;
    check(&view)?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// Graph "call: addLargeGalleryView".
pub(in crate::api) async fn add_large_gallery_view(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    let view = find(request, id)?;
    let body = request.json(body).await?;
    add_large_gallery_view::parse(&body, request.version(), request.compat())?;
    check(&view)?;
    let text = "addLargeGalleryView needs video, which telephone lines do not carry";
    Err(ApiError::BotWantsUnsupported(text.into()))
}

/// Whether the call is established, and its media the bot's.
fn check(view: &View) -> Result<(), ApiError> {
    match view.state {
        CallState::Incoming | CallState::Establishing | CallState::Redirecting => {
            Err(Rejection::NotEstablished.into())
        }
        CallState::Transferring | CallState::TransferAccepted => Err(Rejection::WrongState.into()),
        CallState::Terminating | CallState::Terminated => Err(Rejection::Terminated.into()),
        CallState::Established if view.details.is_service_hosted() => {
            let text = "Action is supported only for calls with appHostedMediaConfig";
            Err(ApiError::BotMediaMode(text))
        }
        CallState::Established => Ok(()),
    }
}
