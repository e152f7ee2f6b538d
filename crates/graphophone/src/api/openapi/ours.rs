//! What is not Graph's in `/openapi.json`: health, the operator's API, the token issuer.

use serde_json::{Map, Value, json};

use super::{content, description, parameter, response};

/// Who may ask.
#[derive(Clone, Copy)]
enum For {
    Everybody,
    Operator,
}

/// What goes in.
#[derive(Clone, Copy)]
enum Takes {
    Nothing,
    /// Names and types of members, and which must be there.
    Json(&'static [(&'static str, &'static str)], &'static [&'static str]),
    /// A file.
    Bytes,
    /// The form of RFC 6749 §4.4.
    TokenForm,
}

/// What comes out when all goes well.
#[derive(Clone, Copy)]
enum Gives {
    Nothing,
    Text,
    Json,
    Wav,
    Bytes,
}

/// One route with one method.
struct Endpoint {
    path: &'static str,
    method: &'static str,
    summary: &'static str,
    of: For,
    /// Names and types of what may be in the query.
    query: &'static [(&'static str, &'static str)],
    takes: Takes,
    status: u16,
    gives: Gives,
    refusals: &'static [u16],
}

const fn get(path: &'static str, summary: &'static str, gives: Gives) -> Endpoint {
    Endpoint {
        path,
        method: "get",
        summary,
        of: For::Everybody,
        query: &[],
        takes: Takes::Nothing,
        status: 200,
        gives,
        refusals: &[],
    }
}

const fn post(path: &'static str, summary: &'static str, status: u16, gives: Gives) -> Endpoint {
    Endpoint { method: "post", status, ..get(path, summary, gives) }
}

impl Endpoint {
    const fn operators(mut self, refusals: &'static [u16]) -> Self {
        self.of = For::Operator;
        self.refusals = refusals;
        self
    }

    const fn refuses(mut self, refusals: &'static [u16]) -> Self {
        self.refusals = refusals;
        self
    }

    const fn query(mut self, query: &'static [(&'static str, &'static str)]) -> Self {
        self.query = query;
        self
    }

    const fn takes(mut self, takes: Takes) -> Self {
        self.takes = takes;
        self
    }
}

const FILTER: &[(&str, &str)] = &[
    ("state", "string"),
    ("call", "string"),
    ("app", "string"),
    ("after", "integer"),
    ("limit", "integer"),
];
const ISSUER: &[u16] = &[400];

const ALL: &[Endpoint] = &[
    get("/healthz", "The process answers", Gives::Text),
    get("/readyz", "New calls are taken", Gives::Text).refuses(&[503]),
    get("/openapi.json", "This document", Gives::Json),
    get("/recordings/{id}", "A recording, for its own token", Gives::Bytes).refuses(&[401, 404]),
    get("/graphophone/v1/deliveries", "The delivery log", Gives::Json)
        .operators(&[400, 503])
        .query(FILTER),
    post("/graphophone/v1/deliveries/replay", "Send notifications again", 202, Gives::Json)
        .operators(&[400, 415, 503])
        .takes(Takes::Json(FILTER, &[])),
    post("/graphophone/v1/deliveries/{sequence}/replay", "Send one again", 202, Gives::Json)
        .operators(&[400, 404, 409, 503]),
    get("/graphophone/v1/keys", "The signing keys", Gives::Json).operators(&[]),
    post("/graphophone/v1/keys/rotate", "Make new signing keys", 200, Gives::Json)
        .operators(&[400, 409, 500])
        .query(&[("in", "string"), ("compromised", "boolean")]),
    get("/graphophone/v1/limits", "How much of everything there may be", Gives::Json)
        .operators(&[]),
    get("/graphophone/v1/load", "How much is to do", Gives::Json).operators(&[]),
    get("/graphophone/v1/prompts", "The uploaded prompts", Gives::Json).operators(&[]),
    get("/graphophone/v1/prompts/{name}", "One of them", Gives::Json).operators(&[404]),
    Endpoint {
        method: "put",
        ..post("/graphophone/v1/prompts/{name}", "Upload one", 201, Gives::Json)
    }
    .operators(&[200, 400, 413, 415, 500, 507])
    .takes(Takes::Bytes),
    Endpoint {
        method: "delete",
        ..post("/graphophone/v1/prompts/{name}", "Delete one", 204, Gives::Nothing)
    }
    .operators(&[404, 500]),
    get("/graphophone/v1/samples/{name}", "A prompt of the dev profile", Gives::Wav)
        .refuses(&[404]),
    get("/graphophone/v1/phone", "The built-in phone", Gives::Json).operators(&[404]),
    get("/graphophone/v1/phone/heard.wav", "What it heard", Gives::Wav).operators(&[404]),
    post("/graphophone/v1/phone/call", "It calls this server", 201, Gives::Json)
        .operators(&[400, 404, 409, 415, 422])
        .takes(Takes::Json(&[("number", "string")], &["number"])),
    post("/graphophone/v1/phone/hangUp", "It hangs up", 204, Gives::Nothing).operators(&[404]),
    post("/graphophone/v1/phone/press", "It presses keys", 204, Gives::Nothing)
        .operators(&[400, 404, 409, 415, 422])
        .takes(Takes::Json(&[("tones", "array")], &["tones"])),
    post("/{tenant}/oauth2/v2.0/token", "A token (v2)", 200, Gives::Json)
        .refuses(&[400, 401, 413, 415])
        .takes(Takes::TokenForm),
    post("/{tenant}/oauth2/token", "A token (v1)", 200, Gives::Json)
        .refuses(&[400, 401, 413, 415])
        .takes(Takes::TokenForm),
    get("/{tenant}/v2.0/.well-known/openid-configuration", "Where the issuer is", Gives::Json)
        .refuses(ISSUER),
    get("/{tenant}/.well-known/openid-configuration", "Where the issuer is", Gives::Json)
        .refuses(ISSUER),
    get("/{tenant}/discovery/v2.0/keys", "Keys of its tokens", Gives::Json).refuses(ISSUER),
    get("/{tenant}/discovery/keys", "Keys of its tokens", Gives::Json).refuses(ISSUER),
    get("/{tenant}/discovery/instance", "Which authority it is", Gives::Json)
        .refuses(ISSUER)
        .query(&[("api-version", "string"), ("authorization_endpoint", "string")]),
    get("/v1/.well-known/{document}", "What bots check notifications with", Gives::Json)
        .refuses(&[404]),
];

pub(super) fn add_paths(paths: &mut Map<String, Value>) {
    for endpoint in ALL {
        let item = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        item[endpoint.method] = operation(endpoint);
    }
}

fn operation(endpoint: &Endpoint) -> Value {
    let (kind, schema) = match endpoint.gives {
        Gives::Nothing => ("", None),
        Gives::Text => ("text/plain", Some(json!({ "type": "string" }))),
        Gives::Json => ("application/json", Some(json!({ "type": "object" }))),
        Gives::Bytes => {
            let file = json!({ "type": "string", "format": "binary" });
            ("application/octet-stream", Some(file))
        }
        Gives::Wav => ("audio/wav", Some(json!({ "type": "string", "format": "binary" }))),
    };
    let mut responses: Map<String, Value> = endpoint
        .refusals
        .iter()
        .chain(matches!(endpoint.of, For::Operator).then_some(&401))
        .map(|status| (status.to_string(), json!({ "description": description(*status) })))
        .collect();
    responses.extend([response(endpoint.status, content(kind, schema))]);
    let of_path = endpoint.path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let parameters: Vec<_> = of_path
        .map(|name| {
            let kind = if name == "sequence" { "integer" } else { "string" };
            parameter(name, "path", json!({ "type": kind, "minimum": 0 }))
        })
        .chain(
            endpoint
                .query
                .iter()
                .map(|(name, kind)| parameter(name, "query", json!({ "type": kind }))),
        )
        .collect();
    let security = match endpoint.of {
        For::Everybody => json!([]),
        For::Operator => json!([{ "operator": [] }]),
    };
    let mut operation = json!({
        "summary": endpoint.summary,
        "tags": [match endpoint.of { For::Everybody => "Public", For::Operator => "Operator" }],
        "security": security,
        "responses": responses,
    });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    let body = match endpoint.takes {
        Takes::Nothing => None,
        Takes::Json(members, required) => {
            Some(("application/json", object(members, required), true))
        }
        Takes::Bytes => {
            let file = json!({ "type": "string", "format": "binary" });
            Some(("application/octet-stream", file, true))
        }
        Takes::TokenForm => Some(("application/x-www-form-urlencoded", token_form(), true)),
    };
    if let Some((kind, schema, required)) = body {
        operation["requestBody"] =
            json!({ "required": required, "content": content(kind, Some(schema)) });
    }
    operation
}

fn object(members: &[(&str, &str)], required: &[&str]) -> Value {
    let properties: Map<String, Value> = members
        .iter()
        .map(|(name, kind)| {
            let schema = match *kind {
                "array" => json!({ "type": "array", "items": { "type": "string" } }),
                "integer" => json!({ "type": "integer", "minimum": 0 }),
                kind => json!({ "type": kind }),
            };
            ((*name).to_owned(), schema)
        })
        .collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn token_form() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "required": ["grant_type", "client_id", "client_secret"],
        "properties": {
            "grant_type": { "const": "client_credentials" },
            "client_id": text, "client_secret": text, "scope": text, "resource": text,
        },
    })
}
