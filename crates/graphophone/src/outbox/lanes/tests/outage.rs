//! An endpoint that is down for long: how its recovery is noticed, and what follows.

use std::{cmp::Reverse, collections::BinaryHeap};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::outbox::Schedule;

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn an_endpoint_whose_calls_all_wait_for_hours_is_asked_meanwhile() {
    let (mut lanes, start) = (Lanes::new(Limits::default()), Instant::now());
    for call in 1..=3 {
        lanes.enqueue(start, record(call, call.into(), A));
    }
    lanes.poll(start);
    let due = start + 2 * HOUR;
    for call in 1..=3 {
        lanes.failed(start, call_id(call), 9, due, Failure::Outage);
    }
    // After 30 s at first, ever more rarely, never more than 5 min apart; each time the one that
    // is owed longest, and its own time stands.
    let (mut now, mut asked) = (start, Vec::new());
    while now < due - HOUR / 2 {
        let next = lanes.next_timeout().expect("somebody waits");
        let wait = next - now;
        assert!(wait >= 30 * SECOND && wait <= 300 * SECOND, "{wait:?}");
        assert!(wait <= (next - start) / 20 || wait == 30 * SECOND, "{wait:?}");
        now = next;
        let Some(Action::Attempt(probe)) = lanes.poll(now).pop() else { panic!("not asked") };
        assert_eq!((probe.sequence.0, probe.scheduled), (1, Some(due)));
        asked.push(now);
        lanes.failed(now, probe.call_id, probe.attempts, due, Failure::Outage);
    }
    assert!(asked.len() > 20, "{} times", asked.len());
    // It is back: the next time is the last.
    let back = lanes.next_timeout().expect("somebody waits");
    assert_eq!(started(&mut lanes, back), [1]);
    lanes.settled(back, call_id(1), true);
    assert_eq!(started(&mut lanes, back), [2, 3], "at once");
}

#[test]
fn the_promised_times_stand_though_it_is_asked_in_between() {
    let schedule = Schedule { jitter: 0.0, ..Schedule::default() };
    let (mut lanes, start) = (Lanes::new(Limits::default()), Instant::now());
    lanes.enqueue(start, record(1, 1, A));
    let (mut now, mut promised, mut asked) = (start, Vec::new(), 0);
    loop {
        let Some(Action::Attempt(attempt)) = lanes.poll(now).pop() else { panic!("not tried") };
        let (made, next) = if let Some(due) = attempt.scheduled.filter(|due| *due > now) {
            asked += 1;
            (attempt.attempts, due)
        } else {
            promised.push(now - start);
            let made = attempt.attempts + 1;
            match schedule.after_failure(made, now - start, None, 0.5) {
                Some(wait) => (made, now + wait),
                None => break,
            }
        };
        lanes.failed(now, call_id(1), made, next, Failure::Outage);
        now = lanes.next_timeout().expect("it waits");
    }
    assert_eq!(promised, schedule.attempts_at);
    assert!((288..400).contains(&asked), "asked {asked} times in a day");
}

#[test]
fn endpoints_that_are_down_leave_half_of_all_attempts_to_the_others() {
    let limits = Limits { total: 100, ..Limits::default() };
    let (mut lanes, start) = (Lanes::new(limits), Instant::now());
    let down = |endpoint: u64| format!("http://down-{endpoint}.example/");
    for endpoint in 1..=300 {
        lanes.enqueue(start, record(endpoint, endpoint.into(), &down(endpoint)));
    }
    // None is known to be down, so they get all there is, and fail one after the other.
    let mut now = start;
    for _ in 0..3 {
        let begun = started(&mut lanes, now);
        assert_eq!(begun.len(), 100);
        now += 15 * SECOND;
        for sequence in begun {
            let call = call_id(sequence.into());
            lanes.failed(now, call, 9, start + HOUR, Failure::Outage);
        }
    }
    let due = start + HOUR;
    assert_eq!(started(&mut lanes, due).len(), 50);
    lanes.enqueue(due, record(999, 999, A));
    assert_eq!(started(&mut lanes, due), [999], "at once");
    // One of them is back, and belongs to the others.
    let back = lanes.lanes.iter().find(|(_, lane)| lane.step == Step::InFlight);
    let back = *back.expect("50 are under way").0;
    lanes.settled(due, back, true);
    assert_eq!(started(&mut lanes, due).len(), 1);
}

