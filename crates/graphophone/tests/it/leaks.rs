//! Calls of every kind set up and torn down again and again: nothing is left of them (promise P38).
//! `GRAPHOPHONE_CYCLES=20000` makes it as many.

use std::{
    collections::HashSet,
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::http::Method;
use graphophone_testkit::{
    Bot, Mood, Moody, ServerProcess, audio::tone_wav, is_terminated, patience, seen,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const BINARY: &str = env!("CARGO_BIN_EXE_graphophone");
const CALLS: &str = "/v1.0/communications/calls";
/// Cycles without the variable.
const SOME: usize = 1_000;
/// Calls at a time.
const WORKERS: usize = 8;
/// Cycles before the baseline is taken: pools, caches and the allocator are warm then.
const WARM: usize = 200;
/// Longest that what is over may stay: connections that wait for more, SIP's own timers (32 s).
const LEFT_WITHIN: Duration = Duration::from_secs(90);
/// What a cycle may add to resident memory on average, in bytes, once half of them are over: the
/// allocator's scatter, and far below what any struct of a call has.
const MOST_PER_CYCLE: u64 = 512;
/// What does not depend on how many there are: above all the pages of the store that are still
/// being cached (up to 32 MiB), which thousands of cycles fill before their half.
const SCATTER: u64 = 12 << 20;

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holding {
    descriptors: usize,
    udp_ports: usize,
    tasks: u64,
    calls: usize,
}

async fn holding(server: &ServerProcess, bot: &Asker) -> Holding {
    let links: Vec<String> = fs::read_dir(format!("/proc/{}/fd", server.pid()))
        .unwrap()
        .filter_map(|entry| Some(fs::read_link(entry.ok()?.path()).ok()?.display().to_string()))
        .collect();
    let udp = ["/proc/net/udp", "/proc/net/udp6"].map(|path| fs::read_to_string(path).unwrap());
    let inodes: HashSet<String> = udp
        .iter()
        .flat_map(|table| table.lines().skip(1))
        .filter_map(|line| line.split_ascii_whitespace().nth(9))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let list = bot.send(Method::GET, CALLS.to_owned(), None).await.1;
    Holding {
        descriptors: links.len(),
        udp_ports: links.iter().filter(|link| inodes.contains(*link)).count(),
        tasks: server.admin("load").await["tasks"].as_u64().unwrap(),
        calls: list["value"].as_array().unwrap().len(),
    }
}

/// Resident memory in bytes.
fn resident(server: &ServerProcess) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().split(' ').next().unwrap().parse::<u64>().unwrap() * 1_024
}

/// Looks until it holds no more than `most`; then what it holds.
async fn settled(server: &ServerProcess, bot: &Asker, most: impl Fn(&Holding) -> bool) -> Holding {
    let deadline = Instant::now() + LEFT_WITHIN;
    loop {
        let now = holding(server, bot).await;
        if most(&now) {
            return now;
        }
        assert!(Instant::now() < deadline, "still there: {now:?}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Sends requests of a bot from several tasks.
struct Asker {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Asker {
    async fn send(&self, method: Method, path: String, body: Option<Value>) -> (u16, Value) {
        let mut request =
            self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("a response");
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    /// One call of the kind with this number, from its set-up to its end.
    async fn cycle(&self, number: usize, far_ends: &Moody, body: &Value, files: &[String; 2]) {
        let mood = Mood::ALL[number % Mood::ALL.len()];
        let mut body = body.clone();
        body["targets"][0]["identity"] = far_ends.identity(mood);
        let (status, call) = self.send(Method::POST, CALLS.to_owned(), Some(body)).await;
        assert_eq!(status, 201, "{call}");
        let path = format!("{CALLS}/{}", call["id"].as_str().unwrap());
        match mood {
            Mood::Answers => {
                // Every other one with a prompt that cannot be fetched; every third is cancelled.
                let round = number / Mood::ALL.len();
                self.play(&path, &files[round % 2], round.is_multiple_of(3)).await;
                self.hang_up(path, mood).await;
            }
            Mood::Rings => self.hang_up(path, mood).await,
            Mood::Busy | Mood::Fails | Mood::Foreign | Mood::HangsUp => {
                self.gone(&path, mood).await
            }
        }
    }

    /// Plays as soon as the call is established, perhaps cancels it, and waits for the end.
    async fn play(&self, path: &str, uri: &str, cancels: bool) {
        let prompt = json!({
            "@odata.type": "#microsoft.graph.mediaPrompt",
            "mediaInfo": {"@odata.type": "#microsoft.graph.mediaInfo", "uri": uri},
        });
        let body = json!({"prompts": [prompt]});
        let accepted = seen("the call is established", || async {
            let action = format!("{path}/playPrompt");
            let (status, answer) = self.send(Method::POST, action, Some(body.clone())).await;
            (status == 200).then_some(answer)
        })
        .await;
        if cancels {
            let (action, body) = (format!("{path}/cancelMediaProcessing"), json!({}));
            let (status, answer) = self.send(Method::POST, action, Some(body)).await;
            assert_eq!(status, 200, "{answer}");
        }
        let operation = format!("{path}/operations/{}", accepted["id"].as_str().unwrap());
        seen("the operation ends", || async {
            let (_, now) = self.send(Method::GET, operation.clone(), None).await;
            (now["status"] != "running").then_some(())
        })
        .await;
    }

    async fn hang_up(&self, path: String, mood: Mood) {
        let (status, answer) = self.send(Method::DELETE, path.clone(), None).await;
        assert_eq!(status, 204, "{answer}");
        self.gone(&path, mood).await;
    }

    async fn gone(&self, path: &str, mood: Mood) {
        seen(&format!("the end of a call to one who {mood:?}"), || async {
            let (status, _) = self.send(Method::GET, path.to_owned(), None).await;
            (status == 404).then_some(())
        })
        .await;
    }
}

/// Several at a time.
async fn cycles(
    asker: &Arc<Asker>,
    far_ends: &Arc<Moody>,
    body: &Value,
    files: &[String; 2],
    count: usize,
) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (asker, far_ends) = (Arc::clone(asker), Arc::clone(far_ends));
        let (body, files, next) = (body.clone(), files.clone(), Arc::clone(&next));
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                asker.cycle(number, &far_ends, &body, &files).await;
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.expect("a worker has failed");
    }
}

/// Takes notifications until so many calls were reported as over.
async fn told(mut bot: Bot, calls: usize) -> Bot {
    for _ in 0..calls {
        bot.until(patience(), is_terminated).await.expect("each call is reported as over");
    }
    bot
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_calls_that_are_over() {
    let count = std::env::var("GRAPHOPHONE_CYCLES").map_or(SOME, |text| text.parse().unwrap());
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(BINARY, data.path()).await;
    let far_ends = Arc::new(Moody::start().await);
    let bot = server.bot().await;
    let files =
        [bot.serve("short", tone_wav(440.0, 60)), bot.serve("x", "").replace("/x", "/absent")];
    let body = bot.new_call(json!({}), &[]);
    let asker = Arc::new(Asker {
        http: graphophone::bot::http_client().unwrap(),
        base: server.ready("http").to_owned(),
        token: bot.token().to_owned(),
    });

    let telling = tokio::spawn(told(bot, WARM));
    cycles(&asker, &far_ends, &body, &files, WARM).await;
    let bot = telling.await.unwrap();
    let idle = |now: &Holding| now.calls == 0;
    // The lowest that it comes to while it waits: what waits for more goes away meanwhile.
    let mut baseline = settled(&server, &asker, idle).await;
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        baseline = settled(&server, &asker, idle).await;
    }

    let begun = Instant::now();
    let telling = tokio::spawn(told(bot, count));
    let half = count / 2 / Mood::ALL.len() * Mood::ALL.len();
    cycles(&asker, &far_ends, &body, &files, half).await;
    let resident_half = resident(&server);
    cycles(&asker, &far_ends, &body, &files, count - half).await;
    let took = begun.elapsed();
    telling.await.unwrap();
    let left = settled(&server, &asker, |now| {
        now.calls == 0
            && now.udp_ports <= baseline.udp_ports
            && now.tasks <= baseline.tasks
            && now.descriptors <= baseline.descriptors
    })
    .await;
    let resident_end = resident(&server);
    println!(
        "{count} cycles in {took:.0?}: {left:?}, baseline {baseline:?}; {} KiB of memory at half, \
         {} KiB at the end",
        resident_half >> 10,
        resident_end >> 10
    );
    let grown = resident_end.saturating_sub(resident_half);
    let most = SCATTER + (count - half) as u64 * MOST_PER_CYCLE;
    assert!(grown <= most, "{grown} bytes more after {} cycles", count - half);
}
