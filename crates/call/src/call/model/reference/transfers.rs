//! The model's transfers and redirects, as far as a bridge carries them out.

use std::time::Instant;

use super::Model;
use crate::{BridgeCommand, BridgeEvent, CallState, LegCommand, RejectReason};

impl Model {
    pub(super) fn bridge(&mut self, now: Instant, event: &BridgeEvent) {
        use CallState::{Redirecting, TransferAccepted, Transferring};
        if !self.bridging {
            return;
        }
        match (self.state, event) {
            (Transferring, BridgeEvent::Ringing) => self.accept(),
            (Transferring | TransferAccepted, BridgeEvent::Answered) => {
                self.accept();
                self.bridges.push(BridgeCommand::Join);
                self.bridging = false;
                self.over(7015, "transferred");
            }
            (Transferring | TransferAccepted, BridgeEvent::Failed(_)) => self.back(),
            (Redirecting, BridgeEvent::Answered) => {
                self.legs.push(LegCommand::Answer);
                self.timers.insert("net", now + self.setting.settings.terminate_within);
            }
            (Redirecting, BridgeEvent::Failed(cause)) => {
                let busy = cause.code == 486;
                let reason = if busy { RejectReason::Busy } else { RejectReason::None };
                self.legs.push(LegCommand::Reject(reason));
                self.over(cause.subcode, "redirected");
            }
            _ => {}
        }
    }

    pub(super) fn dial(&mut self) {
        self.bridging = true;
        self.bridges.push(BridgeCommand::Dial);
    }

    pub(super) fn abandon(&mut self) {
        if std::mem::take(&mut self.bridging) {
            self.bridges.push(BridgeCommand::Abandon);
        }
    }

    pub(super) fn accept(&mut self) {
        if self.state == CallState::Transferring {
            self.state = CallState::TransferAccepted;
            self.call_told.push("transferAccepted");
        }
    }

    pub(super) fn back(&mut self) {
        self.bridging = false;
        self.state = CallState::Established;
        self.call_told.push("transfer failed");
    }

    pub(super) fn over(&mut self, subcode: u32, told: &'static str) {
        self.end = Some(subcode);
        self.cut_all();
        self.state = CallState::Terminated;
        self.call_told.push(told);
    }
}
