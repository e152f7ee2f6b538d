//! How many notifications one core carries; calls per second are `graphophone bench --case signalling`.
//!
//! `cargo run --release -p graphophone --example rates -- notifications [--data DIR] [--json]
//! [--check]`
//!
//! The server runs in a process of its own on core 0, the bot on core 1; its data is on a real
//! disk. CPU time is the server's alone, from the operating system, so that it counts on a busy
//! machine too; divide it into one second for what an otherwise idle core could carry.
//!
//! To an endpoint that answers 200 at once, each about 1 KB, 200 calls with 100 each. *owed*: they
//! are in the store when a server starts. *live*: each call commits its notifications one after the
//! other, by the store and the outbox of the server. The endpoint checks that each came, and in the
//! order of its call. Every one is settled in the store.
//!
//! `rates -- drain [--owed 100000] [--calls 2000]` is the time until everything is delivered that was
//! owed at the start of a server; 100,000 must be within five minutes.
//!
//! Exits with 1 if something does not work; for being slow only with `--check`.

mod endpoint;
mod http;
mod notifications;
mod process;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};
use graphophone::auth::tls::install_crypto_provider;
use serde_json::Value;

/// Notifications a second that one core must deliver (issue 3).
const NOTIFICATIONS: f64 = 5_000.0;

#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
    /// Where the server keeps its data; by default beside this program.
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Exit with 1 if a target is missed.
    #[arg(long, global = true)]
    check: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Notifications delivered per second.
    Notifications,
    /// How long a server needs for notifications that are owed when it starts.
    Drain {
        #[arg(long, default_value_t = 100_000)]
        owed: u64,
        #[arg(long, default_value_t = 2_000)]
        calls: u64,
    },
    /// The server's process.
    #[command(hide = true)]
    Serve { directory: PathBuf },
    /// A process with a store and an outbox only.
    #[command(hide = true)]
    Outbox { directory: PathBuf, url: String, calls: u64, each: u64 },
}

/// What came out: text, the same as JSON, and the target that was missed.
struct Report {
    table: String,
    json: Value,
    missed: Option<String>,
}

fn main() -> ExitCode {
    install_crypto_provider();
    match run(&Args::parse()) {
        Ok(missed) => match missed {
            Some(missed) => {
                eprintln!("rates: {missed}");
                ExitCode::FAILURE
            }
            None => ExitCode::SUCCESS,
        },
        Err(error) => {
            eprintln!("rates: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The missed target, if it matters.
fn run(args: &Args) -> anyhow::Result<Option<String>> {
    let beside = std::env::current_exe()?.parent().map(PathBuf::from);
    let base = args.data.clone().or(beside).context("--data is needed")?;
    let report = match &args.what {
        What::Serve { directory } => return process::serve(directory).map(|()| None),
        What::Outbox { directory, url, calls, each } => {
            return process::outbox(directory, url, *calls, *each).map(|()| None);
        }
        What::Notifications => notifications::measure(&base)?,
        What::Drain { owed, calls } => notifications::drain(&base, *owed, *calls)?,
    };
    match args.json {
        true => println!("{}", report.json),
        false => print!("{}", report.table),
    }
    Ok(report.missed.filter(|_| args.check))
}
