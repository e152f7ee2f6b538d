//! The 119 playPrompt bodies of `../shared/corpus/json` over HTTP, on an established call of a
//! server that denies by default. Not finding them is a failure.

use std::{fs, path::PathBuf, sync::LazyLock};

use graphophone::{
    bot::Credentials,
    config::{self, CompatMode, Profile},
};
use graphophone_media::engine::{Engine, EngineConfig};
use graphophone_sip::phone::{Phone, PhoneConfig};
use graphophone_testkit::{
    Answer, Bot, TestServer, audio,
    prompt_host::{PromptHost, Step, response},
    sent_ms,
};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::line::{Line, result_of};

/// Where the index and this server differ, with the reason. Everything else is as the index says;
/// its `BadRequest` is `8523` for what is JSON and a bad argument (spec/api.md §0.5).
const DIFFERENCES: [(&str, u64, &str, &str); 4] = [
    ("026_loop_true_v1.json", 200, "cancelled-by-test", "allowed there: bots send loop to v1.0"),
    ("104_key_case.json", 200, "completed", "allowed there: Graph ignores the case of names"),
    ("105_unknown_property.json", 200, "completed", "allowed there: an unknown name does no harm"),
    ("119_ct_missing.json", 200, "completed", "allowed there: hand-written bots leave it out"),
];

/// Rows whose fault is in the JSON or its amount, not in an argument: `BadRequest`, not `8523`.
const MALFORMED: [u32; 19] =
    [3, 16, 92, 93, 94, 95, 96, 97, 98, 100, 101, 102, 103, 107, 108, 109, 110, 111, 113];

/// Why the prompts of these rows are not even asked for.
const CAUSES: [(u32, &str); 3] = [
    (59, "https://xn--dn-nmc.example.invalid cannot be resolved"),
    (83, "rebind.test resolves to a loopback address"),
    (84, "https://cdn.example.invalid cannot be resolved"),
];

/// The file that most bodies name.
const REFERENCE: &str = "/wav/g01_ref_16k_mono16.wav";
const REFERENCE_MS: u64 = 40;
/// All others are shorter: the two must not be mixed up.
const OTHER_MS: u64 = 20;
static WAV: LazyLock<Vec<u8>> = LazyLock::new(|| audio::tone_wav(1_000.0, REFERENCE_MS as u32));
static OTHER_WAV: LazyLock<Vec<u8>> = LazyLock::new(|| audio::tone_wav(500.0, OTHER_MS as u32));

struct Row {
    file: String,
    versions: Vec<&'static str>,
    content_type: Option<String>,
    status: u64,
    code: String,
    outcome: String,
    body: Vec<u8>,
}

impl Row {
    fn number(&self) -> u32 {
        self.file[..3].parse().expect("rows are numbered")
    }

    fn from_index(row: &Value, cdn: &str) -> Self {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let mut new = Self {
            file: text("file"),
            versions: match text("version").as_str() {
                "v1.0" => vec!["v1.0"],
                "beta" => vec!["beta"],
                _ => vec!["v1.0", "beta"],
            },
            content_type: match text("content_type").as_str() {
                "" => None,
                "json" => Some("application/json".to_owned()),
                other => Some(match other.strip_prefix("json;") {
                    Some(parameters) => format!("application/json;{parameters}"),
                    None => other.to_owned(),
                }),
            },
            status: row["status"].as_u64().expect("a status"),
            code: text("code"),
            outcome: text("op"),
            body: with_cdn(&read(&text("file")), cdn),
        };
        if new.code == "BadRequest" && !MALFORMED.contains(&new.number()) {
            new.code = "8523".to_owned();
        }
        if let Some((_, status, outcome, _)) =
            DIFFERENCES.iter().find(|(file, ..)| *file == new.file)
        {
            (new.status, new.outcome, new.code) = (*status, (*outcome).to_owned(), String::new());
        }
        new
    }
}

#[tokio::test]
async fn every_body_gets_its_status_code_and_outcome_on_v1() {
    send_all("v1.0").await;
}

#[tokio::test]
async fn every_body_gets_its_status_code_and_outcome_on_beta() {
    send_all("beta").await;
}

