//! One task owns one conference: it waits for an input, gives it to the machine, and carries the
//! outputs out.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::FutureExt;
use graphophone_call::{
    Conference, ConferenceInput, ConferenceOutput, Invitation, LegEvent, ParticipantId, ResultInfo,
};
use graphophone_sip::LegSignal;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, info, warn};

use super::{
    MeetingKey,
    bots::Bots,
    mailbox::{Ask, Mailbox},
    orphans::Orphans,
    people::{News, People, Tell},
    sound::{Fetched, Sound},
};
use crate::engine::{audio::Lent, bridge::borrow, dial::Target, registry::Shared};

/// News of people that wait for the task; their carriers wait with more.
const NEWS: usize = 256;
/// How often it is tried again to tell a call or the room what they had no place for.
const AGAIN: Duration = Duration::from_millis(20);

pub(super) struct ConferenceTask {
    pub(super) machine: Conference,
    pub(super) shared: Arc<Shared>,
    pub(super) key: Option<MeetingKey>,
    mailbox: Mailbox,
    bots: Bots,
    pub(super) people: People,
    pub(super) orphans: Orphans,
    /// Who takes part in the audio, or is to as soon as they have a stream.
    inside: Vec<ParticipantId>,
    /// `None` if there is no engine, or it is full: then nobody can be heard.
    sound: Option<Sound>,
    news: mpsc::Receiver<(ParticipantId, News)>,
    tell: Tell,
    /// Whose call keeps the dialogs.
    keeper: Option<ParticipantId>,
    knows_of_stop: bool,
    follow_ups: VecDeque<ConferenceInput>,
}

/// What woke the task.
enum Wake {
    Posted,
    News(ParticipantId, News),
    Fetched(Fetched),
    OrphansEnd,
    ServerStops,
    Again,
}

impl ConferenceTask {
    pub(super) fn new(shared: Arc<Shared>, key: Option<MeetingKey>, mailbox: Mailbox) -> Self {
        let settings = shared.conferences.settings(key.as_ref());
        let sound = Sound::open(shared.conferences.audio.clone())
            .inspect_err(|error| warn!(%error, "a conference has no room"))
            .ok();
        let (tell, news) = mpsc::channel(NEWS);
        let orphans = Orphans::of(key.as_ref().map(|key| key.tenant));
        Self {
            machine: Conference::new(settings),
            shared,
            key,
            mailbox,
            bots: Bots::default(),
            people: People::default(),
            orphans,
            inside: Vec::new(),
            sound,
            news,
            tell,
            keeper: None,
            knows_of_stop: false,
            follow_ups: VecDeque::new(),
        }
    }

    /// Lives as long as the conference.
    pub(super) async fn run(mut self) {
        info!(meeting = self.key.is_some(), "a conference begins");
        while !self.machine.has_ended() {
            match self.next().await {
                Wake::Posted => {
                    while let Some(ask) = self.mailbox.take() {
                        self.take(ask).await;
                    }
                }
                Wake::News(id, news) => self.hear(id, news).await,
                Wake::Fetched(fetched) => {
                    let told = self.sound.as_mut().and_then(|sound| sound.fetched(fetched));
                    if let Some((participant, outcome)) = told {
                        self.handle(ConferenceInput::HoldMusic { participant, outcome }).await;
                    }
                }
                Wake::OrphansEnd => self.end_orphans().await,
                Wake::ServerStops => {
                    self.knows_of_stop = true;
                    self.handle(ConferenceInput::ServerStops).await;
                }
                Wake::Again => {
                    self.bots.offer();
                    self.remix();
                }
            }
        }
        if let Some(key) = &self.key {
            self.shared.conferences.lock().remove(key);
        }
        self.mailbox.close();
        // Who comes at this moment is told that it is over.
        while let Some(ask) = self.mailbox.take() {
            self.take(ask).await;
        }
        self.forget_own_dialogs().await;
        info!("a conference ends");
    }

