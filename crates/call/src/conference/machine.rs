//! The machine itself: its members, and what each input does to them.

mod asked;
mod ending;

use std::{collections::VecDeque, sync::Arc};

use super::{
    participant::{Identity, Invitation, Participant, RecordingStatus, Roster},
    routing::{self, AudioRoutingGroup, MixerLevel, Standing},
    vocabulary::{BotPlace, ConferenceEvent, ConferenceInput, ConferenceOutput},
};
use crate::{
    ids::{OperationId, ParticipantId},
    leg::LegEvent,
    operation::ResultInfo,
};

/// What kind of conference it is, and its limits.
#[derive(Clone, Copy, Debug)]
pub struct ConferenceSettings {
    /// Others can join it later: it does not end when its bot is alone.
    pub is_meeting: bool,
    /// What becomes of it without a bot.
    pub without_bot: WithoutBot,
    /// Most participants, those included who are still being called.
    pub most_participants: usize,
}

/// What becomes of a conference that no bot has a place in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutBot {
    /// It ends with its last bot, for all.
    Ends,
    /// It goes on while at least two people are in it (Graph "Delete call": "will only delete your
    /// call leg"). Nobody new is let in.
    GoesOn,
    /// It goes on while anybody is in it, and lets telephones in, before its first bot, too.
    Stands,
}

/// The machine. See the module's documentation for the contract.
#[derive(Clone, Debug)]
pub struct Conference {
    settings: ConferenceSettings,
    /// In the order they came, those included who are still being called.
    members: Vec<Member>,
    roster: Arc<Roster>,
    /// The groups of each bot.
    routing: Vec<(ParticipantId, Vec<AudioRoutingGroup>)>,
    levels: Vec<MixerLevel>,
    hold: Option<Hold>,
    invites: Vec<Invite>,
    /// Whose telephone was asked to call somebody else, and by whom.
    refers: Vec<(ParticipantId, ParticipantId)>,
    /// Somebody beside bots has been in it.
    had_people: bool,
    /// Why the last one who was called did not come.
    last_failure: Option<ResultInfo>,
    has_ended: bool,
    outputs: VecDeque<ConferenceOutput>,
}

#[derive(Clone, Debug)]
struct Member {
    id: ParticipantId,
    identity: Arc<Identity>,
    stage: Stage,
    is_muted: bool,
    is_hidden: bool,
    is_apart: bool,
    recording: RecordingStatus,
}

/// What somebody is, and how far they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A bot whose call waits for the first answer.
    BotWaiting,
    /// A bot that takes part.
    Bot,
    /// Called, or dialled in; not connected yet.
    Dialling,
    /// Their telephone rings.
    Ringing,
    /// A person who takes part.
    Connected,
}

impl Stage {
    const fn is_bot(self) -> bool {
        matches!(self, Self::BotWaiting | Self::Bot)
    }

    /// Whether they take part in the audio and are in the roster.
    const fn is_in(self) -> bool {
        matches!(self, Self::Bot | Self::Connected)
    }
}

/// Who hears hold music. One at a time (Graph).
#[derive(Clone, Debug)]
struct Hold {
    participant: ParticipantId,
    /// The bot that wanted it.
    by: ParticipantId,
    /// The operation that waits for the music to begin.
    starting: Option<OperationId>,
}

/// An invite that waits for answers.
#[derive(Clone, Debug)]
struct Invite {
    by: ParticipantId,
    operation: OperationId,
    waits_for: Vec<ParticipantId>,
    failure: Option<ResultInfo>,
}

impl Conference {
    /// An empty one. It ends when the first who came have all gone.
    pub fn new(settings: ConferenceSettings) -> Self {
        Self {
            settings,
            members: Vec::new(),
            roster: Arc::default(),
            routing: Vec::new(),
            levels: Vec::new(),
            hold: None,
            invites: Vec::new(),
            refers: Vec::new(),
            had_people: false,
            last_failure: None,
            has_ended: false,
            outputs: VecDeque::new(),
        }
    }

