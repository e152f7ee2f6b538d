//! Requests under `/v1.0` and `/beta`: authorised, read, and given to the handler of their path.

use std::{borrow::Cow, pin::Pin};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderName, Method, Response, StatusCode, header, request::Parts},
};
use graphophone_call::GroupVerb;
use graphophone_graph::{
    action::record_response::Name,
    compat::Compat,
    csdl,
    error::ApiError,
    odata::query::Shape,
    path::{self, Action, GraphPath, Route},
};
use tracing::{debug, error, trace};

use super::{
    AppState, actions, batch, calls, operations, participants, patch, read,
    reply::{Refusal, Rendered, Reply, insert},
    request::{Ids, Request, root},
    routing_groups,
};
use crate::auth::{AuthError, unix_now};

/// The one entry of the Graph API.
pub(super) async fn serve(
    State(state): State<AppState>,
    request: axum::http::Request<Body>,
) -> Response<Body> {
    trace!(name: "request is read", target: "graphophone::stage", "request is read");
    let (parts, body) = request.into_parts();
    answer(&state, parts, body).await.write()
}

/// What a request is answered, one of a batch, too.
pub(super) fn answer<'a>(
    state: &'a AppState,
    parts: Parts,
    body: Body,
) -> Pin<Box<dyn Future<Output = Rendered> + Send + 'a>> {
    // Batches come back here.
    Box::pin(answered(state, parts, body))
}

async fn answered(state: &AppState, parts: Parts, body: Body) -> Rendered {
    let ids = Ids::new(&parts.headers);
    let path = path::parse(parts.uri.path());
    let successor =
        path.filter(|path| path.legacy).map(|_| root(state, &parts) + &successor(&parts));
    let mut rendered = match served(state, path, parts, body).await {
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
    if rendered.status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = path.map_or("", |path| allowed(path.route, state.compat()));
        insert(&mut rendered.headers, header::ALLOW, allowed);
    }
    if let Some(successor) = successor {
        // RFC 9745; Microsoft deprecated /app on 2020-01-01.
        let name = HeaderName::from_static("deprecation");
        insert(&mut rendered.headers, name, "@1577836800");
        let link = format!("<{successor}>; rel=\"successor-version\"");
        insert(&mut rendered.headers, header::LINK, &link);
    }
    rendered
}

async fn served(
    state: &AppState,
    path: Option<GraphPath>,
    parts: Parts,
    body: Body,
) -> Result<Reply, Refusal> {
    let path = path.ok_or(ApiError::BotRouteUnknown)?;
    // Graph's own needs no token for it, either.
    if path.route == Route::Metadata {
        return match parts.method {
            Method::GET => Ok(Reply::xml(csdl::metadata(path.version))),
            _ => Err(ApiError::BotMethodNotAllowed.into()),
        };
    }
    let authorization = parts.headers.get(header::AUTHORIZATION);
    let authorization = authorization.and_then(|value| value.to_str().ok());
    match state.authority().admit(authorization, unix_now()).await {
        Ok(caller) => {
            trace!(name: "token is verified", target: "graphophone::stage", "token is verified");
            let request = Request::new(state, caller, path, parts);
            dispatch(&request, body).await.map_err(Refusal::from)
        }
        Err(error) => Err(Refusal { challenge: error.www_authenticate(), error: refused(error) }),
    }
}

