//! Notifications delivered per second: those that a server finds at its start, and those that are
//! committed meanwhile.

use std::{
    fmt::Write as _,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use graphophone_store::{Commit, Store, Written};
use serde_json::{Value, json};

use super::{
    NOTIFICATIONS, Report, endpoint,
    process::{self, Process, difference},
};

const MEASURED: Amount = Amount { calls: 200, each: 100 };
/// What is owed after a long outage must be delivered within (P5).
const DRAINED_WITHIN: Duration = Duration::from_secs(300);

/// How many notifications of how many calls.
#[derive(Clone, Copy)]
struct Amount {
    calls: u64,
    each: u64,
}

impl Amount {
    fn total(self) -> u64 {
        self.calls * self.each
    }
}

/// What has arrived.
#[derive(Default)]
struct Arrived {
    /// The next number of each call.
    next: Vec<u64>,
    count: u64,
    again: u64,
    out_of_order: u64,
    first: Option<Instant>,
    last: Option<Instant>,
}

/// The result of one case.
struct Case {
    name: &'static str,
    amount: Amount,
    /// From the start of the process to the arrival of the last one.
    took: Duration,
    rate: f64,
    cpu: Duration,
    written: Written,
    again: u64,
}

pub(crate) fn measure(base: &Path) -> anyhow::Result<Report> {
    let cases = [owed(base, MEASURED)?, live(base, MEASURED)?];
    let mut table = String::from(
        "notifications        delivered/s  CPU us each  at 100 % CPU/s  transactions/s  writes each\n",
    );
    let mut missed = None;
    for case in &cases {
        let Case { name, rate, written, .. } = case;
        let seconds = case.amount.total() as f64 / rate;
        writeln!(
            table,
            "{name:20} {rate:11.0} {:12.0} {:15.0} {:15.0} {:12.1}",
            case.micros(),
            1e6 / case.micros(),
            written.transactions as f64 / seconds,
            case.writes_each(),
        )?;
        if *rate < NOTIFICATIONS {
            missed = Some(format!("{name}: {rate:.0} notifications/s, not {NOTIFICATIONS:.0}"));
        }
    }
    let json = json!({ "notifications": cases.iter().map(Case::to_json).collect::<Vec<_>>() });
    Ok(Report { table, json, missed })
}

/// How long a server needs for so many that are owed when it starts: its store is checked whole
/// first, then it has one core and the bot the other.
pub(crate) fn drain(base: &Path, owed_in_all: u64, calls: u64) -> anyhow::Result<Report> {
    let amount = Amount { calls, each: owed_in_all.div_ceil(calls.max(1)) };
    ensure!(amount.total() > 0, "--owed and --calls must be more than 0");
    let case = owed(base, amount)?;
    let (total, took) = (amount.total(), case.took);
    let table = format!(
        "{total} owed notifications of {calls} calls: all delivered, in order, {:.1} s after the \
         start; {:.0}/s, {:.0} us of CPU each, {} delivered again\n",
        took.as_secs_f64(),
        case.rate,
        case.micros(),
        case.again,
    );
    let mut json = case.to_json();
    json["seconds"] = json!(took.as_secs_f64());
    let missed = (took > DRAINED_WITHIN).then(|| format!("{took:?}, not {DRAINED_WITHIN:?}"));
    Ok(Report { table, json: json!({ "drain": json }), missed })
}

/// They are in the store when a server of the dev profile starts.
fn owed(base: &Path, amount: Amount) -> anyhow::Result<Case> {
    let directory = tempfile::tempdir_in(base).context("--data")?;
    let path = directory.path().to_str().context("--data is not UTF-8")?;
    // Where the server has it.
    let data = directory.path().join("store");
    let arrived = arrived(amount);
    let (url, _thread) = start_endpoint(&arrived)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Store::open(&data)?;
        // As the calls came to owe them: all calls in turn.
        for number in 0..amount.each {
            let notifications =
                (0..amount.calls).map(|call| process::notification(call, number, &url)).collect();
            store.commit(Commit { notifications, ..Commit::default() }).await?;
        }
        store.close().await;
        anyhow::Ok(())
    })?;
    let begin = Instant::now();
    let mut process = Process::start(&["serve", path])?;
    let case = finish("owed at the start", amount, begin, &mut process, &arrived)?;
    drop(process);
    check_store(&runtime, &data, amount)?;
    Ok(case)
}

/// They are committed while they are delivered.
fn live(base: &Path, amount: Amount) -> anyhow::Result<Case> {
    let directory = tempfile::tempdir_in(base).context("--data")?;
    let path = directory.path().to_str().context("--data is not UTF-8")?;
    let arrived = arrived(amount);
    let (url, _thread) = start_endpoint(&arrived)?;
    let (calls, each) = (amount.calls.to_string(), amount.each.to_string());
    let begin = Instant::now();
    let mut process = Process::start(&["outbox", path, &url, &calls, &each])?;
    let case = finish("committed meanwhile", amount, begin, &mut process, &arrived)?;
    drop(process);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    check_store(&runtime, directory.path(), amount)?;
    Ok(case)
}

