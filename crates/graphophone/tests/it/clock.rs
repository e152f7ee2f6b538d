//! Steps of the wall clock while calls play: nobody hears them (promise P42). The real binary under
//! libfaketime, which is told the time by a file. `GRAPHOPHONE_CLOCK_STEPS=1000` makes it more.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::http::Method;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use graphophone::bot::fetch_token;
use graphophone_media::codec::{Codec, SampleCodec};
use graphophone_testkit::{
    Post, ServerProcess, Webhook, WirePhone,
    audio::{as_heard, tone_wav},
    is_audio_active, is_end_of, is_terminated, seen,
};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_graphophone");
const STEPS: usize = 20;
/// Offsets of the wall clock in seconds, in turn.
const OFFSETS: [i64; 8] = [3_600, 0, -3_600, 86_400, -86_400, 90, 0, 7_200];
/// Where Debian puts the library, for the architectures that it has.
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];
/// Milliseconds of each prompt.
const PROMPT: u32 = 300;
/// Longest silence inside a prompt: packets are 20 ms apart, and the machine may be busy. A timer
/// that follows the wall clock is off by 90 s at least.
const LONGEST_GAP: Duration = Duration::from_millis(500);

/// A wall clock of which we are the hands.
struct Hands(PathBuf);

impl Hands {
    fn new(directory: &Path) -> Self {
        let hands = Self(directory.join("clock"));
        hands.step(0);
        hands
    }

    /// The variables that give it to a process. Durations are its own affair.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let library = LIBRARIES.into_iter().find(|path| Path::new(path).exists());
        vec![
            ("LD_PRELOAD", library.expect("libfaketime: apt-get install libfaketime").to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", self.0.display().to_string()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
        ]
    }

