//! What a group call knows of its conference: the roster, its own routing groups, and operations
//! that the conference carries out.
//!
//! Commands are judged here by what was last heard, so that a bot has its answer at once; the
//! conference has the last word, which becomes an operation's result.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::Call;
use crate::{
    command::Rejection,
    conference::{
        AudioRoutingGroup, ConferenceEvent, ConferenceRequest, GroupCommand, GroupVerb,
        MAX_ROUTING_GROUPS, Roster,
    },
    ids::{OperationId, ParticipantId},
    operation::{Operation, OperationKind, OperationStatus, ResultInfo},
    output::{Notification, Output, end},
};

impl Call {
    /// A group command of an established call.
    pub(super) fn handle_group(&mut self, command: GroupCommand) -> Result<(), Rejection> {
        let limit = self.settings.queue_limit;
        let status = match &command {
            GroupCommand::Act { verb: GroupVerb::UpdateRecordingStatus(status), .. } => {
                Some(*status)
            }
            GroupCommand::Act { .. }
            | GroupCommand::Remove(_)
            | GroupCommand::PutRoutingGroup { .. }
            | GroupCommand::DeleteRoutingGroup(_) => None,
        };
        match (&mut self.group, command) {
            (Some(group), command) => group.command(command, limit, &mut self.outputs)?,
            // Between two there is nobody to be told, and a bot that records says so all the same.
            (None, GroupCommand::Act { operation: id, verb, client_context })
                if status.is_some() =>
            {
                self.complete(id, OperationKind::Group(verb), client_context);
            }
            (None, _) => return Err(Rejection::NotGroupCall),
        }
        self.recording = status.unwrap_or(self.recording);
        Ok(())
    }

    /// The conference of a group call tells something.
    pub(super) fn hear_conference(&mut self, now: Instant, event: ConferenceEvent) {
        let Some(group) = &mut self.group else { return };
        group.heard(event, &mut self.outputs);
        let roster = Arc::clone(group.roster());
        self.with_queue(now, |queue, cx| queue.keep_listeners(&roster, cx));
        self.keep_transferee(&roster);
    }

    /// Who is to be transferred: a person of the group; nobody in particular of a call between two.
    pub(super) fn expect_transferee(
        &self,
        transferee: Option<ParticipantId>,
    ) -> Result<Option<ParticipantId>, Rejection> {
        if self.group.is_none() {
            return Ok(None);
        }
        let id = transferee.ok_or(Rejection::NoTransferee)?;
        self.expect_listener(Some(id))?;
        Ok(Some(id))
    }

    /// Whether a prompt can be played to one participant alone: a person of the group.
    pub(super) fn expect_listener(&self, id: Option<ParticipantId>) -> Result<(), Rejection> {
        let Some(id) = id else { return Ok(()) };
        let group = self.group.as_ref().ok_or(Rejection::NotGroupCall)?;
        group.roster.person(id).map(drop).ok_or(Rejection::ParticipantAbsent)
    }
}

/// The group that a call takes part in.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    roster: Arc<Roster>,
    routing: Vec<AudioRoutingGroup>,
    /// Not ended yet, in the order they were asked.
    running: Vec<Operation>,
    /// Who hears hold music by this call's wish, as far as it knows.
    on_hold: Option<ParticipantId>,
}

impl Group {
    pub(crate) fn new() -> Self {
        Self { roster: Arc::default(), routing: Vec::new(), running: Vec::new(), on_hold: None }
    }

    pub(crate) fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    pub(crate) fn routing(&self) -> &[AudioRoutingGroup] {
        &self.routing
    }

    pub(crate) fn operation(&self, id: OperationId) -> Option<&Operation> {
        self.running.iter().find(|operation| operation.id == id)
    }

    /// Takes a command of an established call. At most `limit` operations run at a time.
    pub(crate) fn command(
        &mut self,
        command: GroupCommand,
        limit: usize,
        outputs: &mut VecDeque<Output>,
    ) -> Result<(), Rejection> {
        match command {
            GroupCommand::Act { operation, verb, client_context } => {
                self.judge(&verb, limit)?;
                self.act(operation, verb, client_context, outputs);
            }
            GroupCommand::Remove(participant) => {
                self.expect_invited(participant)?;
                let request = ConferenceRequest::Remove(participant);
                outputs.push_back(Output::Conference(request));
            }
            GroupCommand::PutRoutingGroup { group, is_update } => {
                let known = self.routing.iter().position(|known| known.id == group.id);
                match (known, is_update) {
                    (None, true) => return Err(Rejection::RoutingGroupAbsent),
                    (Some(_), false) => return Err(Rejection::RoutingGroupExists),
                    (None, false) if self.routing.len() >= MAX_ROUTING_GROUPS => {
                        return Err(Rejection::QueueFull);
                    }
                    (None, false) | (Some(_), true) => {}
                }
                group.check(&self.roster).map_err(Rejection::BadRoutingGroup)?;
                match known {
                    Some(at) => self.routing[at] = group,
                    None => self.routing.push(group),
                }
                self.route(outputs);
            }
            GroupCommand::DeleteRoutingGroup(id) => {
                let known = self.routing.iter().position(|known| known.id == id);
                self.routing.remove(known.ok_or(Rejection::RoutingGroupAbsent)?);
                self.route(outputs);
            }
        }
        Ok(())
    }

