//! `graphophone dev` and `graphophone serve`: a server until a signal comes.

use std::pin::Pin;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, ServeArgs, open_files, ready_file};
use crate::{
    config::Profile,
    server::{Ready, Server},
};

pub(super) async fn run(args: ServeArgs, profile: Profile) -> Result<(), Failure> {
    open_files::raise();
    let mut config = args.load(profile)?;
    // Without --data or a file, dev forgets everything at its end.
    let scratch = (profile == Profile::Dev && args.data.is_none() && args.config.is_none())
        .then(|| tempfile::Builder::new().prefix("graphophone-dev-").tempdir())
        .transpose()
        .context("no temporary directory can be made")?;
    if let Some(scratch) = &scratch {
        config.store.path = scratch.path().to_owned();
    }
    let mut terminate = signal(SignalKind::terminate()).context("signals cannot be received")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals cannot be received")?;

    let server = Server::start(config).await?;
    let ready = server.ready();
    if args.json {
        println!("{}", ready_file::json(ready)?);
    } else {
        print!("{}", welcome(ready, profile));
    }
    if let Some(path) = &args.ready_file {
        ready_file::write(path, ready)?;
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    if !args.json {
        println!("Stopping: prompts are finished, calls hung up, owed notifications sent.");
    }
    let mut is_hurried = false;
    tokio::select! {
        () = server.drain() => {}
        _ = terminate.recv() => is_hurried = true,
        _ = interrupt.recv() => is_hurried = true,
    }
    let stopping: Pin<Box<dyn Future<Output = ()>>> =
        if is_hurried { Box::pin(server.shut_down_now()) } else { Box::pin(server.shut_down()) };
    tokio::select! {
        () = stopping => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// What a newcomer sees, with a first call to paste.
fn welcome(ready: &Ready, profile: Profile) -> String {
    let mut text = format!("Graphophone serves {}", ready.http);
    if let Some(https) = &ready.https {
        text += &format!(" and {https}");
    }
    text += "\n";
    for (name, at) in [("udp", ready.sip.udp), ("tcp", ready.sip.tcp)] {
        if let Some(at) = at {
            text += &format!("  SIP            sip:{at};transport={name}\n");
        }
    }
    if profile == Profile::Production {
        return text;
    }
    let (Some(tenant), Some(id), Some(secret), Some(phone), Some(admin)) =
        (ready.tenant, ready.client_id, &ready.client_secret, &ready.phone, &ready.admin_token)
    else {
        return text;
    };
    let http = &ready.http;
    if let Some(secret) = &ready.webhook_secret {
        text += &format!("  webhook secret {secret}\n");
    }
    if let Some(ca) = &ready.ca {
        text += &format!("  CA file        {}\n", ca.display());
    }
    text += &format!(
        "  token URL      {http}/{tenant}/oauth2/v2.0/token
  tenant         {tenant}
  client id      {id}
  client secret  {secret}
  admin token    {admin}
  built-in phone user id {phone} (answers by itself)

A first call and a first prompt, to paste into another shell:

TOKEN=$(curl -s {http}/{tenant}/oauth2/v2.0/token -d grant_type=client_credentials \\
  -d client_id={id} -d client_secret={secret} \\
  -d scope=https://graph.microsoft.com/.default | sed 's/.*\"access_token\":\"\\([^\"]*\\).*/\\1/')
CALL=$(curl -s {http}/v1.0/communications/calls -H \"Authorization: Bearer $TOKEN\" \\
  -H 'Content-Type: application/json' -d '{{
  \"@odata.type\": \"#microsoft.graph.call\", \"callbackUri\": \"http://127.0.0.1:9/callback\",
  \"requestedModalities\": [\"audio\"], \"tenantId\": \"{tenant}\",
  \"mediaConfig\": {{\"@odata.type\": \"#microsoft.graph.serviceHostedMediaConfig\"}},
  \"targets\": [{{\"@odata.type\": \"#microsoft.graph.invitationParticipantInfo\",
    \"identity\": {{\"@odata.type\": \"#microsoft.graph.identitySet\",
      \"user\": {{\"@odata.type\": \"#microsoft.graph.identity\", \"id\": \"{phone}\"}}}}}}]}}' \\
  | grep -o '\"id\":\"[^\"]*' | head -1 | cut -d'\"' -f4); echo \"call $CALL\"; sleep 1
curl -s {http}/v1.0/communications/calls/$CALL/playPrompt -H \"Authorization: Bearer $TOKEN\" \\
  -H 'Content-Type: application/json' -d '{{\"prompts\": [{{
  \"@odata.type\": \"#microsoft.graph.mediaPrompt\", \"mediaInfo\": {{
    \"@odata.type\": \"#microsoft.graph.mediaInfo\", \"uri\": \"{http}/graphophone/v1/samples/demo-1.wav\"}}}}]}}'

And what the phone has heard, five seconds later:

curl -s {http}/graphophone/v1/phone/heard.wav -H 'Authorization: Bearer {admin}' -o heard.wav
"
    );
    text
}
