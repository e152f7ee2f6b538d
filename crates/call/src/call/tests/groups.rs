//! Group calls: verbs judged by the roster that was last heard, and operations that the conference
//! ends.

use std::sync::Arc;

use uuid::Uuid;

use super::sim::{Sim, bye, id};
use crate::{
    AudioRoutingGroup, Command, ConferenceEvent, GroupCommand, GroupVerb, Identity, IdentityKind,
    Invitation, LegEvent, Participant, ParticipantId, RecordingStatus, Rejection, ResultInfo,
    Roster, RoutingFault, RoutingMode, Settings,
};

pub(super) fn person(name: char) -> ParticipantId {
    ParticipantId::new(Uuid::from_u128(u128::from(u32::from(name))))
}

/// Bots have capital letters.
fn identity(name: char) -> Arc<Identity> {
    let kind = if name.is_uppercase() { IdentityKind::Application } else { IdentityKind::User };
    Arc::new(Identity { kind, id: Some(name.into()), display_name: None })
}

fn act(name: char, verb: GroupVerb) -> Command {
    Command::Group(GroupCommand::Act { operation: id(name), verb, client_context: None })
}

fn hold(name: char) -> GroupVerb {
    GroupVerb::StartHoldMusic { participant: person(name), prompt: None }
}

fn invite(name: char) -> GroupVerb {
    let participant = person(name);
    let identity = identity(name);
    let (is_hidden, is_apart, replaces) = (false, false, None);
    GroupVerb::Invite([Invitation { participant, identity, is_hidden, is_apart, replaces }].into())
}

fn route(id: &str, source: char, receiver: char, is_update: bool) -> Command {
    let group = AudioRoutingGroup {
        id: id.to_owned(),
        mode: RoutingMode::OneToOne,
        sources: vec![person(source)],
        receivers: vec![person(receiver)],
    };
    Command::Group(GroupCommand::PutRoutingGroup { group, is_update })
}

pub(super) fn roster(sequence: u64, names: &str, on_hold: Option<char>) -> LegEvent {
    let shown = |name: char| Participant {
        id: person(name),
        identity: identity(name),
        is_muted: false,
        is_on_hold: on_hold == Some(name),
        is_hidden: false,
        recording: RecordingStatus::Unknown,
    };
    let participants = names.chars().map(shown).collect();
    LegEvent::Conference(ConferenceEvent::Roster(Arc::new(Roster { sequence, participants })))
}

fn done(name: char, outcome: Result<(), ResultInfo>) -> LegEvent {
    LegEvent::Conference(ConferenceEvent::Done { operation: id(name), outcome })
}

/// In a conference with `a` and `b`.
pub(super) fn group() -> Sim {
    let mut sim = Sim::group();
    sim.leg(LegEvent::Answered);
    sim.media(true);
    sim.leg(roster(1, "Bab", None));
    sim
}

#[test]
fn rosters_are_told_as_they_come() {
    let mut sim = group();
    assert_eq!(sim.leg(roster(2, "Ba", None)), ["notify roster 2 of 2"]);
    assert_eq!(sim.call.roster().map(|roster| roster.sequence), Some(2));
    assert!(Sim::talking().call.roster().is_none());
}

#[test]
fn what_takes_time_is_ended_by_the_conference_and_what_does_not_is_completed_at_once() {
    let mut sim = group();
    assert_eq!(sim.command(act('i', invite('c'))), ["commit i running", "conference i"]);
    assert!(sim.call.operation(id('i')).is_some());
    let ended = sim.leg(done('i', Ok(())));
    assert_eq!(ended, ["commit i completed 200/0", "notify i completed 200/0"]);
    assert!(sim.leg(done('i', Ok(()))).is_empty(), "a doubled event is absorbed");
    assert_eq!(sim.command(act('j', invite('c'))), ["commit j running", "conference j"]);
    let failed = sim.leg(done('j', Err(ResultInfo::new(486, 8539, "Busy."))));
    assert_eq!(failed, ["commit j failed 486/8539", "notify j failed 486/8539"]);
    for verb in [
        GroupVerb::MuteSelf,
        GroupVerb::UnmuteSelf,
        GroupVerb::Mute(person('a')),
        GroupVerb::Unmute(person('a')),
        GroupVerb::MuteAll([].into()),
        GroupVerb::UpdateRecordingStatus(RecordingStatus::Recording),
    ] {
        let mut sim = group();
        let made = sim.command(act('m', verb));
        assert_eq!(made, ["commit m completed 200/0", "conference m"]);
    }
}

