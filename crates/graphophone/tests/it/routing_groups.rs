//! Audio routing groups: who alone hears whom.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::conference::Group;

fn group(id: &str, mode: &str, source: &str, receivers: &[&str]) -> Value {
    json!({
        "@odata.type": "#microsoft.graph.audioRoutingGroup",
        "id": id,
        "routingMode": mode,
        "sources": [source],
        "receivers": receivers,
    })
}

#[tokio::test]
async fn a_one_to_one_group_isolates_a_pair_and_its_end_brings_all_together() {
    let call = Group::of(4).await;
    call.speak();
    call.each_hears(&[&[1, 2, 3], &[0, 2, 3], &[0, 1, 3], &[0, 1, 2]]).await;
    let (a, b) = (call.participant(0).await, call.participant(1).await);
    let made = call.post("/audioRoutingGroups", group("oneToOne", "oneToOne", &a, &[&b])).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    assert_eq!(made.body["id"], "oneToOne");
    assert_eq!(made.body["@odata.type"], "#microsoft.graph.audioRoutingGroup");
    call.each_hears(&[&[1], &[0], &[3], &[2]]).await;

    let path = "/audioRoutingGroups/oneToOne";
    let change = json!({"routingMode": "multicast"});
    let changed = call.send(Method::PATCH, path, Some(change)).await;
    assert_eq!(changed.body["routingMode"], "multicast");
    // Only the second hears the first, and both hear the others.
    call.each_hears(&[&[1, 2, 3], &[0, 2, 3], &[1, 3], &[1, 2]]).await;

    let gone = call.send(Method::DELETE, path, None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    call.each_hears(&[&[1, 2, 3], &[0, 2, 3], &[0, 1, 3], &[0, 1, 2]]).await;
}

#[tokio::test]
async fn groups_are_listed_read_and_refused_with_a_reason() {
    let call = Group::of(2).await;
    let (a, b) = (call.participant(0).await, call.participant(1).await);
    let absent = "0fe0623f-d628-42ed-b4bd-8ac290072cc5";
    for (body, status, code, message) in [
        (group("g", "oneToOne", &a, &[&b, &a]), 400, "8523", "receivers: oneToOne takes exactly"),
        (group("g", "multicast", &a, &[]), 400, "8523", "receivers: send at least one"),
        (group("g", "multicast", &a, &[absent]), 400, "8523", "receivers: not all are"),
        (group("g", "multicast", absent, &[&a]), 400, "8523", "sources: not a participant"),
        (group("g", "unicast", &a, &[&b]), 400, "8523", "routingMode: one of oneToOne, multicast"),
        (group("g/h", "multicast", &a, &[&b]), 400, "8523", "id: has a character"),
    ] {
        let answer = call.post("/audioRoutingGroups", body).await;
        let error = &answer.body["error"];
        assert_eq!((answer.status.as_u16(), &error["code"]), (status, &json!(code)), "{error}");
        let text = error["message"].as_str().unwrap();
        assert!(text.starts_with(message), "{text}");
    }
    let mut nameless = group("", "multicast", &a, &[&b]);
    nameless.as_object_mut().unwrap().remove("id");
    let made = call.post("/audioRoutingGroups", nameless).await.ok().unwrap();
    let id = made["id"].as_str().unwrap();
    let one = call.send(Method::GET, &format!("/audioRoutingGroups('{id}')"), None).await;
    assert_eq!(one.ok().unwrap()["receivers"], json!([b]));
    let again = call.post("/audioRoutingGroups", group(id, "multicast", &b, &[&a])).await;
    assert_eq!((again.status.as_u16(), &again.body["error"]["code"]), (409, &json!("8519")));
    let list = call.send(Method::GET, "/audioRoutingGroups", None).await.ok().unwrap();
    assert_eq!(list["value"].as_array().unwrap().len(), 1);
    let absent = call.send(Method::GET, "/audioRoutingGroups/none", None).await;
    assert_eq!((absent.status.as_u16(), &absent.body["error"]["code"]), (404, &json!("8522")));
}
