//! One case: a server, a ladder of calls up to the breaking point, and what each step measured.

use std::{
    net::{Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::Value;

use super::{
    calls::{Bot, Pace, Up},
    child::ServerProcess,
    content::Expected,
    cpu::Cores,
    far_end::{self, FarEnd, Leg},
    host::Host,
    http::Client,
    ladder::Ladder,
    latency,
    meter::{Meter, SOCKETS},
    pacing::Pacer,
    prompts::PromptSet,
    recorded::Recorder,
    report::{CaseReport, Latency, RateReport, RateStep, RecordReport, RecordStep, StepReport},
    signalling,
};
use crate::bot::fetch_token;

/// Prompts of [`Case::Distinct`].
const DISTINCT: usize = 1_000;
/// Silent calls on which commands are timed.
const SILENT_CALLS: u32 = 4;

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// One looping prompt on every call.
    Pcmu,
    /// 1,000 different prompts, one on each call.
    Distinct,
    /// As `pcmu`, while the far end sends as much on every call.
    TwoWay,
    /// Group calls of three who all speak and hear the other two.
    Rooms,
    /// Group calls of sixty who all speak.
    Room60,
}

impl Case {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "pcmu",
            Self::Distinct => "distinct",
            Self::TwoWay => "two-way",
            Self::Rooms => "rooms",
            Self::Room60 => "room60",
        }
    }

    /// The far end's part of a call: how many it is called for, and whether it sends as well.
    fn parties(self) -> (usize, bool) {
        match self {
            Self::Pcmu | Self::Distinct => (1, false),
            Self::TwoWay => (1, true),
            Self::Rooms => (3, true),
            Self::Room60 => (60, true),
        }
    }
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
    /// Plays and cancels that are timed at half load, on each of four silent calls.
    pub latency_rounds: usize,
    /// Whether the server may refuse calls that it cannot carry.
    pub admission: bool,
}

/// Rates that are offered in [`run_signalling`].
#[derive(Clone, Debug)]
pub struct RateOptions {
    /// Calls per second of the first step.
    pub start: usize,
    /// Between steps.
    pub step: usize,
    /// Of the last step.
    pub max: usize,
    /// How long each rate is offered.
    pub length: Duration,
    /// Whether each call plays a prompt of 100 ms.
    pub play: bool,
    /// Whether the server may refuse calls that it cannot carry.
    pub admission: bool,
    /// Where the server keeps its data; a temporary directory if not set.
    pub data: Option<PathBuf>,
}

/// How many calls are recorded in [`run_recorded`].
#[derive(Clone, Debug)]
pub struct RecordOptions {
    /// Calls of the first step.
    pub start: usize,
    /// Between steps.
    pub step: usize,
    /// Of the last step.
    pub max: usize,
    /// How long all of them are recorded at one time.
    pub window: Duration,
    /// Where the server keeps its data and recordings; a temporary directory if not set.
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
    /// Whether each call plays its prompt.
    plays: bool,
    /// Whom a call is with.
    parties: usize,
    idle: u64,
    /// The far end's own audio.
    pacer: Option<Pacer>,
    sockets: Vec<UdpSocket>,
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
    let count = if options.case == Case::Distinct { DISTINCT } else { 1 };
    let prompts = PromptSet::new(count, options.prompt_seconds)?;
    let (parties, talks) = options.case.parties();
    let (data, server) = (options.data.as_deref(), (cores, options.admission));
    let mut running = Running::start(prompts, data, server, parties, runtime)?;
    if talks {
        running.talk(cores)?;
    }
    let mut ladder = Ladder::new(options.start, options.step, options.max);
    let mut steps = Vec::new();
    while let Some(calls) = ladder.next() {
        let pace = running.bring_to(calls);
        std::thread::sleep(options.settle);
        let step = running.measure(options, calls, &pace)?;
        ladder.take(step.clean);
        show(&step);
        steps.push(step);
    }
    running.bring_to(ladder.clean() / 2);
    let latency = (options.latency_rounds > 0 && ladder.clean() > 0)
        .then(|| running.latency(options.latency_rounds))
        .transpose()?;
    let tear_down = running.bot.delete(std::mem::take(&mut running.up));
    running.server.stop();
    Ok(CaseReport {
        case: options.case.name().to_owned(),
        clean: ladder.clean(),
        broken: ladder.broken(),
        steps,
        latency,
        tear_down_per_second: tear_down.rate(),
    })
}