    /// Moves the clock to so many seconds from the true time, between two looks at it.
    fn step(&self, offset: i64) {
        let beside = self.0.with_extension("next");
        fs::write(&beside, format!("{offset:+}\n")).unwrap();
        fs::rename(&beside, &self.0).unwrap();
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A claim of a notification's token. The built-in bot would judge it by the true time.
fn claim(post: &Post, name: &str) -> i64 {
    let token = post.header("authorization");
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()[name].as_i64().unwrap()
}

/// Sends requests with a token that is good by the clock of the moment, as a bot would get one.
async fn ask(server: &ServerProcess, method: Method, path: &str, body: Option<Value>) -> Value {
    let base = server.ready("http");
    let [tenant, id, secret] = ["tenant", "clientId", "clientSecret"].map(|key| server.ready(key));
    let token = fetch_token(base, tenant, id, secret).await.unwrap();
    let client = graphophone::bot::http_client().unwrap();
    let mut request = client
        .request(method, format!("{base}{path}"))
        .bearer_auth(token["access_token"].as_str().unwrap());
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    assert!(response.status().is_success(), "{path}: {}", response.status());
    response.json().await.unwrap_or_default()
}

fn prompts(uri: &str) -> Value {
    json!({"prompts": [{
        "@odata.type": "#microsoft.graph.mediaPrompt",
        "mediaInfo": {"@odata.type": "#microsoft.graph.mediaInfo", "uri": uri},
    }]})
}

/// Calls the phone; its notifications go to the webhook.
async fn call(server: &ServerProcess, webhook: &mut Webhook, phone: &WirePhone) -> String {
    let mut body = server.bot().await.new_call(phone.identity(), &[]);
    body["callbackUri"] = webhook.uri().into();
    let made = ask(server, Method::POST, "/v1.0/communications/calls", Some(body)).await;
    webhook.taken_until(is_audio_active).await;
    made["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
#[ignore = "needs libfaketime; ./test.sh runs it"]
async fn nobody_hears_a_step_of_the_wall_clock_and_nothing_is_lost_by_it() {
    let steps =
        std::env::var("GRAPHOPHONE_CLOCK_STEPS").map_or(STEPS, |text| text.parse().unwrap());
    let data = tempfile::tempdir().unwrap();
    let hands = Hands::new(data.path());
    let variables = hands.variables();
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let server = ServerProcess::start_with(BINARY, data.path(), &variables).await;
    let phone = WirePhone::start().await;
    let bot = server.bot().await;
    let mut webhook = Webhook::refusing();
    webhook.accept();
    let id = call(&server, &mut webhook, &phone).await;
    let file = tone_wav(440.0, PROMPT);
    let expected = SampleCodec::Pcma.encode(&as_heard(&[&file], Codec::Pcma));
    let uri = bot.serve("tone", file);
    let path = format!("/v1.0/communications/calls/{id}");

    let mut heard_before = 0;
    for step in 0..steps {
        let offset = OFFSETS[step % OFFSETS.len()];
        // In the middle of a prompt, or before it.
        let in_the_middle = step % 2 == 0;
        if !in_the_middle {
            hands.step(offset);
        }
        let answer =
            ask(&server, Method::POST, &format!("{path}/playPrompt"), Some(prompts(&uri))).await;
        let operation = answer["id"].as_str().unwrap().to_owned();
        if in_the_middle {
            seen("the prompt plays", || async {
                (phone.heard().packets.len() > heard_before + 4).then_some(())
            })
            .await;
            hands.step(offset);
        }
        let told = webhook.taken_until(|value| is_end_of(value, &operation)).await;
        assert_eq!(told.len(), 1, "step {step}: something else was told");
        assert_eq!(told[0].value["resourceData"]["status"], "completed", "step {step}");
        // Signed by the wall clock as it is.
        let issued = claim(&told[0], "iat") - now() - offset;
        assert!((-3_900 + 600 - 5..=300).contains(&issued), "step {step}: issued {issued} s off");
        let left = claim(&told[0], "exp") - now() - offset;
        assert!(left >= 300, "step {step}: {left} s left");

        let packets = heard_before + expected.len().div_ceil(160);
        seen("the last packet", || async {
            (phone.heard().packets.len() >= packets).then_some(())
        })
        .await;
        let heard = phone.heard();
        let arrivals = &heard.arrivals[heard_before..];
        heard_before = heard.arrivals.len();
        let sent = &heard.alaw[heard.alaw.len() - arrivals.len() * 160..];
        assert!(sent == padded(&expected), "step {step}: {} octets were heard", sent.len());
        assert_even(arrivals, step);
    }
    // Timestamps go on with the samples, whatever the clock said.
    let heard = phone.heard();
    assert!(heard.packets.windows(2).all(|two| two[1].0 == two[0].0.wrapping_add(1)));

    ask(&server, Method::DELETE, &path, None).await;
    webhook.taken_until(is_terminated).await;
    let deliveries = seen("everything is delivered", || async {
        let log = server.admin("deliveries?state=failed").await;
        (log["pending"] == 0).then_some(log)
    })
    .await;
    assert_eq!(deliveries["failed"], 0, "{deliveries}");
    assert_eq!(deliveries["created"], deliveries["delivered"], "{deliveries}");
    println!("{steps} steps, {} packets", heard.packets.len());
}

/// In whole packets of 20 ms.
fn padded(alaw: &[u8]) -> Vec<u8> {
    let mut padded = alaw.to_vec();
    padded.resize(alaw.len().next_multiple_of(160), SampleCodec::Pcma.silence());
    padded
}

fn assert_even(arrivals: &[Instant], step: usize) {
    let gap = arrivals.windows(2).map(|two| two[1] - two[0]).max().unwrap_or_default();
    assert!(gap < LONGEST_GAP, "step {step}: {gap:?} of silence");
    let (Some(first), Some(last)) = (arrivals.first(), arrivals.last()) else {
        panic!("step {step}: nothing was heard")
    };
    let took = *last - *first;
    let should = Duration::from_millis(20) * u32::try_from(arrivals.len() - 1).unwrap();
    let off = took.abs_diff(should);
    assert!(off < LONGEST_GAP, "step {step}: {took:?} instead of {should:?}");
}
