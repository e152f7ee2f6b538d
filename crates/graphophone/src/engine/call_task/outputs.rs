//! What a call puts out: audio at once, the rest made durable, and then carried out in order.

use std::sync::Arc;

use graphophone_call::{
    CallState, ConferenceEvent, ConferenceRequest, Input, LegCommand, LegEvent, MediaPrompt,
    Notification, Operation, OperationId, Output, ResultInfo,
};
use graphophone_sip::LegHandle;
use graphophone_store::StoreError;
use tracing::warn;

use super::CallTask;
use crate::engine::{
    backlog::{Backlog, Change, is_lasting},
    conference::Place,
    ledger::Entry,
};

impl CallTask {
    /// Drains the core: playouts at once, the rest into a change to be stored. The operations in
    /// it come back as well.
    ///
    /// A playout does not wait for the disk: its operation was durable before its prompts were
    /// fetched, and between two operations of a queue a slow disk would be a pause in the audio.
    pub(super) async fn drain(&mut self) -> (Change, Vec<Operation>) {
        let mut effects = Vec::new();
        let mut operations = Vec::new();
        let mut notifications = Vec::new();
        let mut state_changed = false;
        while let Some(output) = self.call.poll_output() {
            match output {
                Output::StopPlayout(operation) => self.audio.stop(operation).await,
                Output::StartPlayout { operation, ready, sealed, looping } => {
                    self.audio.start(operation, ready, sealed, looping);
                }
                Output::StartOverlay { operation, ready, looping } => {
                    self.audio.overlay(operation, ready, looping);
                }
                Output::PausePlayout { operation, paused } => self.audio.pause(operation, paused),
                Output::SeekPlayout { operation, position } => {
                    self.audio.seek(operation, position);
                }
                Output::ExtendPlayout { operation, ready, sealed } => {
                    self.audio.extend(operation, ready, sealed);
                }
                Output::StartRecording { operation, settings } => {
                    self.audio.record(operation, settings);
                }
                Output::FinishRecording(operation) => self.audio.finish_recording(operation),
                Output::DropRecording(operation) => self.audio.recorder.give_up(operation),
                Output::CommitState { state, result } => {
                    self.view.state = state;
                    self.view.result = result;
                    state_changed = true;
                }
                Output::CommitOperation(operation) => operations.push(operation),
                Output::Notify(notification) => {
                    if let Notification::TransferFailed(_) = &notification {
                        self.handover.spare();
                    }
                    notifications.push(notification);
                }
                output @ (Output::Fetch { .. }
                | Output::SendTones { .. }
                | Output::Bridge(_)
                | Output::Conference(_)
                | Output::Leg(_)) => effects.push(output),
            }
        }
        self.view.set_media(self.call.media_active());
        self.view.tone = self.call.last_tone();
        self.view.group.update(&self.call);
        if !state_changed && operations.is_empty() && notifications.is_empty() {
            return (Change { effects, ..Change::default() }, operations);
        }
        let call_ends = state_changed
            && matches!(self.view.state, CallState::Terminating | CallState::Terminated);
        let mut forgotten = Vec::new();
        for operation in &operations {
            if operation.status.is_final() {
                forgotten.extend(self.audio.end(operation, call_ends));
            } else {
                self.audio.playouts.add(operation);
            }
        }
        let has_new_details = std::mem::take(&mut self.has_new_details);
        if self.view.state == CallState::Terminated {
            self.dialogs_at_end(&effects);
        }
        let dialogs = self.kept_dialogs();
        let entry = Entry {
            view: &self.view,
            dialog: dialogs.as_deref(),
            is_new: state_changed || has_new_details,
            operations: forgotten
                .iter()
                .map(|(operation, receipt)| (operation, Some(receipt.clone())))
                .chain(
                    operations
                        .iter()
                        .map(|operation| (operation, self.audio.playouts.receipt(operation.id))),
                )
                .collect(),
            notifications,
        };
        let keeps_dialog = entry.is_new && self.dialog.is_some();
        let commit = entry.to_commit().into();
        (Change { commit, effects, keeps_dialog, ..Change::default() }, operations)
    }

    /// Makes a change durable, then carries out what waited for that. If the store refuses it, it
    /// is kept and offered again while the call goes on.
    pub(super) async fn settle(&mut self, change: Change) -> Result<(), StoreError> {
        if change.is_empty() {
            self.carry_out(change);
            return Ok(());
        }
        if let Some(backlog) = &mut self.backlog {
            backlog.add(change);
            return Ok(());
        }
        self.offer(Backlog::new(change)).await
    }