/// Waits for all of them. The first answer of the child begins what it is to do.
fn finish(
    name: &'static str,
    amount: Amount,
    begin: Instant,
    process: &mut Process,
    arrived: &Mutex<Arrived>,
) -> anyhow::Result<Case> {
    let mut cpu = process.cpu()?;
    let before = process.written()?;
    let already = lock(arrived).count;
    if already == 0 {
        cpu = process.cpu()?;
    }
    while lock(arrived).count < amount.total() {
        ensure!(
            begin.elapsed() < 2 * DRAINED_WITHIN,
            "{name}: only {} arrive",
            lock(arrived).count
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    // The last ones are settled behind their arrival.
    let end = Instant::now();
    let mut written = process.written()?;
    while written.transactions != before.transactions && end.elapsed() < Duration::from_millis(200)
    {
        std::thread::sleep(Duration::from_millis(20));
        let now = process.written()?;
        if now == written {
            break;
        }
        written = now;
    }
    let cpu = process.cpu()?.saturating_sub(cpu);
    let arrived = lock(arrived);
    ensure!(arrived.out_of_order == 0, "{name}: {} out of order", arrived.out_of_order);
    ensure!(arrived.next.iter().all(|next| *next == amount.each), "{name}: some are missing");
    let (first, last) = arrived.first.zip(arrived.last).context("nothing arrived")?;
    Ok(Case {
        name,
        amount,
        took: last - begin,
        rate: arrived.count as f64 / (last - first).as_secs_f64(),
        // What was delivered before the first look at the CPU time does not count in it.
        cpu: cpu.mul_f64(amount.total() as f64 / (amount.total() - already).max(1) as f64),
        written: difference(written, before),
        again: arrived.again,
    })
}

fn arrived(amount: Amount) -> Arc<Mutex<Arrived>> {
    Arc::new(Mutex::new(Arrived { next: vec![0; amount.calls as usize], ..Arrived::default() }))
}

fn lock(arrived: &Mutex<Arrived>) -> MutexGuard<'_, Arrived> {
    arrived.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The endpoint has a thread of its own: it answers while this one prepares and waits. The thread
/// must be on the second core, and is, because the first child has not been started from it.
fn start_endpoint(
    arrived: &Arc<Mutex<Arrived>>,
) -> anyhow::Result<(String, std::thread::JoinHandle<()>)> {
    let (sender, address) = std::sync::mpsc::channel();
    let arrived = Arc::clone(arrived);
    let thread = std::thread::spawn(move || {
        let run = || -> anyhow::Result<()> {
            graphophone::bench::pin(1)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let at = endpoint::start(move |body| lock(&arrived).take(body)).await;
                let _ = sender.send(at);
                std::future::pending::<()>().await;
            });
            Ok(())
        };
        if let Err(error) = run() {
            eprintln!("rates: the endpoint: {error:#}");
        }
    });
    let at = address.recv().context("the endpoint does not start")??;
    Ok((format!("http://{at}/callback"), thread))
}

fn check_store(
    runtime: &tokio::runtime::Runtime,
    directory: &Path,
    amount: Amount,
) -> anyhow::Result<()> {
    runtime.block_on(async {
        let store = Store::open(directory)?;
        let counts = store.counts().await?;
        store.close().await;
        ensure!(counts.delivered == amount.total() && counts.pending == 0, "the store: {counts:?}");
        Ok(())
    })
}

impl Arrived {
    fn take(&mut self, body: &[u8]) {
        let at = Instant::now();
        let (Some(call), Some(number)) = (member(body, "\"call\":"), member(body, "\"number\":"))
        else {
            return;
        };
        let Some(next) = usize::try_from(call).ok().and_then(|call| self.next.get_mut(call)) else {
            return;
        };
        if number < *next {
            self.again += 1;
            return;
        }
        if number > *next {
            self.out_of_order += 1;
        }
        *next = number + 1;
        self.count += 1;
        self.first.get_or_insert(at);
        self.last = Some(at);
    }
}

/// A number in the JSON.
fn member(body: &[u8], name: &str) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once(name)?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..end].parse().ok()
}

impl Case {
    fn micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.amount.total() as f64
    }

    fn writes_each(&self) -> f64 {
        self.written.writes as f64 / self.written.transactions.max(1) as f64
    }

    fn to_json(&self) -> Value {
        json!({
            "case": self.name,
            "notifications": self.amount.total(),
            "perSecond": self.rate,
            "cpuMicrosEach": self.micros(),
            "transactions": self.written.transactions,
            "writes": self.written.writes,
            "rows": self.written.rows,
            "writesPerTransaction": self.writes_each(),
            "deliveredAgain": self.again,
        })
    }
}
