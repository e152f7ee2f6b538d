//! Calls per second: created, answered, made to play 100 ms, deleted, at an offered rate.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::Value;

use super::{
    calls::{self, Bot},
    far_end::Stage,
    report::{Quantiles, RateStep},
};

/// Connections of the bot: how many calls are on their way at one time.
const CONNECTIONS: usize = 64;
/// A rate is kept if the last call is over so soon after it was due, and a part of the whole time
/// that a busy moment may cost.
const GRACE: Duration = Duration::from_millis(500);
const GRACE_PART: f64 = 0.05;
/// Longest that 99 of 100 callers may wait for the answer, in milliseconds.
const SET_UP_P99_MS: f64 = 1_000.0;
/// Length of the prompt.
pub(super) const PROMPT: Duration = Duration::from_millis(100);
const HANG_UP_WITHIN: Duration = Duration::from_secs(10);

/// Offers `rate` calls per second for `length`. With `uri`, each call plays it before it is deleted.
pub(super) fn offer(
    bot: &Bot,
    rate: usize,
    length: Duration,
    first_number: u32,
    uri: Option<&str>,
    cpu: &dyn Fn() -> anyhow::Result<Duration>,
) -> anyhow::Result<RateStep> {
    let calls = (rate as f64 * length.as_secs_f64()).round().max(1.0) as u32;
    let (next, failed) = (AtomicU32::new(0), AtomicUsize::new(0));
    let first_failure = Mutex::new(None);
    let set_ups = Mutex::new(Vec::with_capacity(calls as usize));
    let before = cpu()?;
    let since = Instant::now();
    let lane = || {
        let mut client = bot.connect();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= calls {
                return;
            }
            let due = since + Duration::from_secs_f64(f64::from(number) / rate.max(1) as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let outcome = client.as_mut().map_err(|error| anyhow::anyhow!("{error:#}"));
            match outcome.and_then(|client| one_call(bot, client, first_number + number, uri)) {
                // From when it was due: waiting for a connection is part of it.
                Ok(up) => set_ups
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(up.saturating_duration_since(due)),
                Err(error) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    first_failure
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .get_or_insert(format!("{error:#}"));
                    client = bot.connect();
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS.min(calls as usize) {
            scope.spawn(lane);
        }
    });
    let took = since.elapsed();
    let cpu = cpu()?.saturating_sub(before);
    let failed = failed.into_inner();
    let set_ups = set_ups.into_inner().unwrap_or_else(PoisonError::into_inner);
    let set_up_ms = Quantiles::of(&set_ups);
    let in_time = took <= length.mul_f64(1.0 + GRACE_PART) + GRACE;
    Ok(RateStep {
        offered_per_second: rate,
        calls: calls as usize,
        failed,
        failure: first_failure.into_inner().unwrap_or_else(PoisonError::into_inner),
        kept: failed == 0 && in_time && set_up_ms.p99 <= SET_UP_P99_MS,
        per_second: f64::from(calls) / took.max(length).as_secs_f64(),
        set_up_ms,
        cpu_ms_per_call: cpu.as_secs_f64() * 1_000.0 / f64::from(calls),
        core: cpu.as_secs_f64() / took.as_secs_f64().max(1e-9),
        notifications: 0,
        transactions_per_second: 0.0,
        writes_per_transaction: 0.0,
    })
}

/// When it was up.
fn one_call(
    bot: &Bot,
    client: &mut super::http::Client,
    number: u32,
    uri: Option<&str>,
) -> anyhow::Result<Instant> {
    let up = bot.create_one(client, number)?;
    let at = Instant::now();
    if let Some(uri) = uri {
        calls::play(client, &up.id, uri, false)?;
        std::thread::sleep(PROMPT);
    }
    let path = format!("/v1.0/communications/calls/{}", up.id);
    let exchange = client.send("DELETE", &path, &Value::Null)?;
    anyhow::ensure!(exchange.status == 204, "DELETE is answered {}", exchange.status);
    bot.far_end.wait(number, Stage::Ended, HANG_UP_WITHIN).context("no BYE comes")?;
    Ok(at)
}