async fn send_all(version: &str) {
    let host = PromptHost::start(|request, _| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let wav = if path == REFERENCE { &*WAV } else { &*OTHER_WAV };
        vec![Step::Send(response("200 OK", "Content-Type: audio/wav\r\n", wav))]
    })
    .await;
    let rows = rows(&host.origin());
    let (_server, _phone, mut line) = cautious(&host, CompatMode::Open).await;
    let mut expected_ends = Vec::new();
    for row in rows.iter().filter(|row| row.versions.contains(&version)) {
        let name = format!("{} {version}", row.file);
        let before = (line.operations().await.len(), host.requests().len());
        let path = format!("/{version}/communications/calls/{}/playPrompt", line.call);
        let answer =
            line.bot.post_bytes(&path, row.content_type.as_deref(), row.body.clone()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        let seen = answer.body["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(u64::from(answer.status.as_u16()), row.status, "{name}: {seen}");
        if row.status == 200 {
            let operation = accepted(&name, row, &answer);
            finish(&name, row, &mut line, &operation).await;
            expected_ends.push(operation);
        } else {
            refused(&name, row, &answer);
            let after = (line.operations().await.len(), host.requests().len());
            assert_eq!(before, after, "{name}: (operations, requests for prompts)");
        }
    }
    let call = line.call.clone();
    let mut ends: Vec<String> = line
        .hang_up()
        .await
        .iter()
        .filter(|value| value["changeType"] == "deleted")
        .filter_map(|value| value["resourceData"]["id"].as_str().map(str::to_owned))
        .filter(|id| *id != call)
        .collect();
    // In order, each once, and none for a refused body.
    ends.retain(|id| !id.is_empty());
    assert_eq!(ends, expected_ends);
}

/// The refused rows that an open server takes.
#[tokio::test]
async fn the_strict_modes_refuse_what_only_open_servers_take() {
    let host = PromptHost::serving(vec![(REFERENCE.to_owned(), WAV.clone())]).await;
    let rows = rows(&host.origin());
    for mode in [CompatMode::StrictV1, CompatMode::StrictBeta] {
        let (_server, _phone, line) = cautious(&host, mode).await;
        for (file, status, code) in [
            ("017_no_odata_type_prompt", 400, "8523"),
            ("026_loop_true_v1", 400, "8523"),
            ("104_key_case", 400, "8523"),
            ("105_unknown_property", 400, "8523"),
            ("119_ct_missing", 415, "UnsupportedMediaType"),
        ] {
            let row = rows.iter().find(|row| row.file == format!("{file}.json")).expect(file);
            let path = line.path("/playPrompt");
            let kind = row.content_type.as_deref();
            let answer = line.bot.post_bytes(&path, kind, row.body.clone()).await;
            let answer = answer.expect("an answer");
            assert_eq!(answer.status, status, "{file} {mode:?}");
            assert_eq!(answer.body["error"]["code"], code, "{file} {mode:?}");
        }
        assert_eq!(line.operations().await.len(), 0);
        assert_eq!(host.requests().len(), 0);
    }
}

#[test]
fn every_difference_names_a_row_that_exists_and_differs() {
    let rows: Vec<Value> = serde_json::from_slice(&read("index.json")).expect("it is JSON");
    assert_eq!(rows.len(), 119);
    for (file, status, ..) in DIFFERENCES {
        let row = rows.iter().find(|row| row["file"] == file).expect(file);
        assert_ne!(row["status"], status, "{file}");
        let allowed = row["alt"].as_str().unwrap_or_default();
        assert!(allowed.contains(&status.to_string()), "{file}: {allowed}");
    }
}

/// A call on a server that allows this host, every public https host, and nothing else. The phone
/// is our own: a production server has none.
async fn cautious(host: &PromptHost, mode: CompatMode) -> (TestServer, Phone, Line) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let callbacks = format!("http://{}", listener.local_addr().expect("an address"));
    let prompts = [host.origin(), "https://*".to_owned()];
    let mut credentials = None;
    let server = TestServer::start_with(|config| {
        config.profile = Profile::Production;
        config.compat.mode = mode;
        config.prompts.allow = prompts.iter().map(|rule| rule.parse().expect("a rule")).collect();
        config.callbacks.allow = vec![callbacks.parse().expect("a rule")];
        let app = &config.apps[0];
        credentials = Some(Credentials {
            tenant: app.tenant.to_string(),
            client_id: app.id.into(),
            client_secret: app.secret.as_ref().expect("a secret").expose().to_owned(),
        });
    })
    .await;
    let sip = server.server().ready().sip.udp.expect("a UDP listener");
    let engine = EngineConfig::with_threads(std::num::NonZeroUsize::MIN);
    let engine = Engine::start(engine).expect("the engine starts");
    let phone = PhoneConfig::new(config::DEV_PHONE_USER, config::DEV_PHONE_PASSWORD, sip);
    let phone = Phone::start(phone, engine).await.expect("the phone registers");
    let credentials = credentials.expect("the configuration was seen");
    let bot = Bot::start(server.base(), credentials, listener).await.expect("the bot starts");
    let line = Line::between(bot, &phone).await;
    (server, phone, line)
}

