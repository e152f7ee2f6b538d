//! `graphophone bench`: what this machine carries, or another SIP server.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use tokio::runtime::Handle;

use super::{Failure, open_files};
use crate::bench::{
    self, Card, Case, CaseOptions, CaseReport, Cores, Foreign, RateOptions, RateStep,
    RecordOptions, RecordStep, StepReport,
};

/// Flags of `bench`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Bench {
    #[command(subcommand)]
    command: Option<Command>,
    /// One ladder up to the breaking point, instead of the capacity card.
    #[arg(long, value_enum)]
    case: Option<BenchCase>,
    /// Length of a measuring window.
    #[arg(long, value_name = "SECONDS", default_value_t = 8.0)]
    seconds: f64,
    /// First step: calls, streams, or calls per second.
    #[arg(long, default_value_t = 250)]
    start: usize,
    /// Between steps.
    #[arg(long, default_value_t = 250)]
    step: usize,
    /// Last step.
    #[arg(long, default_value_t = 9_000)]
    max: usize,
    /// Length of a prompt.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    prompt_seconds: f64,
    /// Plays and cancels timed at half load on each of four silent calls.
    #[arg(long, default_value_t = 100)]
    latency_rounds: usize,
    /// Let the server refuse calls that it cannot carry, as it does outside of benchmarks.
    #[arg(long)]
    admission: bool,
    /// With `signalling`: each call plays 100 ms before it is hung up.
    #[arg(long)]
    play: bool,
    /// Where the server under test keeps its data; a temporary directory by default.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Prints everything as JSON.
    #[arg(long)]
    json: bool,
    /// Writes a plot of arrival error and processor time against calls.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum BenchCase {
    /// One looping prompt on every call.
    Pcmu,
    /// 1,000 different prompts.
    Distinct,
    /// As `pcmu`, while the far end sends as much on every call.
    TwoWay,
    /// Every call is recorded while the far end speaks; the files are compared with what it said.
    Record,
    /// Group calls of three who all speak and hear the other two.
    Rooms,
    /// Group calls of sixty who all speak.
    Room60,
    /// Calls per second: created, answered, deleted.
    Signalling,
    /// A paced sender of RTP without any calls.
    Bare,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Points the meter at any SIP server: dials it, or is dialled by it.
    Meter(MeterArgs),
}

#[derive(Args, Debug)]
struct MeterArgs {
    /// Whom to dial, over UDP: sip:user@host:port.
    #[arg(long, value_name = "URI", required_unless_present = "listen", conflicts_with = "listen")]
    dial: Option<String>,
    /// Where to be dialled, over UDP.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Calls to dial, or to wait for.
    #[arg(long, default_value_t = 1)]
    calls: u32,
    /// Calls dialled per second.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Length of the measuring window.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// How long calls are waited for, in seconds.
    #[arg(long, default_value_t = 60.0)]
    patience: f64,
    /// A tone that every call should carry.
    #[arg(long, value_name = "HZ")]
    expect_tone: Option<f64>,
    /// Our address as the server sees it.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    ip: Ipv4Addr,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Bench) -> Result<(), Failure> {
    open_files::raise();
    let runtime = Handle::current();
    let work = move || measure(&args, &runtime);
    // Its threads inherit the meter's core, the runtime's do not.
    tokio::task::spawn_blocking(work).await.context("the benchmark panicked")??;
    Ok(())
}

