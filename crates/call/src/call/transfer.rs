//! Handing a call on: transfer (Graph "call: transfer"), by REFER or by a bridge of ours, and
//! redirect (Graph "call: redirect"), by a bridge. Spec: notifications.md §5, state-machines.md §4.

use std::time::{Duration, Instant};

use super::{Call, CallState};
use crate::{
    command::ReferTo,
    conference::{ConferenceRequest, Roster},
    ids::ParticipantId,
    input::BridgeEvent,
    leg::{LegCommand, LegEvent, RejectReason},
    operation::ResultInfo,
    output::{BridgeCommand, Notification, Output},
    timer::Timer,
};

/// A call that is being handed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handover {
    /// To somebody whom the bot has on another call.
    is_consultative: bool,
    /// Others are called, or another call's leg is asked for, by us and not by the far end.
    is_bridging: bool,
    /// Of a group call: who of it is handed on.
    transferee: Option<ParticipantId>,
}

impl Call {
    pub(super) fn transfer(
        &mut self,
        transferee: Option<ParticipantId>,
        refer: Option<ReferTo>,
        is_consultative: bool,
    ) {
        self.handover = Some(Handover { is_consultative, is_bridging: false, transferee });
        self.enter(CallState::Transferring);
        self.notify(Notification::Transferring);
        match (transferee, refer) {
            (Some(transferee), Some(refer)) => {
                let request = ConferenceRequest::Refer { transferee, refer };
                self.outputs.push_back(Output::Conference(request));
            }
            (None, Some(ReferTo { target, replaces })) => {
                self.outputs.push_back(Output::Leg(LegCommand::Refer { target, replaces }));
            }
            (Some(_) | None, None) => self.dial_others(),
        }
    }

    pub(super) fn redirect(&mut self, now: Instant, ring_for: Duration) {
        self.timers.stop(Timer::Answer);
        // The dialling gives up by itself; this is the net below it.
        self.timers.set(Timer::Establish, now + ring_for + self.settings.terminate_within);
        let (is_consultative, is_bridging, transferee) = (false, false, None);
        self.handover = Some(Handover { is_consultative, is_bridging, transferee });
        self.enter(CallState::Redirecting);
        self.dial_others();
    }

    fn dial_others(&mut self) {
        if let Some(handover) = &mut self.handover {
            handover.is_bridging = true;
            self.outputs.push_back(Output::Bridge(BridgeCommand::Dial));
        }
    }

    /// What the far end makes of our Refer; late and doubled news are absorbed.
    pub(super) fn hear_refer(&mut self, now: Instant, event: LegEvent) {
        let is_bridging = self.handover.is_some_and(|handover| handover.is_bridging);
        if is_bridging
            || !matches!(self.state, CallState::Transferring | CallState::TransferAccepted)
        {
            return;
        }
        match event {
            LegEvent::ReferAccepted => self.accept_transfer(),
            LegEvent::ReferRefused => self.dial_others(),
            LegEvent::ReferEnded(Ok(())) => {
                self.accept_transfer();
                self.outputs.push_back(Output::Leg(LegCommand::HangUp));
                self.transferred(now);
            }
            LegEvent::ReferEnded(Err(cause)) => self.transfer_failed(&cause),
            LegEvent::Ringing
            | LegEvent::Answered
            | LegEvent::Media { .. }
            | LegEvent::Tone(_)
            | LegEvent::Conference(_)
            | LegEvent::Ended(_) => {}
        }
    }

