//! Calls as they are read: one of them with what hangs on it, and the list of an application's.

use axum::http::StatusCode;
use graphophone_call::CallId;
use graphophone_graph::{
    error::ApiError,
    odata::{self, query::Shape},
};
use serde_json::Value;

use super::{
    calls::{as_graph, find},
    lists, operations, participants,
    reply::Reply,
    request::Request,
    routing_groups,
};

/// What `$expand` can show of a call.
const EXPANDABLE: &[&str] = &["audioRoutingGroups", "operations", "participants"];

/// Graph "Get call".
pub(super) async fn call(request: &Request<'_>, id: CallId) -> Result<Reply, ApiError> {
    let query = request.options(Shape::Object(EXPANDABLE))?;
    let view = find(request, id)?;
    let rendered = as_graph(&view).render(&request.service());
    // What is expanded is shown whether it is selected or not.
    let mut rendered = odata::select(rendered, &query.selection);
    for part in &query.expand {
        let selected = |all: Vec<Value>| {
            all.into_iter().map(|item| odata::select(item, &part.selection)).collect()
        };
        let (items, next) = match part.name {
            "participants" => (selected(participants::all(&view)), None),
            "audioRoutingGroups" => (selected(routing_groups::all(&view)), None),
            _ => operations::expanded(request, id, &part.selection).await?,
        };
        rendered[part.name] = items.into();
        if let Some(next) = next {
            rendered[format!("{}@odata.nextLink", part.name)] = next.into();
        }
    }
    Ok(Reply::json(StatusCode::OK, rendered))
}

/// The live calls of the application; in the SDKs, without a page in the documentation.
pub(super) fn calls(request: &Request<'_>) -> Result<Reply, ApiError> {
    let views = request.state.calls().list(request.owner());
    let items = views
        .iter()
        .map(|(rank, view)| (*rank, as_graph(view).render_item(request.version())))
        .collect();
    lists::whole(request, "calls", items)
}