/// Offers calls at rising rates until one is not kept; `show` sees each step when it is done.
///
/// # Errors
/// When something does not work; being slow is no error.
pub fn run_signalling(
    options: &RateOptions,
    cores: Cores,
    runtime: &tokio::runtime::Handle,
    show: &mut dyn FnMut(&RateStep),
) -> anyhow::Result<RateReport> {
    let prompts = PromptSet::new(1, signalling::PROMPT.as_secs_f64())?;
    let mut running =
        Running::start(prompts, options.data.as_deref(), (cores, options.admission), 1, runtime)?;
    let uri = options.play.then(|| running.host.prompt(0));
    let mut ladder = Ladder::new(options.start, options.step, options.max);
    let mut steps = Vec::new();
    while let Some(rate) = ladder.next() {
        let first = running.next_number;
        running.next_number += (rate as f64 * options.length.as_secs_f64()).ceil() as u32;
        let cpu = || running.server.cpu_time();
        let told = running.host.notifications();
        let before = running.written()?;
        let since = Instant::now();
        let mut step =
            signalling::offer(&running.bot, rate, options.length, first, uri.as_deref(), &cpu)?;
        step.notifications = running.host.notifications() - told;
        let (seconds, after) = (since.elapsed().as_secs_f64(), running.written()?);
        let transactions = after.0 - before.0;
        step.transactions_per_second = transactions as f64 / seconds;
        step.writes_per_transaction = (after.1 - before.1) as f64 / transactions.max(1) as f64;
        ladder.take(step.kept);
        show(&step);
        steps.push(step);
    }
    running.server.stop();
    Ok(RateReport { kept_per_second: ladder.clean(), broken_per_second: ladder.broken(), steps })
}

/// Records more and more calls on which the far end speaks, until a step is not clean; `show` sees
/// each step when it is done.
///
/// # Errors
/// When something does not work; being slow is no error.
pub fn run_recorded(
    options: &RecordOptions,
    cores: Cores,
    runtime: &tokio::runtime::Handle,
    show: &mut dyn FnMut(&RecordStep),
) -> anyhow::Result<RecordReport> {
    let prompts = PromptSet::new(1, signalling::PROMPT.as_secs_f64())?;
    let mut running = Running::start(prompts, options.data.as_deref(), (cores, false), 1, runtime)?;
    running.talk(cores)?;
    running.plays = false;
    let mut ladder = Ladder::new(options.start, options.step, options.max);
    let mut steps = Vec::new();
    while let Some(calls) = ladder.next() {
        running.bring_to(calls);
        let directory = running.server.recordings();
        let spoken = running.send_on_all();
        let recorder = Recorder {
            bot: &running.bot,
            directory: &directory,
            calls: &running.up,
            spoken: &spoken,
        };
        let mut step = recorder.record(options.window, &|| running.server.cpu_time())?;
        let grown = running.server.resident()?.saturating_sub(running.idle);
        step.kib_per_call = grown as f64 / 1_024.0 / calls.max(1) as f64;
        step.clean &= running.up.len() == calls;
        ladder.take(step.clean);
        show(&step);
        steps.push(step);
    }
    running.bot.delete(std::mem::take(&mut running.up));
    running.server.stop();
    Ok(RecordReport { clean: ladder.clean(), broken: ladder.broken(), steps })
}