    /// Takes what the conference tells.
    pub(crate) fn heard(&mut self, event: ConferenceEvent, outputs: &mut VecDeque<Output>) {
        match event {
            ConferenceEvent::Roster(roster) => {
                let is_shown = |id| roster.get(id).is_some_and(|shown| shown.is_on_hold);
                if self.on_hold.is_some_and(|id| !is_shown(id) && !self.is_starting_hold(id)) {
                    self.on_hold = None;
                }
                self.roster = Arc::clone(&roster);
                outputs.push_back(Output::Notify(Notification::Roster(roster)));
            }
            ConferenceEvent::Done { operation, outcome } => {
                let Some(at) = self.running.iter().position(|running| running.id == operation)
                else {
                    return;
                };
                let operation = self.running.remove(at);
                if outcome.is_err() && starts_hold(&operation) == self.on_hold {
                    self.on_hold = None;
                }
                end(ended(operation, outcome), true, outputs);
            }
        }
    }

    /// The call ends: what still runs is cut.
    pub(crate) fn drop_all(
        &mut self,
        result: impl Fn() -> ResultInfo,
        notify: bool,
        outputs: &mut VecDeque<Output>,
    ) {
        for operation in std::mem::take(&mut self.running) {
            end(ended(operation, Err(result())), notify, outputs);
        }
    }

    fn judge(&self, verb: &GroupVerb, limit: usize) -> Result<(), Rejection> {
        match verb {
            GroupVerb::MuteSelf | GroupVerb::UnmuteSelf | GroupVerb::UpdateRecordingStatus(_) => {}
            GroupVerb::Mute(id) | GroupVerb::Unmute(id) => self.expect(*id)?,
            GroupVerb::MuteAll(named) => named.iter().try_for_each(|id| self.expect(*id))?,
            GroupVerb::Invite(_) => {}
            GroupVerb::ConfigureMixer(levels) => {
                let sources = levels.iter().flat_map(|level| &level.sources).map(|(id, _)| *id);
                let listeners = levels.iter().map(|level| level.participant);
                listeners.chain(sources).try_for_each(|id| self.expect(id))?;
            }
            GroupVerb::StartHoldMusic { participant, .. } => {
                self.expect(*participant)?;
                if self.held().is_some() {
                    return Err(Rejection::HoldMusicBusy);
                }
            }
            GroupVerb::StopHoldMusic(id) => {
                self.expect(*id)?;
                if self.held() != Some(*id) {
                    return Err(Rejection::NotOnHold);
                }
            }
        }
        if !verb.is_immediate() && self.running.len() >= limit {
            return Err(Rejection::QueueFull);
        }
        Ok(())
    }

    fn act(
        &mut self,
        id: OperationId,
        verb: GroupVerb,
        client_context: Option<String>,
        outputs: &mut VecDeque<Output>,
    ) {
        match &verb {
            GroupVerb::StartHoldMusic { participant, .. } => self.on_hold = Some(*participant),
            GroupVerb::StopHoldMusic(_) => self.on_hold = None,
            GroupVerb::Invite(_)
            | GroupVerb::MuteSelf
            | GroupVerb::UnmuteSelf
            | GroupVerb::Mute(_)
            | GroupVerb::Unmute(_)
            | GroupVerb::MuteAll(_)
            | GroupVerb::ConfigureMixer(_)
            | GroupVerb::UpdateRecordingStatus(_) => {}
        }
        let kind = OperationKind::Group(verb.clone());
        let mut operation = Operation::running(id, kind, client_context);
        if verb.is_immediate() {
            operation = ended(operation, Ok(()));
        } else {
            self.running.push(operation.clone());
        }
        outputs.push_back(Output::CommitOperation(operation));
        outputs.push_back(Output::Conference(ConferenceRequest::Act { operation: id, verb }));
    }

    fn route(&self, outputs: &mut VecDeque<Output>) {
        outputs.push_back(Output::Conference(ConferenceRequest::Route(self.routing.clone())));
    }

    /// Who hears hold music: by this call's own wish, or by another bot's.
    fn held(&self) -> Option<ParticipantId> {
        let shown = self.roster.participants.iter().find(|participant| participant.is_on_hold);
        let is_stopping = |id: &ParticipantId| {
            self.running.iter().any(|running| {
                matches!(&running.kind, OperationKind::Group(GroupVerb::StopHoldMusic(of)) if of == id)
            })
        };
        self.on_hold.or_else(|| shown.map(|shown| shown.id).filter(|id| !is_stopping(id)))
    }

    fn is_starting_hold(&self, id: ParticipantId) -> bool {
        self.running.iter().any(|running| starts_hold(running) == Some(id))
    }

    fn expect(&self, participant: ParticipantId) -> Result<(), Rejection> {
        self.roster.get(participant).map(drop).ok_or(Rejection::ParticipantAbsent)
    }

    /// One of the roster, or one who is being called.
    fn expect_invited(&self, id: ParticipantId) -> Result<(), Rejection> {
        let names = |operation: &Operation| {
            matches!(&operation.kind, OperationKind::Group(GroupVerb::Invite(list))
                if list.iter().any(|invitation| invitation.participant == id))
        };
        if self.running.iter().any(names) { Ok(()) } else { self.expect(id) }
    }
}

/// Whom an operation puts on hold.
fn starts_hold(operation: &Operation) -> Option<ParticipantId> {
    let OperationKind::Group(GroupVerb::StartHoldMusic { participant, .. }) = &operation.kind
    else {
        return None;
    };
    Some(*participant)
}

fn ended(operation: Operation, outcome: Result<(), ResultInfo>) -> Operation {
    match outcome {
        Ok(()) => operation.ended(OperationStatus::Completed, None, ResultInfo::completed()),
        Err(result) => operation.ended(OperationStatus::Failed, None, result),
    }
}
