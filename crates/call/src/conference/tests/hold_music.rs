//! Hold music: one listener at a time, isolated both ways.

use super::*;

fn start(name: char) -> GroupVerb {
    GroupVerb::StartHoldMusic { participant: person(name), prompt: None }
}

#[test]
fn hold_music_isolates_one_and_the_others_go_on() {
    let mut sim = Sim::group_of("abc");
    assert_eq!(sim.ask('B', 1, start('a')), ["remix", "tune for a by B", "B: roster 4 B a~ b c"]);
    assert_eq!(sim.hearing("abc"), ["a hears ", "b hears c", "c hears b"]);
    assert_eq!(sim.music('a', Ok(())), ["B: 1 done"]);
    assert!(sim.music('a', Ok(())).is_empty());
    let stopped = sim.ask('B', 2, GroupVerb::StopHoldMusic(person('a')));
    assert_eq!(stopped, ["no music for a", "remix", "B: 2 done", "B: roster 5 B a b c"]);
    assert_eq!(sim.hearing("abc"), ["a hears bc", "b hears ac", "c hears ab"]);
}

#[test]
fn a_second_listener_is_a_conflict() {
    let mut sim = Sim::group_of("ab");
    sim.ask('B', 1, start('a'));
    assert_eq!(sim.ask('B', 2, start('b')), ["B: 2 409/8519"]);
    assert_eq!(sim.ask('B', 3, GroupVerb::StopHoldMusic(person('b'))), ["B: 3 400/8585"]);
}

#[test]
fn only_people_who_are_there_can_hear_it() {
    let mut sim = Sim::group_of("a");
    sim.ask('B', 1, GroupVerb::Invite([invitation('c')].into()));
    for (number, name) in [(2, 'B'), (3, 'c'), (4, 'z')] {
        assert_eq!(sim.ask('B', number, start(name)), [format!("B: {number} 404/8558")]);
    }
}

#[test]
fn music_that_cannot_be_played_lets_its_listener_back_in() {
    let mut sim = Sim::group_of("ab");
    sim.ask('B', 1, start('a'));
    let failed = sim.music('a', Err(ResultInfo::download_failed("404")));
    assert_eq!(failed, ["remix", "B: 1 400/8536", "B: roster 4 B a b"]);
    assert_eq!(sim.hearing("ab"), ["a hears b", "b hears a"]);
}

#[test]
fn music_ends_with_its_listener_and_with_its_bot() {
    let mut sim = Sim::group_of("ab");
    sim.ask('B', 1, start('a'));
    let left = sim.leg('a', bye());
    assert_eq!(left[..3], ["no music for a", "remix", "B: 1 400/8508"]);
    assert_eq!(sim.ask('B', 2, start('b'))[1], "tune for b by B");

    let mut meeting = Sim::meeting_of("BC");
    meeting.arrive('p');
    meeting.leg('p', LegEvent::Answered);
    meeting.ask('C', 1, start('p'));
    let left = meeting.leave('C');
    assert!(left.contains(&"no music for p".to_owned()), "{left:?}");
    assert_eq!(left.last().unwrap(), "B: roster 5 B p");
}
