//! What the call asks for is carried out, and must be such as the contract says.

use super::{Ear, INITIAL_SILENCE, MOST_OVERLAYS, Sound, Times, World};
use crate::{
    Notification, Operation, OperationId, OperationKind, OperationStatus, Output, call::CallState,
};

impl World {
    pub(super) fn see(&mut self, output: Output) {
        match output {
            Output::CommitOperation(operation) => self.see_operation(operation),
            Output::Notify(Notification::OperationEnded(operation)) => {
                let ended = self.operations.get(&operation.id).and_then(Option::as_ref);
                assert_eq!(ended, Some(&operation), "told before it is durable, or otherwise");
                self.told.push(operation.id);
            }
            Output::Fetch { operation, prompts } => {
                self.runs(operation);
                self.fetching.extend((0..prompts.len().max(1)).map(|index| (operation, index)));
            }
            Output::StartPlayout { operation, ready, sealed, looping } => {
                self.runs(operation);
                assert!(self.playing.is_none(), "two playouts at a time");
                assert!(self.ear.is_none(), "a playout before the recording is saved");
                assert!(self.last_begun < Some(operation), "out of order, or a second time");
                assert!(ready > 0 && (sealed || !looping));
                self.last_begun = Some(operation);
                self.playing = Some(Sound { operation, ready, sealed, looping, paused: false });
            }
            Output::ExtendPlayout { operation, ready, sealed } => {
                let sound = self.playing.as_mut().expect("there is a playout");
                assert!(sound.operation == operation && !sound.sealed && ready >= sound.ready);
                (sound.ready, sound.sealed) = (ready, sealed);
            }
            Output::StartOverlay { operation, ready, looping } => {
                self.runs(operation);
                assert!(self.sound(operation).is_none(), "started twice");
                let sound = Sound { operation, ready, sealed: true, looping, paused: false };
                self.overlays.push(sound);
                assert!(self.overlays.len() <= MOST_OVERLAYS);
            }
            Output::PausePlayout { operation, paused } => {
                self.sound(operation).expect("it sounds").paused = paused;
            }
            Output::SeekPlayout { operation, .. } => {
                self.sound(operation).expect("it sounds");
            }
            Output::StopPlayout(operation) => {
                assert!(self.sound(operation).is_some(), "stopped what does not sound");
                self.playing.take_if(|sound| sound.operation == operation);
                self.overlays.retain(|sound| sound.operation != operation);
            }
            Output::StartRecording { operation, .. } => {
                self.runs(operation);
                assert!(self.playing.is_none(), "it records its own prompt");
                assert_eq!(self.ear.replace((operation, Ear::Listens)), None, "two recordings");
                let initial = Some(self.now + INITIAL_SILENCE);
                self.times = Times { initial, longest: None, silence: None };
            }
            Output::FinishRecording(operation) => {
                let finishes = self.ear.replace((operation, Ear::Finishes));
                assert_eq!(finishes, Some((operation, Ear::Listens)), "nothing to be finished");
                let due = [self.times.longest, self.times.silence].contains(&Some(self.now));
                assert!(due || !self.is_timeout, "not its time: {:?}", self.times);
            }
            Output::DropRecording(operation) => {
                let dropped = self.ear.take().map(|(dropped, _)| dropped);
                assert_eq!(dropped, Some(operation), "nothing to be dropped");
                let due = self.times.initial == Some(self.now);
                assert!(due || !self.is_timeout, "not its time: {:?}", self.times);
            }
            Output::SendTones { operation, .. } => {
                self.runs(operation);
                assert_eq!(self.sending.replace(operation), None, "two sequences at a time");
            }
            Output::CommitState { state, .. } => {
                if state == CallState::Terminated {
                    assert!(self.operations.values().all(Option::is_some), "something still runs");
                }
            }
            Output::Notify(_) | Output::Leg(_) => {}
            Output::Conference(_) | Output::Bridge(_) => panic!("nobody asks for it: {output:?}"),
        }
    }

    fn see_operation(&mut self, operation: Operation) {
        let id = operation.id;
        if operation.status == OperationStatus::Running {
            assert!(self.operations.insert(id, None).is_none(), "accepted twice");
            return;
        }
        assert!(self.sound(id).is_none(), "it has ended, and still sounds");
        assert!(self.ear.is_none_or(|(ear, _)| ear != id), "it has ended, and still records");
        self.sending.take_if(|sending| *sending == id);
        if let OperationKind::RecordResponse { recorded, .. } = &operation.kind {
            let is_saved = self.saved.contains(&id);
            assert_eq!(recorded.is_some(), is_saved, "{operation:?}");
            assert_eq!(operation.status == OperationStatus::Completed, is_saved);
        }
        assert!(operation.result.is_some());
        let before = self.operations.insert(id, Some(operation));
        assert!(!matches!(before, Some(Some(_))), "it ends twice: {before:?}");
    }

    fn runs(&self, operation: OperationId) {
        let known = self.operations.get(&operation);
        assert!(matches!(known, Some(None)), "not durable, or over: {operation:?}");
    }
}
