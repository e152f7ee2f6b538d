//! Transfers out of a conference: what is asked of somebody's telephone, and who hears of it.

use super::*;

fn refer(sim: &mut Sim, by: char, transferee: char) -> Vec<String> {
    let refer = ReferTo { target: "sip:z@127.0.0.1".into(), replaces: None };
    let request = ConferenceRequest::Refer { transferee: person(transferee), refer };
    sim.input(ConferenceInput::Ask { by: person(by), request })
}

#[test]
fn who_has_reached_the_other_leaves_and_the_bot_that_asked_hears_of_it_first() {
    let mut sim = Sim::group_of("abc");
    assert_eq!(refer(&mut sim, 'B', 'a'), ["refer a to sip:z@127.0.0.1"]);
    assert_eq!(refer(&mut sim, 'B', 'a'), ["B: refer 409/8607"], "one at a time");
    assert_eq!(sim.leg('a', LegEvent::ReferAccepted), ["B: refer accepted"]);
    let done = sim.leg('a', LegEvent::ReferEnded(Ok(())));
    assert_eq!(done, ["B: refer done", "exit a", "remix", "hang up a", "B: roster 4 B b c"]);
    assert!(sim.leg('a', LegEvent::ReferEnded(Ok(()))).is_empty());
}

#[test]
fn who_cannot_refer_stays_until_a_bridge_has_their_leg() {
    let mut sim = Sim::group_of("abc");
    refer(&mut sim, 'B', 'a');
    assert_eq!(sim.leg('a', LegEvent::ReferRefused), ["B: refer refused"]);
    let handed_on = sim.input(ConferenceInput::HandedOn(person('a')));
    assert_eq!(handed_on, ["exit a", "remix", "B: roster 4 B b c"], "and is not hung up");
    assert!(sim.input(ConferenceInput::HandedOn(person('a'))).is_empty());
}

#[test]
fn nobody_is_asked_who_is_not_there_and_nobody_is_told_who_has_left() {
    let mut sim = Sim::group_of("ab");
    assert_eq!(refer(&mut sim, 'B', 'z'), ["B: refer 404/8558"]);
    assert_eq!(refer(&mut sim, 'B', 'B'), ["B: refer 404/8558"]);
    let mut sim = Sim::meeting_of("BC");
    sim.arrive('p');
    sim.leg('p', LegEvent::Answered);
    refer(&mut sim, 'B', 'p');
    sim.leave('B');
    assert!(sim.leg('p', LegEvent::ReferAccepted).is_empty());
}
