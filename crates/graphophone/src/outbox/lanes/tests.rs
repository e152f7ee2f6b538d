//! Order, limits, holds and memory of the lanes, on a clock moved by hand.

mod any_course;
mod outage;
mod replay;

use std::time::Duration;

use super::*;
use crate::outbox::{
    bot::{call_id, notification},
    endpoints::{AFTERMATH, AFTERMATH_WAIT},
};

const A: &str = "http://a.example/calls";
const B: &str = "http://b.example/calls";
const SECOND: Duration = Duration::from_secs(1);

fn record(sequence: u64, call: u128, url: &str) -> Arc<NotificationRecord> {
    Arc::new(notification(sequence, call, url))
}

/// Polls and gives the sequences to attempt.
fn started(lanes: &mut Lanes, now: Instant) -> Vec<u64> {
    let actions = lanes.poll(now);
    actions
        .into_iter()
        .map(|action| match action {
            Action::Attempt(start) => start.sequence.0,
            Action::Load(load) => panic!("unexpected {load:?}"),
        })
        .collect()
}

#[test]
fn one_call_has_one_attempt_under_way_and_keeps_its_order() {
    let (mut lanes, now) = (Lanes::new(Limits::default()), Instant::now());
    for sequence in 1..=3 {
        assert!(lanes.enqueue(now, record(sequence, 1, A)));
    }
    assert_eq!(started(&mut lanes, now), [1]);
    assert!(started(&mut lanes, now).is_empty());
    lanes.settled(now, call_id(1), true);
    assert_eq!(started(&mut lanes, now), [2]);
    lanes.settled(now, call_id(1), false);
    assert_eq!(started(&mut lanes, now), [3]);
    assert!(!lanes.is_quiet());
    lanes.settled(now, call_id(1), true);
    assert!(lanes.is_quiet());
    assert!(lanes.lanes.is_empty() && lanes.endpoints.is_empty() && lanes.timers.is_empty());
    assert_eq!(lanes.cached_bytes, 0);
}

#[test]
fn a_failed_one_is_repeated_before_its_successor() {
    let (mut lanes, now) = (Lanes::new(Limits::default()), Instant::now());
    lanes.enqueue(now, record(1, 1, A));
    lanes.enqueue(now, record(2, 1, A));
    assert_eq!(started(&mut lanes, now), [1]);
    lanes.failed(now, call_id(1), 1, now + SECOND, Failure::Outage);
    assert_eq!(lanes.next_timeout(), Some(now + SECOND));
    assert!(started(&mut lanes, now + SECOND / 2).is_empty());
    let Some(Action::Attempt(again)) = lanes.poll(now + SECOND).pop() else {
        panic!("due, but not started")
    };
    assert_eq!((again.sequence, again.attempts), (Sequence(1), 1));
}

#[test]
fn calls_do_not_wait_for_each_other() {
    let (mut lanes, now) = (Lanes::new(Limits::default()), Instant::now());
    for call in 1..=5 {
        lanes.enqueue(now, record(call, call.into(), A));
    }
    assert_eq!(started(&mut lanes, now), [1, 2, 3, 4, 5]);
}

#[test]
fn a_notification_taken_in_twice_is_attempted_once() {
    let (mut lanes, now) = (Lanes::new(Limits::default()), Instant::now());
    assert!(lanes.enqueue(now, record(7, 1, A)));
    assert!(!lanes.enqueue(now, record(7, 1, A)));
    assert!(!lanes.enqueue(now, record(6, 1, A)));
    assert_eq!(started(&mut lanes, now), [7]);
    lanes.settled(now, call_id(1), true);
    assert!(lanes.is_quiet());
}

