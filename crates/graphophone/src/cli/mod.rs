//! The commands: what is asked on the command line, and how it ends.

mod bench;
mod check_config;
mod demo;
mod dev;
mod notifications;
mod open_files;
mod play;
mod progress;
mod ready_file;
mod token;

use std::{io::IsTerminal as _, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    config::{Config, ConfigError, Overrides, Profile},
    server::StartError,
};

/// The Microsoft Graph calling API on your own phone lines.
#[derive(Debug, Parser)]
#[command(name = "graphophone", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How much to log to stderr: error, warn, info, debug, trace, or a filter like
    /// "graphophone=debug".
    #[arg(long, global = true, env = "GRAPHOPHONE_LOG", default_value = "warn")]
    log: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays prompts into a real call on this machine, end to end, and checks what was heard.
    Demo(demo::Demo),
    /// Serves the dev profile: loopback only, no set-up.
    Dev(ServeArgs),
    /// Serves the production profile.
    Serve(ServeArgs),
    /// Calls TARGET, plays the files, hangs up; no bot needed.
    Play(play::Play),
    /// Gets an access token from a running server and prints it.
    Token(token::Token),
    /// Lists what a running server owes to bots and has delivered to them, or sends it again.
    Notifications(notifications::Notifications),
    /// Measures how many calls this machine carries, and at what cost.
    ///
    /// Starts a server of its own on one core, and a far end, meter and bot on another; all on
    /// loopback. Without flags it prints a capacity card after about a minute and a half. Clean
    /// means: at most 0.1 % of the packets lost, 99 of 100 at most 5 ms behind their 20 ms grid, and
    /// every payload the prompt's. Stop everything else on the machine first.
    Bench(bench::Bench),
    /// Checks a configuration file and lists every fault.
    CheckConfig(check_config::CheckConfig),
}

/// Flags of the commands that start a server.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// Configuration file (TOML). Every key is explained in config.default.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory for everything that must survive a restart.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Plain HTTP listener. With port 0, `dev` picks a free port for every listener that has no
    /// flag, whatever the file says.
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    /// HTTPS listener.
    #[arg(long, value_name = "ADDRESS:PORT")]
    https: Option<SocketAddr>,
    /// SIP listener, `udp:ADDRESS:PORT` or `tcp:ADDRESS:PORT`; may stand several times.
    #[arg(long, value_name = "LISTENER")]
    sip: Vec<String>,
    /// Where the first application is told of incoming calls.
    #[arg(long, value_name = "URL")]
    calling_webhook: Option<url::Url>,
    /// Writes addresses and credentials to this file, as JSON, when the server serves.
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// Prints the start message as JSON.
    #[arg(long)]
    json: bool,
}

impl ServeArgs {
    /// Reads the configuration with these flags on top.
    fn load(&self, base: Profile) -> Result<Config, ConfigError> {
        let mut flags = Overrides::new();
        let mut sip = self.sip.clone();
        let mut https = self.https;
        if base == Profile::Dev && self.http.is_some_and(|at| at.port() == 0) {
            let free = SocketAddr::from(([127, 0, 0, 1], 0));
            https = https.or(Some(free));
            if sip.is_empty() {
                sip = vec![format!("udp:{free}"), format!("tcp:{free}")];
            }
        }
        if let Some(http) = self.http {
            flags.insert("http.listen".to_owned(), http.to_string().into());
        }
        if let Some(https) = https {
            flags.insert("https.listen".to_owned(), https.to_string().into());
        }
        if !sip.is_empty() {
            flags.insert("sip.listen".to_owned(), sip.into());
        }
        if let Some(data) = &self.data {
            flags.insert("store.path".to_owned(), data.display().to_string().into());
        }
        let mut config = Config::load(base, self.config.as_deref(), flags)?;
        if let (Some(url), Some(app)) = (&self.calling_webhook, config.apps.first_mut()) {
            app.calling_webhook = Some(url.clone());
            config.check()?;
        }
        Ok(config)
    }
}

/// How a command ended (interface.md: exit codes).
#[derive(Debug)]
enum Failure {
    /// 1: the job failed.
    Job(anyhow::Error),
    /// 78: the configuration is refused, or a file that it names.
    Config(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Job(error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error.into())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Config(..) => Self::Config(error.into()),
            StartError::ConfigListen { .. } | StartError::SetUp(..) => Self::Job(error.into()),
        }
    }
}

/// Runs a command to its end and says how it ended.
pub async fn run(cli: Cli) -> ExitCode {
    start_logging(&cli.log);
    crate::auth::tls::install_crypto_provider();
    let outcome = match cli.command {
        Command::Demo(args) => demo::run(args).await,
        Command::Dev(args) => dev::run(args, Profile::Dev).await,
        Command::Serve(args) => dev::run(args, Profile::Production).await,
        Command::Play(args) => play::run(args).await,
        Command::Token(args) => token::run(args).await,
        Command::Notifications(args) => notifications::run(args).await,
        Command::Bench(args) => bench::run(args).await,
        Command::CheckConfig(args) => check_config::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Job(error)) => {
            eprintln!("graphophone: {error:#}");
            ExitCode::from(1)
        }
        Err(Failure::Config(error)) => {
            eprintln!("graphophone: {error:#}");
            ExitCode::from(78)
        }
    }
}

fn start_logging(filter: &str) {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|error| {
        eprintln!("graphophone: --log {filter:?} is not a filter ({error}); using \"warn\"");
        EnvFilter::new("warn")
    });
    // A second start (tests in one process) keeps the first subscriber.
    let _ = fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
}
