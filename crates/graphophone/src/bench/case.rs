//! One case: a server, a ladder of calls up to the breaking point, and what each step measured.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;

use super::{
    calls::{Bot, Pace, Up},
    child::ServerProcess,
    cpu::Cores,
    far_end::{self, FarEnd},
    host::Host,
    ladder::Ladder,
    meter::Meter,
    prompts::PromptSet,
    report::{CaseReport, StepReport},
};
use crate::bot::fetch_token;

/// RTP sockets of the far end.
const SOCKETS: usize = 16;

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// One looping prompt on every call.
    Pcmu,
    /// 1,000 different prompts, one on each call.
    Distinct,
    /// As `pcmu`, while the far end sends as much on every call.
    TwoWay,
}

/// How it is measured.
#[derive(Clone, Debug)]
pub struct CaseOptions {
    /// What is played.
    pub case: Case,
    /// Length of a measuring window.
    pub window: Duration,
    /// Time between the last command and the window.
    pub settle: Duration,
    /// Calls of the first step.
    pub start: usize,
    /// Calls between steps.
    pub step: usize,
    /// Calls of the last step.
    pub max: usize,
    /// Length of a prompt in seconds.
    pub prompt_seconds: f64,
    /// Where the server keeps its data; a temporary directory if not set.
    pub data: Option<PathBuf>,
}

/// Everything of a case that runs.
struct Running {
    server: ServerProcess,
    meter: Meter,
    host: Host,
    bot: Bot,
    up: Vec<Up>,
    next_number: u32,
    prompts: usize,
    idle: u64,
    _directory: tempfile::TempDir,
}

/// Climbs the ladder; `show` sees each step when it is done. To be called from a thread that may
/// block, with the handle of a runtime that runs.
///
/// # Errors
/// When something does not work; being slow is no error.
pub fn run_case(
    options: &CaseOptions,
    cores: Cores,
    runtime: &tokio::runtime::Handle,
    show: &mut dyn FnMut(&StepReport),
) -> anyhow::Result<CaseReport> {
    let mut running = Running::start(options, cores, runtime)?;
    let mut ladder = Ladder::new(options.start, options.step, options.max);
    let mut steps = Vec::new();
    while let Some(calls) = ladder.next() {
        let pace = running.bring_to(calls)?;
        std::thread::sleep(options.settle);
        let step = running.measure(options.window, pace)?;
        ladder.take(step.clean);
        show(&step);
        steps.push(step);
    }
    running.stop();
    Ok(CaseReport {
        case: format!("{:?}", options.case).to_lowercase(),
        clean: ladder.clean(),
        broken: ladder.broken(),
        steps,
    })
}

impl Running {
    fn start(
        options: &CaseOptions,
        cores: Cores,
        runtime: &tokio::runtime::Handle,
    ) -> anyhow::Result<Self> {
        let count = match options.case {
            Case::Pcmu | Case::TwoWay => 1,
            Case::Distinct => 1_000,
        };
        let prompts = PromptSet::new(count, options.prompt_seconds)?;
        let directory = match &options.data {
            Some(data) => tempfile::Builder::new().prefix("bench-").tempdir_in(data),
            None => tempfile::Builder::new().prefix("graphophone-bench-").tempdir(),
        }
        .context("no directory for the server's data")?;
        let server = ServerProcess::start(directory.path(), cores)?;
        let expected = prompts.clone();
        let (meter, _) = Meter::start(std::net::Ipv4Addr::LOCALHOST, SOCKETS)?;
        let expect = Box::new(move |number| expected.expected(number));
        let far_end = FarEnd::start(far_end::loopback(), meter.clone(), expect)?;
        let host = Host::start(prompts)?;
        let (base, tenant) = (server.ready("http")?, server.ready("tenant")?);
        let (id, secret) = (server.ready("clientId")?, server.ready("clientSecret")?);
        let token = runtime.block_on(fetch_token(base, tenant, id, secret))?;
        let bot = Bot {
            base: base.to_owned(),
            token: token["access_token"].as_str().context("no access_token")?.to_owned(),
            tenant: tenant.to_owned(),
            callback: host.callback(),
            far_end,
        };
        let mut running = Self {
            server,
            meter,
            host,
            bot,
            up: Vec::new(),
            next_number: 0,
            prompts: count,
            idle: 0,
            _directory: directory,
        };
        running.warm_up()?;
        Ok(running)
    }

    /// Every prompt into the cache, all code into memory; then what an idle server takes is known.
    fn warm_up(&mut self) -> anyhow::Result<()> {
        let numbers = (0..self.prompts.max(8) as u32).collect();
        let (up, _) = self.bot.create(numbers, &|number| Some(self.prompt(number)))?;
        self.next_number = self.prompts.max(8) as u32;
        self.bot.delete(up)?;
        self.idle = self.server.resident()?;
        Ok(())
    }

    fn prompt(&self, number: u32) -> String {
        self.host.prompt(number as usize % self.prompts)
    }

    /// Sets up or hangs up, until there are so many.
    fn bring_to(&mut self, calls: usize) -> anyhow::Result<Pace> {
        if calls < self.up.len() {
            self.bot.delete(self.up.split_off(calls))?;
        }
        let missing = (calls - self.up.len()) as u32;
        let numbers = (self.next_number..self.next_number + missing).collect();
        self.next_number += missing;
        let (up, pace) = self.bot.create(numbers, &|number| Some(self.prompt(number)))?;
        self.up.extend(up);
        Ok(pace)
    }

    fn measure(&self, window: Duration, pace: Pace) -> anyhow::Result<StepReport> {
        let calls = self.up.len();
        let before = self.server.cpu_time()?;
        let window = self.meter.measure(window, calls)?;
        let cpu = self.server.cpu_time()?.saturating_sub(before);
        let grown = self.server.resident()?.saturating_sub(self.idle);
        let mut step = StepReport::new(calls, &window, cpu);
        step.kib_per_call = grown as f64 / 1_024.0 / calls.max(1) as f64;
        step.set_up_per_second = if pace.calls > 0 { pace.rate() } else { 0.0 };
        Ok(step)
    }

    fn stop(self) {
        self.server.stop();
    }
}