#[test]
fn an_endpoint_gets_no_more_than_its_limit_and_the_next_in_line_follows() {
    let limits = Limits { per_endpoint: 2, ..Limits::default() };
    let (mut lanes, now) = (Lanes::new(limits), Instant::now());
    for call in 1..=4 {
        lanes.enqueue(now, record(call, call.into(), A));
    }
    lanes.enqueue(now, record(5, 5, B));
    assert_eq!(started(&mut lanes, now), [1, 5, 2]);
    lanes.settled(now, call_id(2), true);
    assert_eq!(started(&mut lanes, now), [3]);
}

#[test]
fn endpoints_that_hang_leave_room_for_the_others() {
    let limits = Limits { total: 100, ..Limits::default() };
    let (mut lanes, now) = (Lanes::new(limits), Instant::now());
    let mut sequence = 0;
    for endpoint in 0..20 {
        for _ in 0..50 {
            sequence += 1;
            let url = format!("http://hanging-{endpoint}.example/");
            lanes.enqueue(now, record(sequence, sequence.into(), &url));
        }
    }
    let hanging = started(&mut lanes, now).len();
    assert!((60..100).contains(&hanging), "{hanging} attempts of 100 are taken");
    lanes.enqueue(now, record(9_999, 9_999, A));
    assert_eq!(started(&mut lanes, now), [9_999]);
}

#[test]
fn the_total_is_never_exceeded() {
    let limits = Limits { total: 3, ..Limits::default() };
    let (mut lanes, now) = (Lanes::new(limits), Instant::now());
    for call in 1..=9 {
        lanes.enqueue(now, record(call, call.into(), &format!("http://{call}.example/")));
    }
    assert_eq!(started(&mut lanes, now), [1, 2, 3]);
    assert!(started(&mut lanes, now).is_empty());
    lanes.failed(now, call_id(2), 1, now + SECOND, Failure::Outage);
    assert_eq!(started(&mut lanes, now), [4]);
}

#[test]
fn a_held_notification_starts_when_its_last_guard_goes() {
    let (mut lanes, now) = (Lanes::new(Limits::default()), Instant::now());
    let first = lanes.hold(call_id(1), now + 5 * SECOND);
    let second = lanes.hold(call_id(1), now + 5 * SECOND);
    lanes.enqueue(now, record(1, 1, A));
    lanes.enqueue(now, record(2, 2, A));
    assert_eq!(started(&mut lanes, now), [2]);
    lanes.release(now, first);
    assert!(started(&mut lanes, now).is_empty());
    lanes.release(now, second);
    assert_eq!(started(&mut lanes, now), [1]);
}

#[test]
fn a_hold_that_is_never_released_ends_by_itself() {
    let (mut lanes, now) = (Lanes::new(Limits::default()), Instant::now());
    let hold = lanes.hold(call_id(1), now + 5 * SECOND);
    lanes.enqueue(now, record(1, 1, A));
    assert!(started(&mut lanes, now).is_empty());
    assert_eq!(lanes.next_timeout(), Some(now + 5 * SECOND));
    assert_eq!(started(&mut lanes, now + 5 * SECOND), [1]);
    lanes.release(now, hold);
}

#[test]
fn a_bot_that_always_has_a_request_under_way_is_told_in_time() {
    let (mut lanes, start) = (Lanes::new(Limits::default()), Instant::now());
    let mut hold = lanes.hold(call_id(1), start + 5 * SECOND);
    lanes.enqueue(start, record(1, 1, A));
    // Each request begins before the one in front of it is answered.
    for second in 1..5 {
        let now = start + second * SECOND;
        let next = lanes.hold(call_id(1), now + 5 * SECOND);
        lanes.release(now, hold);
        hold = next;
        let expected: &[u64] = if second == 1 { &[1] } else { &[] };
        assert_eq!(started(&mut lanes, now), expected, "the first request is answered");
    }
    let held = start + 5 * SECOND;
    lanes.settled(held, call_id(1), true);
    lanes.enqueue(held, record(2, 1, A));
    lanes.hold(call_id(1), held + 5 * SECOND);
    assert!(started(&mut lanes, held).is_empty());
    assert_eq!(started(&mut lanes, start + 9 * SECOND), [2], "the last hold before it is over");
}

