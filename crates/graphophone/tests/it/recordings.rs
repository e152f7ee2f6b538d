//! `GET /recordings/{id}`: who may have a recording, for how long, and when it is gone.

use std::time::Duration;

use axum::http::StatusCode;
use graphophone_testkit::TestCall;
use serde_json::json;

use crate::record_response::{get, record, say, voice};

#[tokio::test]
async fn only_its_own_token_opens_a_recording_and_opens_nothing_else() {
    let mut call = TestCall::start().await;
    let mut ends = Vec::new();
    for _ in 0..2 {
        let operation = record(&call, None, json!({"maxRecordDurationInSeconds": 1})).await;
        say(&call, &voice(2_500));
        ends.push(call.ended(&operation).await);
        let ended = &ends.last().unwrap().value["resourceData"];
        assert_eq!(ended["completionReason"], "maxRecordDurationReached", "{ended}");
    }
    let of =
        |n: usize, name: &str| ends[n].value["resourceData"][name].as_str().unwrap().to_owned();
    let (first, second) = (of(0, "recordingLocation"), of(1, "recordingLocation"));
    let (mine, other) = (of(0, "recordingAccessToken"), of(1, "recordingAccessToken"));
    assert_eq!(get(&first, Some(&mine)).await.status(), StatusCode::OK);
    assert_eq!(get(&first, Some(&mine)).await.status(), StatusCode::OK, "as often as one likes");

    let unauthorized = get(&first, None).await;
    assert_eq!(unauthorized.status(), StatusCode::UNAUTHORIZED);
    assert!(unauthorized.headers().contains_key("www-authenticate"));
    let never =
        first.rsplit_once('/').unwrap().0.to_owned() + "/00000000-0000-0000-0000-00000000dead";
    assert_eq!(get(&never, None).await.text().await.unwrap(), unauthorized.text().await.unwrap());
    let api = call.bot.token().to_owned();
    let absent = get(&never, Some(&mine)).await;
    assert_eq!(absent.status(), StatusCode::NOT_FOUND);
    let absent = absent.text().await.unwrap();
    for (url, token) in [(&first, &other), (&second, &mine), (&first, &api)] {
        let refused = get(url, Some(token)).await;
        assert_eq!(refused.status(), StatusCode::NOT_FOUND);
        assert_eq!(
            refused.text().await.unwrap(),
            absent,
            "no wrong token is told from no recording"
        );
    }
    let path = format!("{}/v1.0/communications/calls", call.server.base());
    assert_eq!(get(&path, Some(&mine)).await.status(), StatusCode::UNAUTHORIZED, "no API token");
}

#[tokio::test]
async fn a_recording_is_there_after_a_restart_and_gone_when_its_time_has_come() {
    let mut call = TestCall::start_with(|config| {
        config.recordings.keep = graphophone::config::Interval(Duration::from_secs(20));
    })
    .await;
    let operation = record(&call, None, json!({"maxRecordDurationInSeconds": 1})).await;
    say(&call, &voice(2_500));
    let ended = call.ended(&operation).await;
    let data = ended.value["resourceData"].clone();
    let token = data["recordingAccessToken"].as_str().unwrap().to_owned();
    let location = data["recordingLocation"].as_str().unwrap().to_owned();
    assert_eq!(get(&location, Some(&token)).await.status(), StatusCode::OK);
    let path = location[location.find("/recordings/").unwrap()..].to_owned();
    let running = record(&call, None, json!({"maxRecordDurationInSeconds": 60})).await;
    let TestCall { server, .. } = call;
    let server = server.stop().await.start().await;
    let url = format!("{}{path}", server.base());
    assert_eq!(get(&url, Some(&token)).await.status(), StatusCode::OK, "also after a restart");
    let parts = std::fs::read_dir(server.directory().join("recordings")).unwrap();
    let names: Vec<_> =
        parts.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.contains(&running)), "{names:?}");
    let folder = server.directory().join("recordings");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while std::fs::read_dir(&folder).unwrap().count() > 0 {
        assert!(tokio::time::Instant::now() < deadline, "it is not deleted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(get(&url, Some(&token)).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_expired_token_is_told_and_the_operation_shows_a_fresh_one() {
    // One that has expired when it is told, and one that has not.
    for (token_valid, opens) in [(1, false), (600_000, true)] {
        let mut call = TestCall::start_with(|config| {
            let interval = Duration::from_millis(token_valid);
            config.recordings.token_valid = graphophone::config::Interval(interval);
        })
        .await;
        let operation = record(&call, None, json!({"maxRecordDurationInSeconds": 1})).await;
        say(&call, &voice(2_500));
        let ended = call.ended(&operation).await;
        let data = &ended.value["resourceData"];
        let location = data["recordingLocation"].as_str().unwrap();
        let told = data["recordingAccessToken"].as_str().unwrap();
        let shown = call.bot.operation(&call.id, &operation).await.unwrap();
        assert_eq!(shown["recordingLocation"], location);
        let shown = shown["recordingAccessToken"].as_str().unwrap();
        assert_ne!(shown, told);
        call.bot.hang_up(&call.id).await.unwrap();
        let later = call.bot.operation(&call.id, &operation).await.unwrap();
        let later = later["recordingAccessToken"].as_str().unwrap();
        for token in [told, shown, later] {
            let answer = get(location, Some(token)).await;
            if opens {
                assert_eq!(answer.status(), StatusCode::OK);
                continue;
            }
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
            let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
            assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
            let text = answer.text().await.unwrap();
            assert!(text.contains("has expired") && text.contains("GET the operation"), "{text}");
        }
    }
}
