//! `graphophone demo`: the main job in one go. A server, a phone and a bot on loopback; prompts
//! played through the HTTP API into a real call; what the phone heard, compared with what was sent.

mod outcome;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use clap::Args;
use graphophone_media::{
    codec::SampleCodec,
    prompt::{Accept, Prompt},
};
use serde_json::json;
use tokio::{net::TcpListener, time::Instant};

use self::outcome::{Outcome, seconds};
use super::{Failure, ServeArgs, progress::Progress, ready_file};
use crate::{
    bot::{
        Bot, Credentials, PromptFile, acknowledged_ms, is_audio_active, is_end_of, is_terminated,
        sent_ms,
    },
    config::Profile,
    server::Server,
};

/// With --loop, the list is cancelled after it was heard so many times.
const LOOP_PASSES: f64 = 2.0;

/// Flags of `demo`.
#[derive(Args, Debug)]
pub(super) struct Demo {
    /// A WAV file to play; may stand several times. Without it, two that ship in the binary.
    #[arg(long, value_name = "FILE.wav")]
    prompt: Vec<PathBuf>,
    /// Plays the list in a loop, and cancels it after two passes.
    #[arg(long = "loop")]
    looping: bool,
    /// Prints the outcome as one JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// Where heard.wav and heard.png are written, and the server's data is kept.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Writes addresses and credentials of the server to this file, as JSON, when it serves.
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
}

pub(super) async fn run(args: Demo) -> Result<(), Failure> {
    let files = if args.prompt.is_empty() {
        PromptFile::built_in()
    } else {
        PromptFile::read_all(&args.prompt)?
    };
    let scratch = tempfile::Builder::new()
        .prefix("graphophone-demo-")
        .tempdir()
        .context("no temporary directory can be made")?;
    let data = args.keep.as_ref().map_or_else(|| scratch.path().to_owned(), |dir| dir.join("data"));
    let flags = ServeArgs {
        data: Some(data),
        http: Some(([127, 0, 0, 1], 0).into()),
        ..ServeArgs::default()
    };
    let server = Server::start(flags.load(Profile::Dev)?).await?;
    if let Some(path) = &args.ready_file {
        ready_file::write(path, server.ready())?;
    }
    let outcome = play(&server, &files, args.looping, args.json).await;
    server.shut_down().await;
    let outcome = outcome?;

    let directory = args.keep.unwrap_or_else(|| PathBuf::from("."));
    outcome.write_files(&directory)?;
    if args.json {
        println!("{}", outcome.to_json(&directory));
    } else {
        print!("{}", outcome.to_text(&directory));
    }
    Ok(outcome.verdict()?)
}

async fn play(
    server: &Server,
    files: &[PromptFile],
    looping: bool,
    quiet: bool,
) -> anyhow::Result<Outcome> {
    let sent = files.iter().map(as_heard).collect::<anyhow::Result<Vec<_>>>()?;
    let total = Duration::from_secs_f64(seconds(sent.iter().map(Vec::len).sum()));
    let ready = server.ready();
    let phone = server.phone().context("the dev profile has no phone")?;
    let user = ready.phone.clone().context("the dev profile has no phone")?;
    let credentials = Credentials::of_dev(ready).context("the dev profile has no application")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut bot = Bot::start(&ready.http, credentials, listener).await?;
    let serve =
        |(index, file): (usize, &PromptFile)| bot.serve(&index.to_string(), file.bytes.clone());
    let uris: Vec<String> = files.iter().enumerate().map(serve).collect();
    let started = Instant::now();
    let patience = started + Duration::from_secs(15);

    let call = bot.call(json!({"user": {"id": user}}), &uris).await?;
    let mut notifications = bot.until(patience, is_audio_active).await?;
    let heard_by = tokio::time::timeout_at(patience, phone.next_call())
        .await
        .context("the phone was not called in time")?;

    let operation = bot.play(&call, &uris, looping).await?;
    let progress = Progress::new(files, quiet);
    let passes = if looping { total.mul_f64(LOOP_PASSES) } else { total };
    let deadline = Instant::now() + passes + Duration::from_secs(15);
    let mut is_cancelled = false;
    let end = loop {
        let step = Instant::now() + Duration::from_millis(100);
        let seen = bot.operation(&call, &operation).await?;
        progress.show(&seen);
        if looping && !is_cancelled && u128::from(sent_ms(&seen)) >= passes.as_millis() {
            bot.cancel(&call).await?;
            is_cancelled = true;
        }
        match tokio::time::timeout_at(step.min(deadline), bot.next(deadline)).await {
            Ok(received) => {
                let received = received?;
                let is_end = is_end_of(&received.value, &operation);
                notifications.push(received);
                if is_end {
                    break notifications.last().map(|last| last.value["resourceData"].clone());
                }
            }
            Err(_) => ensure!(Instant::now() < deadline, "the prompts did not end in time"),
        }
    };
    // The phone reports what it received every half second (RTCP).
    let last_seen = loop {
        let seen = bot.operation(&call, &operation).await?;
        let whole = acknowledged_ms(&seen).is_some_and(|ms| ms >= sent_ms(&seen));
        if whole || Instant::now() > deadline {
            break seen;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    progress.show(&last_seen);
    progress.finish();
    let heard = heard_by.heard();
    bot.hang_up(&call).await?;
    notifications.extend(bot.until(Instant::now() + Duration::from_secs(10), is_terminated).await?);
    Ok(Outcome {
        files: files.to_vec(),
        sent,
        looping,
        heard,
        ended: end.context("no notification")?,
        last_seen,
        started,
        notifications,
    })
}

/// What a phone with PCMU makes of a prompt.
fn as_heard(file: &PromptFile) -> anyhow::Result<Vec<i16>> {
    let prompt = Prompt::decode(&file.bytes[..], Accept::Any)
        .with_context(|| format!("{} cannot be played", file.name))?;
    prompt.encode(SampleCodec::Pcmu).decode().context("PCMU has one byte per sample")
}
