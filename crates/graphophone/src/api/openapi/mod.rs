//! `/openapi.json`: everything that is served, in OpenAPI 3.1. The paths of the Graph API come from the
//! path table and the methods that each has, the schemas from the table of Graph's metadata; what is
//! ours is listed in `ours.rs`, and the tests compare it with the router.

mod graph;
mod ours;

use axum::{
    body::Bytes,
    http::header,
    response::{IntoResponse, Response},
};
use graphophone_graph::compat::Compat;
use serde_json::{Map, Value, json};

/// The document of a server in this mode, written out once.
pub(super) fn document(compat: Compat) -> Bytes {
    let mut paths = Map::new();
    graph::add_paths(&mut paths, compat);
    ours::add_paths(&mut paths);
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Graphophone",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "The calling part of the Microsoft Graph API (v1.0 and beta) on telephone \
                lines, its token issuer, and what an operator needs. Paths are written as SDKs send \
                them; key segments such as calls('{id}'), qualified action names and other cases are \
                read, too. What differs from Graph is in docs/graph-compat.md.",
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": graph::schemas(),
            "securitySchemes": {
                "bot": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": "An application's token, from /{tenant}/oauth2/v2.0/token.",
                },
                "operator": {
                    "type": "http", "scheme": "bearer", "description": "admin.token of the configuration.",
                },
                "recording": {
                    "type": "http", "scheme": "bearer",
                    "description": "recordingAccessToken of the recordOperation.",
                },
            },
        },
    });
    serde_json::to_vec(&document).expect("a JSON value can always be written").into()
}

/// `GET /openapi.json`
pub(super) fn answer(document: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}

/// What a status means, for people.
fn description(status: u16) -> &'static str {
    match status {
        200 => "Done.",
        201 => "Made.",
        202 => "Accepted.",
        204 => "Done; there is no body.",
        206 => "A part of it.",
        304 => "Not changed since.",
        400 => "Something of the request is wrong; the message begins with its name.",
        401 => "The token is missing or does not hold.",
        403 => "The token does not allow it.",
        404 => "There is no such thing, or it is somebody else's.",
        405 => "There is such a thing, but not this way.",
        409 => "It collides with something that is under way or was done.",
        413 => "The body is too large.",
        415 => "The body is of another type or encoding.",
        416 => "There is no such part.",
        421 => "Not a name of this server (dev profile).",
        424 => "A request that this one depends on has failed.",
        429 => "Too many for now; Retry-After says when.",
        503 => "Not now; Retry-After says when. Nothing was done.",
        507 => "The disk is full; nothing was done.",
        _ => "See the documentation.",
    }
}

/// A body by its type; none without a schema.
fn content(kind: &str, schema: Option<Value>) -> Option<Value> {
    schema.map(|schema| json!({ kind: { "schema": schema } }))
}

/// An entry of `responses`.
fn response(status: u16, content: Option<Value>) -> (String, Value) {
    let mut response = json!({ "description": description(status) });
    if let Some(content) = content {
        response["content"] = content;
    }
    (status.to_string(), response)
}

/// A parameter in the path, or one that may be in the query.
fn parameter(name: &str, place: &str, schema: Value) -> Value {
    json!({ "name": name, "in": place, "required": place == "path", "schema": schema })
}
