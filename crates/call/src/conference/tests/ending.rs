//! How conferences come to their end.

use super::*;

#[test]
fn a_group_call_ends_when_all_others_have_left() {
    let mut sim = Sim::group_of("ab");
    sim.leg('a', bye());
    let last = sim.leg('b', bye());
    assert_eq!(
        last,
        ["exit b", "remix", "B: roster 4 B", "exit B", "B: ended 200/5002", "end"],
        "the bot sees the empty room, then the end"
    );
    assert!(sim.conference.has_ended());
}

#[test]
fn a_group_call_that_nobody_answers_ends_as_the_last_one_did() {
    let mut sim = Sim::new(AD_HOC);
    sim.join('B', "ab");
    assert!(sim.leg('a', busy()).is_empty());
    assert_eq!(sim.leg('b', busy()), ["B: ended 486/8539", "end"]);
}

#[test]
fn when_the_bot_leaves_a_group_call_everybody_does() {
    let mut sim = Sim::group_of("a");
    sim.ask('B', 1, GroupVerb::Invite([invitation('c')].into()));
    assert_eq!(
        sim.leave('B'),
        [
            "exit B",
            "remix",
            "remix",
            "B: ended 200/7000",
            "exit a",
            "hang up a",
            "hang up c",
            "end"
        ]
    );
    assert!(sim.leave('B').is_empty());
}

#[test]
fn people_go_on_without_a_bot_only_where_that_is_allowed() {
    let settings = ConferenceSettings { without_bot: WithoutBot::Stands, ..MEETING };
    let mut sim = Sim::new(settings);
    assert_eq!(sim.arrive('p'), ["answer p"], "even before the first bot");
    sim.leg('p', LegEvent::Answered);
    sim.join('B', "");
    let left = sim.leave('B');
    assert!(!left.contains(&"end".to_owned()), "{left:?}");
    assert_eq!(sim.leg('p', bye()), ["exit p", "remix", "end"]);

    let mut strict = Sim::new(MEETING);
    assert_eq!(strict.arrive('p'), ["hang up p", "end"]);
}

#[test]
fn two_people_go_on_without_a_bot_until_one_of_them_leaves_or_their_time_is_up() {
    let settings = ConferenceSettings { without_bot: WithoutBot::GoesOn, ..AD_HOC };
    let begun = || {
        let mut sim = Sim::new(settings);
        sim.join('B', "abc");
        for name in ['a', 'b', 'c'] {
            sim.leg(name, LegEvent::Answered);
        }
        assert!(sim.input(ConferenceInput::TimeIsUp).is_empty(), "not as long as there is a bot");
        let hold = GroupVerb::StartHoldMusic { participant: person('a'), prompt: None };
        sim.ask('B', 1, hold);
        let left = sim.leave('B');
        assert!(left.contains(&"no music for a".to_owned()), "nobody else could end it: {left:?}");
        assert_eq!(left.last().unwrap(), "B: ended 200/7000");
        sim
    };
    let mut sim = begun();
    assert_eq!(sim.arrive('p'), ["hang up p"], "nobody new comes");
    assert_eq!(sim.leg('a', bye()), ["exit a", "remix"]);
    assert_eq!(sim.leg('b', bye()), ["exit b", "remix", "exit c", "hang up c", "end"]);
    let mut sim = begun();
    let up = sim.input(ConferenceInput::TimeIsUp);
    assert_eq!(up[up.len() - 3..], ["exit c", "hang up c", "end"]);

    let mut alone = Sim::new(settings);
    alone.join('B', "ab");
    alone.leg('a', LegEvent::Answered);
    assert_eq!(alone.leave('B').last().unwrap(), "end", "one is not enough, nor who still rings");
}

#[test]
fn a_bot_waits_alone_in_a_meeting_and_another_bots_leaving_is_no_end() {
    let mut sim = Sim::meeting_of("BC");
    sim.arrive('p');
    sim.leg('p', LegEvent::Answered);
    assert_eq!(sim.leg('p', bye()), ["exit p", "remix", "B: roster 4 B C", "C: roster 4 B C"]);
    assert_eq!(sim.leave('C').last().unwrap(), "B: roster 5 B");
    assert_eq!(sim.leave('B').last().unwrap(), "end");
}

#[test]
fn who_comes_after_the_end_is_told_so() {
    let mut sim = Sim::group_of("a");
    sim.leave('B');
    assert_eq!(sim.join('C', ""), ["C: ended 200/5003"]);
    assert_eq!(sim.arrive('p'), ["hang up p"]);
    assert!(sim.leg('a', bye()).is_empty());
    assert!(sim.input(ConferenceInput::ServerStops).is_empty());
}

#[test]
fn a_server_that_stops_hangs_everybody_up() {
    let mut sim = Sim::group_of("a");
    let stopped = sim.input(ConferenceInput::ServerStops);
    assert_eq!(stopped, ["exit B", "B: ended 500/9999", "exit a", "hang up a", "end"]);
}
