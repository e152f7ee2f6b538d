//! `$batch`: carries out the requests in it one after the other, each as if it had come alone with
//! the batch's token.

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header,
        request::{Builder, Parts},
        uri,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use graphophone_graph::{
    batch::{self, SubRequest, SubResponse},
    error::ApiError,
};
use serde_json::Value;

use super::{
    graph,
    reply::{Content, Refusal, Rendered, Reply},
    request::{Ids, Request},
};
use crate::outbox::HoldGuard;

/// Headers that are the batch's own business, or nobody's: which connection, which server, how many
/// bytes.
const NOT_THEIRS: [HeaderName; 4] =
    [header::HOST, header::CONTENT_LENGTH, header::CONNECTION, header::TRANSFER_ENCODING];

pub(super) async fn handle(request: &Request<'_>, body: Body) -> Result<Reply, ApiError> {
    let body = request.json(body).await?;
    let batch = batch::parse(&body, request.version(), request.compat())?;
    let mut responses: Vec<Option<SubResponse>> = vec![None; batch.requests.len()];
    let mut holds: Vec<HoldGuard> = Vec::new();
    for index in batch.order {
        let sub = &batch.requests[index];
        let failed = sub.depends_on.iter().find(|other| {
            responses[**other].as_ref().is_none_or(|response| response.status >= 400)
        });
        let mut rendered = match failed {
            Some(other) => {
                let other = &batch.requests[*other].id;
                refused(sub, ApiError::BotDependencyFailed(other.clone()))
            }
            None => match alone(request, sub) {
                Ok((parts, body)) => graph::answer(request.state, parts, body).await,
                Err(error) => refused(sub, error),
            },
        };
        holds.append(&mut rendered.holds);
        responses[index] = Some(render(sub, rendered));
    }
    let responses: Vec<_> = responses.into_iter().flatten().collect();
    let mut reply = Reply::json(StatusCode::OK, batch::render(&responses));
    reply.holds = holds;
    Ok(reply)
}

/// The request as it would have come alone.
fn alone(request: &Request<'_>, sub: &SubRequest) -> Result<(Parts, Body), ApiError> {
    let argument = |name: &str, what: &str| {
        ApiError::BotArgument(format!("requests[{}].{name}: {what}", sub.id))
    };
    let url = uri(request, &sub.url).ok_or_else(|| argument("url", "not a path"))?;
    let method = Method::from_bytes(sub.method.as_bytes())
        .map_err(|_| argument("method", "not an HTTP method"))?;
    let mut made =
        Builder::new().method(method).uri(url).body(()).map_err(|_| argument("url", ""))?;
    let headers = made.headers_mut();
    for (name, value) in &sub.headers {
        let wrong = || argument(&format!("headers.{name}"), "cannot stand in a header");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong())?;
        if name == header::AUTHORIZATION && request.parts.headers.get(&name) != Some(&value) {
            let text = "the token of the batch is used for all, leave it out or send that one";
            return Err(argument("headers.authorization", text));
        }
        if !NOT_THEIRS.contains(&name) {
            headers.insert(name, value);
        }
    }
    for name in [header::AUTHORIZATION, header::HOST] {
        if let Some(value) = request.parts.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    inherit_id(&request.parts.headers, headers, &sub.id);
    let (mut parts, ()) = made.into_parts();
    // How the client has reached us: it is in the addresses of the responses.
    parts.extensions = request.parts.extensions.clone();
    let body = sub
        .body
        .as_ref()
        .map(|members| serde_json::to_vec(members).expect("a JSON value can always be written"));
    Ok((parts, body.map_or_else(Body::empty, Body::from)))
}

/// A batch that is sent again makes nothing twice: its own id is part of those of its requests.
fn inherit_id(batch: &HeaderMap, own: &mut HeaderMap, id: &str) {
    const NAME: &str = "client-request-id";
    if own.contains_key(NAME) {
        return;
    }
    let Some(outer) = batch.get(NAME).map(HeaderValue::as_bytes).filter(|id| !id.is_empty()) else {
        return;
    };
    if let Ok(value) = HeaderValue::from_bytes(&[outer, b".", id.as_bytes()].concat()) {
        own.insert(NAME, value);
    }
}

/// A URL of a batch is relative to the root of its version.
fn uri(request: &Request<'_>, url: &str) -> Option<Uri> {
    let outer = &request.parts.uri;
    let mut parts = uri::Parts::default();
    parts.scheme = outer.scheme().cloned();
    parts.authority = outer.authority().cloned();
    let path = format!("/{}{}", request.version(), url.split('#').next()?);
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

fn refused(sub: &SubRequest, error: ApiError) -> Rendered {
    let mut headers = HeaderMap::new();
    let own = sub.headers.iter().find(|(name, _)| name == "client-request-id");
    if let Some(id) = own.and_then(|(_, id)| HeaderValue::from_str(id).ok()) {
        headers.insert("client-request-id", id);
    }
    Refusal::from(error).render(&Ids::new(&headers))
}

fn render(sub: &SubRequest, rendered: Rendered) -> SubResponse {
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        Some((name.to_string(), value.to_str().ok()?.to_owned()))
    };
    SubResponse {
        id: sub.id.clone(),
        status: rendered.status.as_u16(),
        headers: rendered.headers.iter().filter_map(text).collect(),
        body: rendered.body.map(|body| match body {
            Content::Json(body) => body,
            // OData JSON §19.2: what is not JSON is a string in base64.
            Content::Xml(text) => Value::String(STANDARD.encode(text)),
        }),
    }
}
