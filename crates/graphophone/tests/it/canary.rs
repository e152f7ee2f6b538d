//! Secrets that sing when they get out: a production server in a process of its own, at the most
//! talkative level, with a canary in every secret; and everything it says, searched (promise P29).

use std::{
    fs::{self, File},
    num::NonZeroUsize,
    path::Path,
    process::Stdio,
    time::Duration,
};

use axum::http::Method;
use graphophone::{
    auth::Secret,
    bot::{Bot, Credentials, fetch_token, http_client},
    config::Phone as PhoneSection,
};
use graphophone_call::AppId;
use graphophone_media::{
    engine::{Engine, EngineConfig},
    prompt::{Accept, Prompt},
    wav,
};
use graphophone_sip::phone::{Phone, PhoneConfig};
use graphophone_testkit::{
    TestServer, audio, is_audio_active, is_end_of, is_terminated, patience,
    prompt_host::{PromptHost, Step, redirect, response},
    seen,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command, time::timeout_at};

use crate::record_response;

const BINARY: &str = env!("CARGO_BIN_EXE_graphophone");
const TENANT: &str = "b7e2c1d0-0000-0000-0000-000000000001";
const APP: &str = "9f3c0000-0000-0000-0000-000000000001";

const APP_SECRET: &str = "canary-app-7d1c1f0a93";
const ADMIN_TOKEN: &str = "canary-admin-02b4e6aa51";
const PHONE_PASSWORD: &str = "canary-phone-b1f7c0d2e8";
const TRUNK_PASSWORD: &str = "canary-trunk-5e90aa17bc";
const WRONG_SECRET: &str = "canary-mistyped-4f6d8e01";
const BEARER: &str = "canary-bearer-9a8b7c6d5e";
const CALLBACK_SIG: &str = "canary-callback-3c2b1a09";
const PROMPT_SIG: &str = "canary-prompt-0f1e2d3c4b";
const LOCATION_SIG: &str = "canary-location-77aa88bb";
const USERINFO: &str = "canary-userinfo-1234abcd";
const WEBHOOK_SIG: &str = "canary-incoming-55cc66dd";
/// The key inside, and as it is configured.
const WEBHOOK_KEY: &str = "canary-webhook-1234567890abcd";
const WEBHOOK_SECRET: &str = "whsec_Y2FuYXJ5LXdlYmhvb2stMTIzNDU2Nzg5MGFiY2Q=";
const CANARIES: [&str; 13] = [
    APP_SECRET,
    ADMIN_TOKEN,
    PHONE_PASSWORD,
    TRUNK_PASSWORD,
    WRONG_SECRET,
    BEARER,
    CALLBACK_SIG,
    PROMPT_SIG,
    LOCATION_SIG,
    USERINFO,
    WEBHOOK_SIG,
    WEBHOOK_KEY,
    WEBHOOK_SECRET,
];

/// Everything that was said to somebody it might not concern.
#[derive(Default)]
struct Heard(Vec<(String, String)>);

impl Heard {
    fn add(&mut self, source: &str, text: impl Into<String>) {
        self.0.push((source.to_owned(), text.into()));
    }

    fn file(&mut self, path: &Path) {
        let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        self.add(&path.display().to_string(), text);
    }

    /// Also a secret that was encoded on its way.
    fn assert_silent(&self, secrets: &[String]) {
        for secret in secrets {
            use base64::{Engine as _, engine::general_purpose::STANDARD};
            let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            let encoded = STANDARD.encode(secret);
            // The middle: the ends depend on what stands beside it.
            let encoded = encoded[2..encoded.len() - 4].to_owned();
            for (source, text) in &self.0 {
                for form in [secret, &hex, &encoded] {
                    if let Some(at) = text.find(form.as_str()) {
                        let from = text.floor_char_boundary(at.saturating_sub(200));
                        panic!("{secret} in {source}: …{}", &text[from..at + form.len()]);
                    }
                }
            }
        }
    }
}