    pub(super) fn hear_bridge(&mut self, now: Instant, event: BridgeEvent) {
        if !self.handover.is_some_and(|handover| handover.is_bridging) {
            return;
        }
        match (self.state, event) {
            (CallState::Transferring, BridgeEvent::Ringing) => self.accept_transfer(),
            (CallState::Transferring | CallState::TransferAccepted, BridgeEvent::Answered) => {
                self.accept_transfer();
                // What still plays stops before the two hear each other.
                self.drop_operations(now);
                self.outputs.push_back(Output::Bridge(BridgeCommand::Join));
                self.transferred(now);
            }
            (CallState::Transferring | CallState::TransferAccepted, BridgeEvent::Failed(cause)) => {
                self.transfer_failed(&cause)
            }
            (CallState::Redirecting, BridgeEvent::Answered) => {
                self.timers.set(Timer::Establish, now + self.settings.terminate_within);
                self.outputs.push_back(Output::Leg(LegCommand::Answer));
            }
            (CallState::Redirecting, BridgeEvent::Failed(cause)) => {
                let reason =
                    if cause.code == 486 { RejectReason::Busy } else { RejectReason::None };
                self.outputs.push_back(Output::Leg(LegCommand::Reject(reason)));
                self.end(now, cause.clone(), Notification::Redirected(cause));
            }
            (
                CallState::Incoming
                | CallState::Establishing
                | CallState::Established
                | CallState::TransferAccepted
                | CallState::Redirecting
                | CallState::Terminating
                | CallState::Terminated,
                BridgeEvent::Ringing,
            )
            | (
                CallState::Incoming
                | CallState::Establishing
                | CallState::Established
                | CallState::Terminating
                | CallState::Terminated,
                BridgeEvent::Answered | BridgeEvent::Failed(_),
            ) => {}
        }
    }

    /// The caller of a redirected call is connected with us; now it is with the target.
    pub(super) fn redirected(&mut self, now: Instant) {
        self.outputs.push_back(Output::Bridge(BridgeCommand::Join));
        let result = ResultInfo::of_call(200, 7000, "The call was redirected.");
        self.end(now, result.clone(), Notification::Redirected(result));
    }

    /// Another call of the bot takes this one's far end over, and with it the call's place.
    pub(super) fn give_up_leg(&mut self, now: Instant) {
        match self.state {
            CallState::Established => {
                self.drop_operations(now);
                self.outputs.push_back(Output::Bridge(BridgeCommand::Join));
                let told = Notification::Transferred { is_consultative: true };
                self.end(now, ResultInfo::transferred(), told);
            }
            CallState::Incoming
            | CallState::Establishing
            | CallState::Transferring
            | CallState::TransferAccepted
            | CallState::Redirecting
            | CallState::Terminating
            | CallState::Terminated => {}
        }
    }

    /// The far end has left for the one whom another call of the bot was with.
    pub(super) fn replaced(&mut self, now: Instant) {
        let told = Notification::Transferred { is_consultative: true };
        self.end(now, ResultInfo::transferred(), told);
    }

    /// Who was to be transferred may have left the group in another way.
    pub(super) fn keep_transferee(&mut self, roster: &Roster) {
        let transferee = self.handover.and_then(|handover| handover.transferee);
        if transferee.is_some_and(|id| roster.person(id).is_none()) {
            self.abandon_handover();
            self.transfer_failed(&ResultInfo::listener_gone());
        }
    }

    /// Nobody is to be called any more on behalf of this call.
    pub(super) fn abandon_handover(&mut self) {
        if self.handover.take().is_some_and(|handover| handover.is_bridging) {
            self.outputs.push_back(Output::Bridge(BridgeCommand::Abandon));
        }
    }

    fn accept_transfer(&mut self) {
        if self.state == CallState::Transferring {
            self.enter(CallState::TransferAccepted);
            self.notify(Notification::TransferAccepted);
        }
    }

    fn transferred(&mut self, now: Instant) {
        let is_consultative = self.handover.take().is_some_and(|it| it.is_consultative);
        let told = Notification::Transferred { is_consultative };
        self.end(now, ResultInfo::transferred(), told);
    }

    /// The call goes on as it was.
    fn transfer_failed(&mut self, cause: &ResultInfo) {
        self.handover = None;
        self.enter(CallState::Established);
        let text = format!("The transfer failed: {}", cause.message);
        self.notify(Notification::TransferFailed(ResultInfo::new(500, 7000, text)));
    }
}
