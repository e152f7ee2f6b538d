//! How long from a bot's request to sound in somebody's ear: the latency benchmark.
//!
//! `cargo run --release -p graphophone --example play_latency -- [--plays N] [--cancels N]
//! [--data DIR] [--stages] [--only-plays] [--json] [--check]`
//!
//! One process holds a whole server of the dev profile on free ports, its data on a real disk, and
//! a far end that is not ours: a few lines of SIP in front of a bare UDP socket. One call is up.
//! Each measurement plays a cached prompt of 200 ms on it while it is silent, and takes
//!
//! - **play**: from just before the HTTP request is written (kept-alive connection, loopback) to
//!   the arrival of the first RTP packet, both read from the same clock;
//! - **cancel**: from just before that request is written to the arrival of the last packet of a
//!   prompt that would have gone on; 0 if none came after the request;
//! - **pacing**: how late each packet of a 10 s prompt arrives, against the packet that is least
//!   late.
//!
//! In the same run, next to them, it measures what the machine gives to anybody: the way of one
//! datagram between two threads, appending 8 KiB to a file and syncing it, and a bare RTP sender
//! with a timer every 20 ms, which runs at the same time as the server's stream.
//!
//! With `--stages` it also prints when a play passes the server's stages; the subscriber that this
//! needs costs some microseconds. Exits with 1 if something does not work; for being slow only with
//! `--check`.

mod bare;
mod far_end;
mod report;
mod stages;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use graphophone::{Server, bench::Client, bot::Bot};
use graphophone_testkit::{Credentials, audio::tone_wav, dev_config, is_audio_active, is_end_of};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};

use self::{bare::Bare, far_end::FarEnd, report::Report, stages::Stages};

/// A step that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Silence after the end of an operation; a part of 20 ms is added, so that nothing beats in time.
const PAUSE: Duration = Duration::from_millis(40);
/// The short prompt: 10 packets.
const SHORT_MS: u32 = 200;
/// The long prompt: 500 packets.
const LONG_MS: u32 = 10_000;

