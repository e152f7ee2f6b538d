//! The `graphophone` command itself: exit codes, what it prints and what it writes.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use graphophone_media::{
    analysis,
    codec::Codec,
    engine::{Engine, EngineConfig},
    wav,
};
use graphophone_sip::phone::{AnswerPolicy, Phone, PhoneConfig};
use graphophone_testkit::{audio, patience, seen};
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    time::timeout_at,
};

/// The command, without settings of whoever runs the tests.
fn graphophone() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graphophone"));
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn http() -> reqwest::Client {
    graphophone::bot::http_client().unwrap()
}

async fn run(arguments: &[&str]) -> Output {
    let output = graphophone().args(arguments).output();
    timeout_at(patience(), output).await.expect("in time").expect("it runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn write(directory: &Path, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path = directory.join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    path.display().to_string()
}

const APP: &str = r#"
    [http]
    listen = "127.0.0.1:0"
    [[tenant]]
    id = "b7e2c1d0-0000-0000-0000-000000000001"
    [[app]]
    id = "9f3c0000-0000-0000-0000-000000000001"
    tenant = "b7e2c1d0-0000-0000-0000-000000000001"
    secret = "a secret that is long enough"
    roles = ["Calls.Initiate.All"]
"#;

#[tokio::test]
async fn check_config_says_good_or_names_every_fault() {
    let directory = tempfile::tempdir().unwrap();
    let good = write(directory.path(), "good.toml", APP);
    let output = run(&["check-config", "--config", &good]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("good (1 apps"), "{output:?}");
    let output = run(&["check-config", "--config", &good, "--json"]).await;
    assert_eq!(json(&output), serde_json::json!({"ok": true, "faults": []}));

    let bad = "[http]\nlisten = \"0.0.0.0:80\"\n[limits]\ncalls = 0\n";
    let bad = write(directory.path(), "bad.toml", bad);
    let output = run(&["check-config", "--config", &bad]).await;
    assert_eq!(output.status.code(), Some(78));
    for setting in ["http.listen: ", "limits.calls: "] {
        assert!(stderr(&output).contains(setting), "{}", stderr(&output));
    }
    let output = run(&["check-config", "--config", &bad, "--json"]).await;
    assert_eq!(output.status.code(), Some(78));
    let told = json(&output);
    assert_eq!(told["ok"], false);
    let settings: Vec<_> =
        told["faults"].as_array().unwrap().iter().map(|f| &f["setting"]).collect();
    assert_eq!(settings, ["http.listen", "limits.calls"]);

    for (name, text, setting) in [
        ("unknown.toml", "[sip]\nlistten = []", "sip.listten"),
        ("unit.toml", "[prompts]\ntimeout = \"30\"", "prompts.timeout"),
        ("syntax.toml", "[http", "(file)"),
    ] {
        let file = write(directory.path(), name, text);
        let output = run(&["check-config", "--config", &file]).await;
        assert_eq!(output.status.code(), Some(78), "{name}");
        assert!(stderr(&output).contains(setting), "{name}: {}", stderr(&output));
    }
    let output = run(&["check-config", "--config", "/nonexistent.toml"]).await;
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("/nonexistent.toml"), "{}", stderr(&output));
}

#[tokio::test]
async fn wrong_usage_is_2_and_an_unsafe_configuration_is_78() {
    for arguments in [&["dance"][..], &["play"], &["serve", "--http", "here"]] {
        let output = run(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains("--help"), "{}", stderr(&output));
    }
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().display().to_string();
    for (command, flags, setting) in [
        ("serve", ["--http", "0.0.0.0:0"], "http.listen"),
        ("serve", ["--https", "0.0.0.0:0"], "https.cert"),
        ("dev", ["--sip", "udp:0.0.0.0:0"], "sip.listen"),
        ("dev", ["--https", "0.0.0.0:0"], "https.listen"),
    ] {
        let output = run(&[command, "--data", &data, flags[0], flags[1]]).await;
        assert_eq!(output.status.code(), Some(78), "{command} {flags:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(setting), "{}", stderr(&output));
    }
    // The environment is a layer, too.
    let output = graphophone()
        .args(["serve", "--data", &data])
        .env("GRAPHOPHONE_HTTP__LISTEN", "0.0.0.0:0")
        .output();
    let output = timeout_at(patience(), output).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("http.listen"), "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing was begun");
}

