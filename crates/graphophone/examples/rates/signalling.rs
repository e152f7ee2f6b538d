//! Calls per second: offered at a rate, each set up, perhaps played to, and torn down.

use std::{
    collections::HashMap,
    fmt::Write as _,
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use graphophone_store::Written;
use graphophone_testkit::{
    audio::tone_wav, far_end::Answerer, is_audio_active, is_end_of, is_terminated,
};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, sleep_until, timeout},
};

use super::{
    CALLS, Report, endpoint,
    http::Client,
    process::{Process, difference},
};

/// A call that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// All must be over at most so long after the last was offered.
const LAG: Duration = Duration::from_secs(1);
/// Between two rates; what lingers behind calls is over by then.
const PAUSE: Duration = Duration::from_secs(1);

/// The ladder up to the first rate that was not kept up, and that.
struct Ladder {
    name: &'static str,
    steps: Vec<Step>,
}

struct Step {
    offered: u64,
    calls: usize,
    failures: Vec<String>,
    /// From the first offer to the end of the last call.
    took: Duration,
    lag: Duration,
    /// From `POST …/calls` to the notification that audio is active.
    set_up: Vec<Duration>,
    cpu: Duration,
    written: Written,
    notifications: u64,
}

pub(crate) fn measure(base: &Path, rates: &[u64], seconds: u64) -> anyhow::Result<Report> {
    let directory = tempfile::tempdir_in(base).context("--data")?;
    let path = directory.path().to_str().context("--data is not UTF-8")?;
    let mut process = Process::start(&["serve", path])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ladders = runtime.block_on(async {
        let bot = Bot::start(&process).await?;
        let mut ladders = Vec::new();
        for (name, play) in [("set up, hang up", false), ("with a prompt of 100 ms", true)] {
            // Connections, caches, the token.
            bot.step(&mut process, 50, 1, play).await?;
            let mut ladder = Ladder { name, steps: Vec::new() };
            for rate in rates {
                sleep(PAUSE).await;
                ladder.steps.push(bot.step(&mut process, *rate, seconds, play).await?);
                if ladder.steps.last().is_some_and(|step| !step.is_kept_up()) {
                    break;
                }
            }
            ladders.push(ladder);
        }
        anyhow::Ok(ladders)
    })?;
    report(&ladders)
}

fn report(ladders: &[Ladder]) -> anyhow::Result<Report> {
    let mut table = String::new();
    for Ladder { name, steps } in ladders {
        writeln!(
            table,
            "{name}\n  offered/s  kept up  failed  CPU us/call  set-up ms p50 / p99  \
             lag ms  transactions/s  writes each  rows each  notifications/s"
        )?;
        for step in steps {
            let Step { offered, written, .. } = step;
            let seconds = step.took.as_secs_f64();
            let transactions = written.transactions.max(1) as f64;
            writeln!(
                table,
                "  {offered:9} {:>8} {:7} {:12.0} {:11.1} / {:5.1} {:7.0} {:15.0} {:12.1} {:10.1} {:16.0}",
                if step.is_kept_up() { "yes" } else { "no" },
                step.failures.len(),
                step.cpu_micros(),
                millis(step.set_up_at(0.5)),
                millis(step.set_up_at(0.99)),
                millis(step.lag),
                written.transactions as f64 / seconds,
                written.writes as f64 / transactions,
                written.rows as f64 / transactions,
                step.notifications as f64 / seconds,
            )?;
            if let Some(failure) = step.failures.first() {
                writeln!(table, "      first failure: {failure}")?;
            }
        }
    }
    let missed = ladders.iter().find_map(|ladder| {
        let most = ladder.most();
        let is_met = most.is_some_and(|most| most as f64 >= CALLS);
        (!is_met).then(|| format!("{}: {} calls/s, not {CALLS}", ladder.name, most.unwrap_or(0)))
    });
    let json = ladders.iter().map(Ladder::to_json).collect::<Vec<_>>();
    Ok(Report { table, json: json!({ "signalling": json }), missed })
}

/// A bot with its endpoint, and the far end that it calls.
struct Bot {
    client: Arc<Client>,
    inbox: Arc<Inbox>,
    create: Arc<str>,
    play: Arc<str>,
    /// Bound, so that what is sent there does not come back as an error.
    _media: [UdpSocket; 2],
}

