//! Actions for calls whose media the bot handles: on telephone lines no screens are shared and no
//! pictures are sent, so nothing comes of them.

use axum::{body::Body, http::StatusCode};
use graphophone_call::CallId;
use graphophone_graph::{
    action::{change_screen_sharing_role, context_only},
    error::ApiError,
};

use super::{Reply, Request};
use crate::engine::View;

/// Graph "call: changeScreenSharingRole".
pub(in crate::api) async fn change_screen_sharing_role(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    let (view, _) = super::asked(request, body, id, change_screen_sharing_role::parse).await?;
    check(&view)?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// Graph "call: addLargeGalleryView".
pub(in crate::api) async fn add_large_gallery_view(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    let (view, _) = super::asked(request, body, id, context_only::parse).await?;
    check(&view)?;
    let text = "addLargeGalleryView needs video, which telephone lines do not carry";
    Err(ApiError::BotWantsUnsupported(text.into()))
}

/// Whether the call is established, and its media the bot's.
fn check(view: &View) -> Result<(), ApiError> {
    view.state.check_established()?;
    if view.details.is_service_hosted() {
        let text = "Action is supported only for calls with appHostedMediaConfig";
        return Err(ApiError::BotMediaMode(text));
    }
    Ok(())
}
