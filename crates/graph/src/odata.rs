//! What OData adds to a response: addresses, contexts, collections and `$select`; below it the options
//! of a request and the pages of lists.

pub mod page;
pub mod query;

use std::fmt;

use graphophone_call::{CallId, OperationId};
use serde_json::{Value, json};

use crate::compat::ApiVersion;

/// `Content-Type` of every JSON response.
pub const CONTENT_TYPE: &str = "application/json;odata.metadata=minimal;odata.streaming=true;\
    IEEE754Compatible=false;charset=utf-8";

/// Where a version of the API is served; the root of addresses in bodies and headers.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// `server.public_url`, without a slash at the end: `https://calls.example.com`.
    pub root: &'a str,
    /// The version that the request used.
    pub version: ApiVersion,
}

impl Service<'_> {
    /// `Location` of a new call.
    pub fn call_url(&self, call: CallId) -> String {
        format!("{}/{}/communications/calls/{call}", self.root, self.version)
    }

    /// `Location` of a new operation.
    pub fn operation_url(&self, call: CallId, operation: OperationId) -> String {
        format!("{}/operations/{operation}", self.call_url(call))
    }

    /// `@odata.context` for what stands behind `$metadata#`.
    pub(crate) fn context(&self, of: impl fmt::Display) -> Value {
        format!("{}/{}/$metadata#{of}", self.root, self.version).into()
    }

    /// The address of something below `/communications`, such as `calls/{id}/operations`.
    pub fn url(&self, below: impl fmt::Display) -> String {
        format!("{}/{}/communications/{below}", self.root, self.version)
    }

    /// A list; `below` is where it is, as in [`url`](Self::url). `next` is the address of the page
    /// behind this one.
    pub fn collection(&self, below: &str, items: Vec<Value>, next: Option<String>) -> Value {
        // Keys are in parentheses in a context (OData 4.01 part 2 §10): calls('{id}')/operations.
        let of: Vec<_> = below.split('/').collect();
        let of = match of.as_slice() {
            [set, key, rest @ ..] => format!("{set}('{key}'){}{}", slash(rest), rest.join("/")),
            _ => below.to_owned(),
        };
        let mut list = json!({
            "@odata.context": self.context(format_args!("communications/{of}")),
            "value": items,
        });
        if let Some(next) = next {
            list["@odata.nextLink"] = next.into();
        }
        list
    }
}

const fn slash(rest: &[&str]) -> &'static str {
    if rest.is_empty() { "" } else { "/" }
}

/// Keeps the members that `$select` names (`id, state`), and annotations. Names that the object
/// does not have are ignored, of a path (`source/identity`) the first step counts; an empty selection
/// and `*` keep all.
pub fn select(object: impl Into<Value>, selection: &str) -> Value {
    let mut object = object.into();
    let names: Vec<&str> = selection.split(',').filter_map(first_step).collect();
    if let Value::Object(members) = &mut object
        && !names.is_empty()
        && !names.contains(&"*")
    {
        members.retain(|name, _| {
            name.contains('@') || names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        });
    }
    object
}

fn first_step(path: &str) -> Option<&str> {
    path.split('/').next().map(str::trim).filter(|name| !name.is_empty())
}

/// An object without its nulls, as in notifications.
pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            members.into_iter().filter(|(_, value)| !value.is_null()).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            value
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn select_keeps_annotations_and_what_is_named_in_any_case() {
        let object = json!({ "@odata.type": "t", "id": 1, "state": 2, "subject": 3 });
        let selected = |selection| select(object.clone(), selection);
        assert_eq!(selected("ID, state"), json!({ "@odata.type": "t", "id": 1, "state": 2 }));
        assert_eq!(selected("nothing"), json!({ "@odata.type": "t" }));
        assert_eq!(selected(""), object);
        assert_eq!(selected("id,*"), object);
    }
}
