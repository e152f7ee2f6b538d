//! Who comes, who is shown, and what bots are told of it.

use super::*;
use crate::tones::Tone;

#[test]
fn a_group_call_is_answered_with_its_first_participant() {
    let mut sim = Sim::new(AD_HOC);
    assert_eq!(sim.join('B', "ab"), ["dial a for B", "dial b for B"]);
    assert!(sim.leg('a', LegEvent::Ringing).is_empty());
    assert_eq!(
        sim.leg('a', LegEvent::Answered),
        ["enter a", "remix", "enter B", "remix", "B: answered", "B: media true", "B: roster 1 B a"]
    );
    assert_eq!(sim.leg('b', LegEvent::Answered), ["enter b", "remix", "B: roster 2 B a b"]);
    assert!(sim.leg('b', LegEvent::Answered).is_empty(), "a doubled event is absorbed");
    assert!(sim.leg('b', LegEvent::Ringing).is_empty(), "so is a late one");
    assert_eq!(sim.leg('b', bye()), ["exit b", "remix", "B: roster 3 B a"]);
}

#[test]
fn a_bot_in_a_meeting_is_answered_at_once_and_all_bots_see_who_comes() {
    let mut sim = Sim::new(MEETING);
    let first = sim.join('B', "");
    assert_eq!(first, ["enter B", "remix", "B: answered", "B: media true", "B: roster 1 B"]);
    let second = sim.join('C', "");
    assert_eq!(second[2..], ["C: answered", "C: media true", "B: roster 2 B C", "C: roster 2 B C"]);
    assert_eq!(sim.arrive('p'), ["answer p"]);
    let third = sim.leg('p', LegEvent::Answered);
    assert_eq!(third, ["enter p", "remix", "B: roster 3 B C p", "C: roster 3 B C p"]);
    let tone = sim.leg('p', LegEvent::Tone(Tone::Star));
    assert_eq!(tone, ["B: tone Star", "C: tone Star"]);
}

#[test]
fn an_invite_is_done_when_all_have_answered_and_names_who_did_not() {
    let mut sim = Sim::group_of("a");
    let asked = sim.ask('B', 1, GroupVerb::Invite(['c', 'd'].map(invitation).into()));
    assert_eq!(asked, ["dial c for B", "dial d for B"]);
    assert_eq!(sim.leg('c', LegEvent::Answered), ["enter c", "remix", "B: roster 2 B a c"]);
    let answered = sim.leg('d', LegEvent::Answered);
    assert_eq!(answered, ["enter d", "remix", "B: 1 done", "B: roster 3 B a c d"]);

    sim.ask('B', 2, GroupVerb::Invite(['e', 'f'].map(invitation).into()));
    assert!(sim.leg('e', busy()).is_empty());
    let answered = sim.leg('f', LegEvent::Answered);
    assert_eq!(answered, ["enter f", "remix", "B: 2 486/8539", "B: roster 4 B a c d f"]);
}

#[test]
fn nobody_is_invited_beyond_the_limit_or_twice() {
    let mut sim = Sim::group_of("a");
    let many = "cdefghi".chars().map(invitation).collect();
    assert_eq!(sim.ask('B', 1, GroupVerb::Invite(many)), ["B: 1 403/8516"]);
    assert_eq!(sim.ask('B', 2, GroupVerb::Invite([invitation('a')].into())), ["B: 2 400/8523"]);
    assert_eq!(sim.ask('B', 3, GroupVerb::Invite([].into())), ["B: 3 400/8523"]);
    let mut full = Sim::meeting_of("ABCDEFGH");
    assert_eq!(full.arrive('p'), ["hang up p"]);
    assert_eq!(full.join('I', ""), ["I: ended 403/8516"]);
}

#[test]
fn who_is_removed_is_hung_up_and_gone_at_once() {
    let mut sim = Sim::group_of("ab");
    let removed = sim.request('B', ConferenceRequest::Remove(person('a')));
    assert_eq!(removed, ["exit a", "remix", "hang up a", "B: roster 3 B b"]);
    assert!(sim.leg('a', bye()).is_empty(), "its leg is nobody's any more");
    sim.ask('B', 1, GroupVerb::Invite([invitation('c')].into()));
    let cancelled = sim.request('B', ConferenceRequest::Remove(person('c')));
    assert_eq!(cancelled, ["hang up c", "B: 1 400/5300"], "an invitation that is taken back");
    assert!(sim.request('B', ConferenceRequest::Remove(person('z'))).is_empty());

    let mut meeting = Sim::meeting_of("BC");
    let removed = meeting.request('B', ConferenceRequest::Remove(person('C')));
    assert_eq!(removed[2..], ["remix", "C: ended 200/5300", "B: roster 3 B"]);
    assert!(meeting.ask('C', 1, GroupVerb::MuteSelf).is_empty(), "who is out asks for nothing");
}

#[test]
fn rosters_show_who_is_muted_and_what_is_said_of_recordings() {
    let mut sim = Sim::group_of("ab");
    assert_eq!(sim.ask('B', 1, GroupVerb::MuteSelf), ["remix", "B: roster 3 B- a b"]);
    assert!(sim.ask('B', 2, GroupVerb::MuteSelf).is_empty(), "no news, no notification");
    assert_eq!(sim.ask('B', 3, GroupVerb::UnmuteSelf), ["remix", "B: roster 4 B a b"]);
    assert_eq!(sim.ask('B', 4, GroupVerb::Mute(person('a'))), ["remix", "B: roster 5 B a- b"]);
    let all = sim.ask('B', 5, GroupVerb::MuteAll([].into()));
    assert_eq!(all, ["remix", "B: roster 6 B a- b-"], "a bot does not mute itself with the others");
    let back = sim.ask('B', 6, GroupVerb::Unmute(person('b')));
    assert_eq!(back, ["remix", "B: roster 7 B a- b"]);
    let recording = GroupVerb::UpdateRecordingStatus(RecordingStatus::Recording);
    assert_eq!(sim.ask('B', 7, recording), ["B: roster 8 B* a- b"]);
}
