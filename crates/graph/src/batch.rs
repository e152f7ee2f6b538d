//! `$batch`: several requests in one (OData JSON §19, as far as Graph has it). Reads what is asked
//! and in which order, and writes what became of it; carries nothing out.

use serde_json::json;

use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Map, Member, Members, Value},
};

/// Most requests of one batch, as in Graph.
pub const MAX_REQUESTS: usize = 20;
/// Longest id of a request, in UTF-16 code units. Ours.
pub const MAX_ID: usize = 64;
/// Most headers of a request. Ours.
const MAX_HEADERS: usize = 32;

/// HTTP methods that a request of a batch may have.
const METHODS: [&str; 5] = ["GET", "POST", "PATCH", "PUT", "DELETE"];

/// One request of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct SubRequest {
    /// The client's name for it.
    pub id: String,
    /// In capitals.
    pub method: &'static str,
    /// Relative to the version's root; begins with a slash.
    pub url: String,
    /// Names in lower case, once each.
    pub headers: Vec<(String, String)>,
    /// A JSON object.
    pub body: Option<Map<String, Value>>,
    /// Which requests of the batch must have gone well before, by their index.
    pub depends_on: Vec<usize>,
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq)]
pub struct SubResponse {
    /// As in the request.
    pub id: String,
    /// HTTP status.
    pub status: u16,
    /// By name.
    pub headers: Vec<(String, String)>,
    /// `None`: it has none.
    pub body: Option<Value>,
}

/// A batch: 1 to [`MAX_REQUESTS`] requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// In the order they came in.
    pub requests: Vec<SubRequest>,
    /// Indices of all of them: each behind what it depends on, else as they came.
    pub order: Vec<usize>,
}

/// Reads the body.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault; then nothing may be carried out.
pub fn parse(body: &[u8], version: ApiVersion, compat: Compat) -> Result<Batch, BodyError> {
    let body = json::read(body)?;
    let dialect = Dialect { version, compat };
    let members = Members::of_body(&body, &["requests"], Extras::Undeclared, dialect)?;
    let list = members.require("requests", "an array of 1 to 20 requests")?;
    let items = list.items()?;
    if items.is_empty() || items.len() > MAX_REQUESTS {
        let what = format!("{} requests, send 1 to {MAX_REQUESTS}", items.len());
        return Err(list.wrong(what));
    }
    let read: Vec<_> = items.iter().map(Item::parse).collect::<Result<_, _>>()?;
    let mut requests: Vec<SubRequest> = Vec::with_capacity(read.len());
    for (index, item) in read.iter().enumerate() {
        let of_id = |id: &str| read.iter().position(|other| other.request.id == id);
        if of_id(&item.request.id) != Some(index) {
            return Err(item.id.wrong("used by an earlier request, give each its own"));
        }
        let mut request = item.request.clone();
        for member in &item.depends_on {
            match of_id(member.string()?) {
                Some(other) if other != index => request.depends_on.push(other),
                Some(_) => return Err(member.wrong("the request itself")),
                None => return Err(member.unexpected("the id of a request of this batch")),
            }
        }
        requests.push(request);
    }
    let order = order(&requests).ok_or_else(|| {
        list.wrong("dependsOn goes round in a circle, nothing could be the first")
    })?;
    Ok(Batch { requests, order })
}

/// The body of the response.
pub fn render(responses: &[SubResponse]) -> Value {
    let render = |response: &SubResponse| {
        let headers: Map<String, Value> = response
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        let mut rendered =
            json!({ "id": response.id, "status": response.status, "headers": headers });
        if let Some(body) = &response.body {
            rendered["body"] = body.clone();
        }
        rendered
    };
    json!({ "responses": responses.iter().map(render).collect::<Vec<_>>() })
}

/// A request with the members that are judged with the others in view.
struct Item<'a> {
    request: SubRequest,
    id: Member<'a>,
    depends_on: Vec<Member<'a>>,
}