    /// Waits for the next thing to happen; cancel-safe, decides nothing.
    async fn next(&mut self) -> Wake {
        let is_behind = self.bots.is_behind() || self.sound.as_ref().is_some_and(Sound::is_behind);
        let until = self.orphans.until();
        let fetched = async {
            match &mut self.sound {
                Some(sound) => sound.next_fetched().await,
                None => None,
            }
        };
        tokio::select! {
            biased;
            () = self.mailbox.posted() => Wake::Posted,
            Some((id, news)) = self.news.recv() => Wake::News(id, news),
            Some(fetched) = fetched => Wake::Fetched(fetched),
            () = self.shared.draining.cancelled(), if !self.machine.has_bot() => Wake::OrphansEnd,
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                Wake::OrphansEnd
            }
            () = self.shared.stopping.cancelled(), if !self.knows_of_stop => Wake::ServerStops,
            () = sleep(AGAIN), if is_behind => Wake::Again,
        }
    }

    async fn take(&mut self, ask: Ask) {
        match ask {
            Ask::Join(joining) => {
                self.orphans.belong_to(joining.owner);
                let place = self.bots.add(*joining);
                self.handle(ConferenceInput::Join(place)).await;
            }
            Ask::Arrive(arrival) => {
                let super::Arrival { participant, identity, leg, dialog } = *arrival;
                self.people.take(participant, leg, dialog, self.tell.clone());
                self.handle(ConferenceInput::Arrive { participant, identity }).await;
            }
            Ask::Request(by, request) => {
                self.handle(ConferenceInput::Ask { by, request }).await;
            }
            Ask::Borrow(participant, reply) => {
                let lent = self.people.stream(participant).map(Lent::new);
                // The call may be over.
                let _ = reply.send(lent);
            }
            Ask::HandOn(transferee, other) => self.hand_on(transferee, *other).await,
            Ask::DialogsKept => self.people.dialogs_are_kept(),
            Ask::Leave(bot) => self.handle(ConferenceInput::Leave(bot)).await,
        }
    }

    async fn hear(&mut self, id: ParticipantId, news: News) {
        match self.people.note(id, news) {
            Some(News::Event(event)) => {
                if matches!(event, LegEvent::Ended(_)) {
                    self.people.remove(id);
                }
                self.handle(ConferenceInput::Leg { participant: id, event }).await;
            }
            Some(News::Stream(_)) if self.inside.contains(&id) => {
                self.enter(id);
                self.drain().await;
            }
            Some(News::Played(event)) => self.bots.tell_of_playout(&event),
            Some(
                News::Stream(_)
                | News::Dialled(_)
                | News::Dialog(_)
                | News::Referred
                | News::Moved(_),
            )
            | None => {}
        }
        self.tell_dialogs().await;
    }

    pub(super) async fn handle(&mut self, input: ConferenceInput) {
        self.machine.handle_input(input);
        self.drain().await;
    }

    /// Carries outputs out, and what follows from them.
    async fn drain(&mut self) {
        loop {
            let mut has_changed = false;
            while let Some(output) = self.machine.poll_output() {
                has_changed |= matches!(output, ConferenceOutput::Remix);
                self.carry_out(output).await;
            }
            if has_changed {
                self.remix();
            }
            let Some(input) = self.follow_ups.pop_front() else { break };
            self.machine.handle_input(input);
        }
        self.watch_orphans();
        self.tell_dialogs().await;
    }

    async fn carry_out(&mut self, output: ConferenceOutput) {
        match output {
            ConferenceOutput::Dial { invitation, by } => {
                let id = invitation.participant;
                if let Err(result) = self.dial(invitation, by) {
                    debug!(message = result.message, "a participant is not called");
                    let event = LegEvent::Ended(result);
                    let input = ConferenceInput::Leg { participant: id, event };
                    self.follow_ups.push_back(input);
                }
            }
            ConferenceOutput::Refer { participant, refer } => {
                self.people.refer(participant, refer);
            }
            ConferenceOutput::Answer(id) => self.people.answer(id),
            ConferenceOutput::HangUp(id) => self.people.remove(id),
            ConferenceOutput::Enter(id) => {
                self.inside.push(id);
                self.enter(id);
            }
            ConferenceOutput::Exit(id) => {
                self.inside.retain(|inside| *inside != id);
                if let Some(sound) = &mut self.sound {
                    sound.exit(id);
                }
            }
            // Done once for all that changes together.
            ConferenceOutput::Remix | ConferenceOutput::End => {}
            ConferenceOutput::StartHoldMusic { participant, by, prompt } => {
                // Isolated before the first sound.
                self.remix();
                let outcome = match (&mut self.sound, self.bots.get(by)) {
                    (Some(sound), Some(bot)) => {
                        let stream = self.people.stream(participant);
                        sound.start_hold(participant, stream, (&self.shared, bot.owner), prompt)
                    }
                    (None, _) | (_, None) => Some(Err(ResultInfo::play_failed())),
                };
                if let Some(outcome) = outcome {
                    let input = ConferenceInput::HoldMusic { participant, outcome };
                    self.follow_ups.push_back(input);
                }
            }
            ConferenceOutput::StopHoldMusic(id) => {
                if let Some(sound) = &mut self.sound {
                    sound.stop_hold(id).await;
                }
            }
            ConferenceOutput::Tell { bot, event } => {
                let is_left_alone = matches!(event, LegEvent::Ended(_)) && self.bots.is_last(bot);
                if is_left_alone && !self.machine.has_ended() {
                    self.keep_own_dialogs().await;
                }
                self.bots.tell(bot, LegSignal::Event(event));
            }
        }
    }

    fn dial(&mut self, invitation: Invitation, by: ParticipantId) -> Result<(), ResultInfo> {
        let refused = |code, subcode, why: String| {
            ResultInfo::of_call(code, subcode, &format!("The participant cannot be called: {why}."))
        };
        let nobody = || refused(400, 8523, "nobody is named".to_owned());
        if let Some(call) = invitation.replaces {
            let owner = self.bots.get(by).ok_or_else(nobody)?.owner;
            let gone = || refused(480, 10076, "the call they are in is over".to_owned());
            let (line, _) = self.shared.line_to(owner, call).ok_or_else(gone)?;
            self.people.borrow(invitation.participant, borrow(line), self.tell.clone());
            return Ok(());
        }
        let target = Target::of(&invitation.identity).ok_or_else(nobody)?;
        let permit = self.bots.permit(by);
        let bot = self.bots.get(by).ok_or_else(nobody)?;
        let route = self.shared.dial.route(&target);
        let route = route.map_err(|error| refused(403, 7504, error.to_string()))?;
        let app = bot.owner.1;
        let permit = match permit {
            Some(permit) => permit,
            None => {
                let taken = self.shared.quota.take(Instant::now().into_std(), app);
                let permit = taken.map_err(|error| refused(429, 8516, error.to_string()))?;
                let admitted = self.shared.door.admit();
                admitted.map_err(|error| refused(429, 8516, error.to_string()))?;
                permit
            }
        };
        let (shared, ring_timeout) = (Arc::clone(&self.shared), bot.ring_timeout);
        let sip_call_id = sip_call_id(invitation.participant);
        let dialog = graphophone_sip::invited(&sip_call_id);
        let dial =
            move |sinks| shared.place_call(route, app, ring_timeout, sip_call_id, sinks).boxed();
        self.people.dial(invitation.participant, dialog, permit, dial, self.tell.clone());
        Ok(())
    }

    /// Lets somebody be heard, as soon as they have a stream.
    fn enter(&mut self, id: ParticipantId) {
        let bot = self.bots.get(id).map(|bot| bot.sinks.stream.clone());
        let entered = match (&mut self.sound, bot, self.people.stream(id)) {
            (Some(sound), Some(events), _) => match sound.enter_bot(id, events) {
                Ok(stream) => {
                    self.bots.tell(id, LegSignal::Stream(stream));
                    Ok(())
                }
                Err(cause) => Err(cause),
            },
            (Some(sound), None, Some(stream)) => sound.enter(id, stream),
            (Some(_), None, None) => return,
            (None, _, _) => Err("there is no room".to_owned()),
        };
        if let Err(cause) = entered {
            warn!(cause, "a participant cannot be heard");
            let text = format!("The audio cannot be carried: {cause}.");
            let result = ResultInfo::of_call(500, 9001, &text);
            if self.bots.get(id).is_some() {
                self.bots.tell(id, LegSignal::Event(LegEvent::Ended(result)));
                self.follow_ups.push_back(ConferenceInput::Leave(id));
            } else {
                self.people.remove(id);
                let event = LegEvent::Ended(result);
                self.follow_ups.push_back(ConferenceInput::Leg { participant: id, event });
            }
        }
    }

    fn remix(&mut self) {
        if let Some(sound) = &mut self.sound {
            sound.mix(self.machine.mix());
        }
    }

    /// The dialogs of all are kept with the first bot's call; without one, by the conference.
    async fn tell_dialogs(&mut self) {
        let keeper = self.bots.keeper();
        let is_new = std::mem::replace(&mut self.keeper, keeper) != keeper;
        let dialogs = self.people.new_dialogs();
        let dialogs = dialogs.or_else(|| is_new.then(|| self.people.dialogs()));
        if let (Some(keeper), Some(dialogs)) = (keeper, &dialogs) {
            let dialogs = dialogs.clone();
            self.bots.tell(keeper, LegSignal::Dialog(dialogs));
        } else if dialogs.is_some() && !self.machine.has_ended() {
            self.keep_own_dialogs().await;
        }
    }
}

/// The SIP Call-ID of a participant's leg: whoever traces one finds it by the same id.
pub(super) fn sip_call_id(participant: ParticipantId) -> String {
    participant.uuid().simple().to_string()
}
