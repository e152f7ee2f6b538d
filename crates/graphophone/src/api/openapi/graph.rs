//! The Graph API in `/openapi.json`: both versions, under `/communications` and under the old `/app`.

use graphophone_graph::{
    ApiVersion,
    batch::MAX_REQUESTS,
    compat::Compat,
    csdl::{self, ACTIONS, Action},
    odata::query::MAX_PAGE,
    path::{self, Route},
};
use serde_json::{Map, Value, json};

use super::{content, parameter, response};
use crate::api::graph::allowed;

const VERSIONS: [ApiVersion; 2] = [ApiVersion::V1, ApiVersion::Beta];
const JSON: &str = "application/json";
/// An id that stands for all of them when a path is looked up.
const SOME_ID: &str = "2e1a0b00-2db4-4022-9570-243709c565ab";

/// The schemas of both versions, and those that are not in Graph's metadata.
pub(super) fn schemas() -> Map<String, Value> {
    let mut schemas: Map<String, Value> = VERSIONS.into_iter().flat_map(csdl::components).collect();
    schemas.insert("error".to_owned(), error());
    schemas.insert("batch".to_owned(), batch());
    schemas.insert("batchResponse".to_owned(), batch_response());
    schemas
}

pub(super) fn add_paths(paths: &mut Map<String, Value>, compat: Compat) {
    for version in VERSIONS {
        for root in ["communications", "app"] {
            for template in path::templates() {
                let path = format!("/{version}/{root}{template}");
                let item = item(&path, &template, version, compat, root == "app");
                if let Some(item) = item {
                    paths.insert(path, item);
                }
            }
        }
        paths.insert(format!("/{version}/$batch"), batch_path());
        paths.insert(format!("/{version}/$metadata"), metadata_path());
    }
}

/// All methods of a path; `None` if it has none.
fn item(
    path: &str,
    template: &str,
    version: ApiVersion,
    compat: Compat,
    is_old: bool,
) -> Option<Value> {
    let names = names_in(template);
    let filled = names
        .iter()
        .fold(path.to_owned(), |path, name| path.replace(&format!("{{{name}}}"), SOME_ID));
    let route = path::parse(&filled)?.route;
    let mut item = Map::new();
    for method in allowed(route, compat).split(", ").filter(|method| !method.is_empty()) {
        let mut operation = operation(method, route, template, version);
        if is_old {
            operation["deprecated"] = true.into();
        }
        item.insert(method.to_ascii_lowercase(), operation);
    }
    let ids: Vec<_> = names
        .iter()
        .map(|name| {
            // The id of a routing group is any text.
            let schema = match *name {
                "group" => json!({ "type": "string", "minLength": 1 }),
                _ => json!({ "type": "string", "format": "uuid" }),
            };
            parameter(name, "path", schema)
        })
        .collect();
    if item.is_empty() {
        return None;
    }
    if !ids.is_empty() {
        item.insert("parameters".to_owned(), ids.into());
    }
    Some(item.into())
}

/// The names in braces.
fn names_in(template: &str) -> Vec<&str> {
    template.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect()
}

/// What goes in and comes out, without the refusals that all have.
struct Shape {
    summary: String,
    body: Option<Value>,
    needs_body: bool,
    status: u16,
    answer: Option<Value>,
    options: &'static [&'static str],
    /// Statuses of refusals beside those of its method.
    refusals: &'static [u16],
}

fn operation(method: &str, route: Route, template: &str, version: ApiVersion) -> Value {
    let shape = shape(method, route, template, version);
    let mut refusals = vec![400, 401, 403, 404, 503];
    if method != "GET" {
        refusals.extend([409, 507]);
    }
    if shape.body.is_some() {
        refusals.extend([413, 415]);
    }
    refusals.extend(shape.refusals);
    refusals.sort_unstable();
    refusals.dedup();
    let error = json!({ "$ref": "#/components/schemas/error" });
    let mut responses: Map<String, Value> = refusals
        .into_iter()
        .map(|status| response(status, content(JSON, Some(error.clone()))))
        .collect();
    responses.extend([response(shape.status, content(JSON, shape.answer))]);
    let mut operation = json!({
        "summary": shape.summary,
        "tags": [format!("Graph {version}")],
        "security": [{ "bot": [] }],
        "responses": responses,
    });
    if let Some(body) = shape.body {
        operation["requestBody"] =
            json!({ "required": shape.needs_body, "content": content(JSON, Some(body)) });
    }
    let options: Vec<_> = shape.options.iter().map(|name| option(name)).collect();
    if !options.is_empty() {
        operation["parameters"] = options.into();
    }
    operation
}

fn option(name: &str) -> Value {
    let schema = match name {
        "$top" => json!({ "type": "integer", "minimum": 1, "maximum": MAX_PAGE }),
        _ => json!({ "type": "string" }),
    };
    parameter(name, "query", schema)
}

