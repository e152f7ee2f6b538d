//! Transfers and redirects: what a bot is told, and what is asked of legs and bridges. Every pair of
//! state and event is in `docs/states/call.md`.

use std::time::Duration;

use super::{
    groups::{group, person, roster},
    sim::Sim,
};
use crate::{BridgeEvent, CallState, Command, Input, LegEvent, ReferTo, Rejection, ResultInfo};

fn transfer(refers: bool, is_consultative: bool) -> Command {
    let target = "sip:carol@127.0.0.1".to_owned();
    let refer = refers.then_some(ReferTo { target, replaces: None });
    Command::Transfer { transferee: None, refer, is_consultative }
}

fn busy() -> ResultInfo {
    ResultInfo::of_call(486, 8539, "The far end is busy.")
}

fn bridge(sim: &mut Sim, event: BridgeEvent) -> Vec<String> {
    sim.input(Input::Bridge(event))
}

#[test]
fn a_transfer_by_refer_ends_the_call_when_its_target_is_reached() {
    let mut sim = Sim::talking();
    assert_eq!(
        sim.command(transfer(true, false)),
        ["commit transferring", "notify transferring", "leg refer sip:carol@127.0.0.1 None"]
    );
    assert_eq!(
        sim.leg(LegEvent::ReferAccepted),
        ["commit transferaccepted", "notify transferAccepted"]
    );
    assert_eq!(
        sim.leg(LegEvent::ReferEnded(Ok(()))),
        ["leg hang up", "commit terminated 0/7015", "notify transferred"]
    );
    assert!(sim.leg(LegEvent::ReferEnded(Ok(()))).is_empty(), "late news are absorbed");
}

#[test]
fn a_far_end_that_does_not_refer_is_bridged() {
    let mut sim = Sim::talking();
    sim.command(transfer(true, false));
    assert_eq!(sim.leg(LegEvent::ReferRefused), ["bridge dial"]);
    assert_eq!(
        bridge(&mut sim, BridgeEvent::Ringing),
        ["commit transferaccepted", "notify transferAccepted"]
    );
    assert_eq!(
        bridge(&mut sim, BridgeEvent::Answered),
        ["bridge join", "commit terminated 0/7015", "notify transferred"]
    );
}

#[test]
fn what_plays_stops_before_the_bridge_opens() {
    let mut sim = Sim::talking();
    sim.play_ready('a', 1);
    sim.command(transfer(false, false));
    let outputs = bridge(&mut sim, BridgeEvent::Answered);
    let place = |wanted: &str| outputs.iter().position(|line| line == wanted).expect(wanted);
    assert!(place("stop a") < place("bridge join"), "{outputs:?}");
}

#[test]
fn a_transfer_that_fails_gives_the_call_back() {
    for refers in [true, false] {
        let mut sim = Sim::talking();
        sim.command(transfer(refers, false));
        let told = if refers {
            sim.leg(LegEvent::ReferEnded(Err(busy())))
        } else {
            bridge(&mut sim, BridgeEvent::Failed(busy()))
        };
        assert_eq!(told, ["commit established", "notify established 500/7000"]);
        assert!(sim.play_ready('a', 1).contains(&"start a 1 sealed".to_owned()));
    }
}

#[test]
fn a_hang_up_in_a_transfer_calls_nobody_any_more() {
    let mut sim = Sim::talking();
    sim.command(transfer(false, false));
    assert!(sim.hang_up().contains(&"bridge abandon".to_owned()));
    let mut sim = Sim::talking();
    sim.command(transfer(false, false));
    assert!(sim.bye().contains(&"bridge abandon".to_owned()));
}

#[test]
fn a_consultative_transfer_ends_both_calls() {
    let mut first = Sim::talking();
    first.command(transfer(false, true));
    assert_eq!(
        bridge(&mut first, BridgeEvent::Answered).last().expect("it is told"),
        "notify transferred between two calls"
    );
    let mut second = Sim::talking();
    assert_eq!(
        second.input(Input::TakenOver),
        ["bridge join", "commit terminated 0/7015", "notify transferred between two calls"]
    );
    // By REFER, the second far end leaves by itself.
    let mut second = Sim::talking();
    second.input(Input::MayBeReplaced(true));
    assert_eq!(second.bye(), ["commit terminated 0/7015", "notify transferred between two calls"]);
    let mut spared = Sim::talking();
    spared.input(Input::MayBeReplaced(true));
    spared.input(Input::MayBeReplaced(false));
    assert!(spared.bye().contains(&"notify terminated 200/560000".to_owned()));
}