/// Notifications by call.
#[derive(Default)]
struct Inbox {
    calls: Mutex<HashMap<String, Letterbox>>,
    count: std::sync::atomic::AtomicU64,
}

type Letterbox = (mpsc::UnboundedSender<Value>, Option<mpsc::UnboundedReceiver<Value>>);

impl Inbox {
    fn put(&self, body: &[u8]) {
        self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let Ok(mut body) = serde_json::from_slice::<Value>(body) else { return };
        let value = body["value"][0].take();
        let Some(url) = value["resourceUrl"].as_str() else { return };
        let Some(call) = url.split('/').nth(3) else { return };
        let call = call.to_owned();
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let letterbox = calls.entry(call).or_insert_with(letterbox);
        // An error means that the call has been given up.
        let _ = letterbox.0.send(value);
    }

    fn take(&self, call: &str) -> Option<mpsc::UnboundedReceiver<Value>> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.entry(call.to_owned()).or_insert_with(letterbox).1.take()
    }

    fn forget(&self, call: &str) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(call);
    }
}

fn letterbox() -> Letterbox {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Some(receiver))
}

impl Bot {
    async fn start(process: &Process) -> anyhow::Result<Self> {
        let (tenant, base) = (process.ready("tenant")?, process.ready("http")?);
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={}",
            process.ready("clientId")?,
            process.ready("clientSecret")?,
            "https://graph.microsoft.com/.default"
        );
        let token = reqwest::Client::builder()
            .no_proxy()
            .build()?
            .post(format!("{base}/{tenant}/oauth2/v2.0/token"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await?
            .bytes()
            .await?;
        let token: Value = serde_json::from_slice(&token)?;
        let token = token["access_token"].as_str().context("no token")?;

        let inbox = Arc::new(Inbox::default());
        let letters = Arc::clone(&inbox);
        let wav = tone_wav(1_000.0, 100);
        let at = endpoint::start(wav, move |body| letters.put(body)).await?;
        let (far_end, media) = start_far_end().await?;
        let create = json!({
            "@odata.type": "#microsoft.graph.call",
            "callbackUri": format!("http://{at}/callback"),
            "requestedModalities": ["audio"],
            "tenantId": tenant,
            "mediaConfig": { "@odata.type": "#microsoft.graph.serviceHostedMediaConfig" },
            "targets": [{
                "@odata.type": "#microsoft.graph.invitationParticipantInfo",
                "identity": { "phone": { "id": far_end } },
            }],
        });
        let prompt = format!("http://{at}/prompt.wav");
        let play = json!({
            "clientContext": "rates",
            "prompts": [{
                "@odata.type": "#microsoft.graph.mediaPrompt",
                "mediaInfo": {
                    "@odata.type": "#microsoft.graph.mediaInfo",
                    "uri": prompt,
                    // Cached under its URI.
                    "resourceId": prompt,
                },
            }],
        });
        Ok(Self {
            client: Arc::new(Client::new(base, token)?),
            inbox,
            create: create.to_string().into(),
            play: play.to_string().into(),
            _media: media,
        })
    }

    /// Offers `rate` calls a second for so many seconds, and waits until all are over.
    async fn step(
        &self,
        process: &mut Process,
        rate: u64,
        seconds: u64,
        play: bool,
    ) -> anyhow::Result<Step> {
        let before = process.written()?;
        let cpu = process.cpu()?;
        let heard = self.inbox.count.load(std::sync::atomic::Ordering::Relaxed);
        let start = tokio::time::Instant::now();
        let mut calls = JoinSet::new();
        for number in 0..rate * seconds {
            sleep_until(start + Duration::from_micros(number * 1_000_000 / rate)).await;
            let (client, inbox) = (Arc::clone(&self.client), Arc::clone(&self.inbox));
            let create = Arc::clone(&self.create);
            let play = play.then(|| Arc::clone(&self.play));
            calls.spawn(async move {
                let call = one(&client, &inbox, &create, play.as_deref());
                timeout(PATIENCE, call).await.context("not over in time").flatten()
            });
        }
        let offered = start.elapsed();
        let (mut failures, mut set_up) = (Vec::new(), Vec::new());
        while let Some(outcome) = calls.join_next().await {
            match outcome? {
                Ok(took) => set_up.push(took),
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        let took = start.elapsed();
        set_up.sort_unstable();
        // Books are closed behind the last notification.
        sleep(Duration::from_millis(100)).await;
        Ok(Step {
            offered: rate,
            calls: set_up.len() + failures.len(),
            failures,
            took,
            lag: took - offered.min(took) + offered.saturating_sub(Duration::from_secs(seconds)),
            set_up,
            cpu: process.cpu()? - cpu,
            written: difference(process.written()?, before),
            notifications: self.inbox.count.load(std::sync::atomic::Ordering::Relaxed) - heard,
        })
    }
}

/// One call from its beginning to its end; how long its set-up took.
async fn one(
    client: &Client,
    inbox: &Inbox,
    create: &str,
    play: Option<&str>,
) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let made = client.ask("POST", "/v1.0/communications/calls", create).await?;
    let made: Value = serde_json::from_slice(&made)?;
    let id = made["id"].as_str().context("the call has no id")?;
    let mut letters = inbox.take(id).context("the call's id is not new")?;
    let mut seen = Vec::new();
    until(&mut letters, &mut seen, is_audio_active).await?;
    let set_up = start.elapsed();
    ensure!(seen[..2] == ["establishing", "established"], "in this order: {seen:?}");
    let call = format!("/v1.0/communications/calls/{id}");
    if let Some(play) = play {
        let operation = client.ask("POST", &format!("{call}/playPrompt"), play).await?;
        let operation: Value = serde_json::from_slice(&operation)?;
        let operation = operation["id"].as_str().context("the operation has no id")?;
        let ended = until(&mut letters, &mut seen, |value| is_end_of(value, operation)).await?;
        let status = &ended["resourceData"]["status"];
        ensure!(status == "completed", "the operation is {status}");
    }
    client.ask("DELETE", &call, "").await?;
    until(&mut letters, &mut seen, is_terminated).await?;
    inbox.forget(id);
    Ok(set_up)
}

async fn until(
    letters: &mut mpsc::UnboundedReceiver<Value>,
    seen: &mut Vec<String>,
    wanted: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    loop {
        let value = letters.recv().await.context("no more notifications")?;
        let state = value["resourceData"]["state"].as_str().unwrap_or("-");
        seen.push(state.to_owned());
        if wanted(&value) {
            return Ok(value);
        }
        if is_terminated(&value) {
            bail!("the call ends: {}", value["resourceData"]["resultInfo"]);
        }
    }
}

/// The URI of a far end that answers every call, and its media sockets.
async fn start_far_end() -> anyhow::Result<(String, [UdpSocket; 2])> {
    let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    let (rtp, rtcp) = (bind()?, bind()?);
    let sip = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let at = sip.local_addr()?.to_string();
    let answerer = Answerer::new(&at, rtp.local_addr()?.port(), rtcp.local_addr()?.port());
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok((length, from)) = sip.recv_from(&mut buffer).await {
            if let Some(response) = answerer.respond(&buffer[..length]) {
                let _ = sip.send_to(response.as_bytes(), from).await;
            }
        }
    });
    Ok((format!("sip:ear@{at}"), [rtp, rtcp]))
}