    /// Takes one input. Drain [`Conference::poll_output`] before the next.
    pub fn handle_input(&mut self, input: ConferenceInput) {
        if self.has_ended {
            return self.refuse_late(input);
        }
        match input {
            ConferenceInput::Join(place) => self.join(place),
            ConferenceInput::Arrive { participant, identity } => self.arrive(participant, identity),
            ConferenceInput::Ask { by, request } => self.asked(by, request),
            ConferenceInput::Leave(bot) => {
                if self.find(bot).is_some_and(|member| member.stage.is_bot()) {
                    let end = ResultInfo::of_call(200, 7000, "The call was ended by the bot.");
                    self.lose_bot(bot, end);
                }
            }
            ConferenceInput::Leg { participant, event } => self.leg(participant, event),
            ConferenceInput::HandedOn(id) => {
                if self.find(id).is_some_and(|member| !member.stage.is_bot()) {
                    self.forget(id);
                }
            }
            ConferenceInput::HoldMusic { participant, outcome } => {
                self.hold_music(participant, outcome);
            }
            ConferenceInput::TimeIsUp if self.has_bot() => {}
            ConferenceInput::TimeIsUp => {
                self.end(&ResultInfo::of_call(200, 5003, "The conversation has lasted too long."));
            }
            ConferenceInput::ServerStops => {
                self.end(&ResultInfo::of_call(500, 9999, "The server is stopping."));
            }
        }
        self.show_roster();
        self.end_if_over();
    }

    /// The next thing to be done, in order.
    pub fn poll_output(&mut self) -> Option<ConferenceOutput> {
        self.outputs.pop_front()
    }

    /// Who is in it now.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Nobody is left, and nobody comes any more.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether a bot has a place in it.
    pub fn has_bot(&self) -> bool {
        self.members.iter().any(|member| member.stage.is_bot())
    }

    /// Whether a telephone that dials in is let in.
    pub fn admits_callers(&self) -> bool {
        !self.has_ended && (self.settings.without_bot == WithoutBot::Stands || self.has_bot())
    }

    /// How loud a listener hears a source, in per cent: 0 is not at all, 100 as loud as it is.
    pub fn level(&self, listener: ParticipantId, source: ParticipantId) -> u8 {
        if !self.hears(listener, source) {
            return 0;
        }
        routing::own_level(listener, source, &self.levels)
    }

    pub(super) fn hears(&self, listener: ParticipantId, source: ParticipantId) -> bool {
        let (hearing, speaking) = (self.standing(listener), self.standing(source));
        routing::hears((listener, hearing), (source, speaking), self.all_routing_groups())
    }

    pub(super) fn all_routing_groups(&self) -> impl Iterator<Item = &AudioRoutingGroup> + Clone {
        self.routing.iter().flat_map(|(_, groups)| groups)
    }

    pub(super) fn mixer_levels(&self) -> &[MixerLevel] {
        &self.levels
    }

    /// All who take part in the audio.
    pub(super) fn taking_part(&self) -> impl Iterator<Item = (ParticipantId, Standing)> {
        let is_in = |member: &&Member| member.stage.is_in();
        self.members.iter().filter(is_in).map(|member| (member.id, self.standing(member.id)))
    }

    fn standing(&self, id: ParticipantId) -> Standing {
        let Some(member) = self.find(id) else { return Standing::default() };
        Standing {
            is_in: member.stage.is_in(),
            is_muted: member.is_muted,
            is_isolated: self.is_on_hold(id),
            is_apart: member.is_apart,
        }
    }

    fn join(&mut self, place: BotPlace) {
        let BotPlace { participant, identity, is_apart, targets } = place;
        if self.find(participant).is_some() {
            return;
        }
        if self.members.len() + 1 + targets.len() > self.settings.most_participants {
            return self.tell(participant, LegEvent::Ended(full()));
        }
        let stage = if targets.is_empty() { Stage::Bot } else { Stage::BotWaiting };
        self.members.push(Member { stage, is_apart, ..Member::new(participant, identity) });
        if targets.is_empty() {
            self.admit_bot(participant);
        }
        for invitation in targets.iter() {
            self.dial(invitation.clone(), participant);
        }
    }