#[test]
fn a_hold_leaves_what_was_owed_before_it() {
    let (mut lanes, now) = (Lanes::new(Limits::default()), Instant::now());
    for sequence in 1..=2 {
        lanes.enqueue(now, record(sequence, 1, A));
    }
    assert_eq!(started(&mut lanes, now), [1]);
    let hold = lanes.hold(call_id(1), now + 5 * SECOND);
    lanes.enqueue(now, record(3, 1, A));
    lanes.settled(now, call_id(1), true);
    assert_eq!(started(&mut lanes, now), [2]);
    lanes.settled(now, call_id(1), true);
    assert!(started(&mut lanes, now).is_empty());
    lanes.release(now, hold);
    assert_eq!(started(&mut lanes, now), [3]);
}

#[test]
fn what_does_not_fit_in_memory_is_read_from_the_store_in_its_turn() {
    let limits = Limits { remembered_per_call: 2, ..Limits::default() };
    let (mut lanes, now) = (Lanes::new(limits), Instant::now());
    for sequence in 1..=4 {
        lanes.enqueue(now, record(sequence, 1, A));
    }
    for sequence in 1..=2 {
        assert_eq!(started(&mut lanes, now), [sequence]);
        lanes.settled(now, call_id(1), true);
    }
    let [Action::Load(load)] = lanes.poll(now)[..] else { panic!("nothing to load") };
    assert_eq!((load.after, load.known), (Sequence(2), Sequence(4)));

    // While the load is under way, 5 is taken in; the load saw it (or not), and 6 as well.
    lanes.enqueue(now, record(5, 1, A));
    let found = [3, 4].map(|sequence| notification(sequence, 1, A));
    lanes.loaded(now, load, found.to_vec());
    for sequence in 3..=4 {
        assert_eq!(started(&mut lanes, now), [sequence]);
        lanes.settled(now, call_id(1), true);
    }
    let [Action::Load(load)] = lanes.poll(now)[..] else { panic!("nothing to load") };
    let found = [5, 6].map(|sequence| notification(sequence, 1, A));
    lanes.loaded(now, load, found.to_vec());
    assert_eq!(started(&mut lanes, now), [5]);
    lanes.enqueue(now, record(6, 1, A));
    lanes.settled(now, call_id(1), true);
    assert_eq!(started(&mut lanes, now), [6]);
    lanes.settled(now, call_id(1), true);
    assert!(lanes.lanes.is_empty());
}

#[test]
fn a_load_that_fails_is_asked_for_again() {
    let limits = Limits { remembered_per_call: 1, ..Limits::default() };
    let (mut lanes, now) = (Lanes::new(limits), Instant::now());
    lanes.enqueue(now, record(1, 1, A));
    lanes.enqueue(now, record(2, 1, A));
    started(&mut lanes, now);
    lanes.settled(now, call_id(1), true);
    let [Action::Load(load)] = lanes.poll(now)[..] else { panic!("nothing to load") };
    assert_eq!(lanes.poll(now), []);
    assert!(!lanes.is_quiet());
    lanes.not_loaded(load);
    assert_eq!(lanes.poll(now), [Action::Load(load)]);
}

#[test]
fn bodies_are_kept_up_to_the_bound_only() {
    let size = notification(1, 1, A).body.len();
    let limits = Limits { cached_bytes: 2 * size, per_endpoint: 1, ..Limits::default() };
    let (mut lanes, now) = (Lanes::new(limits), Instant::now());
    for call in 1..=3 {
        lanes.enqueue(now, record(call, call.into(), A));
    }
    let mut with_body = Vec::new();
    for call in 1..=3 {
        let Some(Action::Attempt(start)) = lanes.poll(now).pop() else { panic!("not started") };
        with_body.push(start.record.is_some());
        lanes.settled(now, call_id(call), true);
    }
    assert_eq!(with_body, [true, true, false]);
    assert_eq!(lanes.cached_bytes, 0);
}

