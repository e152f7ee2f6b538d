//! Plays a cached prompt of one packet so many times through a whole server in this process, for
//! `tests/instructions/run.py`, which counts the instructions of two runs of different lengths.
//!
//! `play_instructions DIR PLAYS`; DIR keeps the server's keys, which are dear to make.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use graphophone::{Server, bot::Bot, config};
use graphophone_testkit::{Credentials, audio::tone_wav, dev_config, is_audio_active, is_end_of};
use serde_json::json;
use tokio::{net::TcpListener, time::Instant};

/// For one step, slowed down fifty times.
const PATIENCE: Duration = Duration::from_secs(120);

// One thread: which of several runs a task is chance, and costs instructions.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let directory = PathBuf::from(args.next().context("DIR is missing")?);
    let plays: u32 = args.next().context("PLAYS is missing")?.parse()?;

    let server = Server::start(dev_config(&directory)).await?;
    let credentials = Credentials::of_dev(server.ready()).context("no dev credentials")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut bot = Bot::start(&server.ready().http, credentials, listener).await?;
    let phone = json!({"user": {"id": config::DEV_PHONE_USER_ID}});
    let call = bot.call(phone, &[]).await?;
    bot.until(Instant::now() + PATIENCE, is_audio_active).await?;
    let uri = bot.serve("short.wav", tone_wav(1_000.0, 20));
    // Once more than asked, for the fetch.
    for _ in 0..=plays {
        let operation = bot.play(&call, std::slice::from_ref(&uri), false).await?;
        bot.until(Instant::now() + PATIENCE, |it| is_end_of(it, &operation)).await?;
    }
    bot.hang_up(&call).await?;
    server.shut_down().await;
    println!("{plays}");
    Ok(())
}