    fn arrive(&mut self, participant: ParticipantId, identity: Arc<Identity>) {
        if self.find(participant).is_some() {
            return;
        }
        let has_room = self.members.len() < self.settings.most_participants;
        if !has_room || !self.admits_callers() {
            return self.outputs.push_back(ConferenceOutput::HangUp(participant));
        }
        self.members.push(Member::new(participant, identity));
        self.outputs.push_back(ConferenceOutput::Answer(participant));
    }

    fn dial(&mut self, invitation: Invitation, by: ParticipantId) {
        let Invitation { participant, identity, is_hidden, is_apart, .. } = invitation.clone();
        let member = Member::new(participant, identity);
        self.members.push(Member { is_hidden, is_apart, ..member });
        self.outputs.push_back(ConferenceOutput::Dial { invitation, by });
    }

    fn leg(&mut self, id: ParticipantId, event: LegEvent) {
        let Some(member) = self.find_mut(id).filter(|member| !member.stage.is_bot()) else {
            return;
        };
        match event {
            LegEvent::Ringing if member.stage == Stage::Dialling => member.stage = Stage::Ringing,
            LegEvent::Answered if !member.stage.is_in() => {
                member.stage = Stage::Connected;
                self.had_people = true;
                self.outputs.push_back(ConferenceOutput::Enter(id));
                self.outputs.push_back(ConferenceOutput::Remix);
                self.admit_waiting();
                self.answered_invite(id, None);
            }
            LegEvent::Tone(tone) if member.stage.is_in() => {
                for bot in self.bots() {
                    self.tell(bot, LegEvent::Tone(tone));
                }
            }
            event
            @ (LegEvent::ReferAccepted | LegEvent::ReferRefused | LegEvent::ReferEnded(_)) => {
                self.referred(id, event)
            }
            LegEvent::Ended(result) => self.lose_person(id, result),
            // A hold by the person's own telephone is their leg's affair; a doubled event is none.
            LegEvent::Ringing
            | LegEvent::Answered
            | LegEvent::Media { .. }
            | LegEvent::Tone(_)
            | LegEvent::Conference(_) => {}
        }
    }

    fn hold_music(&mut self, participant: ParticipantId, outcome: Result<(), ResultInfo>) {
        let Some(hold) = self.hold.as_mut().filter(|hold| hold.participant == participant) else {
            return;
        };
        let (by, starting) = (hold.by, hold.starting.take());
        if outcome.is_err() {
            self.hold = None;
            self.outputs.push_back(ConferenceOutput::Remix);
        }
        if let Some(operation) = starting {
            self.done(by, operation, outcome);
        }
    }

    /// A bot takes part from now on: its call is answered, and it has audio.
    fn admit_bot(&mut self, bot: ParticipantId) {
        self.outputs.push_back(ConferenceOutput::Enter(bot));
        self.outputs.push_back(ConferenceOutput::Remix);
        self.tell(bot, LegEvent::Answered);
        self.tell(bot, LegEvent::Media { active: true });
    }

    fn admit_waiting(&mut self) {
        let is_waiting = |member: &&mut Member| member.stage == Stage::BotWaiting;
        let waiting: Vec<ParticipantId> = (self.members.iter_mut())
            .filter(is_waiting)
            .map(|member| {
                member.stage = Stage::Bot;
                member.id
            })
            .collect();
        waiting.into_iter().for_each(|bot| self.admit_bot(bot));
    }

    /// A person's leg is gone by itself.
    fn lose_person(&mut self, id: ParticipantId, result: ResultInfo) {
        let was_in = self.forget(id);
        if !was_in {
            self.last_failure = Some(result.clone());
        }
        self.answered_invite(id, Some(result));
    }

    /// A bot's call is over, for whatever reason; `result` is what it is told.
    fn lose_bot(&mut self, bot: ParticipantId, result: ResultInfo) {
        self.forget(bot);
        self.routing.retain(|(of, _)| *of != bot);
        if self.hold.as_ref().is_some_and(|hold| hold.by == bot) {
            self.end_hold();
        }
        self.invites.retain(|invite| invite.by != bot);
        self.refers.retain(|(_, by)| *by != bot);
        self.outputs.push_back(ConferenceOutput::Remix);
        self.tell(bot, LegEvent::Ended(result));
    }