#[test]
fn the_end_of_an_outage_lets_everything_go_that_waits_for_the_endpoint() {
    let (mut lanes, start) = (Lanes::new(Limits::default()), Instant::now());
    for (call, url) in [(1, A), (2, A), (3, A), (4, B)] {
        lanes.enqueue(start, record(call, call.into(), url));
    }
    lanes.poll(start);
    let hours = start + 7_200 * SECOND;
    lanes.failed(start, call_id(1), 9, hours, Failure::Outage);
    lanes.failed(start, call_id(2), 9, hours, Failure::Other); // 404, or Retry-After
    lanes.failed(start + 20 * SECOND, call_id(4), 9, hours, Failure::Outage);
    let later = start + 40 * SECOND;
    lanes.settled(later, call_id(3), true);
    assert_eq!(started(&mut lanes, later), [1], "2 was refused, 4 is elsewhere");
}

#[test]
fn one_failing_call_among_good_ones_is_not_hurried() {
    let (mut lanes, start) = (Lanes::new(Limits::default()), Instant::now());
    lanes.enqueue(start, record(1, 1, A));
    lanes.poll(start);
    lanes.failed(start, call_id(1), 9, start + 7_200 * SECOND, Failure::Outage);
    for second in 1..100 {
        let now = start + second * SECOND;
        lanes.enqueue(now, record(1 + u64::from(second), 2, A));
        assert_eq!(started(&mut lanes, now), [1 + u64::from(second)]);
        lanes.settled(now, call_id(2), true);
    }
}

#[test]
fn failures_soon_after_an_outage_are_not_left_waiting_for_hours() {
    let (mut lanes, start) = (Lanes::new(Limits::default()), Instant::now());
    for call in 1..=3 {
        lanes.enqueue(start, record(call, call.into(), A));
    }
    lanes.poll(start);
    let wait = 7_200 * SECOND;
    lanes.failed(start, call_id(1), 9, start + wait, Failure::Outage);
    let recovery = start + 3_600 * SECOND;
    lanes.settled(recovery, call_id(2), true);
    assert_eq!(started(&mut lanes, recovery), [1]);
    // One began before the recovery, the other is refused by a bot that has too much to do.
    let later = recovery + 15 * SECOND;
    lanes.failed(later, call_id(3), 9, later + wait, Failure::Outage);
    lanes.failed(later, call_id(1), 10, later + wait, Failure::Outage);
    assert_eq!(started(&mut lanes, later + AFTERMATH_WAIT), [1, 3]);
    // What asks for its time gets it, and at some point the old outage explains nothing more.
    let asked = later + AFTERMATH_WAIT;
    lanes.failed(asked, call_id(3), 10, asked + wait, Failure::Other);
    let much_later = recovery + AFTERMATH;
    lanes.failed(much_later, call_id(1), 11, much_later + wait, Failure::Outage);
    let step = |call| lanes.lanes[&call_id(call)].step;
    assert_eq!(step(3), Step::Waiting(asked + wait, Failure::Other));
    assert_eq!(step(1), Step::Waiting(much_later + wait, Failure::Outage));
}

#[test]
fn calls_owed_since_before_the_start_are_attempted_at_once_and_in_order() {
    let (mut lanes, now) = (Lanes::new(Limits::default()), Instant::now());
    let owed = |call, first, last| Owed {
        call_id: call_id(call),
        first: Sequence(first),
        last: Sequence(last),
        url: A.into(),
    };
    lanes.restore(now, &owed(2, 1, 9));
    lanes.restore(now, &owed(1, 3, 3));
    assert_eq!(started(&mut lanes, now), [1, 3]);
    lanes.settled(now, call_id(2), true);
    let [Action::Load(load)] = lanes.poll(now)[..] else { panic!("nothing to load") };
    assert_eq!((load.after, load.known), (Sequence(1), Sequence(9)));
}
