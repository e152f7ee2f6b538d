//! `graphophone token`: an access token of a running server, for scripts and curl.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::Value;

use super::Failure;
use crate::bot::fetch_token;

/// Flags of `token`.
#[derive(Args, Debug)]
pub(super) struct Token {
    /// Ready file of the server; the flags below then need not be given.
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// Base URL of the server.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Tenant id.
    #[arg(long, default_value = "11111111-2222-3333-4444-555555555555")]
    tenant: String,
    /// Application (client) id.
    #[arg(long, default_value = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee")]
    client_id: String,
    /// Client secret.
    #[arg(
        long,
        env = "GRAPHOPHONE_CLIENT_SECRET",
        default_value = "dev-client-secret",
        hide_env_values = true
    )]
    client_secret: String,
    /// Print the whole response.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(mut args: Token) -> Result<(), Failure> {
    if let Some(path) = &args.ready_file {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("--ready-file {} cannot be read", path.display()))?;
        let ready: Value = serde_json::from_str(&text).context("the ready file is not JSON")?;
        for (name, field) in [
            ("http", &mut args.url),
            ("tenant", &mut args.tenant),
            ("clientId", &mut args.client_id),
            ("clientSecret", &mut args.client_secret),
        ] {
            if let Some(value) = ready[name].as_str() {
                value.clone_into(field);
            }
        }
    }
    let body = fetch_token(&args.url, &args.tenant, &args.client_id, &args.client_secret).await?;
    if args.json {
        println!("{body}");
    } else {
        println!("{}", body["access_token"].as_str().context("the response has no access_token")?);
    }
    Ok(())
}
