//! Reads outputs only; each `assert` is one thing that must never happen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::named::name;
use crate::{
    BridgeCommand, CallState, Input, LegCommand, Notification, Operation, OperationId,
    OperationKind, OperationStatus, Output, PlayoutEvent, ResultInfo, TonesEvent,
};

/// (prompts handed over, sealed, looping)
pub(super) type Playout = (usize, bool, bool);

/// What the outputs so far add up to.
#[derive(Default)]
pub(super) struct Judge {
    pub(super) state: Option<(CallState, Option<ResultInfo>)>,
    pub(super) running: VecDeque<OperationId>,
    pub(super) playing: Option<(OperationId, Playout)>,
    /// The last committed form of each operation.
    committed: BTreeMap<OperationId, Operation>,
    fetched: BTreeSet<OperationId>,
    started: BTreeSet<OperationId>,
    pub(super) ended: Vec<(OperationId, u32)>,
    pub(super) told: Vec<OperationId>,
    /// Tones that are being sent.
    pub(super) sending: Option<OperationId>,
    /// Accepted sequences of tones, in order.
    pub(super) sequences: VecDeque<OperationId>,
    /// What was told of the call itself.
    pub(super) call_told: Vec<&'static str>,
    pub(super) legs: Vec<LegCommand>,
    pub(super) bridges: Vec<BridgeCommand>,
    over: bool,
}

impl Judge {
    /// A playout that has run to its end needs no StopPlayout.
    pub(super) fn hear(&mut self, input: &Input) {
        if let Input::Playout(PlayoutEvent::Finished(id)) = input
            && let Some((playing, (_, true, false))) = self.playing
            && playing == *id
        {
            self.playing = None;
        }
        if let Input::Tones(TonesEvent::Sent(id) | TonesEvent::Failed(id, _)) = input
            && self.sending == Some(*id)
        {
            self.sending = None;
        }
    }

    pub(super) fn see(&mut self, output: &Output) {
        assert!(!self.over, "{output:?} after terminated");
        match output {
            Output::CommitState { state, result } => {
                assert_eq!(result.is_some(), *state == CallState::Terminated);
                if *state == CallState::Terminated {
                    assert!(self.running.is_empty(), "terminated with running operations");
                    assert!(self.sequences.is_empty(), "terminated with tones to be sent");
                    assert_eq!(self.playing, None, "terminated with a playout");
                }
                self.state = Some((*state, result.clone()));
            }
            Output::CommitOperation(operation) => self.see_operation(operation),
            Output::Notify(notification) => self.see_notification(notification),
            Output::Fetch { operation, .. } => {
                assert!(self.running.contains(operation), "fetched before it is committed");
                assert!(self.fetched.insert(*operation), "fetched twice");
            }
            Output::StartPlayout { operation, ready, sealed, looping } => {
                assert_eq!(self.playing, None, "two playouts at a time");
                assert_eq!(self.running.front(), Some(operation), "out of order");
                assert!(self.started.insert(*operation), "started twice or after its stop");
                assert!(*ready > 0 && (*sealed || !*looping));
                self.playing = Some((*operation, (*ready, *sealed, *looping)));
            }
            Output::ExtendPlayout { operation, ready, sealed } => {
                let Some((playing, (before, false, false))) = self.playing else {
                    panic!("{output:?} without an open playout");
                };
                assert!(playing == *operation && (*ready > before || *sealed));
                self.playing = Some((playing, (*ready, *sealed, false)));
            }
            Output::StopPlayout(operation) => {
                let stopped = self.playing.take().map(|(playing, _)| playing);
                assert_eq!(stopped, Some(*operation), "stopped what does not play");
            }
            Output::StartOverlay { .. }
            | Output::PausePlayout { .. }
            | Output::SeekPlayout { .. } => {
                panic!("{output:?}: none of the model's commands asks for it")
            }
            Output::SendTones { operation, tones, .. } => {
                assert_eq!(self.sending.replace(*operation), None, "two sequences at a time");
                assert_eq!(self.sequences.front(), Some(operation), "tones out of order");
                assert!(!tones.is_empty());
            }
            Output::StartRecording { .. }
            | Output::FinishRecording(_)
            | Output::DropRecording(_) => {
                panic!("no step records: call/tests/recording.rs does")
            }
            Output::Leg(command) => self.legs.push(command.clone()),
            Output::Conference(request) => panic!("a call between two has none: {request:?}"),
            Output::Bridge(command) => self.bridges.push(*command),
        }
    }

