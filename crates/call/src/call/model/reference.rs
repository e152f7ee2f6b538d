//! The reference model: how a call must stand after each input.

mod transfers;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::Setting;
use super::judge::{Playout, media};
use super::named::ALL;
use crate::{
    BridgeCommand, CallState, Command, GroupCommand, GroupVerb, Input, LegCommand, LegEvent,
    OperationId, PlayoutEvent, PromptEvent, ReferTo, RejectReason, Rejection, TonesEvent,
};

/// One operation of the model: per prompt nothing, its playing time, or broken.
struct Queued {
    id: OperationId,
    prompts: Vec<Option<Result<Duration, ()>>>,
    looping: bool,
}

/// The call as a person would describe it: no outputs, only how things stand.
pub(super) struct Model {
    setting: Setting,
    pub(super) state: CallState,
    pub(super) media: bool,
    queue: VecDeque<Queued>,
    sequences: VecDeque<OperationId>,
    is_sending: bool,
    subscribed: bool,
    tones: u64,
    rang: bool,
    /// What of the queue's head is playing.
    playout: Option<Playout>,
    pub(super) timers: BTreeMap<&'static str, Instant>,
    /// Subcode the call ends with, once that is settled.
    pub(super) end: Option<u32>,
    /// Final operations with their subcodes, in order.
    pub(super) ended: Vec<(OperationId, u32)>,
    pub(super) told: Vec<OperationId>,
    pub(super) call_told: Vec<&'static str>,
    pub(super) legs: Vec<LegCommand>,
    pub(super) bridges: Vec<BridgeCommand>,
    /// We call others on behalf of the call.
    bridging: bool,
}

impl Model {
    pub(super) fn new(now: Instant, setting: Setting) -> Self {
        let s = &setting.settings;
        let (state, timers) = if setting.incoming {
            (CallState::Incoming, BTreeMap::from([("answer", now + s.answer_within)]))
        } else {
            let net = now + s.ring_for + s.terminate_within;
            let timers = BTreeMap::from([("net", net), ("keepAlive", now + s.keep_alive)]);
            (CallState::Establishing, timers)
        };
        let call_told = vec![if setting.incoming { "incoming" } else { "establishing" }];
        let (queue, ended, told, legs) = Default::default();
        Self {
            setting,
            state,
            media: false,
            queue,
            sequences: VecDeque::new(),
            is_sending: false,
            subscribed: false,
            tones: 0,
            rang: false,
            playout: None,
            timers,
            end: None,
            ended,
            told,
            call_told,
            legs,
            bridges: Vec::new(),
            bridging: false,
        }
    }

    pub(super) fn running(&self) -> VecDeque<OperationId> {
        self.queue.iter().map(|operation| operation.id).collect()
    }

    pub(super) fn playing(&self) -> Option<(OperationId, Playout)> {
        self.queue.front().map(|head| head.id).zip(self.playout)
    }

    pub(super) fn sequences(&self) -> VecDeque<OperationId> {
        self.sequences.clone()
    }

    pub(super) fn sending(&self) -> Option<OperationId> {
        self.sequences.front().copied().filter(|_| self.is_sending)
    }

    pub(super) fn last_tone(&self) -> Option<u64> {
        (self.tones > 0).then_some(self.tones)
    }