impl Running {
    fn start(
        prompts: PromptSet,
        data: Option<&Path>,
        (cores, admission): (Cores, bool),
        parties: usize,
        runtime: &tokio::runtime::Handle,
    ) -> anyhow::Result<Self> {
        let count = prompts.len();
        let directory = match data {
            Some(data) => tempfile::Builder::new().prefix("bench-").tempdir_in(data),
            None => tempfile::Builder::new().prefix("graphophone-bench-").tempdir(),
        }
        .context("no directory for the server's data")?;
        let server = ServerProcess::start(directory.path(), cores, admission)?;
        let expected = prompts.clone();
        let (meter, sockets) = Meter::start(Ipv4Addr::LOCALHOST)?;
        // In a room everybody hears something else.
        let expect = Box::new(
            move |number| {
                if parties > 1 { Expected::Any } else { expected.expected(number) }
            },
        );
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
            plays: true,
            parties,
            idle: 0,
            pacer: None,
            sockets,
            _directory: directory,
        };
        running.warm_up()?;
        Ok(running)
    }

    /// Transactions and writes of the server's store so far.
    fn written(&self) -> anyhow::Result<(u64, u64)> {
        let mut admin = Client::connect(&self.bot.base, self.server.ready("adminToken")?)?;
        let store = admin.send("GET", "/graphophone/v1/load", &Value::Null)?.body["store"].take();
        let count = |key: &str| store[key].as_u64().with_context(|| format!("no {key}"));
        Ok((count("transactions")?, count("writes")?))
    }

    /// Every prompt into the cache, all code into memory; then what an idle server takes is known.
    fn warm_up(&mut self) -> anyhow::Result<()> {
        let numbers = (0..self.prompts.max(8) as u32).collect();
        let (up, pace) = self.bot.create(numbers, &|number| Some(self.prompt(number)));
        if let Some(failure) = pace.failure {
            bail!("the first calls fail: {failure}");
        }
        self.next_number = self.prompts.max(8) as u32;
        self.bot.delete(up);
        self.idle = self.server.resident()?;
        Ok(())
    }

    fn prompt(&self, number: u32) -> String {
        self.host.prompt(number as usize % self.prompts)
    }

    /// Sets up or hangs up, until there are so many.
    fn bring_to(&mut self, calls: usize) -> Pace {
        if calls < self.up.len() {
            self.bot.delete(self.up.split_off(calls));
        }
        let missing = calls.saturating_sub(self.up.len()) as u32;
        let (up, pace) = if self.parties > 1 {
            let parties = self.parties as u32;
            let first = (self.next_number..).step_by(self.parties).take(missing as usize);
            let numbers = first.collect();
            self.next_number += missing * parties;
            self.bot.gather(numbers, parties)
        } else {
            let numbers = (self.next_number..self.next_number + missing).collect();
            self.next_number += missing;
            self.bot.create(numbers, &|number| self.plays.then(|| self.prompt(number)))
        };
        self.up.extend(up);
        self.send_on_all();
        pace
    }

    /// Looks at the calls that are up. Where admission has refused some, they are offered all the
    /// while: what is looked at is a server that goes on refusing.
    fn measure(
        &mut self,
        options: &CaseOptions,
        wanted: usize,
        pace: &Pace,
    ) -> anyhow::Result<StepReport> {
        let calls = self.up.len();
        let offers = options.admission && self.parties == 1;
        let missing = if offers { wanted.saturating_sub(calls) as u32 } else { 0 };
        let numbers: Vec<u32> = (self.next_number..self.next_number + missing).collect();
        self.next_number += missing;
        let this = &*self;
        let before = this.server.cpu_time()?;
        let (window, after, taken) = std::thread::scope(|scope| {
            let uri = |number| Some(this.prompt(number));
            let offered = scope.spawn(move || this.bot.create(numbers, &uri).0);
            let window = this.meter.measure(options.window, calls * this.parties);
            (window, this.server.cpu_time(), offered.join().unwrap_or_default())
        });
        let (window, cpu) = (window?, after?.saturating_sub(before));
        let grown = self.server.resident()?.saturating_sub(self.idle);
        let mut step = StepReport::new(calls, &window, cpu);
        if calls < wanted {
            step.refuse(wanted, pace.failure.clone());
        }
        self.bot.delete(taken);
        step.kib_per_call = grown as f64 / 1_024.0 / calls.max(1) as f64;
        step.set_up_per_second = if pace.calls > 0 { pace.rate() } else { 0.0 };
        Ok(step)
    }

    /// From now on the far end sends on every call, too.
    fn talk(&mut self, cores: Cores) -> anyhow::Result<()> {
        let sockets = self.sockets.iter().map(UdpSocket::try_clone).collect::<Result<_, _>>()?;
        self.pacer = Some(Pacer::start(sockets, cores.meter)?);
        Ok(())
    }

    /// The far end sends on all calls that are up, if it sends at all; their numbers in its order.
    fn send_on_all(&self) -> Vec<u32> {
        let Some(pacer) = &self.pacer else { return Vec::new() };
        let up = self.bot.far_end.up();
        let target = |(number, leg): &(u32, Leg)| (*number as usize % SOCKETS, leg.peer);
        pacer.set(up.iter().map(target).collect());
        up.into_iter().map(|(number, _)| number).collect()
    }

    /// Plays and cancels on silent calls beside those that play.
    fn latency(&mut self, rounds: usize) -> anyhow::Result<Latency> {
        let numbers = (self.next_number..self.next_number + SILENT_CALLS).collect();
        self.next_number += SILENT_CALLS;
        let (silent, _) = self.bot.create(numbers, &|_| None);
        let latency =
            latency::measure(&self.bot, &self.meter, &silent, &self.host.prompt(0), rounds)?;
        self.bot.delete(silent);
        Ok(latency)
    }
}
