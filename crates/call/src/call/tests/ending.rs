//! How calls end, and what happens to their operations.

use super::sim::Sim;
use crate::{CallState, Command, Input, LegEvent, Settings};

fn with_loop_and_queue(settings: Settings) -> Sim {
    let mut sim = Sim::talking_with(settings);
    sim.play_loop('a', 1);
    sim.ready('a', 0);
    sim.play('b', 1);
    sim
}

const CUT: [&str; 3] =
    ["stop a", "commit a failed cancelled 400/8508", "commit b failed cancelled 400/8508"];

#[test]
fn a_hang_up_fails_every_operation_before_the_call_terminates() {
    let mut sim = with_loop_and_queue(Settings::default());
    let outputs = sim.hang_up();
    assert_eq!(outputs[..3], CUT);
    assert_eq!(outputs[3..], ["commit terminating", "notify terminating", "leg hang up"]);
    assert_eq!(sim.bye(), ["commit terminated 200/7000", "notify terminated 200/7000"]);
}

#[test]
fn a_far_end_that_hangs_up_fails_every_operation_and_skips_terminating() {
    let mut sim = with_loop_and_queue(Settings::default());
    let outputs = sim.bye();
    assert_eq!(outputs[..3], CUT);
    assert_eq!(outputs[3..], ["commit terminated 200/560000", "notify terminated 200/560000"]);
}

#[test]
fn a_missed_keep_alive_fails_every_operation() {
    let mut sim = with_loop_and_queue(Settings::default());
    let outputs = sim.wait_s(45 * 60);
    assert_eq!(outputs[0], "leg hang up");
    assert_eq!(outputs[1..4], CUT);
    assert_eq!(outputs[4..], ["commit terminated 408/8537", "notify terminated 408/8537"]);
}

#[test]
fn an_outgoing_call_lasts_no_longer_than_it_may() {
    let longest = std::time::Duration::from_secs(600);
    let settings = Settings { longest_outgoing: Some(longest), ..Settings::default() };
    let mut sim = Sim::outgoing_with(settings.clone());
    sim.wait_s(30);
    sim.leg(LegEvent::Answered);
    sim.media(true);
    assert!(sim.wait_s(599).is_empty(), "counted from the answer");
    assert_eq!(
        sim.wait_s(1),
        ["leg hang up", "commit terminated 403/10199", "notify terminated 403/10199"]
    );
    let mut sim = with_loop_and_queue(settings);
    assert_eq!(sim.wait_s(600)[1..4], CUT);
}

#[test]
fn a_server_that_stops_says_so_of_every_operation_and_of_the_call() {
    let mut sim = with_loop_and_queue(Settings::default());
    let outputs = sim.input(Input::ServerStops);
    assert_eq!(
        outputs,
        [
            "leg hang up",
            "stop a",
            "commit a failed unknown 500/9999",
            "notify a failed unknown 500/9999",
            "commit b failed unknown 500/9999",
            "notify b failed unknown 500/9999",
            "commit terminated 500/9999",
            "notify terminated 500/9999"
        ]
    );
    assert!(sim.input(Input::ServerStops).is_empty());
}

#[test]
fn a_server_that_stops_refuses_what_rings_and_forgets_what_was_hung_up() {
    let mut sim = Sim::incoming();
    let outputs = sim.input(Input::ServerStops);
    assert_eq!(
        outputs,
        ["leg reject none", "commit terminated 500/9999", "notify terminated 500/9999"]
    );
    let mut sim = Sim::talking();
    sim.hang_up();
    let outputs = sim.input(Input::ServerStops);
    assert_eq!(
        outputs,
        ["leg hang up", "commit terminated 200/7000", "notify terminated 200/7000"]
    );
}

#[test]
fn a_copy_made_before_an_input_goes_on_as_if_it_had_never_come() {
    let mut sim = Sim::talking();
    sim.play_ready('a', 1);
    let before = sim.call.clone();
    sim.play('b', 1);
    sim.call = before;
    assert_eq!(sim.finished('a').len(), 2, "nothing starts behind it");
    assert_eq!(sim.play('c', 1), ["commit c running", "fetch c 1"]);
}

