//! States of a call: how it is set up, what is refused where, which timers watch it.

use std::time::Duration;

use super::sim::{ANSWER, Sim, bye, play};
use crate::{CallState, Command, Direction, LegEvent, RejectReason, Rejection, Settings, Tone};

#[test]
fn an_outgoing_call_commits_and_tells_that_it_is_establishing() {
    let sim = Sim::outgoing();
    assert_eq!(sim.log, ["commit establishing", "notify establishing"]);
    assert_eq!(sim.call.direction(), Direction::Outgoing);
}

#[test]
fn an_answered_outgoing_call_is_established_and_its_audio_is_told_separately() {
    let mut sim = Sim::outgoing();
    assert_eq!(sim.leg(LegEvent::Answered), ["commit established", "notify established"]);
    assert!(!sim.call.media_active());
    assert_eq!(sim.media(true), ["notify media active"]);
    assert!(sim.call.media_active());
}

#[test]
fn an_incoming_call_waits_for_the_bot() {
    let sim = Sim::incoming();
    assert_eq!(sim.log, ["commit incoming", "notify incoming"]);
    assert_eq!(sim.call.direction(), Direction::Incoming);
    assert_eq!(sim.call.poll_timeout(), Some(sim.now + Duration::from_secs(15)));
}

#[test]
fn an_incoming_call_that_is_answered_is_establishing_until_the_far_end_confirms() {
    let mut sim = Sim::incoming();
    assert_eq!(sim.command(ANSWER), ["commit establishing", "notify establishing", "leg answer"]);
    assert_eq!(sim.leg(LegEvent::Answered), ["commit established", "notify established"]);
}

#[test]
fn audio_that_is_quicker_than_the_answer_is_told_after_established() {
    let mut sim = Sim::outgoing();
    assert!(sim.media(true).is_empty());
    assert_eq!(
        sim.leg(LegEvent::Answered),
        ["commit established", "notify established", "notify media active"]
    );
    assert_eq!(sim.play_ready('a', 1).last().expect("outputs"), "start a 1 sealed");
}

#[test]
fn early_audio_that_stopped_before_the_answer_is_not_told() {
    let mut sim = Sim::outgoing();
    sim.media(true);
    sim.media(false);
    assert_eq!(sim.leg(LegEvent::Answered), ["commit established", "notify established"]);
}

#[test]
fn unsubscribed_tones_and_our_own_ringing_change_nothing() {
    for mut sim in [Sim::outgoing(), Sim::incoming(), Sim::talking()] {
        let state = sim.call.state();
        assert!(sim.leg(LegEvent::Tone(Tone::Pound)).is_empty());
        assert_eq!(sim.call.state(), state);
    }
    assert!(Sim::incoming().leg(LegEvent::Ringing).is_empty());
}

#[test]
fn the_ringing_of_whom_the_bot_calls_is_told_once() {
    let mut sim = Sim::outgoing();
    assert_eq!(sim.leg(LegEvent::Ringing), ["notify ringing"]);
    assert!(sim.leg(LegEvent::Ringing).is_empty(), "a second 180");
    assert_eq!(sim.call.state(), CallState::Establishing);
}

#[test]
fn a_rejected_call_is_refused_as_the_bot_says_and_told_without_a_state() {
    for (reason, leg) in [
        (RejectReason::None, "leg reject none"),
        (RejectReason::Busy, "leg reject busy"),
        (RejectReason::Forbidden, "leg reject forbidden"),
    ] {
        let mut sim = Sim::incoming();
        assert_eq!(
            sim.command(Command::Reject(reason)),
            [leg, "commit terminated 403/7000", "notify rejected"]
        );
        assert_eq!(sim.call.poll_timeout(), None);
        assert!(sim.bye().is_empty(), "the leg confirms");
    }
}

#[test]
fn a_call_may_be_played_into_right_after_the_first_established() {
    let mut sim = Sim::outgoing();
    sim.leg(LegEvent::Answered);
    assert_eq!(sim.play('a', 1), ["commit a running", "fetch a 1"]);
}

#[test]
fn an_incoming_call_nobody_answers_is_refused_after_fifteen_seconds() {
    let mut sim = Sim::incoming();
    assert!(sim.wait(Duration::from_millis(14_999)).is_empty());
    assert_eq!(
        sim.wait_s(1),
        ["leg reject none", "commit terminated 408/8587", "notify terminated 408/8587"]
    );
    assert_eq!(sim.try_command(ANSWER), Err(Rejection::Terminated));
}

#[test]
fn an_answer_in_time_ends_the_answer_window() {
    let mut sim = Sim::incoming();
    sim.wait_s(14);
    sim.command(ANSWER);
    sim.leg(LegEvent::Answered);
    assert!(sim.wait_s(60).is_empty());
    assert_eq!(sim.call.state(), CallState::Established);
}