fn shape(method: &str, route: Route, template: &str, version: ApiVersion) -> Shape {
    const OF_LIST: &[&str] = &["$select", "$top", "$skiptoken"];
    const OF_ONE: &[&str] = &["$select", "$expand"];
    let of = |name: &str| csdl::reference(version, name);
    let last = template.rsplit('/').next().unwrap_or_default();
    let last = last.strip_prefix("graphophone.").unwrap_or(last);
    let is_key = last.starts_with('{');
    let read = |of: Value, what: &str| Shape {
        summary: format!("{} {what}", if is_key { "Read one of" } else { "List the" }),
        body: None,
        needs_body: false,
        status: 200,
        answer: Some(if is_key { of } else { list(&of) }),
        options: if is_key { OF_ONE } else { OF_LIST },
        refusals: &[],
    };
    let (what, entity) = match template.split('/').rfind(|part| !part.starts_with('{')) {
        Some("participants") => ("participants", "participant"),
        Some("audioRoutingGroups") => ("audio routing groups", "audioRoutingGroup"),
        Some("operations") => ("operations", "commsOperation"),
        _ => ("calls", "call"),
    };
    match (method, route) {
        ("GET", _) => read(of(entity), what),
        ("DELETE", _) => Shape {
            summary: format!("End or remove one of the {what}"),
            status: 204,
            answer: None,
            ..read(Value::Null, what)
        },
        ("PATCH", _) => Shape {
            summary: format!("Change one of the {what}"),
            body: Some(of(entity)),
            needs_body: true,
            options: &[],
            ..read(of(entity), what)
        },
        (_, Route::Calls) => Shape {
            summary: "Create a call".to_owned(),
            body: Some(create(version)),
            needs_body: true,
            status: 201,
            answer: Some(of("call")),
            options: &[],
            refusals: &[405, 429],
        },
        _ => match ACTIONS.iter().find(|action| action.name == last && is_of(action, template)) {
            // Known, and never taken.
            Some(action) if !action.is_served(ApiVersion::Beta) => Shape {
                summary: format!("The action {last}, which is refused"),
                body: Some(json!({ "type": "object" })),
                needs_body: false,
                status: 405,
                answer: Some(json!({ "$ref": "#/components/schemas/error" })),
                options: &[],
                refusals: &[],
            },
            Some(action) => {
                // Open mode takes on v1.0 what only beta declares.
                let version = if action.is_served(version) { version } else { ApiVersion::Beta };
                let takes = !action.parameters.is_empty();
                Shape {
                    summary: format!("The action {last}"),
                    body: takes.then(|| csdl::parameters(action, version)),
                    needs_body: action.served_parameters(version).any(|p| p.is_required),
                    status: success(last),
                    answer: action.returns.map(|name| csdl::reference(version, name)),
                    options: &[],
                    refusals: &[405],
                }
            }
            // A POST to a collection makes one.
            None => Shape {
                summary: format!("Make one of the {what}"),
                body: Some(of(entity)),
                needs_body: true,
                status: success(last),
                answer: Some(of(entity)),
                options: &[],
                refusals: &[],
            },
        },
    }
}

/// Whether an action is one of what stands before it in the path.
fn is_of(action: &Action, template: &str) -> bool {
    let bound = match template.rsplit('/').nth(1).unwrap_or_default() {
        "calls" => "Collection(call)",
        "participants" => "Collection(participant)",
        "{participant}" => "participant",
        "{operation}" => "playPromptOperation",
        _ => "call",
    };
    action.bound_to == bound
}

/// The status of an action that went well.
fn success(action: &str) -> u16 {
    match action {
        "addLargeGalleryView"
        | "answer"
        | "changeScreenSharingRole"
        | "redirect"
        | "reject"
        | "startHoldMusic"
        | "stopHoldMusic"
        | "transfer" => 202,
        "logTeleconferenceDeviceQuality" => 204,
        _ => 200,
    }
}

/// A call as it is asked for: the resource, with what must be there.
fn create(version: ApiVersion) -> Value {
    json!({
        "allOf": [csdl::reference(version, "call")],
        "required": ["callbackUri", "mediaConfig", "requestedModalities", "targets", "tenantId"],
    })
}

fn list(of: &Value) -> Value {
    json!({
        "type": "object",
        "required": ["value"],
        "properties": {
            "@odata.context": { "type": "string" },
            "@odata.nextLink": { "type": "string" },
            "value": { "type": "array", "items": of },
        },
    })
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": { "error": {
            "type": "object",
            "required": ["code", "message", "innerError"],
            "properties": {
                "code": { "type": "string" },
                "message": { "type": "string" },
                "innerError": { "type": "object" },
            },
        } },
    })
}

fn batch() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "required": ["requests"],
        "properties": { "requests": {
            "type": "array", "minItems": 1, "maxItems": MAX_REQUESTS,
            "items": {
                "type": "object",
                "required": ["id", "method", "url"],
                "properties": {
                    "id": { "type": "string", "minLength": 1, "maxLength": 64 },
                    "method": { "enum": ["GET", "POST", "PATCH", "PUT", "DELETE"] },
                    "url": text,
                    "headers": { "type": "object", "additionalProperties": text },
                    "body": { "type": "object" },
                    "dependsOn": { "type": "array", "items": text },
                },
            },
        } },
    })
}

fn batch_response() -> Value {
    json!({
        "type": "object",
        "required": ["responses"],
        "properties": { "responses": { "type": "array", "items": {
            "type": "object",
            "required": ["id", "status", "headers"],
            "properties": {
                "id": { "type": "string" },
                "status": { "type": "integer" },
                "headers": { "type": "object" },
            },
        } } },
    })
}

fn batch_path() -> Value {
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let refusal = |status| response(status, content(JSON, Some(reference("error"))));
    let mut responses: Map<String, Value> =
        [400, 401, 403, 413, 415, 503].into_iter().map(refusal).collect();
    responses.extend([response(200, content(JSON, Some(reference("batchResponse"))))]);
    json!({ "post": {
        "summary": "Several requests in one",
        "tags": ["Graph"],
        "security": [{ "bot": [] }],
        "requestBody": { "required": true, "content": content(JSON, Some(reference("batch"))) },
        "responses": responses,
    } })
}

fn metadata_path() -> Value {
    let text = json!({ "type": "string" });
    let (status, response) = response(200, content("application/xml", Some(text)));
    json!({ "get": {
        "summary": "CSDL XML of what is served",
        "tags": ["Graph"],
        "security": [],
        "responses": { status: response },
    } })
}
