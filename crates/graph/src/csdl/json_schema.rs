//! The table as JSON Schema (draft 2020-12), for `/openapi.json`. Schemas say what is documented;
//! that some bodies are taken beyond that (docs/graph-compat.md) is not in them.

use serde_json::{Map, Value, json};

use super::{Action, Kind, Member, Since, Type, find, item_of, members, served_types, types};
use crate::compat::ApiVersion;

/// The schema of each served type, by its name below `#/components/schemas/`.
pub fn components(version: ApiVersion) -> Map<String, Value> {
    let served = served_types(version);
    let shown = types().filter(|of| served.contains(&of.name));
    shown.map(|of| (key(version, of.name), object(of, version, &served))).collect()
}

/// The body of an action.
pub fn parameters(action: &Action, version: ApiVersion) -> Value {
    let taken: Vec<_> = action.served_parameters(version).collect();
    let required: Vec<_> = taken.iter().filter(|p| p.is_required).map(|p| p.name).collect();
    json!({
        "type": "object",
        "properties": properties(&taken, version),
        "required": required,
    })
}

/// A reference to a type's schema.
pub fn reference(version: ApiVersion, name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", key(version, name)) })
}

fn key(version: ApiVersion, name: &str) -> String {
    format!("{version}.{name}")
}

fn object(of: &Type, version: ApiVersion, served: &[&str]) -> Value {
    if of.kind == Kind::Enumeration {
        let names: Vec<_> = of.served_members(version).map(|value| value.name).collect();
        // The metadata writes it in capitals, the service and this server do not.
        let names: Vec<String> = match of.name {
            "operationStatus" => names.iter().map(|name| lower_camel(name)).collect(),
            _ => names.iter().map(|name| (*name).to_owned()).collect(),
        };
        return json!({ "type": "string", "enum": names });
    }
    let derived: Vec<_> = types()
        .filter(|other| other.base == Some(of.name) && served.contains(&other.name))
        .map(|other| other.name)
        .collect();
    if of.is_abstract && !derived.is_empty() && of.name != "entity" {
        let derived: Vec<_> = derived.iter().map(|name| reference(version, name)).collect();
        return json!({ "anyOf": derived });
    }
    let all: Vec<_> =
        members(of).into_iter().filter(|member| is_shown(of, member, version)).collect();
    let mut shown = properties(&all, version);
    if of.since != Since::Ours && !of.is_abstract {
        let tags: Vec<_> = std::iter::once(of.name)
            .chain(derived)
            .map(|name| format!("#microsoft.graph.{name}"))
            .collect();
        shown.insert("@odata.type".to_owned(), json!({ "type": "string", "enum": tags }));
    }
    json!({ "type": "object", "properties": shown })
}

/// Whether a member of the type or of one of its bases is there in a version.
fn is_shown(of: &Type, member: &Member, version: ApiVersion) -> bool {
    let mut owner = Some(of);
    while let Some(candidate) = owner {
        if candidate.served_members(version).any(|own| own.name == member.name) {
            return true;
        }
        owner = candidate.base.and_then(find);
    }
    false
}

fn properties(of: &[&Member], version: ApiVersion) -> Map<String, Value> {
    of.iter().map(|member| (member.name.to_owned(), schema(member, version))).collect()
}

fn schema(member: &Member, version: ApiVersion) -> Value {
    let (item, is_list) = item_of(member.of);
    let single = primitive(item).unwrap_or_else(|| reference(version, item));
    let schema = if is_list { json!({ "type": "array", "items": single }) } else { single };
    if member.is_required || schema.as_object().is_some_and(Map::is_empty) {
        schema
    } else if let Some(Value::String(kind)) = schema.get("type") {
        let mut nullable = schema.clone();
        nullable["type"] = json!([kind, "null"]);
        nullable
    } else {
        json!({ "anyOf": [schema, { "type": "null" }] })
    }
}

fn primitive(name: &str) -> Option<Value> {
    Some(match name {
        "Edm.String" => json!({ "type": "string" }),
        "Edm.Boolean" => json!({ "type": "boolean" }),
        "Edm.Int32" => json!({ "type": "integer", "format": "int32" }),
        "Edm.Int64" => json!({ "type": "integer", "format": "int64" }),
        "Edm.Double" => json!({ "type": "number", "format": "double" }),
        "Edm.Guid" => json!({ "type": "string", "format": "uuid" }),
        "Edm.Duration" => json!({ "type": "string", "format": "duration" }),
        "Edm.DateTimeOffset" => json!({ "type": "string", "format": "date-time" }),
        "Edm.Untyped" => json!({}),
        _ => return None,
    })
}

fn lower_camel(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}