/// The response to an accepted body; the operation's id comes back.
fn accepted(name: &str, row: &Row, answer: &Answer) -> String {
    let body = &answer.body;
    assert_eq!(body["@odata.type"], "#microsoft.graph.playPromptOperation", "{name}");
    assert_eq!(body["status"], "running", "{name}");
    assert_eq!(body["clientContext"], context_of(row), "{name}: echoed verbatim");
    let id = body["id"].as_str().expect("an id").to_owned();
    let location = answer.headers["location"].to_str().expect("text");
    assert!(location.ends_with(&format!("/operations/{id}")), "{name}: {location}");
    id
}

/// Waits for the outcome; the notification and the GET must agree.
async fn finish(name: &str, row: &Row, line: &mut Line, operation: &str) {
    if row.outcome == "cancelled-by-test" {
        line.bot.cancel(&line.call).await.expect("cancelMediaProcessing is accepted");
    }
    let end = line.end_of(operation).await;
    let (status, reason) = match row.outcome.as_str() {
        "completed" => ("completed", "completedSuccessfully"),
        "failed" => ("failed", "unknown"),
        "cancelled-by-test" => ("failed", "mediaOperationCanceled"),
        other => panic!("{name}: the index has an outcome {other}"),
    };
    assert_eq!(end["status"], status, "{name}: {}", end["resultInfo"]);
    assert_eq!(end["completionReason"], reason, "{name}");
    if row.outcome == "failed" {
        let (_, subcode, message) = result_of(&end);
        assert_eq!(subcode, 8536, "{name}: {message}");
        let cause = CAUSES.iter().find(|(number, _)| *number == row.number());
        assert!(cause.is_none_or(|(_, cause)| message.contains(cause)), "{name}: {message}");
    }
    if row.outcome == "completed" {
        assert_eq!(sent_ms(&end), length_of(&end), "{name}: {}", end["graphophoneReceipt"]);
    }
    // Notifications carry no nulls.
    assert_eq!(end["clientContext"], context_of(row), "{name}");
    let read = line.bot.operation(&line.call, operation).await.expect("it can be read");
    assert_eq!((&read["status"], &read["resultInfo"]), (&end["status"], &end["resultInfo"]));
    let end = line.ends_of(operation).count();
    assert_eq!(end, 1, "{name}");
}

/// How long what the operation names should sound.
fn length_of(operation: &Value) -> u64 {
    let prompts = operation["prompts"].as_array().expect("prompts").iter();
    let uris = prompts.filter_map(|prompt| prompt["mediaInfo"]["uri"].as_str());
    uris.map(|uri| if uri.ends_with(REFERENCE) { REFERENCE_MS } else { OTHER_MS }).sum()
}

fn context_of(row: &Row) -> Value {
    let body = row.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&row.body);
    let body: Value = serde_json::from_slice(body).expect("accepted bodies are JSON");
    let members = body.as_object().expect("an object");
    // One row writes its names in another case.
    let found = members.iter().find(|(name, _)| name.eq_ignore_ascii_case("clientContext"));
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

fn refused(name: &str, row: &Row, answer: &Answer) {
    let error = &answer.body["error"];
    assert_eq!(error["code"], row.code, "{name}: {}", error["message"]);
    let message = error["message"].as_str().expect("a message");
    assert!(!message.is_empty() && message.chars().count() <= 400, "{name}: {message}");
    assert!(!message.contains(char::is_control), "{name}: {message:?}");
    assert!(answer.headers.get("location").is_none(), "{name}");
}

fn rows(cdn: &str) -> Vec<Row> {
    let index: Vec<Value> = serde_json::from_slice(&read("index.json")).expect("it is JSON");
    index.iter().map(|row| Row::from_index(row, cdn)).collect()
}

fn read(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/json");
    let path = folder.join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Bodies need not be UTF-8.
fn with_cdn(body: &[u8], cdn: &str) -> Vec<u8> {
    const MARK: &[u8] = b"{CDN}";
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.windows(MARK.len()).position(|window| window == MARK) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(cdn.as_bytes());
        rest = &rest[at + MARK.len()..];
    }
    out.extend_from_slice(rest);
    out
}