#[tokio::test]
async fn what_will_not_get_better_by_itself_is_78() {
    let directory = tempfile::tempdir().unwrap();
    let data = |name: &str| directory.path().join(name).display().to_string();
    for (name, file, bytes) in [
        ("foreign", "store/graphophone.db", "no database at all, and long enough to be one"),
        ("key", "token-signing.pem", "no key"),
    ] {
        let place = directory.path().join(name).join(file);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(&place, bytes).unwrap();
        let output = run(&["serve", "--http", "127.0.0.1:0", "--data", &data(name)]).await;
        assert_eq!(output.status.code(), Some(78), "{name}: {}", stderr(&output));
        assert!(stderr(&output).contains(&data(name)), "{}", stderr(&output));
    }
    // What check-config says, a start says, too.
    let files = "[https]\nlisten = \"127.0.0.1:0\"\ncert = \"/none.pem\"\nkey = \"/none.key\"";
    for (text, setting) in [(files, "https.cert"), ("profile = \"dev\"", "profile: ")] {
        let file = write(directory.path(), "bad.toml", text);
        for arguments in [
            &["check-config", "--config", &file][..],
            &["serve", "--http", "127.0.0.1:0", "--data", &data("new"), "--config", &file],
        ] {
            let output = run(arguments).await;
            assert_eq!(output.status.code(), Some(78), "{arguments:?}: {}", stderr(&output));
            assert!(stderr(&output).contains(setting), "{arguments:?}: {}", stderr(&output));
        }
    }
}

#[tokio::test]
async fn secrets_are_taken_as_they_stand_and_never_printed() {
    let canary = "0012345678901234";
    let directory = tempfile::tempdir().unwrap();
    let ready = directory.path().join("ready.json");
    let mut server = graphophone()
        .args(["dev", "--http", "127.0.0.1:0", "--data", "data", "--ready-file", "ready.json"])
        .current_dir(directory.path())
        .env("GRAPHOPHONE_ADMIN__TOKEN", canary)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let written = || async { std::fs::read(&ready).ok() };
    let told: Value = serde_json::from_slice(&seen("the ready file", written).await).unwrap();
    server.kill().await.unwrap();
    assert_eq!(told["adminToken"], canary);
    let ca = told["ca"].as_str().unwrap();
    assert!(Path::new(ca).is_absolute(), "{ca}: read from any directory");

    let file = write(directory.path(), "broken.toml", format!("[admin]\ntoken = \"{canary}\" x"));
    for arguments in
        [&["check-config", "--config", &file, "--json"][..], &["serve", "--config", &file]]
    {
        let output = run(arguments).await;
        assert_eq!(output.status.code(), Some(78));
        let said = stderr(&output);
        let printed = format!("{said}{}", String::from_utf8_lossy(&output.stdout));
        assert!(!printed.contains("1234567890") && said.contains("line 2"), "{printed}");
    }
}

#[tokio::test]
async fn variables_that_are_flags_are_not_taken_for_configuration_keys() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "good.toml", "[limits]\ncalls = 7\n");
    let output = graphophone()
        .args(["check-config", "--config", &file])
        .env("GRAPHOPHONE_LOG", "info")
        .env("GRAPHOPHONE_CLIENT_SECRET", "whatever")
        .output();
    let output = timeout_at(patience(), output).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[tokio::test]
async fn what_cannot_be_done_is_1_and_says_why() {
    // Nobody listens on a port that was just given back.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let directory = tempfile::tempdir().unwrap();
    let page = write(directory.path(), "page.wav", "<!doctype html>");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = (taken.local_addr().unwrap().to_string(), taken);
    let data = directory.path().join("data").display().to_string();
    for (arguments, named) in [
        (&["token", "--url", &url][..], url.as_str()),
        (&["token", "--ready-file", "/nonexistent.json"], "/nonexistent.json"),
        (&["demo", "--prompt", "/nonexistent.wav"], "/nonexistent.wav"),
        (&["demo", "--prompt", &page], "page.wav"),
        (&["play", "sip:x@127.0.0.1:9", "/nonexistent.wav"], "/nonexistent.wav"),
        (&["serve", "--data", &data, "--http", &taken.0], "http.listen"),
    ] {
        let output = run(arguments).await;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(named), "{arguments:?}: {}", stderr(&output));
    }
}

/// A server process that has written its ready file.
struct Running {
    child: Child,
    ready: Value,
    file: String,
}

