//! `graphophone bench`: what this machine carries.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Args;

use super::{Failure, open_files};
use crate::bench::{self, Case, CaseOptions, Cores, StepReport};

/// Flags of `bench`.
#[derive(Args, Debug)]
pub(super) struct Bench {
    /// What is played.
    #[arg(long, value_enum, default_value = "pcmu")]
    case: Case,
    /// Length of a measuring window.
    #[arg(long, value_name = "SECONDS", default_value_t = 8.0)]
    seconds: f64,
    /// Calls of the first step.
    #[arg(long, value_name = "CALLS", default_value_t = 250)]
    start: usize,
    /// Calls between steps.
    #[arg(long, value_name = "CALLS", default_value_t = 250)]
    step: usize,
    /// Calls of the last step.
    #[arg(long, value_name = "CALLS", default_value_t = 8_000)]
    max: usize,
    /// Length of a prompt.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    prompt_seconds: f64,
    /// Where the server under test keeps its data.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Prints everything as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Bench) -> Result<(), Failure> {
    open_files::raise();
    let runtime = tokio::runtime::Handle::current();
    let work = move || measure(&args, &runtime);
    tokio::task::spawn_blocking(work).await.context("the benchmark panicked")??;
    Ok(())
}

fn measure(args: &Bench, runtime: &tokio::runtime::Handle) -> anyhow::Result<()> {
    let cores = Cores::find().context("the system does not say which cores there are")?;
    bench::pin_to_meter(cores)?;
    let options = CaseOptions {
        case: args.case,
        window: Duration::from_secs_f64(args.seconds),
        settle: Duration::from_secs(1),
        start: args.start,
        step: args.step,
        max: args.max,
        prompt_seconds: args.prompt_seconds,
        data: args.data.clone(),
    };
    eprintln!("{}", StepReport::HEAD);
    let report =
        bench::run_case(&options, cores, runtime, &mut |step| eprintln!("{}", step.line()))?;
    if args.json {
        println!("{}", serde_json::to_string(&report).context("the report")?);
    } else {
        println!("{} calls clean", report.clean);
    }
    Ok(())
}
