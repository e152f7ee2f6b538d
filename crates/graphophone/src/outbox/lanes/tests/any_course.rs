//! Random calls, endpoints, outcomes, holds, loads and replays against the rules.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

/// From fixed seeds.
#[test]
fn in_any_course_of_events_order_limits_and_completeness_hold() {
    for seed in 0..40 {
        simulate(seed);
    }
}

fn simulate(seed: u64) {
    const CALLS: u128 = 25;
    let mut random = StdRng::seed_from_u64(seed);
    let limits = Limits {
        per_endpoint: random.random_range(1..5),
        total: random.random_range(1..12),
        remembered_per_call: random.random_range(1..5),
        cached_bytes: random.random_range(0..100),
    };
    let mut lanes = Lanes::new(limits);
    let mut now = Instant::now();
    // The store: what is owed per call; and what is under way.
    let mut store: BTreeMap<CallId, VecDeque<u64>> = BTreeMap::new();
    let mut in_flight: BTreeMap<CallId, (u64, &str)> = BTreeMap::new();
    // What was settled and may be replayed; and what need not be the first one owed, because it was
    // under way or about to be when an earlier one was replayed.
    let mut done: BTreeMap<CallId, Vec<u64>> = BTreeMap::new();
    let mut overtaken: BTreeMap<CallId, u64> = BTreeMap::new();
    let mut loads: Vec<Load> = Vec::new();
    let mut read: Vec<(Load, Vec<NotificationRecord>)> = Vec::new();
    let mut holds: Vec<HoldId> = Vec::new();
    let urls = [A, B, "not a url", "http://c.example/"];
    let url_of = |call: CallId| urls[call.uuid().as_u128() as usize % urls.len()];
    let mut sequence = 0;
    for step in 0.. {
        let is_ending = step >= 3_000;
        let owed: usize = store.values().map(VecDeque::len).sum();
        if is_ending && owed == 0 && loads.is_empty() && read.is_empty() {
            break;
        }
        assert!(step < 100_000, "seed {seed}: {owed} of {sequence} are owed, then nothing more");
        match random.random_range(0..11) {
            0..=2 if !is_ending => {
                let n = random.random_range(0..CALLS);
                for _ in 0..random.random_range(1..4) {
                    sequence += 1;
                    store.entry(call_id(n)).or_default().push_back(sequence);
                    assert!(lanes.enqueue(now, record(sequence, n, url_of(call_id(n)))));
                }
            }
            3 if !is_ending => {
                let call = call_id(random.random_range(0..CALLS));
                holds.push(lanes.hold(call, now + 3 * SECOND));
            }
            4 => {
                if let Some(hold) = holds.pop() {
                    lanes.release(now, hold);
                }
            }
            5 if !is_ending => {
                let call = call_id(random.random_range(0..CALLS));
                let settled = done.entry(call).or_default();
                let replayed: Vec<u64> =
                    settled.extract_if(.., |_| random.random_bool(0.3)).collect();
                let Some(last) = replayed.iter().max() else { continue };
                let owed = store.entry(call).or_default();
                owed.extend(&replayed);
                owed.make_contiguous().sort_unstable();
                if let Some(lane) = lanes.lanes.get(&call)
                    && matches!(lane.step, Step::Ready | Step::InFlight)
                {
                    overtaken.insert(call, lane.queue[0].sequence.0);
                }
                lanes.replay(now, call, Sequence(*last));
            }
            6 => {
                // What a read has found may be old when it arrives.
                if let Some((load, found)) = read.pop() {
                    lanes.loaded(now, load, found);
                } else if let Some(load) = loads.pop() {
                    let owed = store.get(&load.call_id).cloned().unwrap_or_default();
                    let call = load.call_id.uuid().as_u128() - 0x1000;
                    let found = owed
                        .into_iter()
                        .filter(|sequence| *sequence > load.after.0)
                        .take(load.limit)
                        .map(|found| notification(found, call, url_of(load.call_id)))
                        .collect();
                    read.push((load, found));
                }
            }
            _ => {
                let nth = random.random_range(0..in_flight.len().max(1));
                if let Some((&call, &(attempted, _))) = in_flight.iter().nth(nth) {
                    in_flight.remove(&call);
                    if random.random_bool(0.3) {
                        let wait = SECOND * random.random_range(0..90);
                        let failure = [Failure::Outage, Failure::Other][random.random_range(0..2)];
                        lanes.failed(now, call, 1, now + wait, failure);
                    } else {
                        store.get_mut(&call).unwrap().retain(|owed| *owed != attempted);
                        done.entry(call).or_default().push(attempted);
                        overtaken.remove(&call);
                        lanes.settled(now, call, true);
                    }
                }
            }
        }
        now += SECOND * random.random_range(0..3);
        for action in lanes.poll(now) {
            match action {
                Action::Load(load) => loads.push(load),
                Action::Attempt(start) => {
                    let (call, started) = (start.call_id, start.sequence.0);
                    let is_first = store[&call].front() == Some(&started);
                    let is_overtaken = overtaken.get(&call) == Some(&started);
                    assert!(is_first || is_overtaken, "seed {seed}: order");
                    assert!(store[&call].contains(&started), "seed {seed}: not owed");
                    let url = url_of(start.call_id);
                    let before = in_flight.insert(start.call_id, (start.sequence.0, url));
                    assert_eq!(before, None, "seed {seed}: two attempts for one call");
                }
            }
        }
        assert!(in_flight.len() <= limits.total);
        for url in urls {
            let there = in_flight.values().filter(|(_, its)| *its == url).count();
            assert!(there <= limits.per_endpoint, "seed {seed}: {there} at {url}");
        }
        assert!(lanes.cached_bytes <= limits.cached_bytes);
        assert!(
            lanes.lanes.values().all(|lane| lane.queue.len() <= limits.remembered_per_call + 1)
        );
    }
    assert!(lanes.lanes.is_empty() && lanes.endpoints.is_empty() && lanes.timers.is_empty());
    assert!(lanes.probes.is_empty());
    assert_eq!((lanes.in_flight, lanes.in_vain, lanes.cached_bytes), (0, 0, 0));
}
