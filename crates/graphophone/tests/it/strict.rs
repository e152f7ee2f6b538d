//! `compat.mode`: what Microsoft's documents do not list is refused, and what they list is not.

use graphophone::config::CompatMode;
use graphophone_media::wav;
use graphophone_testkit::{TestServer, audio};
use serde_json::json;

use crate::line::{Line, result_of};

async fn line(mode: CompatMode) -> (TestServer, Line) {
    let server = TestServer::start_with(|config| config.compat.mode = mode).await;
    let line = Line::open(&server).await;
    (server, line)
}

/// Plays with nothing but documented members.
async fn play(line: &Line, uri: &str) -> String {
    let prompt = json!({"@odata.type": "#microsoft.graph.mediaPrompt", "mediaInfo": {"uri": uri}});
    let answer = line.post("/playPrompt", json!({"prompts": [prompt]})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn strict_modes_refuse_loop_on_v1_and_untyped_prompts() {
    for mode in [CompatMode::StrictV1, CompatMode::StrictBeta] {
        let (_server, mut line) = line(mode).await;
        let uri = line.bot.serve("a.wav", audio::tone_wav(440.0, 40));
        let typed = json!([{
            "@odata.type": "#microsoft.graph.mediaPrompt",
            "mediaInfo": {"@odata.type": "#microsoft.graph.mediaInfo", "uri": uri},
        }]);
        let untyped = json!([{"mediaInfo": {"uri": uri}}]);
        for (body, at_fault) in [
            (json!({"prompts": typed, "loop": true}), "loop"),
            (json!({"prompts": typed, "loop": false}), "loop"),
            (json!({"prompts": untyped}), "@odata.type"),
        ] {
            let answer = line.post("/playPrompt", body).await;
            let error = &answer.body["error"];
            assert_eq!((answer.status.as_u16(), &error["code"]), (400, &json!("8523")), "{error}");
            let message = error["message"].as_str().unwrap();
            assert!(message.contains(at_fault), "{mode:?}: {message}");
        }
        assert_eq!(line.operations().await.len(), 0);

        let good = line.post("/playPrompt", json!({"prompts": typed})).await;
        assert_eq!(good.status, 200, "{mode:?}: {}", good.body);
        let good = good.body["id"].as_str().unwrap();
        assert_eq!(line.end_of(good).await["status"], "completed");
    }
}

#[tokio::test]
async fn strict_beta_takes_loop_on_beta() {
    let (_server, mut line) = line(CompatMode::StrictBeta).await;
    let uri = line.bot.serve("a.wav", audio::tone_wav(440.0, 40));
    let prompt = json!({"@odata.type": "#microsoft.graph.mediaPrompt", "mediaInfo": {"uri": uri}});
    let path = line.path("/playPrompt").replace("/v1.0/", "/beta/");
    let body = json!({"prompts": [prompt], "loop": true});
    let answer = line.bot.send(axum::http::Method::POST, &path, Some(body)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    line.bot.cancel(&line.call).await.unwrap();
    let end = line.end_of(answer.body["id"].as_str().unwrap()).await;
    assert_eq!(end["completionReason"], "mediaOperationCanceled");
}

#[tokio::test]
async fn strict_modes_play_the_documented_format_only_and_name_what_they_got() {
    let telephone = wav::to_bytes(8_000, &audio::tone(440.0, 40)[..320]);
    for mode in [CompatMode::StrictV1, CompatMode::StrictBeta, CompatMode::Open] {
        let (_server, mut line) = line(mode).await;
        let bad = line.bot.serve("8k.wav", telephone.clone());
        let good = line.bot.serve("16k.wav", audio::tone_wav(440.0, 40));
        let (bad, good) = (play(&line, &bad).await, play(&line, &good).await);
        let end = line.end_of(&bad).await;
        if mode == CompatMode::Open {
            assert_eq!(end["status"], "completed", "{end}");
        } else {
            let (code, subcode, message) = result_of(&end);
            assert_eq!((&end["status"], code, subcode), (&json!("failed"), 400, 8535));
            assert!(message.contains("got 8 kHz mono 16-bit"), "{message}");
        }
        assert_eq!(line.end_of(&good).await["status"], "completed", "{mode:?}");
    }
}

#[tokio::test]
async fn a_body_without_a_type_is_json_in_open_mode_only() {
    for mode in [CompatMode::Open, CompatMode::StrictBeta, CompatMode::StrictV1] {
        let (_server, line) = line(mode).await;
        let path = line.path("/cancelMediaProcessing");
        let answer = line.bot.post_bytes(&path, None, b"{}".to_vec()).await.unwrap();
        let expected = if mode == CompatMode::Open { 200 } else { 415 };
        assert_eq!(answer.status, expected, "{mode:?}: {}", answer.body);
        // Without a body there is nothing to name.
        let answer = line.bot.post_bytes(&path, None, Vec::new()).await.unwrap();
        assert_eq!(answer.status, 200, "{mode:?}: {}", answer.body);
    }
}
