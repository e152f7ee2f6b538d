//! `/communications/calls/{id}/audioRoutingGroups`: a bot's own ways between participants.

use axum::{body::Body, http::StatusCode};
use graphophone_call::{AudioRoutingGroup, CallId, Command, GroupCommand, Rejection};
use graphophone_graph::{
    error::ApiError,
    odata::{self, query::Shape},
    path::routing_group,
    resource::audio_routing_group::{self as resource, render, render_item},
};
use serde_json::Value;
use uuid::Uuid;

use super::{calls, lists, reply::Reply, request::Request};
use crate::engine::View;

/// Graph "List audioRoutingGroups".
pub(super) fn list(request: &Request<'_>, id: CallId) -> Result<Reply, ApiError> {
    let view = group_call(request, id)?;
    let items = all(&view).into_iter().map(|item| (0, item)).collect();
    lists::whole(request, &format!("calls/{id}/audioRoutingGroups"), items)
}

/// The groups of a call; none of one between two.
pub(super) fn all(view: &View) -> Vec<Value> {
    view.group.routing.iter().map(render_item).collect()
}

/// Graph "Get audioRoutingGroup".
pub(super) fn get(request: &Request<'_>, id: CallId) -> Result<Reply, ApiError> {
    let query = request.options(Shape::Object(&[]))?;
    let rendered = render(&request.service(), id, &find(request, id)?);
    Ok(Reply::json(StatusCode::OK, odata::select(rendered, &query.selection)))
}

/// Graph "Create audioRoutingGroup": 200, not 201.
pub(super) async fn create(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    group_call(request, id)?;
    let body = request.json(body).await?;
    let made = || Uuid::new_v4().to_string();
    let group = resource::parse(&body, made, request.version(), request.compat())?;
    put(request, id, group, false).await
}

/// Graph "Update audioRoutingGroup".
pub(super) async fn update(
    request: &Request<'_>,
    body: Body,
    id: CallId,
) -> Result<Reply, ApiError> {
    let known = find(request, id)?;
    let body = request.json(body).await?;
    let group = resource::update(&body, &known, request.version(), request.compat())?;
    put(request, id, group, true).await
}

/// Graph "Delete audioRoutingGroup".
pub(super) async fn delete(request: &Request<'_>, id: CallId) -> Result<Reply, ApiError> {
    let known = find(request, id)?;
    let command = Command::Group(GroupCommand::DeleteRoutingGroup(known.id));
    request.state.calls().command(request.owner(), id, command, None, None).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn put(
    request: &Request<'_>,
    id: CallId,
    group: AudioRoutingGroup,
    is_update: bool,
) -> Result<Reply, ApiError> {
    let command = Command::Group(GroupCommand::PutRoutingGroup { group: group.clone(), is_update });
    request.state.calls().command(request.owner(), id, command, None, None).await?;
    let rendered = render(&request.service(), id, &group);
    Ok(Reply::json(StatusCode::OK, rendered))
}

/// The group that the path names.
fn find(request: &Request<'_>, id: CallId) -> Result<AudioRoutingGroup, ApiError> {
    let view = group_call(request, id)?;
    let wanted = routing_group(request.parts.uri.path());
    let found = view.group.routing.iter().find(|group| Some(&group.id) == wanted.as_ref());
    Ok(found.cloned().ok_or(Rejection::RoutingGroupAbsent)?)
}

fn group_call(request: &Request<'_>, id: CallId) -> Result<View, ApiError> {
    let view = calls::find(request, id)?;
    if view.is_group() { Ok(view) } else { Err(Rejection::NotGroupCall.into()) }
}