#[test]
fn an_endpoint_that_works_is_not_asked() {
    let (mut lanes, start) = (Lanes::new(Limits::default()), Instant::now());
    lanes.enqueue(start, record(1, 1, A));
    lanes.enqueue(start, record(2, 2, A));
    lanes.poll(start);
    let due = start + 2 * HOUR;
    lanes.failed(start, call_id(1), 9, due, Failure::Outage);
    lanes.settled(start + SECOND, call_id(2), true);
    let mut now = start;
    while now < due {
        let attempts = started(&mut lanes, now);
        assert!(attempts.is_empty(), "{attempts:?} after {:?}", now - start);
        now = lanes.next_timeout().expect("1 waits");
    }
    assert_eq!(started(&mut lanes, now), [1]);
}

#[test]
fn what_asked_for_its_time_or_was_refused_is_not_used_to_ask() {
    let (mut lanes, start) = (Lanes::new(Limits::default()), Instant::now());
    lanes.enqueue(start, record(1, 1, A));
    lanes.poll(start);
    lanes.failed(start, call_id(1), 9, start + HOUR, Failure::Other);
    assert_eq!(lanes.next_timeout(), Some(start + HOUR));
}

/// How attempts at an endpoint end that is down, and how it is when it is back.
struct Outage {
    calls: u64,
    each: u64,
    /// An attempt meanwhile takes so long.
    fails_after: Duration,
    /// And one afterwards.
    answers_after: Duration,
}

/// P5: what is owed after an hour is delivered within five minutes of the recovery, by at most 64
/// attempts at a time. Everything as in `attempt.rs`, on a clock moved from event to event.
#[test]
fn after_an_hour_of_outage_100_000_owed_notifications_are_delivered_within_five_minutes() {
    let (slow, quick) = (Duration::from_secs(15), Duration::from_millis(1));
    let answers_after = Duration::from_millis(20);
    for (calls, each, fails_after) in
        [(2_000, 50, slow), (2_000, 50, quick), (20_000, 5, quick), (3, 1_000, slow), (1, 1, quick)]
    {
        recover(&Outage { calls, each, fails_after, answers_after });
    }
}

fn recover(outage: &Outage) {
    let name = format!("{} x {}, {:?}", outage.calls, outage.each, outage.fails_after);
    let (schedule, mut random) = (Schedule::default(), StdRng::seed_from_u64(1));
    let limits = Limits { remembered_per_call: usize::MAX, ..Limits::default() };
    let (mut lanes, start) = (Lanes::new(limits), Instant::now());
    for number in 0..outage.each {
        for call in 0..outage.calls {
            let sequence = 1 + number * outage.calls + call;
            lanes.enqueue(start, record(sequence, call.into(), A));
        }
    }
    let recovery = start + HOUR;
    // When it ends, what, and how often it has been tried; which were begun when it was down.
    let mut under_way = BinaryHeap::new();
    let (mut now, mut owed, mut attempts) = (start, outage.calls * outage.each, 0);
    while owed > 0 {
        for action in lanes.poll(now) {
            let Action::Attempt(begun) = action else { panic!("{name}: {action:?}") };
            let is_up = now >= recovery;
            let takes = if is_up { outage.answers_after } else { outage.fails_after };
            let early = begun.scheduled;
            under_way.push(Reverse((now + takes, begun.call_id, is_up, begun.attempts, early)));
        }
        assert!(under_way.len() <= 64, "{name}: {} at a time", under_way.len());
        let ends = under_way.peek().map(|Reverse((at, ..))| *at);
        let next = ends.into_iter().chain(lanes.next_timeout()).min();
        now = next.unwrap_or_else(|| panic!("{name}: {owed} owed, nothing to wait for")).max(now);
        while let Some(&Reverse((at, call_id, is_up, before, early))) = under_way.peek()
            && at <= now
        {
            under_way.pop();
            attempts += 1;
            if is_up {
                owed -= 1;
                lanes.settled(now, call_id, true);
                continue;
            }
            let chance = random.random_range(0.0..1.0);
            let wait = schedule.after_failure(before + 1, now - start, None, chance);
            let (made, next) = match early.filter(|due| *due > now) {
                Some(due) => (before, due),
                None => (before + 1, now + wait.expect("24 h are not over")),
            };
            lanes.failed(now, call_id, made, next, Failure::Outage);
        }
        assert!(now <= recovery + Duration::from_secs(300), "{name}: {owed} owed after 5 min");
    }
    let took = now.saturating_duration_since(recovery);
    println!("{name}: all are delivered {took:?} after the recovery, {attempts} attempts");
    assert!(lanes.lanes.is_empty() && lanes.probes.is_empty() && lanes.timers.is_empty());
}
