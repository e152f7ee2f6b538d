//! Prompts that are not WAV files on a web server: other formats, tones, uploads, speech. The verdict
//! is what the phone heard.

use std::{os::unix::fs::PermissionsExt, process::Command};

use axum::{
    Router,
    http::{HeaderMap, Uri},
    routing::post,
};
use graphophone::{
    bot::http_client,
    config::{CompatMode, Interval},
};
use graphophone_media::{analysis, codec::Codec, wav};
use graphophone_testkit::{
    ServerProcess, TestCall, TestServer,
    audio::{as_heard, assert_heard, assert_tones, ms_to_samples, tone, tone_wav},
    is_audio_active, is_end_of, patience, sent_ms,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::line::{Line, result_of};

/// 440 Hz for 300 ms, then 1000 Hz for 300 ms; crates/media/tests/compressed/make.sh makes them.
const FILES: [(&str, &[u8]); 6] = [
    ("FLAC", include_bytes!("../../../media/tests/compressed/mono16k.flac")),
    ("Ogg", include_bytes!("../../../media/tests/compressed/mono16k.ogg")),
    ("MP3", include_bytes!("../../../media/tests/compressed/titled16k.mp3")),
    ("FLAC", include_bytes!("../../../media/tests/compressed/stereo44k.flac")),
    ("Ogg", include_bytes!("../../../media/tests/compressed/stereo44k.ogg")),
    ("MP3", include_bytes!("../../../media/tests/compressed/stereo44k.mp3")),
];

fn prompts(uris: &[&str]) -> Value {
    let prompt = |uri: &&str| json!({"mediaInfo": {"uri": uri}});
    json!({"prompts": uris.iter().map(prompt).collect::<Vec<_>>()})
}

/// The same as strict modes want it.
fn typed(uri: &str) -> Value {
    json!({"prompts": [{
        "@odata.type": "#microsoft.graph.mediaPrompt",
        "mediaInfo": {"@odata.type": "#microsoft.graph.mediaInfo", "uri": uri},
    }]})
}

/// What the admin API answers.
async fn admin(server: &TestServer, method: Method, tail: &str, body: &[u8]) -> (u16, Value) {
    let token = server.server().ready().admin_token.clone().unwrap();
    asked(server.base(), &token, method, tail, body).await
}

async fn asked(base: &str, token: &str, method: Method, tail: &str, body: &[u8]) -> (u16, Value) {
    let url = format!("{base}/graphophone/v1/prompts{tail}");
    let request = http_client().unwrap().request(method, url).bearer_auth(token);
    let answer = request.body(body.to_vec()).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

#[tokio::test]
async fn compressed_files_are_heard_whole_whatever_they_are_called() {
    let mut call = TestCall::start().await;
    // Served as WAV files without an extension: the content decides.
    let files: Vec<&[u8]> = FILES.iter().map(|(_, bytes)| *bytes).collect();
    let operation = call.play(&files).await;
    let ended = call.ended(&operation).await;
    let data = &ended.value["resourceData"];
    assert_eq!(data["status"], "completed", "{data}");
    for prompt in data["graphophoneReceipt"]["prompts"].as_array().unwrap() {
        assert_eq!((&prompt["durationMs"], &prompt["reason"]), (&json!(600), &json!("completed")));
        assert_eq!(prompt["sha256"].as_str().unwrap().len(), 64);
    }
    let heard = call.heard(3_600).await;
    assert_tones(&heard.samples, &[(440.0, 300), (1_000.0, 300)].repeat(6));
    assert!(heard.samples.len() <= ms_to_samples(3_620), "{}", heard.samples.len());
    assert_eq!((heard.lost, heard.longest_hole.as_millis()), (0, 0));
}

#[tokio::test]
async fn strict_modes_refuse_compressed_files_by_name_and_ours_altogether() {
    for mode in [CompatMode::StrictV1, CompatMode::StrictBeta] {
        let server = TestServer::start_with(|config| config.compat.mode = mode).await;
        let mut line = Line::open(&server).await;
        for (format, bytes) in &FILES[..3] {
            let uri = line.bot.serve(format, bytes.to_vec());
            let answer = line.post("/playPrompt", typed(&uri)).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            let end = line.end_of(answer.body["id"].as_str().unwrap()).await;
            let (code, subcode, message) = result_of(&end);
            assert_eq!((&end["status"], code, subcode), (&json!("failed"), 400, 8535));
            let got = format!("16 kHz mono 16-bit WAV is required in this mode, got {format}");
            assert!(message.contains(&got), "{message}");
        }
        let answer = line.post("/playPrompt", typed("graphophone:silence?durationMs=5")).await;
        assert_eq!(answer.status, 400);
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.contains("prompts[0].mediaInfo.uri: not an absolute http"), "{message}");
    }
}

#[tokio::test]
async fn a_compressed_file_longer_than_the_limit_is_refused_before_it_is_unpacked() {
    let mut call = TestCall::start_with(|config| {
        config.prompts.max_duration = Interval(std::time::Duration::from_millis(500));
    })
    .await;
    for (format, bytes) in &FILES[..3] {
        let operation = call.play(&[bytes]).await;
        let ended = call.ended(&operation).await.value["resourceData"].clone();
        let (_, subcode, message) = result_of(&ended);
        assert_eq!(subcode, 8535, "{format}: {ended}");
        assert!(message.contains("the audio is longer than 500ms"), "{format}: {message}");
    }
}

#[tokio::test]
async fn tones_and_silence_are_made_here() {
    let mut call = TestCall::start().await;
    let body = prompts(&[
        "graphophone:tone?frequency=600&durationMs=400&levelDb=-20",
        "graphophone:silence?durationMs=200",
        "graphophone:tone?frequency=350&frequency2=440&durationMs=400",
    ]);
    let operation = call.play_body("v1.0", body).await;
    let ended = call.ended(&operation).await.value["resourceData"].clone();
    assert_eq!(ended["status"], "completed", "{ended}");
    let durations: Vec<&Value> = ended["graphophoneReceipt"]["prompts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|prompt| &prompt["millisecondsSent"])
        .collect();
    assert_eq!(durations, [400, 200, 400]);
    let heard = call.heard(1_000).await.samples;
    let piece = |from, to| &heard[ms_to_samples(from)..ms_to_samples(to)];
    let level = |piece: &[i16], hz| analysis::tone_level_db(piece, 8_000, hz);
    assert!((level(piece(50, 350), 600.0) + 20.0).abs() < 0.3);
    assert!(piece(400, 600).iter().all(|sample| sample.unsigned_abs() <= 8));
    // Each of two has half of the peak.
    for hz in [350.0, 440.0] {
        assert!((level(piece(650, 950), hz) + 16.02).abs() < 0.3, "{hz}");
    }
}

#[tokio::test]
async fn a_uri_of_ours_that_says_nothing_is_refused_at_once() {
    let call = TestCall::start().await;
    for (uri, what) in [
        ("graphophone:tone?frequency=440", "the parameter durationMs is missing"),
        ("graphophone:tone?frequency=9&durationMs=5", "frequency is not a whole number from 20"),
        ("graphophone:piano", "not one of graphophone:tone?"),
        ("graphophone:prompts/..%2f", "what follows prompts/ is not a name"),
        ("graphophone:tts?text=hello", "this server has no speech engine: tts.command or tts.url"),
    ] {
        let answer = call.act("v1.0", "playPrompt", prompts(&[uri])).await;
        assert_eq!(answer.status, 400, "{uri}");
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("prompts[0].mediaInfo.uri: {what}")), "{message}");
    }
}