impl<'a> Item<'a> {
    fn parse(item: &Member<'a>) -> Result<Self, BodyError> {
        const DECLARED: [&str; 7] =
            ["id", "method", "url", "headers", "body", "dependsOn", "atomicityGroup"];
        let members = item.members(&DECLARED, Extras::Undeclared)?;
        if let Some(group) = members.get("atomicityGroup") {
            return Err(group.wrong("calls cannot be taken back, leave it out"));
        }
        let id = members.require("id", "a text that no other request of the batch has")?;
        if id.short_string(MAX_ID)?.is_empty() {
            return Err(id.wrong("empty"));
        }
        let method = members.require("method", "an HTTP method such as GET")?;
        let name = method.string()?;
        let Some(name) = METHODS.into_iter().find(|known| name.eq_ignore_ascii_case(known)) else {
            return Err(method.unexpected(&format!("one of {}", METHODS.join(", "))));
        };
        let body = match members.get("body") {
            None => None,
            Some(body) => match body.value().as_object() {
                Some(members) => Some(members.clone()),
                None => return Err(body.unexpected("a JSON object")),
            },
        };
        let depends_on = match members.get("dependsOn") {
            Some(list) => list.items()?,
            None => Vec::new(),
        };
        let request = SubRequest {
            id: id.string()?.to_owned(),
            method: name,
            url: url(&members.require("url", "a path such as /communications/calls")?)?,
            headers: match members.get("headers") {
                Some(headers) => read_headers(&headers)?,
                None => Vec::new(),
            },
            body,
            depends_on: Vec::new(),
        };
        Ok(Self { request, id, depends_on })
    }
}

/// Without the version: `/communications/calls`, also without the slash.
fn url(member: &Member<'_>) -> Result<String, BodyError> {
    let text = member.short_string(crate::uri::MAX_URI)?;
    if text.contains("://") || text.starts_with("//") {
        return Err(member.wrong("absolute, send a path such as /communications/calls"));
    }
    if text.is_empty() || text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(member.wrong("empty, or has a space or control character: percent-encode it"));
    }
    let path = text.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
    if path.eq_ignore_ascii_case("$batch") {
        return Err(member.wrong("a batch in a batch, send its requests in this one"));
    }
    Ok(if text.starts_with('/') { text.to_owned() } else { format!("/{text}") })
}

fn read_headers(member: &Member<'_>) -> Result<Vec<(String, String)>, BodyError> {
    let members = member.members(&[], Extras::Allowed)?;
    let mut headers = Vec::new();
    for (name, value) in members.unknown() {
        let name = name.to_ascii_lowercase();
        let Value::String(value) = value else {
            return Err(members.wrong(&name, "a string expected"));
        };
        if headers.iter().any(|(known, _)| *known == name) {
            return Err(members.wrong(&name, "given in two spellings, send it once"));
        }
        headers.push((name, value));
        if headers.len() > MAX_HEADERS {
            return Err(member.wrong(format!("more than {MAX_HEADERS} headers")));
        }
    }
    Ok(headers)
}

