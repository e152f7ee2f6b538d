//! Who hears whom.

use super::*;

fn route(sim: &mut Sim, groups: &[AudioRoutingGroup]) {
    assert_eq!(sim.request('B', ConferenceRequest::Route(groups.to_vec())), ["remix"]);
}

#[test]
fn everybody_hears_everybody_else() {
    let sim = Sim::group_of("ab");
    assert_eq!(sim.hearing("Bab"), ["B hears ab", "a hears Bb", "b hears Ba"]);
    assert_eq!(sim.conference.level(person('a'), person('z')), 0, "but not who is not there");
}

#[test]
fn who_is_being_called_hears_nothing_and_is_not_heard() {
    let mut sim = Sim::new(AD_HOC);
    sim.join('B', "ab");
    sim.leg('a', LegEvent::Answered);
    assert_eq!(sim.hearing("Bab"), ["B hears a", "a hears B", "b hears "]);
}

#[test]
fn one_to_one_isolates_a_pair() {
    let mut sim = Sim::group_of("abcd");
    route(&mut sim, &[group("g", RoutingMode::OneToOne, 'a', "b")]);
    assert_eq!(sim.hearing("abcd"), ["a hears b", "b hears a", "c hears d", "d hears c"]);
    route(&mut sim, &[]);
    assert_eq!(sim.hearing("ab"), ["a hears b", "b hears a"]);
    assert_eq!(sim.hearing("acd"), ["a hears cd", "c hears ad", "d hears ac"]);
}

#[test]
fn multicast_is_for_its_receivers_alone_and_takes_nothing_from_them() {
    let mut sim = Sim::group_of("abcd");
    route(&mut sim, &[group("g", RoutingMode::Multicast, 'a', "bc")]);
    assert_eq!(sim.hearing("abcd"), ["a hears bcd", "b hears acd", "c hears abd", "d hears bc"]);
}

#[test]
fn what_is_private_does_not_become_public_when_a_member_leaves() {
    let mut sim = Sim::group_of("abcd");
    route(&mut sim, &[group("g", RoutingMode::Multicast, 'a', "b")]);
    sim.leg('b', bye());
    assert_eq!(sim.hearing("acd"), ["a hears cd", "c hears d", "d hears c"]);
}

#[test]
fn groups_of_several_bots_add_up_and_go_with_their_bot() {
    let mut sim = Sim::meeting_of("BC");
    for name in "abc".chars() {
        sim.arrive(name);
        sim.leg(name, LegEvent::Answered);
    }
    route(&mut sim, &[group("g", RoutingMode::Multicast, 'a', "b")]);
    let other = vec![group("g", RoutingMode::Multicast, 'a', "c")];
    sim.request('C', ConferenceRequest::Route(other));
    assert_eq!(sim.hearing("abc"), ["a hears bc", "b hears ac", "c hears ab"]);
    sim.leave('C');
    assert_eq!(sim.hearing("abc"), ["a hears bc", "b hears ac", "c hears b"]);
}

#[test]
fn who_is_apart_hears_and_is_heard_by_groups_only() {
    let mut sim = Sim::group_of("ab");
    let apart = Invitation { is_apart: true, ..invitation('c') };
    sim.ask('B', 1, GroupVerb::Invite([apart].into()));
    sim.leg('c', LegEvent::Answered);
    assert_eq!(sim.hearing("abc"), ["a hears b", "b hears a", "c hears "]);
    route(&mut sim, &[group("g", RoutingMode::Multicast, 'a', "c")]);
    assert_eq!(sim.hearing("abc"), ["a hears b", "b hears ", "c hears a"]);
}

#[test]
fn a_muted_source_is_heard_by_nobody_and_still_hears() {
    let mut sim = Sim::group_of("ab");
    sim.ask('B', 1, GroupVerb::Mute(person('a')));
    assert_eq!(sim.hearing("Bab"), ["B hears b", "a hears Bb", "b hears B"]);
}

#[test]
fn mixer_levels_are_for_one_listener() {
    let mut sim = Sim::group_of("abc");
    let level = |is_exclusive| MixerLevel {
        participant: person('a'),
        is_exclusive,
        sources: vec![(person('b'), 30)],
        ducking: None,
    };
    let configured = sim.ask('B', 1, GroupVerb::ConfigureMixer([level(false)].into()));
    assert_eq!(configured, ["remix", "B: 1 done"]);
    let level_of = |sim: &Sim, source| sim.conference.level(person('a'), person(source));
    assert_eq!((level_of(&sim, 'b'), level_of(&sim, 'c')), (30, 100));
    sim.ask('B', 2, GroupVerb::ConfigureMixer([level(true)].into()));
    assert_eq!((level_of(&sim, 'b'), level_of(&sim, 'c')), (30, 0));
    assert_eq!(sim.conference.level(person('c'), person('b')), 100);
}

#[test]
fn groups_that_cannot_be_are_told_from_those_that_can() {
    let sim = Sim::group_of("abc");
    let roster = sim.conference.roster();
    let (one, many) = (RoutingMode::OneToOne, RoutingMode::Multicast);
    for (mode, source, receivers, verdict) in [
        (one, 'a', "b", Ok(())),
        (many, 'a', "b", Ok(())),
        (many, 'B', "abc", Ok(())),
        (one, 'a', "bc", Err(RoutingFault::OneReceiver)),
        (one, 'a', "", Err(RoutingFault::OneReceiver)),
        (many, 'a', "", Err(RoutingFault::NoReceiver)),
        (many, 'a', "bb", Err(RoutingFault::Twice)),
        (one, 'a', "a", Err(RoutingFault::Twice)),
        (one, 'z', "a", Err(RoutingFault::SourceAbsent)),
        (many, 'a', "bz", Err(RoutingFault::ReceiverAbsent)),
    ] {
        let checked = group("g", mode, source, receivers).check(roster);
        assert_eq!(checked, verdict, "{mode:?} {source} {receivers}");
    }
    let two =
        AudioRoutingGroup { sources: vec![person('a'), person('b')], ..group("g", many, 'a', "c") };
    assert_eq!(two.check(roster), Err(RoutingFault::Sources));
}