    pub(super) fn input(&mut self, now: Instant, input: &Input) -> Result<(), Rejection> {
        match input {
            Input::Command(command) => self.command(now, command)?,
            Input::Leg(event) => self.leg(event),
            Input::Bridge(event) => self.bridge(now, event),
            // No step of a case says so.
            Input::MayBeReplaced(_) => {}
            Input::TakenOver => {
                if self.state == CallState::Established {
                    self.cut_all();
                    self.bridges.push(BridgeCommand::Join);
                    self.over(7015, "transferred");
                }
            }
            Input::Prompt(PromptEvent::Ready { operation, index, duration }) => {
                self.prompt(*operation, *index, Ok(*duration));
            }
            Input::Prompt(PromptEvent::Failed { operation, index, .. }) => {
                self.prompt(*operation, *index, Err(()));
            }
            Input::Playout(PlayoutEvent::Finished(id)) => {
                if let Some((head, (ready, true, false))) = self.playing()
                    && head == *id
                {
                    let whole = self.queue[0].prompts.len() == ready;
                    self.end_head(if whole { 0 } else { 8536 }, true);
                }
            }
            Input::Playout(PlayoutEvent::Failed(operation)) => {
                if self.playing().is_some_and(|(head, _)| head == *operation) {
                    self.end_head(8511, true);
                }
            }
            // There is no recording that it could be about.
            Input::Recording(_) => {}
            Input::Tones(TonesEvent::Sent(id)) => self.tones_ended(*id, 0),
            Input::Tones(TonesEvent::Failed(id, result)) => self.tones_ended(*id, result.subcode),
            // The steps make none: what goes beyond Graph has tests of its own.
            Input::Speech => {}
            Input::ServerStops => {
                if self.state != CallState::Terminated {
                    self.legs.push(self.parting());
                    self.abandon();
                    self.end_all(9999, true);
                    self.terminate(9999);
                }
            }
            Input::Timeout => self.timeout(now),
        }
        self.settle(now);
        Ok(())
    }

    fn command(&mut self, now: Instant, command: &Command) -> Result<(), Rejection> {
        use CallState::{
            Established, Establishing, Incoming, Redirecting, Terminated, Terminating,
            TransferAccepted, Transferring,
        };
        let Setting { hosted, settings: s, .. } = self.setting.clone();
        let media_refused = match self.state {
            Terminating | Terminated => return Err(Rejection::Terminated),
            Transferring | TransferAccepted => Err(Rejection::WrongState),
            Incoming | Establishing | Redirecting => Err(Rejection::NotEstablished),
            Established if !hosted => Err(Rejection::NotServiceHosted),
            Established => Ok(()),
        };
        match command {
            Command::Answer { .. }
            | Command::Reject(_)
            | Command::Redirect { .. }
            | Command::KeepAlive
                if (self.state == Incoming) != (*command != Command::KeepAlive) =>
            {
                return Err(Rejection::WrongState);
            }
            Command::KeepAlive if self.state == Redirecting => return Err(Rejection::WrongState),
            Command::Reject(reason) => {
                self.legs.push(LegCommand::Reject(*reason));
                self.end = Some(7000);
                self.timers.clear();
                self.state = Terminated;
                self.call_told.push("rejected");
            }
            Command::Redirect { ring_for } => {
                self.timers.clear();
                self.timers.insert("net", now + *ring_for + s.terminate_within);
                self.state = Redirecting;
                self.dial();
            }
            Command::Transfer { refer, .. } => {
                match media_refused {
                    Err(Rejection::NotServiceHosted) | Ok(()) => {}
                    Err(refused) => return Err(refused),
                }
                self.state = Transferring;
                self.call_told.push("transferring");
                match refer {
                    Some(ReferTo { target, replaces }) => self.legs.push(LegCommand::Refer {
                        target: target.clone(),
                        replaces: replaces.clone(),
                    }),
                    None => self.dial(),
                }
            }
            Command::SubscribeToTone { operation, .. } => {
                media_refused?;
                self.subscribed = true;
                self.ended.push((*operation, 0));
            }
            Command::RecordResponse { .. } => {
                panic!("no step records: call/tests/recording.rs does")
            }
            Command::SendDtmfTones { operation, .. } => {
                media_refused?;
                if self.sequences.len() == s.queue_limit {
                    return Err(Rejection::QueueFull);
                }
                self.sequences.push_back(*operation);
            }
            Command::Answer { service_hosted } => {
                self.setting.hosted = *service_hosted;
                self.state = Establishing;
                self.call_told.push("establishing");
                self.legs.push(LegCommand::Answer);
                self.timers.clear();
                self.timers.insert("net", now + s.terminate_within);
                self.timers.insert("keepAlive", now + s.keep_alive);
            }
            Command::KeepAlive => {
                self.timers.insert("keepAlive", now + s.keep_alive);
            }
            Command::HangUp => {
                self.legs.push(self.parting());
                self.abandon();
                self.cut_all();
                self.end = Some(7000);
                self.state = Terminating;
                self.call_told.push("terminating");
                self.timers.insert("terminate", now + s.terminate_within);
            }
            Command::PlayPrompt { operation, prompts, looping, .. } => {
                media_refused?;
                if self.queue.len() == s.queue_limit {
                    return Err(Rejection::QueueFull);
                }
                let prompts = vec![None; prompts.len()];
                self.queue.push_back(Queued { id: *operation, prompts, looping: *looping });
            }
            // As above.
            Command::Control { .. } => {
                media_refused?;
                return Err(Rejection::NotPlaying);
            }
            Command::Group(command) => {
                assert!(!is_recording_status(command), "named operations only");
                return Err(match self.state {
                    Established => Rejection::NotGroupCall,
                    Transferring | TransferAccepted => Rejection::WrongState,
                    Incoming | Establishing | Redirecting | Terminating | Terminated => {
                        Rejection::NotEstablished
                    }
                });
            }
            Command::CancelMediaProcessing { operation, scope, .. } => {
                media_refused?;
                self.ended.push((*operation, 0));
                let count = if *scope == ALL { self.queue.len() } else { 1 };
                for _ in 0..count {
                    self.end_head(8508, true);
                }
            }
        }
        Ok(())
    }

