//! The `graphophone` command: flags in, exit code out. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use graphophone::cli::{self, Cli};

fn main() -> ExitCode {
    // clap exits with 2 on wrong usage.
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("graphophone: the asynchronous runtime does not start: {error}");
            return ExitCode::from(1);
        }
    };
    let code = runtime.block_on(cli::run(cli));
    // A resolver or decoder thread that still works must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code
}