fn config(port: u16, trunk: &str, webhook: &str) -> String {
    format!(
        r#"
[http]
listen = "127.0.0.1:0"
[admin]
token = "{ADMIN_TOKEN}"
[[tenant]]
id = "{TENANT}"
[[app]]
id = "{APP}"
tenant = "{TENANT}"
secret = "{APP_SECRET}"
roles = ["Calls.Initiate.All"]
calling_webhook = "{webhook}?sig={WEBHOOK_SIG}"
webhook_secret = "{WEBHOOK_SECRET}"
[sip]
listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]
[rtp]
bind = "127.0.0.1"
[[phone]]
user = "desk"
password = "{PHONE_PASSWORD}"
user_id = "desk"
[[trunk]]
name = "carrier"
uri = "sip:{trunk}"
username = "line"
password = "{TRUNK_PASSWORD}"
register = true
[[route]]
to = "*"
app = "{APP}"
[dial]
allow = ["*"]
[prompts]
allow = ["http://127.0.0.1:*"]
[callbacks]
allow = ["http://127.0.0.1:{port}"]
"#
    )
}

/// What answers to prompts: a file, a redirect whose target carries a signature, an error.
async fn host() -> PromptHost {
    PromptHost::start(|request, _| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        match path.split('?').next().unwrap_or_default() {
            "/good" => vec![Step::Send(response("200 OK", "", &audio::tone_wav(440.0, 40)))],
            "/moved" => redirect(&format!("/good?sig={LOCATION_SIG}")),
            "/denied" => redirect(&format!("http://10.0.0.1/x?sig={LOCATION_SIG}")),
            "/broken" => vec![],
            _ => vec![Step::Send(response("404 Not Found", "", b"no such file"))],
        }
    })
    .await
}

#[tokio::test]
async fn no_secret_is_in_anything_a_server_says_at_its_most_talkative() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    // The carrier that the trunk registers at is a server of ours, too.
    let carrier = TestServer::start_with(|config| {
        config.phones.push(PhoneSection {
            user: "line".to_owned(),
            password: Secret::new(TRUNK_PASSWORD),
            user_id: "line".to_owned(),
        });
    })
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bot_at = listener.local_addr().unwrap();
    let webhook = format!("http://{bot_at}/callback");
    fs::write(at("config.toml"), config(bot_at.port(), &carrier.sip().to_string(), &webhook))
        .unwrap();
    let (stdout, stderr) = (at("stdout"), at("stderr"));
    let mut server = Command::new(BINARY)
        .env_clear()
        .args(["serve", "--log", "trace", "--config"])
        .arg(at("config.toml"))
        .arg("--data")
        .arg(at("data"))
        .arg("--ready-file")
        .arg(at("ready.json"))
        .stdin(Stdio::null())
        .stdout(File::create(&stdout).unwrap())
        .stderr(File::create(&stderr).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ready: Value = seen("the ready file", || async {
        serde_json::from_slice(&fs::read(at("ready.json")).ok()?).ok()
    })
    .await;
    let base = ready["http"].as_str().unwrap().to_owned();
    let credentials = Credentials {
        tenant: TENANT.to_owned(),
        client_id: AppId::new(APP.parse().unwrap()),
        client_secret: APP_SECRET.to_owned(),
    };
    let mut bot = Bot::start(&base, credentials, listener).await.unwrap();
    let mut heard = Heard::default();
    heard.add("the ready file", ready.to_string());

    let phone = register(ready["sip"]["udp"].as_str().unwrap()).await;
    let sip = ready["sip"]["udp"].as_str().unwrap();
    let mut tokens = calls(&mut bot, &phone, sip, &mut heard).await;
    tokens.push(bot.token().to_owned());
    tokens.extend(recording(&base, &mut bot, &phone, &at("data"), &mut heard).await);
    refusals(&base, &mut bot, &mut heard).await;
    administration(&base, &mut heard).await;
    commands(directory.path(), &base, &mut heard).await;
    phone.shut_down().await;

    let id = server.id().expect("it runs");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap(),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    let ended = timeout_at(patience(), server.wait()).await.expect("it stops").unwrap();
    assert!(ended.success());
    heard.file(&stdout);
    heard.file(&stderr);

    // The search finds what is there: the log is the talkative one, and of these very requests.
    let log = &heard.0.last().unwrap().1;
    for said in ["TRACE", "DEBUG", "request refused", "delivery attempt", "hyper", "serving"] {
        assert!(log.contains(said), "{said} is not in the log of {} bytes", log.len());
    }
    let mut secrets: Vec<String> = CANARIES.map(str::to_owned).into();
    // Of each token the part that nobody else can make.
    secrets.extend(tokens.iter().map(|token| token.rsplit('.').next().unwrap().to_owned()));
    heard.assert_silent(&secrets);
}