impl Ladder {
    /// The highest rate kept up.
    fn most(&self) -> Option<u64> {
        self.steps.iter().filter(|step| step.is_kept_up()).map(|step| step.offered).max()
    }

    fn to_json(&self) -> Value {
        let steps: Vec<Value> = self.steps.iter().map(Step::to_json).collect();
        json!({ "case": self.name, "callsPerSecond": self.most(), "steps": steps })
    }
}

impl Step {
    fn is_kept_up(&self) -> bool {
        self.failures.is_empty() && self.lag <= LAG
    }

    fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.calls.max(1) as f64
    }

    fn set_up_at(&self, part: f64) -> Duration {
        let index = (part * self.set_up.len().saturating_sub(1) as f64) as usize;
        self.set_up.get(index).copied().unwrap_or_default()
    }

    fn to_json(&self) -> Value {
        json!({
            "offeredPerSecond": self.offered,
            "keptUp": self.is_kept_up(),
            "calls": self.calls,
            "failed": self.failures.len(),
            "cpuMicrosPerCall": self.cpu_micros(),
            "setUpMsP50": millis(self.set_up_at(0.5)),
            "setUpMsP99": millis(self.set_up_at(0.99)),
            "lagMs": millis(self.lag),
            "seconds": self.took.as_secs_f64(),
            "transactions": self.written.transactions,
            "writes": self.written.writes,
            "rows": self.written.rows,
            "notifications": self.notifications,
        })
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