#[tokio::test]
async fn an_uploaded_prompt_is_played_replaced_kept_over_a_restart_and_deleted() {
    let mut call = TestCall::start().await;
    let (low, high) = (tone_wav(440.0, 200), tone_wav(1_000.0, 200));
    let (status, put) = admin(&call.server, Method::PUT, "/welcome", &low).await;
    assert_eq!(status, 201, "{put}");
    assert_eq!(put["uri"], "graphophone:prompts/welcome");
    assert_eq!((&put["format"], &put["durationMs"]), (&json!("WAV"), &json!(200)));
    let operation = call.play_body("v1.0", prompts(&["graphophone:prompts/welcome"])).await;
    let ended = call.ended(&operation).await.value["resourceData"].clone();
    assert_eq!(ended["graphophoneReceipt"]["prompts"][0]["sha256"], put["sha256"]);

    let (status, _) = admin(&call.server, Method::PUT, "/welcome", &high).await;
    assert_eq!(status, 200, "there was one");
    let body = prompts(&["graphophone:prompts/welcome", "graphophone:prompts/welcome"]);
    let operation = call.play_body("v1.0", body).await;
    call.ended(&operation).await;
    let heard = call.heard(600).await;
    // Between two operations a packet may be late.
    let at_last = analysis::align(&heard.samples, &as_heard(&[&high, &high], Codec::Pcmu), 8_000);
    assert!(at_last.unwrap().correlation >= 0.99);
    assert_tones(&heard.samples, &[(440.0, 200)]);

    let (status, list) = admin(&call.server, Method::GET, "", b"").await;
    assert_eq!((status, list["prompts"].as_array().unwrap().len()), (200, 1));
    let uploads = call.server.directory().join("uploads");
    let files: Vec<_> = std::fs::read_dir(&uploads).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!files[0].file_name().to_str().unwrap().contains("welcome"));

    assert_eq!(admin(&call.server, Method::DELETE, "/welcome", b"").await.0, 204);
    assert_eq!(admin(&call.server, Method::DELETE, "/welcome", b"").await.0, 404);
    let operation = call.play_body("v1.0", prompts(&["graphophone:prompts/welcome"])).await;
    let end = call.ended(&operation).await.value["resourceData"].clone();
    let (code, subcode, message) = result_of(&end);
    assert_eq!((code, subcode), (400, 8536));
    assert!(message.contains("no prompt was uploaded under this name"), "{message}");
}

