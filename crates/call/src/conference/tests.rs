//! Behaviours of a conference. People and bots are named by a letter, bots by a capital one;
//! operations by a digit. Outputs are read as short lines.

mod ending;
mod hold_music;
mod random;
mod roster;
mod routing;
mod transfers;

use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::{
    command::ReferTo,
    ids::{OperationId, ParticipantId},
    leg::LegEvent,
    operation::ResultInfo,
};

pub(super) fn person(name: char) -> ParticipantId {
    ParticipantId::new(Uuid::from_u128(u128::from(u32::from(name))))
}

pub(super) fn name(id: ParticipantId) -> char {
    u32::try_from(id.uuid().as_u128()).ok().and_then(char::from_u32).expect("made by `person`")
}

pub(super) fn operation(number: u32) -> OperationId {
    OperationId::new(Uuid::from_u128(u128::from(number)))
}

pub(super) fn identity(name: char) -> Arc<Identity> {
    let kind = if name.is_uppercase() { IdentityKind::Application } else { IdentityKind::User };
    Arc::new(Identity { kind, id: Some(name.to_string()), display_name: None })
}

pub(super) fn invitation(name: char) -> Invitation {
    Invitation {
        participant: person(name),
        identity: identity(name),
        is_hidden: false,
        is_apart: false,
        replaces: None,
    }
}

pub(super) fn group(
    id: &str,
    mode: RoutingMode,
    source: char,
    receivers: &str,
) -> AudioRoutingGroup {
    AudioRoutingGroup {
        id: id.to_owned(),
        mode,
        sources: vec![person(source)],
        receivers: receivers.chars().map(person).collect(),
    }
}

pub(super) const AD_HOC: ConferenceSettings =
    ConferenceSettings { is_meeting: false, without_bot: WithoutBot::Ends, most_participants: 8 };
pub(super) const MEETING: ConferenceSettings = ConferenceSettings { is_meeting: true, ..AD_HOC };

pub(super) struct Sim {
    pub(super) conference: Conference,
}

impl Sim {
    pub(super) fn new(settings: ConferenceSettings) -> Self {
        Self { conference: Conference::new(settings) }
    }

    /// A group call of bot `B` in which all who are named have answered.
    pub(super) fn group_of(names: &str) -> Self {
        let mut sim = Self::new(AD_HOC);
        sim.join('B', names);
        for name in names.chars() {
            sim.leg(name, LegEvent::Answered);
        }
        sim
    }

    /// A meeting in which the bots named are, and nobody else.
    pub(super) fn meeting_of(bots: &str) -> Self {
        let mut sim = Self::new(MEETING);
        for bot in bots.chars() {
            sim.join(bot, "");
        }
        sim
    }

    pub(super) fn input(&mut self, input: ConferenceInput) -> Vec<String> {
        self.conference.handle_input(input);
        std::iter::from_fn(|| self.conference.poll_output()).map(|output| line(&output)).collect()
    }

    pub(super) fn join(&mut self, bot: char, targets: &str) -> Vec<String> {
        self.input(ConferenceInput::Join(BotPlace {
            participant: person(bot),
            identity: identity(bot),
            is_apart: false,
            targets: targets.chars().map(invitation).collect(),
        }))
    }

    pub(super) fn arrive(&mut self, name: char) -> Vec<String> {
        let (participant, identity) = (person(name), identity(name));
        self.input(ConferenceInput::Arrive { participant, identity })
    }

    pub(super) fn ask(&mut self, by: char, number: u32, verb: GroupVerb) -> Vec<String> {
        let request = ConferenceRequest::Act { operation: operation(number), verb };
        self.request(by, request)
    }

    pub(super) fn request(&mut self, by: char, request: ConferenceRequest) -> Vec<String> {
        self.input(ConferenceInput::Ask { by: person(by), request })
    }

