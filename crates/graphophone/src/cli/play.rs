//! `graphophone play`: one call without a bot. Dial, play, hang up.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use clap::Args;
use graphophone_call::AppId;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::Instant};
use uuid::Uuid;

use super::{Failure, ServeArgs, progress::Progress, ready_file};
use crate::{
    auth::Secret,
    bot::{
        Bot, Credentials, PromptFile, acknowledged_ms, is_audio_active, is_end_of, is_terminated,
        sent_ms,
    },
    config::{App, Config, Pattern, Profile, SipListen, Tenant},
    prompts::AllowRule,
    server::Server,
};

/// How long the far end may take to answer.
const RING_FOR: Duration = Duration::from_secs(65);
/// RTCP reports come every 5 s; a far end that sends them has sent one by then.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(8);
/// How long the far end may take to confirm the end of the call.
const HUNG_UP_WITHIN: Duration = Duration::from_secs(5);

/// Flags of `play`.
///
/// Exit code 0: everything was sent, and the far end has acknowledged it by RTCP. A far end that
/// sends no RTCP may have heard it, too, but nobody knows: that is 1, as is a refused or cut call.
#[derive(Args, Debug)]
pub(super) struct Play {
    /// Whom to call: sip:user@host[:port], or tel:+15551234567 over a [[trunk]] of the
    /// configuration.
    target: String,
    /// WAV files, played one after the other.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Configuration with the trunks and addresses to use. Without it: loopback only. It may be
    /// that of a running server: SIP gets ports of its own here, and trunks are not registered at.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Prints the operation with its receipt as JSON.
    #[arg(long)]
    json: bool,
    /// Writes addresses of the server to this file, as JSON, when it serves.
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
}

pub(super) async fn run(args: Play) -> Result<(), Failure> {
    let files = PromptFile::read_all(&args.files)?;
    let scratch = tempfile::Builder::new()
        .prefix("graphophone-play-")
        .tempdir()
        .context("no temporary directory can be made")?;
    let profile = if args.config.is_some() { Profile::Production } else { Profile::Dev };
    let flags = ServeArgs {
        config: args.config.clone(),
        data: Some(scratch.path().to_owned()),
        http: Some(([127, 0, 0, 1], 0).into()),
        ..ServeArgs::default()
    };
    let mut config = flags.load(profile)?;
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no loopback socket")?;
    let origin = format!("http://{}", listener.local_addr().context("no loopback socket")?);
    // This process is the bot: it may do what whoever runs it asks for.
    let tenant = Uuid::new_v4();
    let credentials = Credentials {
        tenant: tenant.to_string(),
        client_id: AppId::new(Uuid::new_v4()),
        client_secret: Uuid::new_v4().to_string(),
    };
    config.tenants.push(Tenant { id: tenant });
    config.apps.push(App {
        id: credentials.client_id.uuid(),
        tenant,
        secret: Some(Secret::new(credentials.client_secret.clone())),
        secret_env: None,
        webhook_secret: None,
        webhook_secret_env: None,
        webhook_secret_previous: None,
        webhook_secret_previous_env: None,
        roles: vec!["Calls.Initiate.All".to_owned()],
        calling_webhook: None,
    });
    config.https.listen = None;
    step_aside(&mut config);
    let origin: AllowRule = origin.parse().context("the origin of a loopback socket")?;
    config.prompts.allow.push(origin.clone());
    config.callbacks.allow.push(origin);
    config.dial.allow.push(Pattern::any());

    let server = Server::start(config).await?;
    if let Some(path) = &args.ready_file {
        ready_file::write(path, server.ready())?;
    }
    let outcome = play(&server, credentials, listener, &files, &args).await;
    server.shut_down().await;
    let operation = outcome?;
    if args.json {
        println!("{operation}");
    }
    Ok(verdict(&operation, args.json)?)
}

/// A server may be running with the same file: its ports are its own, and so is its registration.
fn step_aside(config: &mut Config) {
    for listen in &mut config.sip.listen {
        let (SipListen::Udp(at) | SipListen::Tcp(at)) = listen;
        at.set_port(0);
    }
    if config.sip.listen.is_empty() {
        let any = SocketAddr::new(config.rtp.bind, 0);
        config.sip.listen = vec![SipListen::Udp(any), SipListen::Tcp(any)];
    }
    for trunk in &mut config.trunks {
        trunk.register = false;
    }
}