impl Running {
    async fn start(directory: &Path, arguments: &[&str]) -> Self {
        let file = directory.join("ready.json");
        let name = file.display().to_string();
        let child = graphophone()
            .args(arguments)
            .args(["--json", "--ready-file", &name])
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let written = async {
            loop {
                // Renamed into place: never seen half-written.
                if let Ok(text) = std::fs::read(&file) {
                    break serde_json::from_slice(&text).expect("the ready file is JSON");
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let ready = timeout_at(patience(), written).await.expect("it is ready in time");
        Self { child, ready, file: name }
    }

    /// SIGTERM, and its exit code.
    async fn terminate(mut self) -> Option<i32> {
        let pid = self.ready["pid"].as_u64().expect("a pid");
        assert_eq!(self.child.id().map(u64::from), Some(pid));
        let kill = Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status().await;
        assert!(kill.expect("sh runs").success());
        let status = timeout_at(patience(), self.child.wait()).await;
        status.expect("it stops in time").expect("it ran").code()
    }
}

#[tokio::test]
async fn dev_tells_scripts_where_it_is_and_who_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data").display().to_string();
    let running =
        Running::start(directory.path(), &["dev", "--http", "127.0.0.1:0", "--data", &data]).await;
    let ready = &running.ready;
    let field = |name: &str| ready[name].as_str().unwrap_or_else(|| panic!("no {name}: {ready}"));
    assert!(field("http").starts_with("http://127.0.0.1:"));
    assert!(field("https").starts_with("https://localhost:"));
    assert!(std::fs::read_to_string(field("ca")).unwrap().contains("BEGIN CERTIFICATE"));
    for transport in ["udp", "tcp"] {
        let address = ready["sip"][transport].as_str().unwrap();
        assert!(address.starts_with("127.0.0.1:") && !address.ends_with(":0"), "{address}");
    }
    for name in ["tenant", "clientId", "phone"] {
        assert!(uuid::Uuid::try_parse(field(name)).is_ok(), "{name}");
    }
    assert!(field("adminToken").len() >= 16);

    let by_file = run(&["token", "--ready-file", &running.file]).await;
    let by_flags = run(&[
        "token",
        "--url",
        field("http"),
        "--tenant",
        field("tenant"),
        "--client-id",
        field("clientId"),
        "--client-secret",
        field("clientSecret"),
    ])
    .await;
    for output in [by_file, by_flags] {
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let token = String::from_utf8(output.stdout).unwrap();
        let answer = http()
            .get(format!("{}/v1.0/communications/calls", field("http")))
            .bearer_auth(token.trim_end())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    }
    let whole = run(&["token", "--ready-file", &running.file, "--json"]).await;
    assert_eq!(json(&whole)["token_type"], "Bearer");
    let refused =
        run(&["token", "--url", field("http"), "--client-secret", "not-the-secret"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("AADSTS7000215"), "{}", stderr(&refused));
    assert_eq!(running.terminate().await, Some(0));
}

#[tokio::test]
async fn serve_tells_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data").display().to_string();
    let config = write(directory.path(), "server.toml", APP);
    let arguments = ["serve", "--config", &config, "--data", &data];
    let running = Running::start(directory.path(), &arguments).await;
    let mut names: Vec<&String> = running.ready.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["http", "pid", "sip"]);
    let health = format!("{}/readyz", running.ready["http"].as_str().unwrap());
    assert_eq!(http().get(health).send().await.unwrap().status(), 200);
    assert_eq!(running.terminate().await, Some(0));
}

#[tokio::test]
async fn demo_plays_checks_and_writes_what_was_heard() {
    let directory = tempfile::tempdir().unwrap();
    let prompts: Vec<String> = [440.0, 1_000.0]
        .iter()
        .map(|hz| {
            let name = format!("{hz}.wav");
            write(directory.path(), &name, audio::tone_wav(*hz, 200))
        })
        .collect();
    let kept = directory.path().join("kept");
    let keep = kept.display().to_string();
    let [first, second] = [&prompts[0], &prompts[1]];
    let arguments = ["demo", "--json", "--keep", &keep, "--prompt", first, "--prompt", second];
    let output = run(&arguments).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let told = json(&output);
    assert_eq!(told["ok"], true, "{}", told["checks"]);
    let checks = told["checks"].as_array().unwrap();
    assert!(checks.len() >= 7 && checks.iter().all(|check| check["ok"] == true));
    assert_eq!(told["operation"]["status"], "completed");

    // Judged here, not by the demo.
    let heard = std::fs::read(kept.join("heard.wav")).unwrap();
    let heard = graphophone_media::prompt::Prompt::decode(
        heard.as_slice(),
        graphophone_media::prompt::Accept::Any,
    )
    .unwrap();
    let length = audio::length_ms(&heard.samples);
    assert!((length - 400.0).abs() <= 20.0, "{length} ms");
    for (from, to, hz) in [(20, 180, 440.0), (220, 380, 1_000.0)] {
        let pitch = audio::frequency_at(&heard.samples, from, to).expect("a tone");
        assert!((pitch - hz).abs() < 10.0, "{pitch} Hz instead of {hz}");
    }
    let picture = std::fs::read(kept.join("heard.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n") && picture.len() > 500);
}

#[tokio::test]
async fn demo_loops_until_it_cancels() {
    let directory = tempfile::tempdir().unwrap();
    let prompt = write(directory.path(), "a.wav", audio::tone_wav(440.0, 200));
    let keep = directory.path().display().to_string();
    let output = graphophone()
        .args(["demo", "--loop", "--json", "--keep", &keep, "--prompt", &prompt, "--log", "info"])
        // Nobody listens there, and nobody has to: it stays on loopback.
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .env("ALL_PROXY", "http://127.0.0.1:9")
        .output();
    let output = timeout_at(patience(), output).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let logged = stderr(&output);
    assert!(logged.contains("serving") && !logged.contains('\u{1b}'), "no colours: {logged}");
    let told = json(&output);
    assert_eq!(told["ok"], true, "{}", told["checks"]);
    assert_eq!(told["operation"]["completionReason"], "mediaOperationCanceled");
    let heard = told["heardMilliseconds"].as_f64().unwrap();
    assert!(heard >= 380.0, "{heard} ms: two passes");
}

#[tokio::test]
async fn play_reaches_any_sip_address_and_fails_when_nobody_takes_the_call() {
    let engine = Engine::start(EngineConfig::with_threads(std::num::NonZeroUsize::MIN)).unwrap();
    let mut far_end = PhoneConfig::new("far-end", "", ([127, 0, 0, 1], 0).into());
    far_end.register = false;
    let far_end = Phone::start(far_end, engine).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let sound = audio::tone(660.0, 200);
    let file = write(directory.path(), "a.wav", wav::to_bytes(audio::RATE, &sound));

    let output = run(&["play", &far_end.uri(), &file, "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let operation = json(&output);
    assert_eq!(operation["status"], "completed");
    assert_eq!(graphophone_testkit::sent_ms(&operation), 200);
    let call = far_end.next_call().await;
    let end = timeout_at(patience(), call.ended()).await.expect("it hangs up");
    assert_eq!(end.code, 200, "{end:?}");
    let sent = audio::as_heard(&[&std::fs::read(&file).unwrap()], Codec::Pcmu);
    let found = analysis::align(&call.heard().samples, &sent, Codec::Pcmu.rate());
    assert!(found.is_some_and(|found| found.correlation >= 0.99), "{found:?}");

    let place = directory.path().join("ready.json").display().to_string();
    let plain = run(&["play", &far_end.uri(), &file, "--ready-file", &place]).await;
    assert_eq!(plain.status.code(), Some(0), "{}", stderr(&plain));
    let said = String::from_utf8_lossy(&plain.stdout).into_owned();
    assert!(said.starts_with("Heard: 200 ms sent, "), "{said}");
    // It has taken all that was owed to it before it left.
    assert_eq!(stderr(&plain), "");
    let ready: Value = serde_json::from_slice(&std::fs::read(&place).unwrap()).unwrap();
    assert!(ready["http"].is_string(), "{ready}");
    let mode = std::fs::metadata(&place).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it has secrets");

    far_end.set_answer(AnswerPolicy::Busy);
    let busy = run(&["play", &far_end.uri(), &file]).await;
    assert_eq!(busy.status.code(), Some(1));
    assert!(stderr(&busy).to_lowercase().contains("busy"), "{}", stderr(&busy));
}

#[tokio::test]
async fn play_works_with_the_file_of_a_running_server() {
    let engine = Engine::start(EngineConfig::with_threads(std::num::NonZeroUsize::MIN)).unwrap();
    let mut far_end = PhoneConfig::new("far-end", "", ([127, 0, 0, 1], 0).into());
    far_end.register = false;
    let far_end = Phone::start(far_end, engine).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let sound = write(directory.path(), "a.wav", audio::tone_wav(660.0, 200));
    // A registration there would fail, and be complained about.
    let trunk = "[[trunk]]\nname = \"carrier\"\nuri = \"sip:127.0.0.1:9\"\nusername = \"u\"\n\
                 password = \"p\"\nregister = true\n";
    let text = |listen: &str| format!("{APP}[sip]\nlisten = [{listen}]\n{trunk}");
    let data = directory.path().join("data").display().to_string();
    let free = write(directory.path(), "free.toml", text("\"udp:127.0.0.1:0\""));
    let running =
        Running::start(directory.path(), &["serve", "--config", &free, "--data", &data]).await;
    let taken = format!("\"udp:{}\"", running.ready["sip"]["udp"].as_str().unwrap());
    for listen in [taken.as_str(), ""] {
        let file = write(directory.path(), "server.toml", text(listen));
        let output = run(&["play", &far_end.uri(), &sound, "--config", &file]).await;
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{listen}");
    }
    assert_eq!(running.terminate().await, Some(0));
}
