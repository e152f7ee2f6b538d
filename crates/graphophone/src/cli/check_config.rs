//! `graphophone check-config`: every fault of a file at once.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::config::{Config, Overrides, Profile};

/// Flags of `check-config`.
#[derive(Args, Debug)]
pub(super) struct CheckConfig {
    /// The file to check.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Check it as `graphophone dev` would read it.
    #[arg(long)]
    dev: bool,
    /// Print {"ok":…,"faults":[…]}.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CheckConfig) -> Result<(), Failure> {
    let base = if args.dev { Profile::Dev } else { Profile::Production };
    let result = Config::load(base, Some(&args.config), Overrides::new());
    if args.json {
        let faults: Vec<_> = result
            .as_ref()
            .err()
            .into_iter()
            .flat_map(|error| &error.faults)
            .map(|fault| serde_json::json!({"setting": fault.setting, "message": fault.message}))
            .collect();
        println!("{}", serde_json::json!({"ok": result.is_ok(), "faults": faults}));
    }
    let config = result?;
    if !args.json {
        println!(
            "{}: good ({} apps, {} phones, {} trunks, {} routes)",
            args.config.display(),
            config.apps.len(),
            config.phones.len(),
            config.trunks.len(),
            config.routes.len()
        );
    }
    Ok(())
}
