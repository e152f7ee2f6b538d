//! Settled notifications that are owed again take their place in the order of their call.

use super::*;

/// The load that is asked for now, with the notifications of call 1 that it finds.
fn load(lanes: &mut Lanes, now: Instant, found: &[u64]) {
    let [Action::Load(load)] = lanes.poll(now)[..] else { panic!("nothing to load") };
    assert_eq!(load.after, Sequence(0), "from the beginning");
    let found = found.iter().map(|sequence| notification(*sequence, 1, A)).collect();
    lanes.loaded(now, load, found);
}

fn deliver(lanes: &mut Lanes, now: Instant, expected: &[u64]) {
    for sequence in expected {
        assert_eq!(started(lanes, now), [*sequence]);
        lanes.settled(now, call_id(1), true);
    }
    assert!(lanes.lanes.is_empty() && lanes.endpoints.is_empty() && lanes.timers.is_empty());
    assert_eq!(lanes.cached_bytes, 0);
}

#[test]
fn of_a_call_that_owed_nothing_they_go_at_once_and_in_order() {
    let (mut lanes, now) = (Lanes::new(Limits::default()), Instant::now());
    lanes.replay(now, call_id(1), Sequence(4));
    load(&mut lanes, now, &[2, 4]);
    deliver(&mut lanes, now, &[2, 4]);
}

#[test]
fn they_go_in_front_of_what_waits_for_a_later_attempt() {
    let (mut lanes, now) = (Lanes::new(Limits::default()), Instant::now());
    for sequence in 5..=6 {
        lanes.enqueue(now, record(sequence, 1, A));
    }
    lanes.poll(now);
    lanes.failed(now, call_id(1), 9, now + 7_200 * SECOND, Failure::Outage);
    lanes.replay(now, call_id(1), Sequence(2));
    load(&mut lanes, now, &[2, 5, 6]);
    deliver(&mut lanes, now, &[2, 5, 6]);
}

#[test]
fn they_go_behind_what_is_under_way_and_in_front_of_the_rest() {
    for is_started in [false, true] {
        let (mut lanes, now) = (Lanes::new(Limits::default()), Instant::now());
        for sequence in 5..=7 {
            lanes.enqueue(now, record(sequence, 1, A));
        }
        if is_started {
            assert_eq!(started(&mut lanes, now), [5]);
        }
        lanes.replay(now, call_id(1), Sequence(3));
        if !is_started {
            assert_eq!(started(&mut lanes, now), [5]);
        }
        lanes.enqueue(now, record(8, 1, A));
        lanes.settled(now, call_id(1), true);
        load(&mut lanes, now, &[2, 3, 6, 7, 8]);
        deliver(&mut lanes, now, &[2, 3, 6, 7, 8]);
    }
}

#[test]
fn they_do_not_wait_for_one_under_way_that_fails() {
    let (mut lanes, now) = (Lanes::new(Limits::default()), Instant::now());
    lanes.enqueue(now, record(5, 1, A));
    assert_eq!(started(&mut lanes, now), [5]);
    lanes.replay(now, call_id(1), Sequence(3));
    lanes.failed(now, call_id(1), 9, now + 7_200 * SECOND, Failure::Outage);
    load(&mut lanes, now, &[3, 5]);
    deliver(&mut lanes, now, &[3, 5]);
}

#[test]
fn a_read_that_began_before_the_replay_does_not_count() {
    let limits = Limits { remembered_per_call: 1, ..Limits::default() };
    let (mut lanes, now) = (Lanes::new(limits), Instant::now());
    lanes.enqueue(now, record(5, 1, A));
    lanes.enqueue(now, record(6, 1, A));
    assert_eq!(started(&mut lanes, now), [5]);
    lanes.settled(now, call_id(1), true);
    let [Action::Load(early)] = lanes.poll(now)[..] else { panic!("nothing to load") };
    lanes.replay(now, call_id(1), Sequence(3));
    lanes.loaded(now, early, vec![notification(6, 1, A)]);
    load(&mut lanes, now, &[3]);
    assert_eq!(started(&mut lanes, now), [3]);
}

#[test]
fn one_that_is_held_lets_them_go_first() {
    let (mut lanes, now) = (Lanes::new(Limits::default()), Instant::now());
    let hold = lanes.hold(call_id(1), now + 5 * SECOND);
    lanes.enqueue(now, record(5, 1, A));
    assert!(started(&mut lanes, now).is_empty());
    lanes.replay(now, call_id(1), Sequence(3));
    lanes.release(now, hold);
    load(&mut lanes, now, &[3, 5]);
    deliver(&mut lanes, now, &[3, 5]);
}