#[test]
fn a_redirected_caller_is_answered_when_a_target_is() {
    let redirect = || Command::Redirect { ring_for: Duration::from_secs(30) };
    let mut sim = Sim::incoming();
    assert_eq!(sim.command(redirect()), ["commit redirecting", "bridge dial"]);
    assert_eq!(bridge(&mut sim, BridgeEvent::Answered), ["leg answer"]);
    assert_eq!(
        sim.leg(LegEvent::Answered),
        ["bridge join", "commit terminated 200/7000", "notify redirected 200/7000"]
    );

    let mut sim = Sim::incoming();
    sim.command(redirect());
    assert_eq!(
        bridge(&mut sim, BridgeEvent::Failed(busy())),
        ["leg reject busy", "commit terminated 486/8539", "notify redirected 486/8539"]
    );

    let mut sim = Sim::incoming();
    sim.command(redirect());
    assert!(sim.wait_s(29).is_empty(), "the answer window of 15 s no longer counts");
    assert!(sim.bye().contains(&"bridge abandon".to_owned()), "the caller gave up");
    assert_eq!(sim.call.state(), CallState::Terminated);
}

fn of_group(transferee: Option<char>, refers: bool) -> Command {
    let Command::Transfer { refer, is_consultative, .. } = transfer(refers, false) else {
        panic!("it is a transfer");
    };
    Command::Transfer { transferee: transferee.map(person), refer, is_consultative }
}

#[test]
fn of_a_group_call_one_participant_is_transferred_and_the_bots_call_ends() {
    let mut sim = group();
    assert_eq!(sim.try_command(of_group(None, true)), Err(Rejection::NoTransferee));
    assert_eq!(sim.try_command(of_group(Some('z'), true)), Err(Rejection::ParticipantAbsent));
    assert_eq!(sim.try_command(of_group(Some('B'), true)), Err(Rejection::ParticipantAbsent));
    let asked = sim.command(of_group(Some('a'), true));
    assert_eq!(asked[1..], ["notify transferring", "conference refer sip:carol@127.0.0.1"]);
    sim.leg(LegEvent::ReferAccepted);
    assert_eq!(
        sim.leg(LegEvent::ReferEnded(Ok(()))),
        ["leg hang up", "commit terminated 0/7015", "notify transferred"]
    );

    let mut sim = group();
    sim.command(of_group(Some('a'), true));
    assert_eq!(sim.leg(LegEvent::ReferRefused), ["bridge dial"]);
    let joined = bridge(&mut sim, BridgeEvent::Answered);
    assert_eq!(joined.last().unwrap(), "notify transferred");
    assert!(joined.contains(&"bridge join".to_owned()), "{joined:?}");
}

#[test]
fn a_transferee_who_leaves_in_another_way_ends_the_transfer_and_not_the_call() {
    let mut sim = group();
    sim.command(of_group(Some('a'), false));
    assert_eq!(
        sim.leg(roster(2, "Bb", None)),
        [
            "notify roster 2 of 2",
            "bridge abandon",
            "commit established",
            "notify established 500/7000"
        ]
    );
    assert_eq!(sim.call.state(), CallState::Established);
    assert!(bridge(&mut sim, BridgeEvent::Answered).is_empty(), "late news are absorbed");
}

#[test]
fn a_redirect_that_nobody_ends_refuses_the_caller_when_its_time_has_come() {
    let mut sim = Sim::incoming();
    sim.command(Command::Redirect { ring_for: Duration::from_secs(30) });
    let outputs = sim.wait_s(65);
    assert!(outputs.contains(&"leg reject none".to_owned()), "{outputs:?}");
    assert!(!outputs.contains(&"leg hang up".to_owned()), "{outputs:?}");
}