#[test]
fn a_caller_who_gives_up_ends_an_incoming_call() {
    let mut sim = Sim::incoming();
    assert_eq!(sim.bye(), ["commit terminated 200/560000", "notify terminated 200/560000"]);
}

#[test]
fn an_outgoing_call_whose_leg_stays_silent_is_given_up() {
    let mut sim = Sim::outgoing();
    assert!(sim.wait_s(94).is_empty());
    assert_eq!(
        sim.wait_s(1),
        ["leg hang up", "commit terminated 408/10057", "notify terminated 408/10057"]
    );
}

#[test]
fn an_answer_that_the_far_end_never_acknowledges_ends_the_call() {
    let mut sim = Sim::incoming();
    sim.command(ANSWER);
    assert_eq!(
        sim.wait_s(35),
        ["leg hang up", "commit terminated 408/1106", "notify terminated 408/1106"]
    );
}

#[test]
fn a_call_without_keep_alive_ends_after_forty_five_minutes() {
    let mut sim = Sim::talking();
    assert!(sim.wait_s(45 * 60 - 1).is_empty());
    assert_eq!(
        sim.wait_s(1),
        ["leg hang up", "commit terminated 408/8537", "notify terminated 408/8537"]
    );
}

#[test]
fn each_keep_alive_gives_another_forty_five_minutes_and_is_silent() {
    let mut sim = Sim::talking();
    for _ in 0..3 {
        assert!(sim.wait_s(45 * 60 - 1).is_empty());
        assert!(sim.command(Command::KeepAlive).is_empty());
    }
    assert_eq!(sim.call.state(), CallState::Established);
    assert_eq!(sim.wait_s(45 * 60).len(), 3);
    assert_eq!(sim.call.state(), CallState::Terminated);
}

#[test]
fn only_keep_alive_counts_as_keep_alive() {
    let mut sim = Sim::talking();
    sim.wait_s(44 * 60);
    sim.play_ready('a', 1);
    sim.finished('a');
    sim.wait_s(60);
    assert_eq!(sim.call.state(), CallState::Terminated);
}

#[test]
fn a_doubled_answer_or_media_event_is_absorbed() {
    let mut sim = Sim::talking();
    assert!(sim.leg(LegEvent::Answered).is_empty());
    assert!(sim.media(true).is_empty());
    sim.media(false);
    assert!(sim.media(false).is_empty());
}

#[test]
fn a_hold_and_its_end_are_told() {
    let mut sim = Sim::talking();
    assert_eq!(sim.media(false), ["notify media inactive"]);
    assert_eq!(sim.media(true), ["notify media active"]);
}

#[test]
fn a_timeout_that_nobody_asked_for_changes_nothing() {
    for mut sim in [Sim::outgoing(), Sim::incoming(), Sim::talking()] {
        let next = sim.call.poll_timeout();
        assert!(sim.input(crate::Input::Timeout).is_empty());
        assert_eq!(sim.call.poll_timeout(), next);
    }
}

#[test]
fn the_times_of_the_settings_are_kept() {
    let settings = Settings {
        keep_alive: Duration::from_secs(3),
        ring_for: Duration::from_secs(1),
        terminate_within: Duration::from_secs(1),
        ..Settings::default()
    };
    let mut ringing = Sim::outgoing_with(settings.clone());
    assert_eq!(ringing.wait_s(2).len(), 3);
    let mut talking = Sim::talking_with(settings);
    assert!(talking.wait(Duration::from_millis(2_999)).is_empty());
    assert_eq!(talking.wait_s(1).len(), 3);
}

#[test]
fn nothing_is_heard_from_a_call_after_its_end() {
    let mut sim = Sim::talking();
    sim.play_ready('a', 1);
    sim.bye();
    assert_eq!(sim.call.poll_timeout(), None);
    for event in [LegEvent::Answered, LegEvent::Media { active: false }, bye()] {
        assert!(sim.leg(event).is_empty());
    }
    assert!(sim.finished('a').is_empty());
    assert!(sim.ready('a', 0).is_empty());
    assert!(sim.input(crate::Input::Timeout).is_empty());
}

#[test]
fn a_call_that_is_answered_for_the_media_of_its_bot_plays_nothing() {
    let mut sim = Sim::incoming();
    sim.command(Command::Answer { service_hosted: false });
    assert_eq!(sim.try_command(play('x', 1, false)), Err(Rejection::NotEstablished));
    sim.leg(LegEvent::Answered);
    assert_eq!(sim.try_command(play('x', 1, false)), Err(Rejection::NotServiceHosted));
    assert_eq!(sim.try_command(Command::KeepAlive), Ok(Vec::new()));
}