/// Each behind what it depends on; `None` if that goes round in a circle.
fn order(requests: &[SubRequest]) -> Option<Vec<usize>> {
    let mut order = Vec::with_capacity(requests.len());
    while order.len() < requests.len() {
        let is_next = |index: &usize| {
            !order.contains(index)
                && requests[*index].depends_on.iter().all(|other| order.contains(other))
        };
        let next = (0..requests.len()).find(is_next)?;
        order.push(next);
    }
    Some(order)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &Value) -> Result<Batch, String> {
        parse(body.to_string().as_bytes(), ApiVersion::V1, Compat::StrictV1)
            .map_err(|error| error.to_string())
    }

    fn get(id: &str, depends_on: &[&str]) -> Value {
        json!({ "id": id, "method": "GET", "url": "/communications/calls", "dependsOn": depends_on })
    }

    #[test]
    fn requests_are_read_with_their_headers_and_bodies() {
        let batch = read(&json!({ "requests": [{
            "id": "1", "method": "post", "url": "communications/calls/x/mute",
            "headers": { "Content-Type": "application/json", "client-request-id": "7" },
            "body": { "clientContext": "c" },
        }] }))
        .expect("it is good");
        let [request] = batch.requests.as_slice() else { panic!("one request") };
        assert_eq!(
            (request.method, request.url.as_str()),
            ("POST", "/communications/calls/x/mute")
        );
        let headers = [("client-request-id", "7"), ("content-type", "application/json")];
        let headers: Vec<_> =
            headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let mut sorted = request.headers.clone();
        sorted.sort();
        assert_eq!(sorted, headers);
        assert_eq!(request.body.as_ref().expect("a body")["clientContext"], "c");
    }

    #[test]
    fn each_comes_behind_what_it_depends_on_and_else_as_it_came() {
        let batch = json!({ "requests": [
            get("a", &["c"]), get("b", &[]), get("c", &["d"]), get("d", &[]), get("e", &["a", "b"]),
        ] });
        assert_eq!(read(&batch).expect("it is good").order, [1, 3, 2, 0, 4]);
    }

    #[test]
    fn a_wrong_member_is_named() {
        let with = |name: &str, value: Value| {
            let mut request = get("1", &[]);
            request[name] = value;
            json!({ "requests": [request] })
        };
        let many: Vec<_> = (0..21).map(|n| get(&n.to_string(), &[])).collect();
        let table = [
            (json!({}), "requests: required"),
            (json!({ "requests": [] }), "requests: 0 requests, send 1 to 20"),
            (json!({ "requests": many }), "requests: 21 requests, send 1 to 20"),
            (json!({ "requests": [get("1", &[]), get("1", &[])] }), "requests[1].id: used by"),
            (json!({ "requests": [get("1", &["1"])] }), "requests[0].dependsOn[0]: the request"),
            (json!({ "requests": [get("1", &["2"])] }), "requests[0].dependsOn[0]: the id of"),
            (
                json!({ "requests": [get("1", &["2"]), get("2", &["1"])] }),
                "requests: dependsOn goes round",
            ),
            (with("id", json!(1)), "requests[0].id: a string"),
            (with("id", json!("")), "requests[0].id: empty"),
            (with("method", json!("TRACE")), "requests[0].method: one of GET, POST"),
            (with("url", json!("https://x/")), "requests[0].url: absolute"),
            (with("url", json!("//x/y")), "requests[0].url: absolute"),
            (with("url", json!("")), "requests[0].url: empty"),
            (with("url", json!("/$Batch")), "requests[0].url: a batch in a batch"),
            (with("body", json!([1])), "requests[0].body: a JSON object"),
            (with("headers", json!({ "a": 1 })), "requests[0].headers.a: a string"),
            (with("headers", json!({ "a": "1", "A": "2" })), "requests[0].headers.a: given in two"),
            (with("atomicityGroup", json!("g")), "requests[0].atomicityGroup: calls cannot"),
            (with("dance", json!(1)), "requests[0].dance: not declared"),
        ];
        for (body, expected) in table {
            let error = read(&body).expect_err(expected);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn an_order_keeps_every_dependency(edges in proptest::collection::vec((0_usize..12, 0_usize..12), 0..20)) {
            let ids: Vec<String> = (0..12).map(|n| n.to_string()).collect();
            let requests: Vec<_> = (0..12).map(|index| {
                let depends: Vec<_> = edges.iter()
                    .filter(|(from, to)| *from == index && to < from)
                    .map(|(_, to)| ids[*to].as_str())
                    .collect();
                get(&ids[index], &depends)
            }).collect();
            let batch = read(&json!({ "requests": requests })).expect("no circle");
            for (place, index) in batch.order.iter().enumerate() {
                let before = &batch.order[..place];
                prop_assert!(batch.requests[*index].depends_on.iter().all(|d| before.contains(d)));
            }
        }
    }
}
