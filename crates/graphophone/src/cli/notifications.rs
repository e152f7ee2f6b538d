//! `graphophone notifications`: the delivery log of a running server, over its admin API.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use reqwest::{Method, Url};
use serde_json::{Value, json};

use super::Failure;
use crate::bot::http_client;

/// Longest a response may take; a large replay is one.
const RESPONSE_WITHIN: Duration = Duration::from_secs(120);

/// Flags of `notifications`.
#[derive(Args, Debug)]
pub(super) struct Notifications {
    #[command(subcommand)]
    what: Option<What>,
    /// Ready file of the server; the two flags below then need not be given.
    #[arg(long, value_name = "PATH", global = true)]
    ready_file: Option<PathBuf>,
    /// Base URL of the server.
    #[arg(long, default_value = "http://127.0.0.1:8080", global = true)]
    url: String,
    /// Admin token of the server.
    #[arg(
        long,
        env = "GRAPHOPHONE_ADMIN__TOKEN",
        default_value = "dev-admin-token-not-for-production",
        hide_env_values = true,
        global = true
    )]
    admin_token: String,
    /// Print the server's JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists them in the order of the store (so does no subcommand at all).
    List(List),
    /// Sends settled ones again, with the id and the bytes of the first time, in the order of their
    /// calls: those named, or with --failed or --delivered all.
    Replay(Replay),
}

#[derive(Args, Clone, Debug)]
struct List {
    /// Only pending, delivered or failed ones.
    #[arg(long, value_parser = ["pending", "delivered", "failed"])]
    state: Option<String>,
    /// Only of this call.
    #[arg(long, value_name = "ID")]
    call: Option<String>,
    /// Only to this application.
    #[arg(long, value_name = "ID")]
    app: Option<String>,
    /// Only behind this sequence.
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    after: u64,
    /// At most so many.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
}

#[derive(Args, Clone, Debug)]
struct Replay {
    /// Sequences, as the list has them.
    #[arg(value_name = "SEQUENCE", required_unless_present_any = ["failed", "delivered"])]
    sequences: Vec<u64>,
    /// All that were given up.
    #[arg(long, conflicts_with_all = ["sequences", "delivered"])]
    failed: bool,
    /// All that were delivered.
    #[arg(long, conflicts_with = "sequences")]
    delivered: bool,
    /// Of those, only this call's.
    #[arg(long, value_name = "ID", conflicts_with = "sequences")]
    call: Option<String>,
    /// Of those, only this application's.
    #[arg(long, value_name = "ID", conflicts_with = "sequences")]
    app: Option<String>,
}

pub(super) async fn run(mut args: Notifications) -> Result<(), Failure> {
    if let Some(path) = &args.ready_file {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("--ready-file {} cannot be read", path.display()))?;
        let ready: Value = serde_json::from_str(&text).context("the ready file is not JSON")?;
        for (name, field) in [("http", &mut args.url), ("adminToken", &mut args.admin_token)] {
            if let Some(value) = ready[name].as_str() {
                value.clone_into(field);
            }
        }
    }
    let client = Client {
        base: args.url.trim_end_matches('/').to_owned(),
        token: args.admin_token,
        http: http_client()?,
    };
    match args.what {
        None => list(&client, &args.list, args.json).await,
        Some(What::List(flags)) => list(&client, &flags, args.json).await,
        Some(What::Replay(flags)) => replay(&client, &flags, args.json).await,
    }
}

async fn list(client: &Client, flags: &List, as_json: bool) -> Result<(), Failure> {
    let mut query = vec![("after", flags.after.to_string()), ("limit", flags.limit.to_string())];
    for (name, value) in [("state", &flags.state), ("call", &flags.call), ("app", &flags.app)] {
        query.extend(value.clone().map(|value| (name, value)));
    }
    let page = client.ask(Method::GET, "", &query, None).await?;
    if as_json {
        println!("{page}");
    } else {
        print!("{}", table(&page));
    }
    Ok(())
}

async fn replay(client: &Client, flags: &Replay, as_json: bool) -> Result<(), Failure> {
    let mut replayed = 0;
    let count = |answer: &Value| answer["replayed"].as_u64().unwrap_or(0);
    if flags.sequences.is_empty() {
        let state = if flags.delivered { "delivered" } else { "failed" };
        let body = json!({"state": state, "call": flags.call, "app": flags.app});
        replayed = count(&client.ask(Method::POST, "/replay", &[], Some(body)).await?);
    }
    for sequence in &flags.sequences {
        let path = format!("/{sequence}/replay");
        let answer = client.ask(Method::POST, &path, &[], None).await;
        replayed += count(&answer.with_context(|| format!("notification {sequence}"))?);
    }
    if as_json {
        println!("{}", json!({ "replayed": replayed }));
    } else {
        println!("{replayed} are owed again");
    }
    Ok(())
}

/// What to ask, and as whom.
struct Client {
    base: String,
    token: String,
    http: reqwest::Client,
}

impl Client {
    async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let base = &self.base;
        let url = format!("{base}/graphophone/v1/deliveries{path}");
        let mut url: Url = url.parse().with_context(|| format!("--url {base} is not a URL"))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.timeout(RESPONSE_WITHIN).send().await.with_context(|| {
            format!("no server answers at {base} (start one with `graphophone dev`)")
        })?;
        let status = response.status();
        let body: Value = response.json().await.context("the server did not send JSON")?;
        if !status.is_success() {
            bail!("{}", body["error"]["message"].as_str().unwrap_or(status.as_str()));
        }
        Ok(body)
    }
}

/// A page for people: one line each, what went wrong at its end, and the sums.
fn table(page: &Value) -> String {
    let mut text = String::from(
        "SEQUENCE  STATE      ATTEMPTS  CALL                                  URL  LAST ERROR\n",
    );
    for delivery in page["value"].as_array().into_iter().flatten() {
        let word = |name: &str| delivery[name].as_str().unwrap_or_default();
        let line = format!(
            "{:<8}  {:<9}  {:<8}  {:<36}  {}  {}",
            delivery["sequence"].as_u64().unwrap_or(0),
            word("state"),
            delivery["attempts"].as_u64().unwrap_or(0),
            word("call"),
            word("url"),
            word("lastError"),
        );
        text += line.trim_end();
        text += "\n";
    }
    if let Some(next) = page["next"].as_u64() {
        text += &format!("more with --after {next}\n");
    }
    let sum = |name: &str| page[name].as_u64().unwrap_or(0);
    text += &format!(
        "{} created = {} delivered + {} pending + {} failed\n",
        sum("created"),
        sum("delivered"),
        sum("pending"),
        sum("failed"),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_told_line_by_line_with_its_sums() {
        let page = json!({
            "created": 3, "delivered": 1, "pending": 1, "failed": 1, "next": 7,
            "value": [
                {"sequence": 6, "state": "delivered", "attempts": 1, "call": "c", "url": "u"},
                {"sequence": 7, "state": "failed", "attempts": 16, "call": "c", "url": "u",
                 "lastError": "HTTP 410 Gone"},
            ],
        });
        let text = table(&page);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[1].starts_with("6 ") && lines[1].ends_with(" u"), "{text}");
        assert!(
            lines[2].contains("failed     16") && lines[2].ends_with("HTTP 410 Gone"),
            "{text}"
        );
        assert_eq!(lines[3], "more with --after 7");
        assert_eq!(lines[4], "3 created = 1 delivered + 1 pending + 1 failed");
    }
}