    /// Takes somebody out. Says whether they took part.
    fn forget(&mut self, id: ParticipantId) -> bool {
        let Some(at) = self.members.iter().position(|member| member.id == id) else {
            return false;
        };
        if self.is_on_hold(id) {
            self.end_hold();
        }
        let member = self.members.remove(at);
        self.levels.retain(|level| level.participant != id);
        self.refers.retain(|(whose, _)| *whose != id);
        if member.stage.is_in() {
            self.outputs.push_back(ConferenceOutput::Exit(id));
            self.outputs.push_back(ConferenceOutput::Remix);
        }
        member.stage.is_in()
    }

    fn end_hold(&mut self) {
        let Some(hold) = self.hold.take() else { return };
        self.outputs.push_back(ConferenceOutput::StopHoldMusic(hold.participant));
        self.outputs.push_back(ConferenceOutput::Remix);
        if let Some(operation) = hold.starting {
            self.done(hold.by, operation, Err(ResultInfo::cancelled()));
        }
    }

    /// Somebody who was called has come, or `failure` says why not.
    fn answered_invite(&mut self, id: ParticipantId, failure: Option<ResultInfo>) {
        let Some(at) = self.invites.iter().position(|invite| invite.waits_for.contains(&id)) else {
            return;
        };
        let invite = &mut self.invites[at];
        invite.waits_for.retain(|waiting| *waiting != id);
        if let Some(failure) = failure {
            let message =
                format!("addParticipants failed for participant {id}. {}", failure.message);
            invite.failure = Some(ResultInfo { message, ..failure });
        }
        if invite.waits_for.is_empty() {
            let Invite { by, operation, failure, .. } = self.invites.remove(at);
            self.done(by, operation, failure.map_or(Ok(()), Err));
        }
    }

    /// Tells all bots of a roster that has changed.
    fn show_roster(&mut self) {
        let on_hold = self.hold.as_ref().map(|hold| hold.participant);
        let shown = |member: &Member| Participant {
            id: member.id,
            identity: Arc::clone(&member.identity),
            is_muted: member.is_muted,
            is_on_hold: on_hold == Some(member.id),
            is_hidden: member.is_hidden,
            recording: member.recording,
        };
        let is_in = |member: &&Member| member.stage.is_in();
        let participants: Vec<_> = self.members.iter().filter(is_in).map(shown).collect();
        if participants == self.roster.participants {
            return;
        }
        self.roster = Arc::new(Roster { sequence: self.roster.sequence + 1, participants });
        for bot in self.bots() {
            let roster = ConferenceEvent::Roster(Arc::clone(&self.roster));
            self.tell(bot, LegEvent::Conference(roster));
        }
    }

    fn done(
        &mut self,
        bot: ParticipantId,
        operation: OperationId,
        outcome: Result<(), ResultInfo>,
    ) {
        let event = ConferenceEvent::Done { operation, outcome };
        self.tell(bot, LegEvent::Conference(event));
    }

    fn tell(&mut self, bot: ParticipantId, event: LegEvent) {
        self.outputs.push_back(ConferenceOutput::Tell { bot, event });
    }

    /// Bots that take part.
    fn bots(&self) -> Vec<ParticipantId> {
        let is_bot = |member: &&Member| member.stage == Stage::Bot;
        self.members.iter().filter(is_bot).map(|member| member.id).collect()
    }

    fn is_on_hold(&self, id: ParticipantId) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.participant == id)
    }

    fn find(&self, id: ParticipantId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    fn find_mut(&mut self, id: ParticipantId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id)
    }
}

impl Member {
    /// Somebody who is being called.
    fn new(id: ParticipantId, identity: Arc<Identity>) -> Self {
        Self {
            id,
            identity,
            stage: Stage::Dialling,
            is_muted: false,
            is_hidden: false,
            is_apart: false,
            recording: RecordingStatus::Unknown,
        }
    }
}

fn full() -> ResultInfo {
    ResultInfo::of_call(403, 8516, "The conference has as many participants as it may.")
}