#[tokio::test]
async fn an_upload_is_there_after_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(env!("CARGO_BIN_EXE_graphophone"), data.path()).await;
    let token = server.ready("adminToken").to_owned();
    let file = tone_wav(700.0, 300);
    let base = server.ready("http").to_owned();
    let (status, put) = asked(&base, &token, Method::PUT, "/kept", &file).await;
    assert_eq!(status, 201, "{put}");
    server.kill();

    let server = ServerProcess::start(env!("CARGO_BIN_EXE_graphophone"), data.path()).await;
    let base = server.ready("http").to_owned();
    let (status, kept) = asked(&base, &token, Method::GET, "/kept", b"").await;
    assert_eq!((status, &kept), (200, &put));
    let mut bot = server.bot().await;
    let call = bot.call(server.phone_identity(), &[]).await.unwrap();
    bot.until(patience(), is_audio_active).await.unwrap();
    let uri = "graphophone:prompts/kept".to_owned();
    let operation = bot.play(&call, &[uri], false).await.unwrap();
    let told = bot.until(patience(), |value| is_end_of(value, &operation)).await.unwrap();
    let ended = &told.last().unwrap().value["resourceData"];
    assert_eq!((&ended["status"], sent_ms(ended)), (&json!("completed"), 300));
    assert_eq!(ended["graphophoneReceipt"]["prompts"][0]["sha256"], put["sha256"]);
}

#[tokio::test]
async fn an_upload_that_cannot_be_played_or_kept_is_refused_with_the_reason() {
    let server = TestServer::start_with(|config| {
        config.prompts.max_bytes = graphophone::config::Bytes(40_000);
        config.prompts.uploads_budget = graphophone::config::Bytes(50_000);
    })
    .await;
    let good = tone_wav(440.0, 1_000);
    let cut = &FILES[0].1[..40];
    for (name, body, status, what) in [
        ("a", &b"<html>"[..], 400, "not a WAV file: it starts with `<html>` (an HTML page)"),
        ("a", cut, 400, "the FLAC file"),
        ("a", b"", 400, "it is empty"),
        (".a", &good, 400, "the name in the path is not a name of 1 to 64 letters"),
        ("a%2F..%2Fb", &good, 400, "the name in the path is not a name"),
        ("a", &[0; 40_001], 413, "longer than 40000 bytes (prompts.max_bytes)"),
    ] {
        let answer = admin(&server, Method::PUT, &format!("/{name}"), body).await;
        let message = answer.1["error"]["message"].as_str().unwrap();
        assert_eq!(answer.0, status, "{name}: {message}");
        assert!(message.contains(what), "{name}: {message}");
    }
    assert_eq!(admin(&server, Method::PUT, "/one", &good).await.0, 201);
    let (status, full) = admin(&server, Method::PUT, "/two", &good).await;
    assert_eq!(status, 507, "{full}");
    assert_eq!(admin(&server, Method::PUT, "/one", &good).await.0, 200, "its own room is free");
    // Nobody but the admin.
    let bot = server.bot().await;
    let url = format!("{}/graphophone/v1/prompts/one", server.base());
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let request = http_client().unwrap().request(method, &url).bearer_auth(bot.token());
        assert_eq!(request.send().await.unwrap().status(), 401);
    }
}

