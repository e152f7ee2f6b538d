//! R-KILL: the real server is killed with SIGKILL at random moments of real calls, started again,
//! and judged by what the bot was answered, what the phones heard and what the webhook got
//! (promises P1, P2, P4, P7).
//!
//! ```text
//! cargo run -p graphophone --example kill -- --kills 25 --calls 20      the short form, in ./test.sh
//! cargo run --release -p graphophone --example kill -- --kills 500 --calls 200 --window 5s
//! ```
//!
//! With `--drain` it is told to stop with SIGTERM instead, and must finish what plays (promise P40).
//!
//! Exit code 1, and a line for each fault, if anything was lost, doubled or untrue.

mod client;
mod journal;
mod oracle;
mod phones;
mod server;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use clap::Parser;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep};

use crate::{
    client::Client, journal::Journal, oracle::Tally, phones::Phones, server::ServerUnderFire,
};

/// How long after a start everything must be told and released (promises P1 and P2).
const SETTLES_WITHIN: Duration = Duration::from_secs(10);

#[derive(Parser)]
struct Arguments {
    /// How often the server is killed.
    #[arg(long, default_value_t = 25)]
    kills: u32,
    /// Calls in each round, with five operations each.
    #[arg(long, default_value_t = 20)]
    calls: u32,
    /// The kill comes at a random moment of this time after the first request.
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    window: Duration,
    /// SIGTERM instead of SIGKILL: every prompt that was accepted must be heard whole, loops excepted.
    #[arg(long)]
    drain: bool,
    /// Makes other rounds.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the server's data and log here.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// The server; beside this program if not given.
    #[arg(long)]
    binary: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let scratch = tempfile::tempdir()?;
    let directory = arguments.keep.clone().unwrap_or_else(|| scratch.path().to_owned());
    std::fs::create_dir_all(&directory)?;
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => beside_us()?,
    };
    let mut random = StdRng::seed_from_u64(arguments.seed);
    let journal = Arc::new(Journal::default());
    let phones = Phones::start(Arc::clone(&journal)).await?;
    let mut server = ServerUnderFire::start(binary, &directory).await?;
    let client = Client::start(&server, Arc::clone(&journal), phones.address()).await?;
    let mut tally = Tally::default();
    let begun = Instant::now();
    for round in 0..arguments.kills {
        let after = arguments.window.mul_f64(random.random::<f64>());
        let mut calls = client.begin(round, arguments.calls, random.random());
        sleep(after).await;
        if arguments.drain {
            tally.drained.push(server.drain().await?);
        } else {
            server.kill()?;
        }
        calls.stop_asking().await;
        // A process that has just begun to recover is no safer than others.
        if !arguments.drain && random.random_bool(0.2) {
            server.spawn()?;
            sleep(Duration::from_millis(random.random_range(0..400))).await;
            server.kill()?;
            tally.kills += 1;
        }
        server.spawn()?;
        server.ready().await?;
        let up = Instant::now();
        calls.repeat_unanswered().await;
        let told = oracle::settled(&journal, round, up + SETTLES_WITHIN).await;
        let settled = up.elapsed();
        calls.repeat_answered(&mut random).await;
        tally.kills += 1;
        tally.judge(&journal, round, told, settled);
        client.check_sums(&mut tally).await?;
        journal.forget(round);
        if !tally.faults.is_empty()
            || (round + 1).is_multiple_of(25)
            || round + 1 == arguments.kills
        {
            println!("{} kills in {:.0?}: {}", tally.kills, begun.elapsed(), tally.summary());
        }
        if tally.faults.len() > 20 {
            break;
        }
    }
    server.kill()?;
    println!("{}", tally.table());
    for fault in &tally.faults {
        println!("FAULT {fault}");
    }
    anyhow::ensure!(tally.faults.is_empty(), "{} faults", tally.faults.len());
    let what = if arguments.drain { "drain" } else { "kill" };
    println!("ok {what}: {} stops, {}", tally.kills, tally.summary());
    Ok(())
}

fn beside_us() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let directory = here.parent().and_then(|examples| examples.parent());
    let binary = directory.context("no directory above this program")?.join("graphophone");
    anyhow::ensure!(
        binary.exists(),
        "{} is not built: cargo build -p graphophone",
        binary.display()
    );
    Ok(binary)
}