async fn register(server: &str) -> Phone {
    let engine = Engine::start(EngineConfig::with_threads(NonZeroUsize::MIN)).unwrap();
    let server = server.parse().unwrap();
    // Once with the wrong password, which is a secret of somebody's, too.
    let wrong = PhoneConfig::new("desk", WRONG_SECRET, server);
    Phone::start(wrong, engine.clone()).await.map(|_| ()).expect_err("a wrong password");
    Phone::start(PhoneConfig::new("desk", PHONE_PASSWORD, server), engine).await.unwrap()
}

/// Calls out and in, with prompts that work and that do not. The tokens of notifications come back.
async fn calls(bot: &mut Bot, phone: &Phone, sip: &str, heard: &mut Heard) -> Vec<String> {
    let host = host().await;
    let mut body = bot.new_call(json!({"user": {"id": "desk"}}), &[]);
    body["callbackUri"] = json!(format!("{}?sig={CALLBACK_SIG}", bot.callback_uri()));
    let path = "/v1.0/communications/calls";
    let call = bot.send(Method::POST, path, Some(body)).await.unwrap().ok().unwrap();
    let call = call["id"].as_str().unwrap().to_owned();
    let mut told = bot.until(patience(), is_audio_active).await.unwrap();
    for prompt in ["/good", "/moved", "/denied", "/missing", "/broken"] {
        let uri = format!("{}?sig={PROMPT_SIG}", host.uri(prompt));
        let operation = bot.play(&call, &[uri], false).await.unwrap();
        told.extend(
            bot.until(patience(), |value| is_end_of(value, &operation)).await.expect(prompt),
        );
        let read = bot.operation(&call, &operation).await.unwrap();
        heard.add(prompt, without_prompts(read).to_string());
    }
    // A prompt on a port where nobody is.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let uri = format!("http://{closed}/x?sig={PROMPT_SIG}");
    let operation = bot.play(&call, &[uri], false).await.unwrap();
    told.extend(bot.until(patience(), |value| is_end_of(value, &operation)).await.unwrap());
    bot.hang_up(&call).await.unwrap();
    told.extend(bot.until(patience(), is_terminated).await.unwrap());

    // One that the phone makes, to the bot's webhook.
    let incoming = phone.call(&format!("sip:100@{sip}")).await.unwrap();
    let first = bot.next(patience()).await.unwrap();
    assert_eq!(first.value["resourceData"]["state"], "incoming");
    incoming.hang_up();
    told.push(first);
    told.extend(bot.until(patience(), is_terminated).await.unwrap());

    let bearer = |headers: &axum::http::HeaderMap| {
        let value = headers["authorization"].to_str().unwrap();
        value.strip_prefix("Bearer ").unwrap().to_owned()
    };
    let mut tokens: Vec<String> = told.iter().map(|received| bearer(&received.headers)).collect();
    tokens.dedup();
    for received in &told {
        let mut value = received.value.clone();
        value["resourceData"] = without_prompts(value["resourceData"].take());
        // A call tells its own bot where that wanted to be called back.
        let text = value.to_string().replace(CALLBACK_SIG, "").replace(WEBHOOK_SIG, "");
        heard.add("a notification", text);
    }
    tokens
}