#[test]
fn cut_operations_are_notified_only_if_the_settings_say_so() {
    let mut sim =
        with_loop_and_queue(Settings { notify_cut_operations: true, ..Settings::default() });
    let outputs = sim.hang_up();
    let told: Vec<_> = outputs.iter().filter(|line| line.starts_with("notify")).collect();
    assert_eq!(
        told,
        [
            "notify a failed cancelled 400/8508",
            "notify b failed cancelled 400/8508",
            "notify terminating"
        ]
    );
}

#[test]
fn a_hang_up_while_the_far_end_rings_gives_up_the_leg() {
    let mut sim = Sim::outgoing();
    assert_eq!(sim.hang_up(), ["commit terminating", "notify terminating", "leg hang up"]);
    assert!(sim.leg(LegEvent::Answered).is_empty(), "the 200 crossed our CANCEL");
    assert!(sim.media(true).is_empty());
    assert_eq!(sim.bye(), ["commit terminated 200/7000", "notify terminated 200/7000"]);
}

#[test]
fn a_hang_up_of_an_unanswered_incoming_call_refuses_the_leg() {
    let mut sim = Sim::incoming();
    assert_eq!(sim.hang_up(), ["commit terminating", "notify terminating", "leg reject none"]);
    assert_eq!(sim.bye(), ["commit terminated 200/7000", "notify terminated 200/7000"]);
}

#[test]
fn a_leg_that_never_confirms_the_hang_up_is_forgotten() {
    let mut sim = Sim::talking();
    sim.hang_up();
    assert!(sim.wait_s(34).is_empty());
    assert_eq!(sim.wait_s(1), ["commit terminated 200/7000", "notify terminated 200/7000"]);
    assert!(sim.bye().is_empty(), "too late");
}

#[test]
fn a_call_that_is_refused_ends_with_the_reason_of_the_leg() {
    let mut sim = Sim::outgoing();
    let busy = crate::ResultInfo::of_call(486, 8539, "The far end is busy.");
    assert_eq!(busy.message, "The far end is busy. DiagCode: 486#8539.@");
    assert_eq!(
        sim.leg(LegEvent::Ended(busy)),
        ["commit terminated 486/8539", "notify terminated 486/8539"]
    );
}

#[test]
fn two_hang_ups_that_cross_end_the_call_once() {
    let mut sim = Sim::talking();
    sim.hang_up();
    assert!(sim.try_command(Command::HangUp).is_err());
    assert_eq!(sim.bye().len(), 2);
    assert!(sim.bye().is_empty());
    assert_eq!(sim.call.state(), CallState::Terminated);
}

#[test]
fn late_news_of_cut_operations_is_absorbed() {
    let mut sim = with_loop_and_queue(Settings::default());
    sim.hang_up();
    assert!(sim.finished('a').is_empty());
    assert!(sim.ready('b', 0).is_empty());
    assert!(sim.failed('b', 0).is_empty());
}

#[test]
fn a_hang_up_ends_the_grace_time_of_a_playback() {
    let mut sim = Sim::talking();
    sim.play('a', 2);
    sim.ready('a', 0);
    sim.hang_up();
    assert!(sim.wait_s(10).is_empty());
}

#[test]
fn a_call_says_terminated_once_and_last() {
    for end in [Sim::bye, Sim::hang_up, |sim: &mut Sim| sim.wait_s(45 * 60)] {
        let mut sim = with_loop_and_queue(Settings::default());
        end(&mut sim);
        sim.bye();
        sim.wait_s(100);
        let told = |line: &&String| line.starts_with("notify terminated");
        assert_eq!(sim.log.iter().filter(told).count(), 1);
        assert!(sim.log.last().is_some_and(|line| line.starts_with("notify terminated")));
    }
}
