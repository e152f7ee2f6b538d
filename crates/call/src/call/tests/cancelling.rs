//! cancelMediaProcessing.

use super::sim::{ALL, CURRENT, Sim, id};

const Z_COMPLETED: &str = "commit z completed 200/0";

fn cancelled(name: char) -> [String; 2] {
    ["commit", "notify"].map(|verb| format!("{verb} {name} failed cancelled 400/8508"))
}

#[test]
fn a_cancel_is_completed_at_once_then_stops_the_sound_then_reports_it() {
    let mut sim = Sim::talking();
    sim.play_ready('a', 1);
    let outputs = sim.cancel('z', ALL);
    assert_eq!(outputs[..2], [Z_COMPLETED, "stop a"]);
    assert_eq!(outputs[2..], cancelled('a'));
}

#[test]
fn a_cancel_of_all_ends_every_operation_in_order_with_one_notification_each() {
    let mut sim = Sim::talking();
    for name in ['a', 'b', 'c'] {
        sim.play_ready(name, 1);
    }
    let outputs = sim.cancel('z', ALL);
    assert_eq!(outputs[..2], [Z_COMPLETED, "stop a"]);
    assert_eq!(outputs[2..], ['a', 'b', 'c'].map(cancelled).concat());
    assert!(['a', 'b', 'c'].iter().all(|name| sim.call.operation(id(*name)).is_none()));
}

#[test]
fn a_cancel_of_the_current_one_starts_the_next() {
    let mut sim = Sim::talking();
    sim.play_ready('a', 1);
    sim.play_ready('b', 1);
    sim.play_ready('c', 1);
    let outputs = sim.cancel('z', CURRENT);
    assert_eq!(outputs[..2], [Z_COMPLETED, "stop a"]);
    assert_eq!(outputs[2..4], cancelled('a'));
    assert_eq!(outputs[4..], ["start b 1 sealed"]);
}

#[test]
fn a_cancel_with_nothing_to_cancel_is_completed() {
    let mut sim = Sim::talking();
    assert_eq!(sim.cancel('z', ALL), [Z_COMPLETED]);
    assert_eq!(sim.cancel('z', CURRENT), [Z_COMPLETED]);
}

#[test]
fn a_cancel_before_there_is_audio_stops_no_playout_but_ends_the_operation() {
    let mut sim = Sim::outgoing();
    sim.leg(crate::LegEvent::Answered);
    sim.play_ready('a', 1);
    let outputs = sim.cancel('z', ALL);
    assert_eq!(outputs[0], Z_COMPLETED);
    assert_eq!(outputs[1..], cancelled('a'));
    assert_eq!(sim.media(true), ["notify media active"]);
}

#[test]
fn a_cancel_while_prompts_are_fetched_ends_the_operation_and_its_grace_time() {
    let mut sim = Sim::talking();
    sim.play('a', 2);
    sim.ready('a', 0);
    assert_eq!(sim.cancel('z', ALL)[1..], cancelled('a'));
    assert!(sim.wait_s(10).is_empty());
    assert!(sim.ready('a', 1).is_empty());
    assert!(sim.failed('a', 1).is_empty());
}

#[test]
fn a_cancel_of_a_playback_that_started_early_stops_it_for_good() {
    let mut sim = Sim::talking();
    sim.play('a', 2);
    sim.ready('a', 0);
    sim.wait_s(2);
    let outputs = sim.cancel('z', CURRENT);
    assert_eq!(outputs[1], "stop a");
    assert_eq!(outputs[2..], cancelled('a'));
    assert!(sim.ready('a', 1).is_empty());
}

#[test]
fn a_finish_that_comes_after_the_cancel_is_absorbed() {
    let mut sim = Sim::talking();
    sim.play_ready('a', 1);
    sim.play_ready('b', 1);
    sim.cancel('z', CURRENT);
    assert!(sim.finished('a').is_empty());
    assert!(sim.call.operation(id('b')).is_some());
}

#[test]
fn a_cancel_that_comes_after_the_finish_cancels_nothing() {
    let mut sim = Sim::talking();
    sim.play_ready('a', 1);
    sim.finished('a');
    assert_eq!(sim.cancel('z', ALL), [Z_COMPLETED]);
}

#[test]
fn an_operation_asked_for_after_a_cancel_is_played() {
    let mut sim = Sim::talking();
    sim.play_loop('a', 1);
    sim.ready('a', 0);
    sim.cancel('z', ALL);
    assert_eq!(sim.play_ready('b', 1).last().expect("outputs"), "start b 1 sealed");
}

#[test]
fn a_cancel_on_hold_stops_the_held_playout() {
    let mut sim = Sim::talking();
    sim.play_ready('a', 1);
    sim.media(false);
    let outputs = sim.cancel('z', ALL);
    assert_eq!(outputs[1], "stop a");
    assert_eq!(sim.media(true), ["notify media active"]);
}
