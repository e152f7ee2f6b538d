//! `/communications/calls/{id}/operations` and one of them: live with its receipt, and readable for
//! a while after its end.

use axum::http::StatusCode;
use graphophone_call::{CallId, OperationId};
use graphophone_graph::{
    error::ApiError,
    odata::{
        self,
        page::{self, Page, Position},
        query::{Query, Shape, continued},
    },
    resource::operation,
};
use serde_json::Value;
use tracing::error;

use super::{lists, reply::Reply, request::Request};

pub(super) async fn get(
    request: &Request<'_>,
    call: CallId,
    id: OperationId,
) -> Result<Reply, ApiError> {
    let query = request.options(Shape::Object(&[]))?;
    let found = request.state.calls().operation(request.owner(), call, id).await;
    let (operation, receipt) = found.map_err(unreadable)?.ok_or(ApiError::BotOperationNotFound)?;
    let rendered = operation::render_entity(&request.service(), call, &operation, receipt.as_ref());
    Ok(Reply::json(StatusCode::OK, odata::select(rendered, &query.selection)))
}

pub(super) async fn list(request: &Request<'_>, call: CallId) -> Result<Reply, ApiError> {
    let query = request.options(Shape::List)?;
    let (page, items) = page(request, call, &query).await?;
    Ok(lists::reply(request, &below(call), items, &page, &query))
}

/// The operations of a call in `$expand`: the first page, and where the next one is.
pub(super) async fn expanded(
    request: &Request<'_>,
    call: CallId,
    selection: &str,
) -> Result<(Vec<Value>, Option<String>), ApiError> {
    let query = Query { selection: selection.to_owned(), ..Query::default() };
    let (page, items) = page(request, call, &query).await?;
    let items = items.into_iter().map(|item| odata::select(item, selection)).collect();
    let next = page.next.map(|after| {
        let options = match selection {
            "" => String::new(),
            selection => format!("$select={selection}"),
        };
        format!("{}?{}", request.service().url(below(call)), continued(&options, &after))
    });
    Ok((items, next))
}

async fn page(
    request: &Request<'_>,
    call: CallId,
    query: &Query,
) -> Result<(Page, Vec<Value>), ApiError> {
    let calls = request.state.calls();
    let ids = calls.operation_ids(request.owner(), call).await.map_err(unreadable)?;
    let ids = ids.ok_or(ApiError::BotCallNotFound)?;
    let places: Vec<_> = ids.iter().map(|id| Position { rank: 0, id: id.to_string() }).collect();
    let page = page::page(&places, query)?;
    let mut items = Vec::with_capacity(page.items.len());
    for id in &ids[page.items.clone()] {
        // The live one knows how far it is.
        let found = calls.operation(request.owner(), call, *id).await.map_err(unreadable)?;
        items.extend(found.map(|(operation, receipt)| {
            operation::render_item(request.version(), &operation, receipt.as_ref())
        }));
    }
    Ok((page, items))
}

fn below(call: CallId) -> String {
    format!("calls/{call}/operations")
}

/// The store cannot be read: logged here, where it stops.
pub(super) fn unreadable(error: graphophone_store::StoreError) -> ApiError {
    error!(%error, "the store cannot be read");
    ApiError::ServerUnavailable
}