#[test]
fn nobody_is_muted_held_or_removed_who_is_not_there() {
    let absent = Err(Rejection::ParticipantAbsent);
    let mut sim = group();
    for verb in [
        GroupVerb::Mute(person('z')),
        GroupVerb::Unmute(person('z')),
        GroupVerb::MuteAll([person('a'), person('z')].into()),
        GroupVerb::StopHoldMusic(person('z')),
        hold('z'),
    ] {
        assert_eq!(sim.try_command(act('x', verb)), absent);
    }
    let remove = |name| Command::Group(GroupCommand::Remove(person(name)));
    assert_eq!(sim.try_command(remove('z')), absent);
    assert_eq!(sim.command(remove('a')), ["conference remove"]);
    sim.command(act('i', invite('c')));
    assert_eq!(sim.command(remove('c')), ["conference remove"], "an invitation is taken back");
}

#[test]
fn one_participant_is_on_hold_at_a_time() {
    let mut sim = group();
    sim.command(act('h', hold('a')));
    let busy = Err(Rejection::HoldMusicBusy);
    assert_eq!(sim.try_command(act('x', hold('b'))), busy, "before the conference has said so");
    sim.leg(roster(2, "Bab", Some('a')));
    sim.leg(done('h', Ok(())));
    assert_eq!(sim.try_command(act('x', hold('b'))), busy);
    let stop = |name| act('s', GroupVerb::StopHoldMusic(person(name)));
    assert_eq!(sim.try_command(stop('b')), Err(Rejection::NotOnHold));
    sim.command(stop('a'));
    sim.command(act('k', hold('b')));
    sim.leg(roster(3, "Bab", Some('b')));
    // Music that could not be played holds nobody.
    sim.leg(done('k', Err(ResultInfo::play_failed())));
    sim.leg(roster(4, "Bab", None));
    sim.command(act('l', hold('a')));
    // Who leaves is not on hold any more.
    sim.leg(roster(5, "Bab", Some('a')));
    sim.leg(done('l', Ok(())));
    sim.leg(roster(6, "Bb", None));
    sim.command(act('n', hold('b')));
    // Another bot's hold counts as well.
    let mut other = group();
    other.leg(roster(2, "Bab", Some('a')));
    assert_eq!(other.try_command(act('x', hold('b'))), busy);
    assert!(other.try_command(stop('a')).is_ok());
}

#[test]
fn routing_groups_are_the_bots_own_and_told_as_a_whole() {
    let mut sim = group();
    assert_eq!(sim.command(route("g", 'a', 'b', false)), ["conference route 1"]);
    assert_eq!(sim.try_command(route("g", 'a', 'b', false)), Err(Rejection::RoutingGroupExists));
    assert_eq!(sim.try_command(route("h", 'a', 'b', true)), Err(Rejection::RoutingGroupAbsent));
    assert_eq!(
        sim.try_command(route("h", 'a', 'z', false)),
        Err(Rejection::BadRoutingGroup(RoutingFault::ReceiverAbsent))
    );
    assert_eq!(sim.command(route("g", 'b', 'a', true)), ["conference route 1"]);
    assert_eq!(sim.call.routing_groups()[0].sources, [person('b')]);
    let delete = |id: &str| Command::Group(GroupCommand::DeleteRoutingGroup(id.to_owned()));
    assert_eq!(sim.try_command(delete("h")), Err(Rejection::RoutingGroupAbsent));
    assert_eq!(sim.command(delete("g")), ["conference route 0"]);
}

#[test]
fn a_call_takes_no_more_operations_than_it_may() {
    let settings = Settings { queue_limit: 1, ..Settings::default() };
    let mut sim = Sim::group_with(settings);
    sim.leg(LegEvent::Answered);
    sim.command(act('i', invite('c')));
    assert_eq!(sim.try_command(act('j', invite('d'))), Err(Rejection::QueueFull));
    sim.command(act('m', GroupVerb::MuteSelf));
}

#[test]
fn the_end_of_the_call_ends_what_runs_in_the_conference() {
    let mut sim = group();
    sim.command(act('i', invite('c')));
    let ended = sim.hang_up();
    assert_eq!(ended[0], "commit i failed 400/8508", "{ended:?}");
    assert!(ended.contains(&"leg hang up".to_owned()));
    assert!(sim.leg(done('i', Ok(()))).is_empty());
    assert!(sim.leg(roster(2, "B", None)).is_empty());
    sim.leg(bye());

    let mut told = Sim::group_with(Settings { notify_cut_operations: true, ..Settings::default() });
    told.leg(LegEvent::Answered);
    told.command(act('i', invite('c')));
    let ended = told.leg(bye());
    assert!(ended.contains(&"notify i failed 400/8508".to_owned()), "{ended:?}");
}