#[tokio::test]
async fn a_text_is_spoken_by_espeak_ng_once_and_heard() {
    let espeak = |text: &str, voice: &str| {
        let mut child = Command::new("espeak-ng")
            .args(["--stdout", "-v", voice])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("espeak-ng is installed (test.sh does that)");
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        child.wait_with_output().unwrap().stdout
    };
    let log = tempfile::NamedTempFile::new().unwrap();
    let path = log.path().to_str().unwrap().to_owned();
    // What the documentation says, and a note of each time it is run.
    let script = "echo \"$1\" >> \"$0\"; exec espeak-ng --stdout -v \"$1\"";
    let command = ["sh", "-c", script, path.as_str(), "{voice}"].map(str::to_owned).to_vec();
    let mut call = TestCall::start_with(|config| config.tts.command = command).await;
    let uri = "graphophone:tts?text=Your%20call%20is%20important%20to%20us.&voice=de";
    let text = "Your call is important to us.";
    let other = "graphophone:tts?text=Good+bye!";
    for uri in [uri, other] {
        let operation = call.play_body("v1.0", prompts(&[uri])).await;
        let ended = call.ended(&operation).await.value["resourceData"].clone();
        assert_eq!(ended["status"], "completed", "{ended}");
        assert_eq!(ended["prompts"][0]["mediaInfo"]["uri"], uri);
    }
    let (first, second) = (espeak(text, "de"), espeak("Good bye!", "en"));
    let first = as_heard(&[&first], Codec::Pcmu);
    let heard = call.heard((first.len() + 800) / 8).await.samples;
    let found = analysis::align(&heard, &first, 8_000).unwrap();
    assert!(found.correlation >= 0.99 && found.offset_ms.abs() < 1.0, "{found:?}");
    let second = as_heard(&[&second], Codec::Pcmu);
    let found = analysis::align(&heard, &second, 8_000).unwrap();
    assert!(found.correlation >= 0.99, "{found:?}");
    assert!(found.offset_samples >= first.len() as i64, "{found:?}");
    // It is speech, and no tone or hiss: the level comes and goes.
    let levels: Vec<f64> = first.chunks(400).map(analysis::rms_db).collect();
    let loud = levels.iter().copied().fold(f64::MIN, f64::max);
    assert!(loud > -30.0 && levels.iter().any(|level| *level < loud - 20.0), "{levels:?}");

    // The same again is not spoken again.
    let operation = call.play_body("v1.0", prompts(&[uri])).await;
    call.ended(&operation).await;
    assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "de\nen\n");
}

#[tokio::test]
async fn an_engine_that_fails_fails_the_operation_and_says_so() {
    let command = vec!["false".to_owned()];
    let mut call = TestCall::start_with(|config| config.tts.command = command).await;
    let operation = call.play_body("v1.0", prompts(&["graphophone:tts?text=secret+text"])).await;
    let ended = call.ended(&operation).await.value["resourceData"].clone();
    let (code, subcode, message) = result_of(&ended);
    assert_eq!((code, subcode), (400, 8536));
    assert!(message.ends_with("the speech engine failed: false ended with exit code 1."));
    assert!(!message.contains("secret"), "{message}");
}

#[tokio::test]
async fn a_text_is_spoken_by_a_server_that_it_is_posted_to() {
    let file = wav::to_bytes(16_000, &tone(700.0, 300));
    let answered = file.clone();
    let (tell, mut told) = tokio::sync::mpsc::channel(4);
    let speak = move |uri: Uri, headers: HeaderMap, text: String| async move {
        let kind = headers["content-type"].to_str().unwrap().to_owned();
        tell.send((uri.to_string(), kind, text)).await.unwrap();
        answered
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let engine = Router::new().route("/speak", post(speak));
    tokio::spawn(async move { axum::serve(listener, engine).await });
    let url = format!("http://{}/speak?voice={{voice}}", address);
    let mut call = TestCall::start_with(|config| config.tts.url = Some(url)).await;
    let operation =
        call.play_body("v1.0", prompts(&["graphophone:tts?text=h%C3%A9llo&voice=en-f4"])).await;
    let ended = call.ended(&operation).await.value["resourceData"].clone();
    assert_eq!(ended["status"], "completed", "{ended}");
    let heard = call.heard(300).await;
    assert_heard(&heard.samples, &as_heard(&[&file], Codec::Pcmu));
    let asked = told.recv().await.unwrap();
    let kind = "text/plain; charset=utf-8".to_owned();
    assert_eq!(asked, ("/speak?voice=en%2Df4".to_owned(), kind, "héllo".to_owned()));
}
