//! From a bot's request to what is heard of it, on silent calls beside those that play.

use std::{
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::{
    calls::{self, Bot, Up},
    far_end::Stage,
    meter::Meter,
    report::{Latency, Quantiles},
};

/// A packet that is not there by then does not come.
const PATIENCE: Duration = Duration::from_secs(5);
/// What has been silent for so long is over.
const SILENCE: Duration = Duration::from_millis(80);

/// Plays and cancels `rounds` times on each of `calls`, at the same time on all of them.
///
/// # Errors
/// When a command is refused or nothing is heard.
pub(super) fn measure(
    bot: &Bot,
    meter: &Meter,
    calls: &[Up],
    uri: &str,
    rounds: usize,
) -> anyhow::Result<Latency> {
    let lanes: Vec<anyhow::Result<Vec<(Duration, Duration)>>> = std::thread::scope(|scope| {
        let lanes: Vec<_> =
            calls.iter().map(|call| scope.spawn(|| lane(bot, meter, call, uri, rounds))).collect();
        let join = |lane: std::thread::ScopedJoinHandle<'_, _>| {
            lane.join().unwrap_or_else(|_| bail!("a thread of the bot panicked"))
        };
        lanes.into_iter().map(join).collect()
    });
    let (mut plays, mut cancels) = (Vec::new(), Vec::new());
    for lane in lanes {
        for (play, cancel) in lane? {
            plays.push(play);
            cancels.push(cancel);
        }
    }
    Ok(Latency {
        play_first_packet_ms: Quantiles::of(&plays),
        cancel_last_packet_ms: Quantiles::of(&cancels),
    })
}

fn lane(
    bot: &Bot,
    meter: &Meter,
    call: &Up,
    uri: &str,
    rounds: usize,
) -> anyhow::Result<Vec<(Duration, Duration)>> {
    let mut client = bot.connect()?;
    let leg = bot.far_end.wait(call.number, Stage::Confirmed, PATIENCE).context("no such call")?;
    let arrivals = meter.watch(leg.peer);
    let mut times = Vec::new();
    for round in 0..rounds {
        let play = calls::play(&mut client, &call.id, uri, true)?;
        let first = arrivals.recv_timeout(PATIENCE).context("nothing is heard")?;
        // Another phase of the 20 ms each time, and on each call.
        let phase = (round as u64 * 1_370 + u64::from(call.number) * 5_310) % 20_000;
        std::thread::sleep(Duration::from_micros(60_000 + phase));
        let cancel = calls::cancel(&mut client, &call.id)?;
        let last = last_of(&arrivals).unwrap_or(first);
        times.push((first.saturating_duration_since(play), last.saturating_duration_since(cancel)));
    }
    meter.unwatch(leg.peer);
    Ok(times)
}

/// The last arrival before a silence.
fn last_of(arrivals: &Receiver<Instant>) -> Option<Instant> {
    std::iter::from_fn(|| arrivals.recv_timeout(SILENCE).ok()).last()
}