#[derive(Debug, Parser)]
struct Args {
    /// Plays of the short prompt.
    #[arg(long, default_value_t = 500)]
    plays: usize,
    /// Cancelled plays of the long prompt.
    #[arg(long, default_value_t = 100)]
    cancels: usize,
    /// Where the server keeps its data; by default beside this program. In memory (tmpfs), the
    /// figures leave the disk out.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print when plays pass the server's stages.
    #[arg(long)]
    stages: bool,
    /// Nothing but plays, with data in DIR itself: a second run finds the keys of the first. For
    /// counting instructions (`tests/instructions`).
    #[arg(long, requires = "data")]
    only_plays: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Exit with 1 if the first packet comes later than it should (docs/performance.md).
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match measure(&args) {
        Ok(report) => {
            println!("{}", if args.json { report.to_json() } else { report.to_table() });
            match report.check_target() {
                Err(slow) if args.check => {
                    eprintln!("play_latency: {slow}");
                    ExitCode::FAILURE
                }
                Ok(()) | Err(_) => ExitCode::SUCCESS,
            }
        }
        Err(error) => {
            eprintln!("play_latency: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> anyhow::Result<Report> {
    let stages = args.stages.then(Stages::install);
    let beside = std::env::current_exe()?.parent().map(PathBuf::from);
    let base = args.data.clone().or(beside).context("--data is needed")?;
    let temporary = tempfile::tempdir_in(&base).context("--data")?;
    let directory = if args.only_plays { base.as_path() } else { temporary.path() };
    let disk = bare::file_system(directory)?;

    let runtime = Runtime::new()?;
    let server = runtime.block_on(Server::start(dev_config(directory)))?;
    let mut bench = Bench::set_up(&runtime, &server, directory)?;
    let mut report = Report::new(disk);
    if !args.only_plays {
        bench.pacing(&mut report)?;
    }
    bench.plays(args.plays, stages.as_ref(), &mut report)?;
    if !args.only_plays {
        bench.cancels(args.cancels, &mut report)?;
    }
    bench.hang_up()?;
    runtime.block_on(server.shut_down());
    Ok(report)
}

/// A call that is up, and everything around it.
struct Bench<'a> {
    runtime: &'a Runtime,
    bot: Bot,
    client: Client,
    far_end: FarEnd,
    bare: Bare,
    call: String,
    short: String,
    long: String,
}

impl<'a> Bench<'a> {
    fn set_up(
        runtime: &'a Runtime,
        server: &Server,
        directory: &std::path::Path,
    ) -> anyhow::Result<Self> {
        let far_end = FarEnd::start()?;
        let identity = json!({"phone": {"id": far_end.uri()}});
        let (bot, call) = runtime.block_on(async {
            let credentials = Credentials::of_dev(server.ready()).context("no dev credentials")?;
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let mut bot = Bot::start(&server.ready().http, credentials, listener).await?;
            let call = bot.call(identity, &[]).await?;
            bot.until(deadline(), is_audio_active).await?;
            anyhow::Ok((bot, call))
        })?;
        let client = Client::connect(&server.ready().http, bot.token())?;
        let short = bot.serve("short.wav", tone_wav(1_000.0, SHORT_MS));
        let long = bot.serve("long.wav", tone_wav(440.0, LONG_MS));
        let bare = Bare::new(directory)?;
        let mut bench = Self { runtime, bot, client, far_end, bare, call, short, long };
        // Into the cache, and all code into memory.
        for _ in 0..5 {
            let operation = bench.play(&bench.short.clone())?.operation;
            bench.wait_for_end(&operation)?;
        }
        let operation = bench.play(&bench.long.clone())?.operation;
        bench.cancel()?;
        bench.wait_for_end(&operation)?;
        std::thread::sleep(PAUSE);
        Ok(bench)
    }

    /// The long prompt, and a bare sender at the same time.
    fn pacing(&mut self, report: &mut Report) -> anyhow::Result<()> {
        self.far_end.forget();
        let packets = LONG_MS as usize / 20;
        let bare = bare::pace(packets)?;
        let operation = self.play(&self.long.clone())?.operation;
        let mut arrivals = Vec::with_capacity(packets);
        while arrivals.len() < packets {
            arrivals.push(self.far_end.next(PATIENCE)?.at);
        }
        self.wait_for_end(&operation)?;
        let bare = bare.join().map_err(|_| anyhow::anyhow!("the bare sender panicked"))??;
        report.pacing_server = report::lateness(&arrivals);
        report.pacing_bare = report::lateness(&bare);
        Ok(())
    }

    fn plays(
        &mut self,
        plays: usize,
        stages: Option<&Stages>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        for number in 0..plays {
            pause(number);
            report.bare_sync.push(self.bare.sync()?);
            report.bare_datagram.push(self.bare.datagram()?);
            pause(number + 7);
            self.far_end.forget();
            if let Some(stages) = stages {
                stages.forget();
            }
            let played = self.play(&self.short.clone())?;
            let first = self.far_end.next(PATIENCE)?;
            ensure!(first.marker, "play {number}: the first packet has no marker");
            if let Some(stages) = stages {
                stages.add_to(&mut report.stages, played.sent);
            }
            self.wait_for_end(&played.operation)?;
            let more = self.far_end.drain(Duration::from_millis(5)).len();
            let packets = SHORT_MS as usize / 20;
            ensure!(more + 1 == packets, "play {number}: {} packets, not {packets}", more + 1);
            report.play_first_packet.push(first.at - played.sent);
            report.play_response.push(played.answered - played.sent);
        }
        Ok(())
    }

    fn cancels(&mut self, cancels: usize, report: &mut Report) -> anyhow::Result<()> {
        for number in 0..cancels {
            pause(number);
            self.far_end.forget();
            let played = self.play(&self.long.clone())?;
            self.far_end.next(PATIENCE)?;
            // At any phase of the 20 ms.
            std::thread::sleep(Duration::from_micros(100_000 + number as u64 * 1_370 % 20_000));
            let cancelled = self.cancel()?;
            self.wait_for_end(&played.operation)?;
            let last = self.far_end.drain(PAUSE).pop().map(|packet| packet.at);
            let last = last.context("a cancelled prompt was not heard at all")?;
            report.cancel_last_packet.push(last.saturating_duration_since(cancelled.sent));
            report.cancel_response.push(cancelled.answered - cancelled.sent);
        }
        Ok(())
    }

    fn hang_up(self) -> anyhow::Result<()> {
        self.runtime.block_on(self.bot.hang_up(&self.call))
    }

    fn play(&mut self, uri: &str) -> anyhow::Result<Asked> {
        let body = json!({
            "prompts": [{
                "@odata.type": "#microsoft.graph.mediaPrompt",
                "mediaInfo": {
                    "@odata.type": "#microsoft.graph.mediaInfo",
                    "uri": uri,
                    // Cached under its URI.
                    "resourceId": uri,
                },
            }],
            "clientContext": "play_latency",
        });
        self.ask("playPrompt", &body)
    }

    fn cancel(&mut self) -> anyhow::Result<Asked> {
        self.ask("cancelMediaProcessing", &json!({"clientContext": "play_latency"}))
    }

    fn ask(&mut self, action: &str, body: &Value) -> anyhow::Result<Asked> {
        let path = format!("/v1.0/communications/calls/{}/{action}", self.call);
        let exchange = self.client.send("POST", &path, body)?;
        if exchange.status != 200 {
            bail!("{action} is answered {}: {}", exchange.status, exchange.body);
        }
        let operation = exchange.body["id"].as_str().unwrap_or_default().to_owned();
        Ok(Asked { sent: exchange.sent, answered: exchange.answered, operation })
    }

    fn wait_for_end(&mut self, operation: &str) -> anyhow::Result<()> {
        let wanted = |value: &Value| is_end_of(value, operation);
        self.runtime.block_on(self.bot.until(deadline(), wanted)).map(drop)
    }
}

/// A request that was answered 200.
struct Asked {
    sent: std::time::Instant,
    answered: std::time::Instant,
    operation: String,
}

fn deadline() -> tokio::time::Instant {
    tokio::time::Instant::now() + PATIENCE
}

fn pause(number: usize) {
    std::thread::sleep(PAUSE / 2 + Duration::from_micros(number as u64 * 1_370 % 20_000));
}
