//! Requests under `/v1.0` and `/beta`: authorised, read, and given to the handler of their path.

use std::borrow::Cow;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderName, Method, Response, StatusCode, header, request::Parts},
};
use graphophone_graph::{
    error::ApiError,
    path::{self, Action, Route},
};
use tracing::{debug, error, trace};

use super::{
    AppState, actions, calls, operations,
    reply::{Refusal, Reply, insert},
    request::{Ids, Request, root},
};
use crate::auth::{AuthError, unix_now};

/// The one entry of the Graph API.
pub(super) async fn serve(
    State(state): State<AppState>,
    request: axum::http::Request<Body>,
) -> Response<Body> {
    trace!(name: "request is read", target: "graphophone::stage", "request is read");
    let ids = Ids::new(request.headers());
    let (parts, body) = request.into_parts();
    let path = path::parse(parts.uri.path());
    let successor =
        path.filter(|path| path.legacy).map(|_| root(&state, &parts) + &successor(&parts));
    let served = match path {
        Some(path) => {
            let authorization = parts.headers.get(header::AUTHORIZATION);
            let authorization = authorization.and_then(|value| value.to_str().ok());
            match state.authority().admit(authorization, unix_now()).await {
                Ok(caller) => {
                    trace!(name: "token is verified", target: "graphophone::stage", "token is verified");
                    let request = Request::new(&state, caller, path, parts);
                    dispatch(&request, body).await.map_err(Refusal::from)
                }
                Err(error) => {
                    Err(Refusal { challenge: error.www_authenticate(), error: refused(error) })
                }
            }
        }
        None => Err(ApiError::BotRouteUnknown.into()),
    };
    let mut response = match served {
        Ok(reply) => reply.render(&ids),
        Err(refusal) => {
            // Whoever is short of something has said so, once and not for each request.
            let is_known =
                matches!(refusal.error, ApiError::ServerUnavailable | ApiError::ServerDiskFull);
            if refusal.error.status() >= 500 && !is_known {
                error!(request_id = ids.request_id, error = %refusal.error, "request failed");
            } else {
                debug!(request_id = ids.request_id, error = %refusal.error, "request refused");
            }
            refusal.render(&ids)
        }
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = path.map_or("", |path| allowed(path.route));
        insert(&mut response, header::ALLOW, allowed);
    }
    if let Some(successor) = successor {
        // RFC 9745; Microsoft deprecated /app on 2020-01-01.
        insert(&mut response, HeaderName::from_static("deprecation"), "@1577836800");
        insert(&mut response, header::LINK, &format!("<{successor}>; rel=\"successor-version\""));
    }
    response
}

async fn dispatch(request: &Request<'_>, body: Body) -> Result<Reply, ApiError> {
    let method = request.parts.method.clone();
    match (method, request.path.route) {
        (Method::GET, Route::Calls) => Ok(calls::list(request)),
        (Method::POST, Route::Calls) => calls::create(request, body).await,
        (Method::GET, Route::Call(id)) => calls::get(request, id),
        (Method::DELETE, Route::Call(id)) => calls::delete(request, id).await,
        (Method::GET, Route::Operations(id)) => operations::list(request, id).await,
        (Method::GET, Route::Operation(call, id)) => operations::get(request, call, id).await,
        (Method::POST, Route::Action(id, action)) => match action {
            Action::Answer => actions::answer::handle(request, body, id).await,
            Action::KeepAlive => actions::keep_alive::handle(request, id).await,
            Action::PlayPrompt => actions::play_prompt::handle(request, body, id).await,
            Action::CancelMediaProcessing => {
                actions::cancel_media_processing::handle(request, body, id).await
            }
            Action::Reject => actions::reject::handle(request, body, id).await,
            Action::SendDtmfTones => actions::send_dtmf_tones::handle(request, body, id).await,
            Action::SubscribeToTone => actions::subscribe_to_tone::handle(request, body, id).await,
            Action::AddLargeGalleryView
            | Action::ChangeScreenSharingRole
            | Action::Mute
            | Action::Record
            | Action::RecordResponse
            | Action::Redirect
            | Action::StartRecording
            | Action::StartTranscription
            | Action::StopRecording
            | Action::StopTranscription
            | Action::Transfer
            | Action::Unmute
            | Action::UpdateRecordingStatus => {
                calls::find(request, id)?;
                let text = format!("The action {} is not supported yet", action.name());
                Err(ApiError::BotWantsUnsupported(Cow::Owned(text)))
            }
        },
        (_, Route::NoSuchCall) => Err(ApiError::BotCallNotFound),
        (_, Route::NoSuchOperation(_)) => Err(ApiError::BotOperationNotFound),
        (_, Route::Unsupported(id)) => {
            calls::find(request, id)?;
            Err(ApiError::BotWantsUnsupported("This part of a call is not supported yet".into()))
        }
        (_, Route::Unknown) => Err(ApiError::BotRouteUnknown),
        (_, Route::LogTeleconferenceDeviceQuality) => {
            Err(ApiError::BotWantsUnsupported("This resource is not supported yet".into()))
        }
        (
            _,
            Route::Calls
            | Route::Call(_)
            | Route::Operations(_)
            | Route::Operation(..)
            | Route::Action(..),
        ) => Err(ApiError::BotMethodNotAllowed),
    }
}

/// The methods of a resource, for `Allow` (RFC 9110 §15.5.6); none of what is not supported yet.
fn allowed(route: Route) -> &'static str {
    match route {
        Route::Calls => "GET, POST",
        Route::Call(_) => "GET, DELETE",
        Route::Operations(_) | Route::Operation(..) => "GET",
        Route::Action(
            _,
            Action::Answer
            | Action::KeepAlive
            | Action::PlayPrompt
            | Action::CancelMediaProcessing
            | Action::Reject
            | Action::SendDtmfTones
            | Action::SubscribeToTone,
        ) => "POST",
        Route::Action(..)
        | Route::LogTeleconferenceDeviceQuality
        | Route::Unsupported(_)
        | Route::NoSuchCall
        | Route::NoSuchOperation(_)
        | Route::Unknown => "",
    }
}

fn refused(error: AuthError) -> ApiError {
    match error.status() {
        403 => ApiError::BotTokenDelegated,
        503 => ApiError::ServerUnavailable,
        _ => ApiError::BotTokenInvalid(error.to_string().into()),
    }
}

/// The same path below `/communications`.
fn successor(parts: &Parts) -> String {
    let mut segments = parts.uri.path().split('/').filter(|segment| !segment.is_empty());
    let version = segments.next().unwrap_or_default();
    let rest: Vec<&str> = segments.skip(1).collect();
    format!("/{version}/communications/{}", rest.join("/"))
}