/// A recording, downloaded and asked for in every wrong way. Its tokens and its key come back.
async fn recording(
    base: &str,
    bot: &mut Bot,
    phone: &Phone,
    data: &Path,
    heard: &mut Heard,
) -> Vec<String> {
    let call = bot.call(json!({"user": {"id": "desk"}}), &[]).await.unwrap();
    bot.until(patience(), is_audio_active).await.unwrap();
    let path = format!("/v1.0/communications/calls/{call}/recordResponse");
    let body = json!({"prompts": [], "playBeep": false, "maxRecordDurationInSeconds": 1});
    let made = bot.send(Method::POST, &path, Some(body)).await.unwrap().ok().unwrap();
    let operation = made["id"].as_str().unwrap().to_owned();
    let said = wav::to_bytes(record_response::RATE, &record_response::voice(3_000));
    let said = Prompt::decode(said.as_slice(), Accept::Any).unwrap();
    phone.latest_call().unwrap().say(&said).unwrap();
    let told = bot.until(patience(), |value| is_end_of(value, &operation)).await.unwrap();
    let mut told = told.last().unwrap().value.clone();
    let mut shown = bot.operation(&call, &operation).await.unwrap();
    // Its own bot is told, of course.
    let take = |value: &mut Value| {
        let Value::String(token) = value["recordingAccessToken"].take() else { panic!("{value}") };
        token
    };
    let mut tokens = vec![take(&mut told["resourceData"]), take(&mut shown)];
    heard.add("the end of a recording", told.to_string());
    heard.add("a recording", shown.to_string());
    let location = shown["recordingLocation"].as_str().unwrap().to_owned();
    let http = http_client().unwrap();
    for token in &tokens {
        assert_eq!(http.get(&location).bearer_auth(token).send().await.unwrap().status(), 200);
        let calls = format!("{base}/v1.0/communications/calls");
        for request in [
            http.get(format!("{location}?access_token={token}")),
            http.get(&location).basic_auth("bot", Some(token)),
            http.get(&location).bearer_auth(format!("{token}x")),
            http.post(&location).bearer_auth(token),
            http.get(format!("{location}x")).bearer_auth(token),
            http.get(format!("{base}/recordings/{token}")).bearer_auth(token),
            http.get(&calls).bearer_auth(token),
            http.get(format!("{calls}/{token}")).bearer_auth(bot.token()),
            http.get(format!("{base}/graphophone/v1/load")).bearer_auth(token),
        ] {
            let answer = request.send().await.unwrap();
            assert!(answer.status().is_client_error(), "{}", answer.url().path());
            let headers = format!("{:?}", answer.headers());
            heard.add("a refused recording", headers + &answer.text().await.unwrap());
        }
    }
    let beside = fs::read(data.join("recordings").join(format!("{operation}.json"))).unwrap();
    let beside: Value = serde_json::from_slice(&beside).unwrap();
    tokens.push(beside["key"].as_str().unwrap().to_owned());
    bot.hang_up(&call).await.unwrap();
    for received in bot.until(patience(), is_terminated).await.unwrap() {
        heard.add("a notification after a recording", received.value.to_string());
    }
    tokens
}

/// An operation and its receipt tell the bot what it asked to be played, by the URIs that it wrote.
fn without_prompts(mut operation: Value) -> Value {
    for member in ["prompts", "graphophoneReceipt"] {
        operation.as_object_mut().map(|members| members.remove(member));
    }
    operation
}

