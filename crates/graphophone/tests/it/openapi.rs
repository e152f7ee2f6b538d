//! `/openapi.json` against the server that serves it: every route is in it with every method, and
//! nothing else. What it says of statuses and bodies is checked by `tests/interop/run.py schemathesis`.

use std::collections::BTreeSet;

use axum::http::Method;
use graphophone::{bot::http_client, config::CompatMode};
use graphophone_graph::{
    csdl::{ACTIONS, Here},
    path,
};
use graphophone_testkit::TestServer;
use serde_json::{Value, json};

use crate::{
    http_surface::UNKNOWN,
    isolation::{METHODS, routes},
    line::Line,
};

async fn document(server: &TestServer) -> Value {
    let url = format!("{}/openapi.json", server.base());
    let response = http_client().unwrap().get(url).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

/// Methods and paths of the document.
fn documented(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().expect("paths");
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("an item").keys();
            let methods = methods.filter(|name| *name != "parameters");
            methods.map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect()
}

#[tokio::test]
async fn every_route_of_the_router_is_in_the_document_and_nothing_else() {
    let server = TestServer::start().await;
    let documented = documented(&document(&server).await);
    let mut routed = BTreeSet::new();
    for file in ["api/mod.rs", "auth/token_endpoint.rs"] {
        for (path, methods) in routes(file) {
            assert!(!methods.is_empty(), "{path}");
            routed.extend(methods.iter().map(|method| (method.to_string(), path.clone())));
        }
    }
    assert!(routed.len() >= 24, "{routed:?}");
    let is_graphs = |path: &str| ["/v1.0/", "/beta/"].iter().any(|root| path.starts_with(root));
    let ours: BTreeSet<_> =
        documented.iter().filter(|(_, path)| !is_graphs(path)).cloned().collect();
    assert_eq!(ours, routed);
}

#[tokio::test]
async fn a_path_of_graphs_is_in_the_document_with_the_methods_that_it_has() {
    for mode in [CompatMode::Open, CompatMode::StrictV1] {
        let server = TestServer::start_with(|config| config.compat.mode = mode).await;
        let documented = documented(&document(&server).await);
        let line = Line::open(&server).await;
        let below = path::templates();
        let roots = ["/v1.0/communications", "/beta/communications", "/v1.0/app", "/beta/app"];
        let paths = roots.iter().flat_map(|root| below.iter().map(move |b| format!("{root}{b}")));
        let alone = ["/v1.0/$batch", "/beta/$batch", "/v1.0/$metadata", "/beta/$metadata"];
        let mut asked: Vec<_> = paths
            .chain(alone.map(str::to_owned))
            .flat_map(|path| METHODS.map(|method| (method, path.clone())))
            .collect();
        // What ends the call comes last.
        let ends = |(method, path): &(Method, String)| {
            *method == Method::DELETE && path.ends_with("/calls/{call}")
        };
        asked.sort_by_key(ends);
        let mut served = BTreeSet::new();
        for (method, template) in asked {
            let mut path = template.replace("{call}", &line.call);
            while let (Some(from), Some(to)) = (path.find('{'), path.find('}')) {
                path.replace_range(from..=to, UNKNOWN);
            }
            let body = (method != Method::GET).then(|| json!({}));
            let answer = line.bot.send(method.clone(), &path, body).await.unwrap();
            let code = answer.body["error"]["code"].as_str().unwrap_or_default();
            // Ours on operations are unknown in the strict modes.
            let is_known = code != "UnknownError" || template.contains("graphophone.");
            assert!(is_known, "{method} {template}: {}", answer.body);
            if !matches!(code, "8573" | "8520" | "UnknownError") {
                served.insert((method.to_string(), template));
            }
        }
        assert!(served.len() >= 60, "{served:?}");
        let is_graphs = |path: &str| ["/v1.0/", "/beta/"].iter().any(|root| path.starts_with(root));
        // They are of beta, and refused in a strict mode of v1.0; the document is the same in each.
        let is_refused = |path: &str| {
            mode != CompatMode::Open
                && ["/muteAll", "/configureMixer"].iter().any(|action| path.ends_with(action))
        };
        let graphs: BTreeSet<_> = documented
            .into_iter()
            .filter(|(_, path)| is_graphs(path) && !is_refused(path))
            .collect();
        assert_eq!(graphs, served, "{mode:?}");
    }
}

#[tokio::test]
async fn the_document_refers_to_nothing_that_is_not_in_it() {
    let server = TestServer::start().await;
    let document = document(&server).await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut references = 0;
    assert_resolved(&document, &document, &mut references);
    assert!(references >= 300, "{references}");
    for item in document["paths"].as_object().unwrap().values() {
        for (method, operation) in item.as_object().unwrap() {
            if method == "parameters" {
                continue;
            }
            let responses = operation["responses"].as_object().expect("responses");
            assert!(!responses.is_empty() && !responses.contains_key("default"), "{operation}");
            assert!(operation["security"].is_array(), "{operation}");
        }
    }
}

fn assert_resolved(document: &Value, value: &Value, references: &mut usize) {
    match value {
        Value::Array(items) => {
            items.iter().for_each(|item| assert_resolved(document, item, references));
        }
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                let pointer = reference.strip_prefix('#').expect("one in this document");
                assert!(document.pointer(pointer).is_some(), "{reference}");
                *references += 1;
            }
            members.values().for_each(|member| assert_resolved(document, member, references));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn an_action_that_the_table_calls_refused_is_refused() {
    let server = TestServer::start().await;
    let line = Line::open(&server).await;
    let refused = ACTIONS.iter().filter(|of| of.row.here == Here::Refused && of.bound_to == "call");
    for action in refused {
        let path = line.path(&format!("/{}", action.name)).replace("/v1.0/", "/beta/");
        let answer = line.bot.send(Method::POST, &path, Some(json!({}))).await.unwrap();
        let code = answer.body["error"]["code"].as_str().unwrap_or_default();
        let is_refused = matches!((answer.status.as_u16(), code), (405, "8520") | (400, "8500"));
        assert!(is_refused, "{}: {} {}", action.name, answer.status, answer.body);
    }
}