    fn see_operation(&mut self, operation: &Operation) {
        let before = self.committed.insert(operation.id, operation.clone());
        assert!(
            !before.is_some_and(|before| before.status.is_final()),
            "{} has two final states",
            name(operation.id)
        );
        if operation.status == OperationStatus::Running {
            assert_eq!(operation.result, None);
            let queue = match operation.kind {
                OperationKind::SendDtmfTones { .. } => &mut self.sequences,
                OperationKind::PlayPrompt { .. }
                | OperationKind::RecordResponse { .. }
                | OperationKind::CancelMediaProcessing
                | OperationKind::SubscribeToTone => &mut self.running,
                OperationKind::Group(_) => panic!("a call between two has none: {operation:?}"),
            };
            return queue.push_back(operation.id);
        }
        let result = operation.result.as_ref().expect("final operations have a result");
        self.ended.push((operation.id, result.subcode));
        let is_completed = operation.status == OperationStatus::Completed;
        match operation.kind {
            OperationKind::SendDtmfTones { .. } => {
                assert_eq!(self.sequences.pop_front(), Some(operation.id), "not in order");
                // The end of the call cuts what is being sent.
                self.sending = self.sending.filter(|sending| *sending != operation.id);
                return;
            }
            OperationKind::PlayPrompt { .. }
            | OperationKind::RecordResponse { .. }
            | OperationKind::CancelMediaProcessing
            | OperationKind::SubscribeToTone
            | OperationKind::Group(_) => {}
        }
        assert_eq!(is_completed, result.subcode == 0);
        if matches!(operation.kind, OperationKind::PlayPrompt { .. }) {
            assert_eq!(self.running.pop_front(), Some(operation.id), "not first in, first out");
            assert!(
                self.playing.is_none_or(|(playing, _)| playing != operation.id),
                "final before its sound has stopped"
            );
        }
    }

    fn see_notification(&mut self, notification: &Notification) {
        let (state, result) = self.state.as_ref().expect("a state is committed first");
        let about_call = match notification {
            Notification::Incoming => {
                assert_eq!(*state, CallState::Incoming);
                "incoming"
            }
            Notification::Establishing => {
                assert_eq!(*state, CallState::Establishing);
                "establishing"
            }
            Notification::Ringing => {
                assert_eq!(*state, CallState::Establishing);
                "ringing"
            }
            Notification::Tone { .. } => {
                assert!(is_connected(*state));
                "tone"
            }
            Notification::Rejected => {
                assert_eq!(*state, CallState::Terminated);
                self.over = true;
                "rejected"
            }
            Notification::Established => {
                assert_eq!(*state, CallState::Established);
                "established"
            }
            Notification::Media { active } => {
                assert!(is_connected(*state));
                media(*active)
            }
            Notification::Roster(roster) => panic!("a call between two has none: {roster:?}"),
            Notification::Terminating => {
                assert_eq!(*state, CallState::Terminating);
                "terminating"
            }
            Notification::Transferring => {
                assert_eq!(*state, CallState::Transferring);
                "transferring"
            }
            Notification::TransferAccepted => {
                assert_eq!(*state, CallState::TransferAccepted);
                "transferAccepted"
            }
            Notification::TransferFailed(told) => {
                assert_eq!((*state, told.code), (CallState::Established, 500));
                "transfer failed"
            }
            Notification::Transferred { .. } => {
                assert_eq!(*state, CallState::Terminated);
                assert_eq!(result.as_ref().map(|result| result.subcode), Some(7015));
                self.over = true;
                "transferred"
            }
            Notification::Redirected(told) => {
                assert_eq!(*state, CallState::Terminated);
                assert_eq!(result.as_ref(), Some(told));
                self.over = true;
                "redirected"
            }
            Notification::Terminated(told) => {
                assert_eq!(*state, CallState::Terminated);
                assert_eq!(result.as_ref(), Some(told));
                self.over = true;
                "terminated"
            }
            Notification::OperationEnded(operation) => {
                assert!(operation.status.is_final());
                assert_eq!(self.committed.get(&operation.id), Some(operation), "not committed");
                assert!(!self.told.contains(&operation.id), "told twice");
                return self.told.push(operation.id);
            }
        };
        self.call_told.push(about_call);
    }
}

fn is_connected(state: CallState) -> bool {
    matches!(state, CallState::Established | CallState::Transferring | CallState::TransferAccepted)
}

/// How a model names the two notifications with mediaState.
pub(super) fn media(active: bool) -> &'static str {
    if active { "media active" } else { "media inactive" }
}