    fn leg(&mut self, event: &LegEvent) {
        use CallState::{
            Established, Establishing, Incoming, Redirecting, Terminated, Terminating,
            TransferAccepted, Transferring,
        };
        match (self.state, event) {
            (Establishing, LegEvent::Ringing) => {
                let is_news = !self.setting.incoming && !std::mem::replace(&mut self.rang, true);
                self.call_told.extend(is_news.then_some("ringing"));
            }
            (Established | Transferring | TransferAccepted, LegEvent::Tone(_)) => {
                self.tones += u64::from(self.subscribed);
                self.call_told.extend(self.subscribed.then_some("tone"));
            }
            (Establishing, LegEvent::Answered) => {
                self.state = Established;
                self.timers.remove("net");
                self.call_told.push("established");
                self.call_told.extend(self.media.then_some(media(true)));
            }
            (Established | Transferring | TransferAccepted, LegEvent::Media { active }) => {
                self.call_told.extend((self.media != *active).then_some(media(*active)));
                self.media = *active;
            }
            (Incoming | Establishing | Redirecting, LegEvent::Media { active }) => {
                self.media = *active;
            }
            (_, LegEvent::Ended(result)) => self.terminate(result.subcode),
            (Redirecting, LegEvent::Answered) => {
                self.bridges.push(BridgeCommand::Join);
                self.bridging = false;
                self.over(7000, "redirected");
            }
            (Transferring | TransferAccepted, LegEvent::ReferRefused) if !self.bridging => {
                self.dial();
            }
            (Transferring | TransferAccepted, LegEvent::ReferAccepted) if !self.bridging => {
                self.accept();
            }
            (Transferring | TransferAccepted, LegEvent::ReferEnded(end)) if !self.bridging => {
                match end {
                    Ok(()) => {
                        self.accept();
                        self.legs.push(LegCommand::HangUp);
                        self.over(7015, "transferred");
                    }
                    Err(_) => self.back(),
                }
            }
            (
                _,
                LegEvent::Ringing
                | LegEvent::Tone(_)
                | LegEvent::ReferAccepted
                | LegEvent::ReferRefused
                | LegEvent::ReferEnded(_)
                | LegEvent::Conference(_),
            )
            | (
                Incoming | Established | Transferring | TransferAccepted | Terminating | Terminated,
                LegEvent::Answered,
            )
            | (Terminating | Terminated, LegEvent::Media { .. }) => {}
        }
    }

    fn prompt(&mut self, id: OperationId, index: usize, outcome: Result<Duration, ()>) {
        let operation = self.queue.iter_mut().find(|operation| operation.id == id);
        if let Some(prompt @ None) = operation.and_then(|queued| queued.prompts.get_mut(index)) {
            *prompt = Some(outcome);
        }
    }