/// Every kind of refusal that has a secret to repeat.
async fn refusals(base: &str, bot: &mut Bot, heard: &mut Heard) {
    let calls = "/v1.0/communications/calls";
    for callback in [
        format!("http://10.0.0.1/x?sig={CALLBACK_SIG}"),
        format!("http://user:{USERINFO}@127.0.0.1/x"),
        format!("not a uri?sig={CALLBACK_SIG}"),
        format!("http://127.0.0.1:1/x?sig={CALLBACK_SIG}#{}", "x".repeat(9_000)),
    ] {
        let mut body = bot.new_call(json!({"user": {"id": "desk"}}), &[]);
        body["callbackUri"] = json!(callback);
        let answer = bot.send(Method::POST, calls, Some(body)).await.unwrap();
        assert_eq!(answer.status, 400, "{callback}");
        heard.add("a refused callback", answer.body.to_string());
    }
    let refused = fetch_token(base, TENANT, APP, WRONG_SECRET).await.unwrap_err();
    heard.add("a refused secret", format!("{refused:#} {refused:?}"));
    let http = http_client().unwrap();
    let token = format!("{base}/{TENANT}/oauth2/v2.0/token");
    for request in [
        http.get(format!("{base}{calls}")).bearer_auth(BEARER),
        http.get(format!("{base}{calls}")).bearer_auth(format!("{}.x", bot.token())),
        http.get(format!("{base}{calls}?access_token={BEARER}")),
        http.get(format!("{base}{calls}")).basic_auth(APP, Some(APP_SECRET)),
        http.get(format!("{base}/graphophone/v1/load")).bearer_auth(BEARER),
        http.post(&token).basic_auth(APP, Some(WRONG_SECRET)).form(&[("grant_type", "x")]),
        http.post(&token).form(&[("client_secret", APP_SECRET), ("client_id", "x")]),
        http.post(&token).body(format!("client_secret={APP_SECRET}&%zz=\u{1}")),
        http.post(&token).json(&json!({"client_secret": APP_SECRET, "client_id": APP})),
        http.post(format!("{base}{calls}")).bearer_auth(bot.token()).body(format!(
            r#"{{"callbackUri": "http://127.0.0.1/?sig={CALLBACK_SIG}", "tenantId": "#
        )),
    ] {
        let answer = request.timeout(Duration::from_secs(15)).send().await.unwrap();
        assert!(answer.status().is_client_error(), "{}", answer.url());
        let headers = format!("{:?}", answer.headers());
        heard.add("a refusal", headers + &answer.text().await.unwrap());
    }
}

/// What the operator sees: the delivery log and the load.
async fn administration(base: &str, heard: &mut Heard) {
    let http = http_client().unwrap();
    for path in ["deliveries", "load", "keys"] {
        let url = format!("{base}/graphophone/v1/{path}");
        let answer = http.get(url).bearer_auth(ADMIN_TOKEN).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        heard.add(path, answer.text().await.unwrap());
    }
    for path in ["/healthz", "/readyz", "/metrics", "/v1/.well-known/keys"] {
        let answer = http.get(format!("{base}{path}")).send().await.unwrap();
        heard.add(path, answer.text().await.unwrap());
    }
}

/// What the commands print.
async fn commands(directory: &Path, base: &str, heard: &mut Heard) {
    let good = fs::read_to_string(directory.join("config.toml")).unwrap();
    let spoilt = [
        ("good.toml", good.clone()),
        ("unknown.toml", format!("{good}\n[sip2]\npassword = \"{TRUNK_PASSWORD}\"\n")),
        ("broken.toml", good.replace("token = \"", "token = ")),
        ("number.toml", good.replace(&format!("\"{PHONE_PASSWORD}\""), "7")),
        ("short.toml", good.replace("http://127.0.0.1:*", "10.0.0.1/99")),
    ];
    let mut arguments: Vec<Vec<String>> = Vec::new();
    for (name, text) in spoilt {
        let path = directory.join(name).display().to_string();
        fs::write(&path, text).unwrap();
        for more in [&[][..], &["--json"]] {
            let mut line = vec!["check-config".to_owned(), "--config".to_owned(), path.clone()];
            line.extend(more.iter().map(|flag| (*flag).to_owned()));
            arguments.push(line);
        }
    }
    let token = ["token", "--url", base, "--tenant", TENANT, "--client-id", APP];
    arguments.push(token.map(str::to_owned).into());
    for line in arguments {
        let output = Command::new(BINARY)
            .env_clear()
            .env("GRAPHOPHONE_LOG", "trace")
            .env("GRAPHOPHONE_CLIENT_SECRET", WRONG_SECRET)
            .args(&line)
            .stdin(Stdio::null())
            .output();
        let output = timeout_at(patience(), output).await.expect("in time").unwrap();
        for text in [output.stdout, output.stderr] {
            heard.add(&line.join(" "), String::from_utf8_lossy(&text).into_owned());
        }
    }
}