async fn dispatch(request: &Request<'_>, body: Body) -> Result<Reply, ApiError> {
    let method = request.parts.method.clone();
    if method != Method::GET {
        request.options(Shape::Action)?;
    }
    match (method, request.path.route) {
        (Method::POST, Route::Batch) => batch::handle(request, body).await,
        (Method::GET, Route::Calls) => read::calls(request),
        (Method::POST, Route::Calls) => calls::create(request, body).await,
        (Method::POST, Route::LogTeleconferenceDeviceQuality) => {
            actions::log_teleconference_device_quality::handle(request, body).await
        }
        (Method::GET, Route::Call(id)) => read::call(request, id).await,
        (Method::PATCH, Route::Call(id)) => patch::handle(request, body, id).await,
        (Method::DELETE, Route::Call(id)) => calls::delete(request, id).await,
        (Method::GET, Route::Operations(id)) => operations::list(request, id).await,
        (Method::GET, Route::Operation(call, id)) => operations::get(request, call, id).await,
        (Method::POST, Route::Control(call, id, action)) => {
            actions::control::handle(request, body, call, id, action).await
        }
        (Method::POST, Route::Action(id, action)) => match action {
            Action::Answer => actions::answer::handle(request, body, id).await,
            Action::KeepAlive => actions::keep_alive::handle(request, id).await,
            Action::PlayPrompt => actions::play_prompt::handle(request, body, id).await,
            Action::CancelMediaProcessing => {
                actions::cancel_media_processing::handle(request, body, id).await
            }
            Action::Redirect => actions::redirect::handle(request, body, id).await,
            Action::Transfer => actions::transfer::handle(request, body, id).await,
            Action::Record => {
                actions::record_response::handle(request, body, id, Name::Record).await
            }
            Action::RecordResponse => {
                actions::record_response::handle(request, body, id, Name::RecordResponse).await
            }
            Action::Reject => actions::reject::handle(request, body, id).await,
            Action::SendDtmfTones => actions::send_dtmf_tones::handle(request, body, id).await,
            Action::SubscribeToTone => actions::subscribe_to_tone::handle(request, body, id).await,
            Action::Mute => actions::mute::handle(request, body, id, GroupVerb::MuteSelf).await,
            Action::Unmute => actions::mute::handle(request, body, id, GroupVerb::UnmuteSelf).await,
            Action::UpdateRecordingStatus => {
                actions::update_recording_status::handle(request, body, id).await
            }
            Action::AddLargeGalleryView => {
                actions::app_hosted::add_large_gallery_view(request, body, id).await
            }
            Action::ChangeScreenSharingRole => {
                actions::app_hosted::change_screen_sharing_role(request, body, id).await
            }
            Action::StartRecording
            | Action::StartTranscription
            | Action::StopRecording
            | Action::StopTranscription => {
                calls::find(request, id)?;
                let text = format!("The action {} is not supported yet", action.name());
                Err(ApiError::BotWantsUnsupported(Cow::Owned(text)))
            }
        },
        (Method::GET, Route::Participants(id)) => participants::list(request, id),
        (Method::GET, Route::Participant(call, id)) => participants::get(request, call, id),
        (Method::DELETE, Route::Participant(call, id)) => {
            participants::delete(request, call, id).await
        }
        (Method::POST, Route::ParticipantsAction(id, action)) => {
            participants::act_on_all(request, body, id, action).await
        }
        (Method::POST, Route::ParticipantAction(call, id, action)) => {
            participants::act_on_one(request, body, (call, id), action).await
        }
        (Method::GET, Route::AudioRoutingGroups(id)) => routing_groups::list(request, id),
        (Method::POST, Route::AudioRoutingGroups(id)) => {
            routing_groups::create(request, body, id).await
        }
        (Method::GET, Route::AudioRoutingGroup(id)) => routing_groups::get(request, id),
        (Method::PATCH, Route::AudioRoutingGroup(id)) => {
            routing_groups::update(request, body, id).await
        }
        (Method::DELETE, Route::AudioRoutingGroup(id)) => routing_groups::delete(request, id).await,
        (_, Route::NoSuchParticipant(id)) => Err(participants::absent(request, id)),
        (_, Route::NoSuchCall) => Err(ApiError::BotCallNotFound),
        (_, Route::NoSuchOperation(_)) => Err(ApiError::BotOperationNotFound),
        (_, Route::Unsupported(id, part)) => {
            calls::find(request, id)?;
            let text = format!("This server has no {part} of a call");
            Err(ApiError::BotWantsUnsupported(text.into()))
        }
        (_, Route::Unknown) => Err(ApiError::BotRouteUnknown),
        (
            _,
            Route::Metadata
            | Route::Batch
            | Route::Calls
            | Route::LogTeleconferenceDeviceQuality
            | Route::Call(_)
            | Route::Operations(_)
            | Route::Operation(..)
            | Route::Control(..)
            | Route::Participants(_)
            | Route::Participant(..)
            | Route::ParticipantsAction(..)
            | Route::ParticipantAction(..)
            | Route::AudioRoutingGroups(_)
            | Route::AudioRoutingGroup(_)
            | Route::Action(..),
        ) => Err(ApiError::BotMethodNotAllowed),
    }
}

/// The methods of a resource, for `Allow` (RFC 9110 §15.5.6); none of what is not supported yet.
pub(super) fn allowed(route: Route, compat: Compat) -> &'static str {
    match route {
        Route::Calls => "GET, POST",
        Route::Call(_) => match compat {
            Compat::Open => "GET, PATCH, DELETE",
            Compat::StrictBeta | Compat::StrictV1 => "GET, DELETE",
        },
        Route::Operations(_) | Route::Operation(..) | Route::Participants(_) | Route::Metadata => {
            "GET"
        }
        Route::Batch | Route::LogTeleconferenceDeviceQuality => "POST",
        Route::Control(..) => match compat {
            Compat::Open => "POST",
            Compat::StrictBeta | Compat::StrictV1 => "",
        },
        Route::Participant(..) => "GET, DELETE",
        Route::ParticipantsAction(..) | Route::ParticipantAction(..) => "POST",
        Route::AudioRoutingGroups(_) => "GET, POST",
        Route::AudioRoutingGroup(_) => "GET, PATCH, DELETE",
        Route::Action(
            _,
            Action::AddLargeGalleryView
            | Action::Answer
            | Action::ChangeScreenSharingRole
            | Action::KeepAlive
            | Action::PlayPrompt
            | Action::CancelMediaProcessing
            | Action::Redirect
            | Action::Record
            | Action::RecordResponse
            | Action::Reject
            | Action::SendDtmfTones
            | Action::SubscribeToTone
            | Action::Transfer
            | Action::Mute
            | Action::Unmute
            | Action::UpdateRecordingStatus,
        ) => "POST",
        Route::Action(..)
        | Route::Unsupported(..)
        | Route::NoSuchCall
        | Route::NoSuchOperation(_)
        | Route::NoSuchParticipant(_)
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