    pub(super) fn leg(&mut self, name: char, event: LegEvent) -> Vec<String> {
        self.input(ConferenceInput::Leg { participant: person(name), event })
    }

    pub(super) fn leave(&mut self, bot: char) -> Vec<String> {
        self.input(ConferenceInput::Leave(person(bot)))
    }

    pub(super) fn music(&mut self, name: char, outcome: Result<(), ResultInfo>) -> Vec<String> {
        self.input(ConferenceInput::HoldMusic { participant: person(name), outcome })
    }

    /// Whom each of `names` hears, at full level.
    pub(super) fn hearing(&self, names: &str) -> Vec<String> {
        let hears = |listener: char| {
            let heard = names
                .chars()
                .filter(|source| self.conference.level(person(listener), person(*source)) == 100);
            format!("{listener} hears {}", heard.collect::<String>())
        };
        names.chars().map(hears).collect()
    }
}

pub(super) fn busy() -> LegEvent {
    LegEvent::Ended(ResultInfo::of_call(486, 8539, "Busy."))
}

pub(super) fn bye() -> LegEvent {
    LegEvent::Ended(ResultInfo::of_call(200, 18_503, "The far end hung up."))
}

fn line(output: &ConferenceOutput) -> String {
    match output {
        ConferenceOutput::Dial { invitation, by } => {
            format!("dial {} for {}", name(invitation.participant), name(*by))
        }
        ConferenceOutput::Answer(id) => format!("answer {}", name(*id)),
        ConferenceOutput::HangUp(id) => format!("hang up {}", name(*id)),
        ConferenceOutput::Enter(id) => format!("enter {}", name(*id)),
        ConferenceOutput::Exit(id) => format!("exit {}", name(*id)),
        ConferenceOutput::Remix => "remix".into(),
        ConferenceOutput::Refer { participant, refer } => {
            format!("refer {} to {}", name(*participant), refer.target)
        }
        ConferenceOutput::StartHoldMusic { participant, by, prompt } => {
            let own = if prompt.is_some() { "prompt" } else { "tune" };
            format!("{own} for {} by {}", name(*participant), name(*by))
        }
        ConferenceOutput::StopHoldMusic(id) => format!("no music for {}", name(*id)),
        ConferenceOutput::Tell { bot, event } => format!("{}: {}", name(*bot), told(event)),
        ConferenceOutput::End => "end".into(),
    }
}

fn told(event: &LegEvent) -> String {
    match event {
        LegEvent::Answered => "answered".into(),
        LegEvent::Media { active } => format!("media {active}"),
        LegEvent::Tone(tone) => format!("tone {tone:?}"),
        LegEvent::Ended(result) => format!("ended {}/{}", result.code, result.subcode),
        LegEvent::Conference(ConferenceEvent::Roster(roster)) => {
            let shown = |shown: &Participant| {
                let mut text = name(shown.id).to_string();
                text.push_str(if shown.is_muted { "-" } else { "" });
                text.push_str(if shown.is_on_hold { "~" } else { "" });
                text.push_str(if shown.recording == RecordingStatus::Recording { "*" } else { "" });
                text
            };
            let all: Vec<_> = roster.participants.iter().map(shown).collect();
            format!("roster {} {}", roster.sequence, all.join(" "))
        }
        LegEvent::Conference(ConferenceEvent::Done { operation, outcome }) => {
            let outcome = match outcome {
                Ok(()) => "done".to_owned(),
                Err(result) => format!("{}/{}", result.code, result.subcode),
            };
            format!("{} {outcome}", operation.uuid().as_u128())
        }
        LegEvent::ReferAccepted => "refer accepted".into(),
        LegEvent::ReferRefused => "refer refused".into(),
        LegEvent::ReferEnded(Ok(())) => "refer done".into(),
        LegEvent::ReferEnded(Err(result)) => format!("refer {}/{}", result.code, result.subcode),
        LegEvent::Ringing => panic!("no conference tells {event:?}"),
    }
}