    fn timeout(&mut self, now: Instant) {
        let expired: Vec<_> = self.timers.extract_if(.., |_, at| *at <= now).collect();
        for (timer, _) in expired {
            match (timer, self.setting.incoming) {
                ("grace", _) => {
                    if let (true, Some(head)) = (self.media, self.queue.front()) {
                        self.playout = Some((head.good(), false, false));
                    }
                }
                ("answer", _) => self.part(8587),
                ("keepAlive", _) => self.part(8537),
                ("net", true) => self.part(1106),
                ("net", false) => self.part(10057),
                _ => self.terminate(7000),
            }
        }
    }

    fn tones_ended(&mut self, id: OperationId, subcode: u32) {
        if self.sending() == Some(id) {
            self.sequences.pop_front();
            self.is_sending = false;
            self.ended.push((id, subcode));
            self.told.push(id);
        }
    }

    /// Does what the rules of the queue ask for as things stand.
    fn settle(&mut self, now: Instant) {
        let audible = self.media
            && matches!(
                self.state,
                CallState::Established | CallState::Transferring | CallState::TransferAccepted
            );
        self.is_sending |= audible && !self.sequences.is_empty();
        while let Some(head) = self.queue.front() {
            let (good, all) = (head.good(), head.prompts.len());
            let broken = matches!(head.prompts.get(good), Some(Some(Err(()))));
            let known = broken || good == all;
            let silent = head.prompts[..good].iter().all(|p| *p == Some(Ok(Duration::ZERO)));
            if let Some((_, _, looping)) = self.playout {
                self.playout = Some((good, known, looping));
            } else if silent && broken {
                self.end_head(8536, true);
                continue;
            } else if silent && known && head.looping {
                self.end_head(8535, true);
                continue;
            } else if audible && known {
                self.playout = Some((good, true, head.looping && !broken));
                self.timers.remove("grace");
            } else if audible && good > 0 && !head.looping {
                self.timers.entry("grace").or_insert(now + self.setting.settings.start_grace);
            }
            return;
        }
    }

    fn end_head(&mut self, subcode: u32, told: bool) {
        if let Some(head) = self.queue.pop_front() {
            self.ended.push((head.id, subcode));
            self.told.extend(told.then_some(head.id));
        }
        self.playout = None;
        self.timers.remove("grace");
    }

    fn cut_all(&mut self) {
        self.end_all(8508, self.setting.settings.notify_cut_operations);
    }

    fn end_all(&mut self, subcode: u32, told: bool) {
        while !self.queue.is_empty() {
            self.end_head(subcode, told);
        }
        for id in std::mem::take(&mut self.sequences) {
            self.ended.push((id, subcode));
            self.told.extend(told.then_some(id));
        }
        self.is_sending = false;
        self.timers.clear();
    }

    /// What the leg is asked when our side ends the call.
    fn parting(&self) -> LegCommand {
        if matches!(self.state, CallState::Incoming | CallState::Redirecting) {
            LegCommand::Reject(RejectReason::None)
        } else {
            LegCommand::HangUp
        }
    }

    /// Ends the call at both ends.
    fn part(&mut self, subcode: u32) {
        self.legs.push(self.parting());
        self.terminate(subcode);
    }

    fn terminate(&mut self, subcode: u32) {
        if self.state == CallState::Terminated {
            return;
        }
        self.abandon();
        self.end.get_or_insert(subcode);
        self.cut_all();
        self.state = CallState::Terminated;
        self.call_told.push("terminated");
    }
}

impl Queued {
    fn good(&self) -> usize {
        self.prompts.iter().take_while(|prompt| matches!(prompt, Some(Ok(_)))).count()
    }
}

/// The one group command that a call between two takes.
fn is_recording_status(command: &GroupCommand) -> bool {
    let GroupCommand::Act { verb, .. } = command else { return false };
    matches!(verb, GroupVerb::UpdateRecordingStatus(_))
}
