//! Random inputs, and what must hold whatever comes: checked by a judge that reads the outputs and
//! knows nothing of the machine's inside.
//!
//! That it can fail was checked by breaking the machine, one line at a time (2026-11-28). Each of
//! these was found: who is removed is not hung up; music goes on when its listener leaves, or a
//! second one begins; a roster skips a number, or shows who is still being called; the end leaves
//! somebody on the line; who hears music hears the others, too; the mix forgets the groups.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const BOTS: [char; 3] = ['A', 'B', 'C'];
const PEOPLE: [char; 6] = ['a', 'b', 'c', 'd', 'e', 'f'];

#[derive(Clone, Debug)]
enum Step {
    Join(char, Vec<char>),
    Arrive(char),
    Leave(char),
    Leg(char, LegEvent),
    Ask(char, Verb),
    Remove(char, char),
    Route(char, char, char, bool),
    Music(char, bool),
    /// A bot wants somebody transferred.
    Refer(char, char),
    /// Their leg is bridged.
    HandedOn(char),
    TimeIsUp,
    ServerStops,
}

#[derive(Clone, Debug)]
enum Verb {
    Invite(Vec<char>),
    Mute(char, bool),
    Start(char),
    Stop(char),
    Mix(char, char),
}

/// What is known from inputs and outputs alone.
#[derive(Default)]
struct Judge {
    /// Operations that wait for their end, with their bot.
    running: BTreeMap<OperationId, char>,
    /// Legs that are up or on their way.
    legs: BTreeSet<char>,
    /// Who takes part in the audio.
    inside: BTreeSet<char>,
    /// Bots whose calls are not over.
    bots: BTreeSet<char>,
    music: Option<char>,
    rosters: BTreeMap<char, (u64, Vec<char>)>,
    has_ended: bool,
}

impl Judge {
    fn see(&mut self, output: &ConferenceOutput) {
        assert!(!self.has_ended || self.is_refusal(output), "after the end: {output:?}");
        match output {
            ConferenceOutput::Dial { invitation, .. } => {
                assert!(self.legs.insert(name(invitation.participant)), "dialled twice");
            }
            ConferenceOutput::Answer(id) => assert!(self.legs.contains(&name(*id))),
            ConferenceOutput::HangUp(id) => {
                assert!(self.legs.remove(&name(*id)), "no leg to hang up");
                assert!(!self.inside.contains(&name(*id)), "still in the audio");
            }
            ConferenceOutput::Enter(id) => assert!(self.inside.insert(name(*id)), "enters twice"),
            ConferenceOutput::Exit(id) => {
                assert!(self.inside.remove(&name(*id)), "was not in");
                assert_ne!(self.music, Some(name(*id)), "leaves with music");
            }
            ConferenceOutput::Remix => {}
            ConferenceOutput::Refer { participant, .. } => {
                assert!(self.inside.contains(&name(*participant)));
            }
            ConferenceOutput::StartHoldMusic { participant, .. } => {
                assert!(self.inside.contains(&name(*participant)));
                assert_eq!(self.music.replace(name(*participant)), None, "two at a time");
            }
            ConferenceOutput::StopHoldMusic(id) => {
                assert_eq!(self.music.take(), Some(name(*id)));
            }
            ConferenceOutput::Tell { bot, event } => self.hear(name(*bot), event),
            ConferenceOutput::End => {
                self.has_ended = true;
                assert!(self.legs.is_empty(), "left behind: {:?}", self.legs);
                assert!(self.inside.is_empty() && self.bots.is_empty() && self.music.is_none());
            }
        }
    }

    /// What may still come: word to those who come late.
    fn is_refusal(&self, output: &ConferenceOutput) -> bool {
        matches!(
            output,
            ConferenceOutput::HangUp(_) | ConferenceOutput::Tell { event: LegEvent::Ended(_), .. }
        )
    }

