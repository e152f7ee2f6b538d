//! Lists in pages: what every `GET` of a collection answers.

use axum::http::{HeaderName, StatusCode};
use graphophone_graph::{
    error::ApiError,
    odata::{
        self,
        page::{Page, Position, page},
        query::{Query, Shape, continued},
    },
};
use serde_json::Value;

use super::{reply::Reply, request::Request};

/// A list that is at hand as a whole; each item has an `id`, and a rank that rises: a page begins in
/// the right place also when the item before it has gone. In a list whose order is of another kind
/// the rank is 0. `below` is where it is below `/communications`: `calls/{id}/participants`.
///
/// # Errors
/// A query option that cannot be read, or a page that nobody can find any more.
pub(super) fn whole(
    request: &Request<'_>,
    below: &str,
    mut items: Vec<(i64, Value)>,
) -> Result<Reply, ApiError> {
    let query = request.options(Shape::List)?;
    let places: Vec<_> = items
        .iter()
        .map(|(rank, item)| {
            let id = item["id"].as_str().unwrap_or_default().to_owned();
            Position { rank: *rank, id }
        })
        .collect();
    let page = page(&places, &query)?;
    let items = items.drain(page.items.clone()).map(|(_, item)| item).collect();
    Ok(reply(request, below, items, &page, &query))
}

/// The response with the items of a page.
pub(super) fn reply(
    request: &Request<'_>,
    below: &str,
    items: Vec<Value>,
    page: &Page,
    query: &Query,
) -> Reply {
    let service = request.service();
    let next = page.next.as_ref().map(|after| {
        let options = request.parts.uri.query().unwrap_or_default();
        format!("{}?{}", service.url(below), continued(options, after))
    });
    let items = items.into_iter().map(|item| odata::select(item, &query.selection)).collect();
    let reply = Reply::json(StatusCode::OK, service.collection(below, items, next));
    match query.preferred {
        // RFC 7240 §3.
        Some(size) => reply.with(
            HeaderName::from_static("preference-applied"),
            format!("odata.maxpagesize={size}"),
        ),
        None => reply,
    }
}