async fn play(
    server: &Server,
    credentials: Credentials,
    listener: TcpListener,
    files: &[PromptFile],
    args: &Play,
) -> anyhow::Result<Value> {
    let mut bot = Bot::start(&server.ready().http, credentials, listener).await?;
    let serve =
        |(index, file): (usize, &PromptFile)| bot.serve(&index.to_string(), file.bytes.clone());
    let uris: Vec<String> = files.iter().enumerate().map(serve).collect();
    let identity = json!({"phone": {"id": args.target}});
    let call = bot.call(identity, &uris).await?;
    bot.until(Instant::now() + RING_FOR, is_audio_active)
        .await
        .with_context(|| format!("{} was not reached", args.target))?;
    let operation = bot.play(&call, &uris, false).await?;
    let progress = Progress::new(files, args.json);
    loop {
        progress.show(&bot.operation(&call, &operation).await?);
        let step = Duration::from_millis(100);
        let forever = Instant::now() + Duration::from_secs(24 * 3600);
        if let Ok(received) = tokio::time::timeout(step, bot.next(forever)).await {
            let received = received?;
            if is_end_of(&received.value, &operation) {
                break;
            }
            ensure!(
                !is_terminated(&received.value),
                "the far end hung up: {}",
                received.value["resourceData"]["resultInfo"]["message"]
            );
        }
    }
    let patience = Instant::now() + ACKNOWLEDGE_WITHIN;
    let seen = loop {
        let seen = bot.operation(&call, &operation).await?;
        progress.show(&seen);
        if seen["status"] == "failed" || is_acknowledged(&seen) || Instant::now() > patience {
            break seen;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    progress.finish();
    bot.hang_up(&call).await?;
    // Owed to this process: it may not leave before. Whether it comes changes no verdict.
    let _ = bot.until(Instant::now() + HUNG_UP_WITHIN, is_terminated).await;
    Ok(seen)
}

fn is_acknowledged(operation: &Value) -> bool {
    acknowledged_ms(operation).is_some_and(|ms| ms >= sent_ms(operation))
}

/// Heard: everything was sent, and the far end says that it came.
fn verdict(operation: &Value, quiet: bool) -> anyhow::Result<()> {
    ensure!(
        operation["status"] == "completed",
        "{}",
        operation["resultInfo"]["message"].as_str().unwrap_or("the prompts were not played")
    );
    let sent = sent_ms(operation);
    let acknowledged = acknowledged_ms(operation).with_context(|| {
        format!("{sent} ms were sent, but the far end acknowledges nothing (RTCP): whether they were heard is not known")
    })?;
    // One packet may be under way when the last report is written.
    ensure!(
        sent > 0 && acknowledged + 20 >= sent,
        "{sent} ms were sent, but the far end acknowledges only {acknowledged} ms"
    );
    if !quiet {
        println!("Heard: {sent} ms sent, {acknowledged} ms acknowledged by the far end.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: &str, prompts: Value) -> Result<(), String> {
        let operation = json!({
            "status": status,
            "resultInfo": {"message": "hung up"},
            "graphophoneReceipt": {"prompts": prompts},
        });
        verdict(&operation, true).map_err(|error| error.to_string())
    }

    #[test]
    fn only_what_the_far_end_acknowledges_counts_as_heard() {
        let prompt = |sent: u64, acknowledged: Option<u64>| json!([{"millisecondsSent": sent, "millisecondsAcknowledged": acknowledged}]);
        assert_eq!(said("completed", prompt(200, Some(180))), Ok(()));
        for (status, prompts, wanted) in [
            ("failed", prompt(200, Some(200)), "hung up"),
            ("completed", prompt(200, None), "acknowledges nothing"),
            ("completed", prompt(200, Some(100)), "acknowledges only 100 ms"),
            ("completed", prompt(0, None), "acknowledges only 0 ms"),
        ] {
            let error = said(status, prompts).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