    /// Offers the store once more what it has refused.
    pub(super) async fn retry(&mut self) -> Result<(), StoreError> {
        let Some(mut backlog) = self.backlog.take() else { return Ok(()) };
        backlog.postpone();
        self.offer(backlog).await
    }

    async fn offer(&mut self, backlog: Backlog) -> Result<(), StoreError> {
        match self.store(&backlog.change).await {
            Ok(()) => self.carry_out(backlog.change),
            Err(error) if is_lasting(&error) => {
                backlog.give_up();
                return Err(error);
            }
            Err(error) => {
                warn!(call_id = %self.view.details.id, %error, "the store refuses a commit for now");
                self.backlog = Some(backlog);
            }
        }
        Ok(())
    }

    pub(super) async fn store(&mut self, change: &Change) -> Result<(), StoreError> {
        let publish = || drop(self.publish.send_replace(self.view.clone()));
        self.shared.ledger.commit(Arc::clone(&change.commit), publish).await
    }

    /// Answers, and lets leave the process what was to wait for a commit.
    pub(super) fn carry_out(&mut self, change: Change) {
        for (reply, made) in change.replies {
            let _ = reply.send(Ok(made));
        }
        if change.keeps_dialog {
            self.leg.iter().for_each(LegHandle::dialog_is_kept);
            self.place.iter().for_each(Place::dialogs_are_kept);
        }
        for effect in change.effects {
            match effect {
                Output::Leg(command) => self.command_leg(command),
                Output::Conference(request) => self.ask_conference(request),
                Output::Bridge(command) => self.command_bridge(command),
                Output::Fetch { operation, prompts } => self.fetch(operation, prompts),
                Output::SendTones { operation, tones, delay } => {
                    self.audio.send_tones(operation, &tones, delay);
                }
                Output::CommitState { .. }
                | Output::CommitOperation(_)
                | Output::Notify(_)
                | Output::StartPlayout { .. }
                | Output::StartOverlay { .. }
                | Output::PausePlayout { .. }
                | Output::SeekPlayout { .. }
                | Output::ExtendPlayout { .. }
                | Output::StartRecording { .. }
                | Output::FinishRecording(_)
                | Output::DropRecording(_)
                | Output::StopPlayout(_) => {}
            }
        }
    }

    fn fetch(&mut self, operation: OperationId, prompts: Arc<[MediaPrompt]>) {
        match (self.audio.listener(operation), &self.place) {
            (Some(listener), Some(place)) => {
                let loan = place.borrow(listener);
                self.audio.fetch_for(operation, prompts, loan);
            }
            (Some(_) | None, _) => self.audio.fetch(operation, prompts),
        }
    }

    fn command_leg(&mut self, command: LegCommand) {
        if let Some(place) = &self.place {
            return place.command(&command);
        }
        match &self.leg {
            Some(leg) => leg.command(command),
            // Not dialled yet: without the future no INVITE leaves any more, or it is cancelled,
            // and nobody is there to confirm the end.
            None => {
                self.dialling = None.into();
                let end = ResultInfo::of_call(200, 7000, "The call was ended by the bot.");
                self.follow_ups.push_back(Input::Leg(LegEvent::Ended(end)));
            }
        }
    }

    /// What cannot be asked for ends as the operation that it was asked by.
    fn ask_conference(&mut self, request: ConferenceRequest) {
        let operation = match &request {
            ConferenceRequest::Act { operation, .. } => Some(*operation),
            ConferenceRequest::Remove(_)
            | ConferenceRequest::Route(_)
            | ConferenceRequest::Refer { .. } => None,
        };
        let refers = matches!(request, ConferenceRequest::Refer { .. });
        let Some(Err(result)) = self.place.as_ref().map(|place| place.ask(request)) else { return };
        warn!(call_id = %self.view.details.id, message = result.message, "a conference is not asked");
        if refers {
            self.follow_ups.push_back(Input::Leg(LegEvent::ReferEnded(Err(result))));
        } else if let Some(operation) = operation {
            let event = ConferenceEvent::Done { operation, outcome: Err(result) };
            self.follow_ups.push_back(Input::Leg(LegEvent::Conference(event)));
        }
    }
}