fn measure(args: &Bench, runtime: &Handle) -> anyhow::Result<()> {
    let cores = Cores::find().context("the system does not say which cores there are")?;
    if let Some(Command::Meter(meter)) = &args.command {
        return point_at(meter);
    }
    if !cores.are_two() {
        eprintln!(
            "Only one core: the meter shares it with the server, and its work is in all figures."
        );
    }
    bench::pin_to_meter(cores)?;
    let steps = (args.start, args.step, args.max);
    let window = duration(args.seconds)?;
    let mut show = |step: &StepReport| eprintln!("{}", step.line());
    let case = match args.case {
        None => {
            let card =
                Card::measure(cores, args.data.clone(), runtime, &mut |line| eprintln!("{line}"))?;
            write_plot(args.plot.as_deref(), &card.calls)?;
            return print(args.json, &card, &format!("\n{}", card.to_text()));
        }
        Some(BenchCase::Signalling) => return signalling(args, cores, runtime),
        Some(BenchCase::Record) => return recorded(args, cores, runtime),
        Some(BenchCase::Bare) => {
            eprintln!("{}", StepReport::HEAD);
            let report = bench::run_bare(cores, steps, window, &mut show)?;
            write_plot(args.plot.as_deref(), &report)?;
            return print(args.json, &report, &format!("{} streams clean\n", report.clean));
        }
        Some(BenchCase::Pcmu) => Case::Pcmu,
        Some(BenchCase::Distinct) => Case::Distinct,
        Some(BenchCase::TwoWay) => Case::TwoWay,
        Some(BenchCase::Rooms) => Case::Rooms,
        Some(BenchCase::Room60) => Case::Room60,
    };
    let options = CaseOptions {
        case,
        window,
        settle: Duration::from_secs(1).min(window),
        start: args.start,
        step: args.step,
        max: args.max,
        prompt_seconds: args.prompt_seconds,
        data: args.data.clone(),
        latency_rounds: args.latency_rounds,
        admission: args.admission,
    };
    eprintln!("{}", StepReport::HEAD);
    let report = bench::run_case(&options, cores, runtime, &mut show)?;
    write_plot(args.plot.as_deref(), &report)?;
    let mut text = format!("{} calls clean\n", report.clean);
    if let Some(latency) = &report.latency {
        for (name, times) in [
            ("playPrompt to first packet", latency.play_first_packet_ms),
            ("cancel to last packet", latency.cancel_last_packet_ms),
        ] {
            text += &format!(
                "{name} at half load: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms (n = {})\n",
                times.p50, times.p99, times.max, times.n
            );
        }
    }
    print(args.json, &report, &text)
}

fn signalling(args: &Bench, cores: Cores, runtime: &Handle) -> anyhow::Result<()> {
    let options = RateOptions {
        start: args.start,
        step: args.step,
        max: args.max,
        length: duration(args.seconds)?,
        play: args.play,
        admission: args.admission,
        data: args.data.clone(),
    };
    eprintln!("{}", RateStep::HEAD);
    let show = &mut |step: &RateStep| eprintln!("{}", step.line());
    let report = bench::run_signalling(&options, cores, runtime, show)?;
    print(args.json, &report, &format!("{} calls/s kept\n", report.kept_per_second))
}

fn recorded(args: &Bench, cores: Cores, runtime: &Handle) -> anyhow::Result<()> {
    let options = RecordOptions {
        start: args.start,
        step: args.step,
        max: args.max,
        window: duration(args.seconds)?,
        data: args.data.clone(),
    };
    eprintln!("{}", RecordStep::HEAD);
    let show = &mut |step: &RecordStep| eprintln!("{}", step.line());
    let report = bench::run_recorded(&options, cores, runtime, show)?;
    print(args.json, &report, &format!("{} recorded calls clean\n", report.clean))
}

fn point_at(args: &MeterArgs) -> anyhow::Result<()> {
    let foreign = Foreign {
        calls: args.calls,
        rate: args.rate,
        window: duration(args.seconds)?,
        tone: args.expect_tone,
        patience: duration(args.patience)?,
    };
    let report = match (&args.dial, args.listen) {
        (Some(uri), _) => foreign.dial(uri, args.ip)?,
        (None, Some(at)) => foreign.listen(at)?,
        (None, None) => anyhow::bail!("--dial or --listen"),
    };
    let mut text = format!("{}\n{}\n", StepReport::HEAD, report.window.line());
    for (line, calls) in &report.refused {
        text += &format!("{calls} calls: {line}\n");
    }
    print(args.json, &report, &text)
}

fn print(json: bool, report: &impl Serialize, text: &str) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(report).context("the report cannot be written")?);
    } else {
        print!("{text}");
    }
    Ok(())
}

fn write_plot(path: Option<&Path>, report: &CaseReport) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, bench::plot(report))
        .with_context(|| format!("--plot {} cannot be written", path.display()))
}

fn duration(seconds: f64) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(seconds)
        .with_context(|| format!("{seconds} seconds is no length of time"))
}