    fn hear(&mut self, bot: char, event: &LegEvent) {
        assert!(self.bots.contains(&bot), "{bot} is told {event:?} and has no call here");
        match event {
            LegEvent::Conference(ConferenceEvent::Done { operation, .. }) => {
                assert_eq!(self.running.remove(operation), Some(bot), "ended twice, or unasked");
            }
            LegEvent::Conference(ConferenceEvent::Roster(roster)) => {
                let shown: Vec<char> = roster.participants.iter().map(|p| name(p.id)).collect();
                let set: BTreeSet<char> = shown.iter().copied().collect();
                assert_eq!(set, self.inside, "the roster is who is in");
                let last = self.rosters.insert(bot, (roster.sequence, shown));
                assert!(last.is_none_or(|(before, _)| before + 1 == roster.sequence));
            }
            LegEvent::Ended(_) => {
                self.bots.remove(&bot);
                self.rosters.remove(&bot);
                self.running.retain(|_, of| *of != bot);
            }
            LegEvent::Ringing
            | LegEvent::Answered
            | LegEvent::Media { .. }
            | LegEvent::Tone(_)
            | LegEvent::ReferAccepted
            | LegEvent::ReferRefused
            | LegEvent::ReferEnded(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_everybody_is_accounted_for(
        is_meeting in any::<bool>(),
        without_bot in prop::sample::select(vec![WithoutBot::Ends, WithoutBot::GoesOn, WithoutBot::Stands]),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let settings = ConferenceSettings { is_meeting, without_bot, most_participants: 6 };
        let mut conference = Conference::new(settings);
        let mut judge = Judge::default();
        for (number, step) in (1..).zip(&steps) {
            let Some(input) = input(&mut judge, number, step) else { continue };
            conference.handle_input(input);
            while let Some(output) = conference.poll_output() {
                judge.see(&output);
            }
            prop_assert_eq!(conference.has_ended(), judge.has_ended);
            let shown: BTreeSet<char> =
                conference.roster().participants.iter().map(|shown| name(shown.id)).collect();
            prop_assert!(judge.has_ended || shown == judge.inside);
            check_levels(&conference, &judge);
        }
    }
}

/// Who is not in hears nothing; music isolates; nobody hears themselves.
fn check_levels(conference: &Conference, judge: &Judge) {
    let mix = conference.mix();
    for listener in BOTS.into_iter().chain(PEOPLE) {
        for source in BOTS.into_iter().chain(PEOPLE) {
            let level = conference.level(person(listener), person(source));
            let is_possible = listener != source
                && judge.inside.contains(&listener)
                && judge.inside.contains(&source)
                && judge.music != Some(listener)
                && judge.music != Some(source);
            assert!(level == 0 || is_possible, "{listener} hears {source}");
            let is_mixed = is_mixed(&mix, person(listener), person(source));
            assert_eq!(is_mixed, level > 0, "{listener} hears {source} in {mix:?}");
        }
    }
}

/// Whether a mixer that is told no more than this lets a listener hear a source.
fn is_mixed(mix: &Mix, listener: ParticipantId, source: ParticipantId) -> bool {
    let find = |id| mix.members.iter().find(|member| member.id == id);
    let (Some(hearing), Some(speaking)) = (find(listener), find(source)) else { return false };
    let is_routed = mix.routes.iter().any(|(from, to)| *from == source && to.contains(&listener));
    let level = mix.levels.iter().find(|level| level.participant == listener);
    let is_turned_down = level.is_some_and(|level| {
        level.is_exclusive && !level.sources.iter().any(|(id, _)| *id == source)
    });
    listener != source
        && !speaking.is_muted
        && !hearing.is_isolated
        && !speaking.is_isolated
        && (hearing.is_in_default && speaking.is_in_default || is_routed)
        && !is_turned_down
}

/// The input that a step means, noted by the judge; `None` if no driver would send it.
fn input(judge: &mut Judge, number: u32, step: &Step) -> Option<ConferenceInput> {
    let fresh = |judge: &Judge, name: &char| !judge.legs.contains(name);
    Some(match step {
        Step::Join(bot, targets) => {
            if !judge.bots.insert(*bot) {
                return None;
            }
            let mut named = BTreeSet::new();
            let targets = targets
                .iter()
                .filter(|name| fresh(judge, name) && named.insert(**name))
                .map(|name| invitation(*name));
            ConferenceInput::Join(BotPlace {
                participant: person(*bot),
                identity: identity(*bot),
                is_apart: false,
                targets: targets.collect(),
            })
        }
        Step::Arrive(name) => {
            if !judge.legs.insert(*name) {
                return None;
            }
            ConferenceInput::Arrive { participant: person(*name), identity: identity(*name) }
        }
        Step::Leave(bot) => ConferenceInput::Leave(person(*bot)),
        Step::Leg(name, event) => {
            if !judge.legs.contains(name) {
                return None;
            }
            if matches!(event, LegEvent::Ended(_)) {
                judge.legs.remove(name);
            }
            ConferenceInput::Leg { participant: person(*name), event: event.clone() }
        }
        Step::Ask(bot, verb) => {
            // A call asks only once its place is its own.
            if !judge.inside.contains(bot) {
                return None;
            }
            let verb = match verb {
                Verb::Invite(names) => {
                    let mut named = BTreeSet::new();
                    let names = names.iter().filter(|name| named.insert(**name));
                    GroupVerb::Invite(names.map(|name| invitation(*name)).collect())
                }
                Verb::Mute(name, true) => GroupVerb::Mute(person(*name)),
                Verb::Mute(name, false) => GroupVerb::Unmute(person(*name)),
                Verb::Start(name) => {
                    GroupVerb::StartHoldMusic { participant: person(*name), prompt: None }
                }
                Verb::Stop(name) => GroupVerb::StopHoldMusic(person(*name)),
                Verb::Mix(listener, source) => {
                    let sources = vec![(person(*source), 50)];
                    let participant = person(*listener);
                    let (is_exclusive, ducking) = (true, None);
                    let level = MixerLevel { participant, is_exclusive, sources, ducking };
                    GroupVerb::ConfigureMixer([level].into())
                }
            };
            let operation = operation(number);
            if !verb.is_immediate() {
                judge.running.insert(operation, *bot);
            }
            let request = ConferenceRequest::Act { operation, verb };
            ConferenceInput::Ask { by: person(*bot), request }
        }
        Step::Remove(bot, name) => {
            let request = ConferenceRequest::Remove(person(*name));
            ConferenceInput::Ask { by: person(*bot), request }
        }
        Step::Route(bot, source, receiver, is_pair) => {
            let mode = if *is_pair { RoutingMode::OneToOne } else { RoutingMode::Multicast };
            let groups = vec![group("g", mode, *source, &receiver.to_string())];
            ConferenceInput::Ask { by: person(*bot), request: ConferenceRequest::Route(groups) }
        }
        Step::Music(name, plays) => {
            if !*plays && judge.music == Some(*name) {
                judge.music = None;
            }
            let outcome = if *plays { Ok(()) } else { Err(ResultInfo::play_failed()) };
            ConferenceInput::HoldMusic { participant: person(*name), outcome }
        }
        Step::Refer(bot, name) => {
            if !judge.inside.contains(bot) {
                return None;
            }
            let refer = ReferTo { target: "sip:z@127.0.0.1".into(), replaces: None };
            let request = ConferenceRequest::Refer { transferee: person(*name), refer };
            ConferenceInput::Ask { by: person(*bot), request }
        }
        Step::HandedOn(name) => {
            // Only of who is in it is the leg taken.
            if !judge.inside.contains(name) || !judge.legs.remove(name) {
                return None;
            }
            ConferenceInput::HandedOn(person(*name))
        }
        Step::TimeIsUp => ConferenceInput::TimeIsUp,
        Step::ServerStops => ConferenceInput::ServerStops,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let bot = || prop::sample::select(&BOTS[..]);
    let someone = || prop::sample::select(&PEOPLE[..]);
    let anyone = || prop_oneof![1 => bot(), 4 => someone()];
    let names = || prop::collection::vec(someone(), 0..4);
    prop_oneof![
        8 => (bot(), names()).prop_map(|(bot, names)| Step::Join(bot, names)),
        4 => someone().prop_map(Step::Arrive),
        2 => bot().prop_map(Step::Leave),
        20 => (someone(), prop_oneof![
            6 => Just(LegEvent::Answered),
            1 => Just(LegEvent::Ringing),
            1 => Just(LegEvent::ReferAccepted),
            1 => Just(LegEvent::ReferEnded(Ok(()))),
            1 => Just(bye()),
            1 => Just(busy()),
        ]).prop_map(|(name, event)| Step::Leg(name, event)),
        14 => (bot(), prop_oneof![
            3 => names().prop_map(Verb::Invite),
            2 => (anyone(), any::<bool>()).prop_map(|(name, muted)| Verb::Mute(name, muted)),
            3 => anyone().prop_map(Verb::Start),
            2 => anyone().prop_map(Verb::Stop),
            1 => (anyone(), anyone()).prop_map(|(listener, source)| Verb::Mix(listener, source)),
        ]).prop_map(|(bot, verb)| Step::Ask(bot, verb)),
        2 => (bot(), anyone()).prop_map(|(bot, name)| Step::Remove(bot, name)),
        2 => (bot(), anyone(), someone(), any::<bool>())
            .prop_map(|(bot, source, to, pair)| Step::Route(bot, source, to, pair)),
        4 => (someone(), prop::bool::weighted(0.7))
            .prop_map(|(name, plays)| Step::Music(name, plays)),
        2 => (bot(), anyone()).prop_map(|(bot, name)| Step::Refer(bot, name)),
        1 => someone().prop_map(Step::HandedOn),
        1 => Just(Step::TimeIsUp),
        1 => prop::bool::weighted(0.2)
            .prop_map(|stops| if stops { Step::ServerStops } else { Step::Leave('A') }),
    ]
}
