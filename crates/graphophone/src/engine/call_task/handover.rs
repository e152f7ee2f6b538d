//! A call on its way to somebody else: who is called on its behalf, and what becomes of its leg.

use std::sync::Arc;

use futures::{
    FutureExt,
    future::{BoxFuture, OptionFuture},
};
use graphophone_call::{
    BridgeCommand, BridgeEvent, CallState, Input, Output, ParticipantId, ResultInfo,
};
use tokio::sync::{mpsc, oneshot};

use super::CallTask;
use crate::engine::{
    bridge::{Callee, Carried, Forked, Plan, Row, borrow, bridge, fork},
    request::Request,
};

type Reaching = BoxFuture<'static, Result<Carried, ResultInfo>>;

/// What the task knows of a transfer or a redirect.
pub(super) struct Handover {
    /// Whom to call, as long as nobody is called.
    plan: Option<Plan>,
    reaching: OptionFuture<Reaching>,
    /// The call whose far end is to take this one's.
    other: Option<mpsc::Sender<Request>>,
    rings: mpsc::Receiver<()>,
    answered: Option<Carried>,
    /// The call that wants this one's leg.
    borrower: Option<oneshot::Sender<Carried>>,
    /// What releases whoever is called and picks up after a crash.
    invited: Vec<String>,
    /// What ends this call's dialog after a crash, when its leg goes elsewhere.
    parting: Option<String>,
    /// Of a group call: who of it is handed on.
    transferee: Option<ParticipantId>,
}

impl Default for Handover {
    fn default() -> Self {
        Self {
            plan: None,
            reaching: None.into(),
            other: None,
            rings: mpsc::channel(1).1,
            answered: None,
            borrower: None,
            invited: Vec::new(),
            parting: None,
            transferee: None,
        }
    }
}

impl Handover {
    /// News of who is called; cancel-safe.
    pub(super) async fn news(&mut self) -> BridgeEvent {
        tokio::select! {
            Some(outcome) = &mut self.reaching => {
                self.reaching = None.into();
                match outcome {
                    Ok(carried) => {
                        self.answered = Some(carried);
                        BridgeEvent::Answered
                    }
                    Err(result) => BridgeEvent::Failed(result),
                }
            }
            Some(()) = self.rings.recv() => BridgeEvent::Ringing,
            else => std::future::pending().await,
        }
    }

    /// The transfer has failed: the other call goes on, too.
    pub(super) fn spare(&mut self) {
        self.invited.clear();
        if let Some(other) = self.other.take() {
            // A call whose queue is full is asked a lot, and ends some time: what it is told then is
            // not worth waiting for.
            let _ = other.try_send(Request::Spare);
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.borrower.is_some()
    }
}

impl CallTask {
    /// Whom the command that was accepted hands the call on to.
    pub(super) fn plan(&mut self, plan: Option<Plan>, transferee: Option<ParticipantId>) {
        if let Some(plan) = plan {
            self.handover.transferee = transferee;
            match &plan {
                Plan::Borrow(other) => self.handover.other = Some(other.clone()),
                Plan::Dial { targets, .. } => {
                    let invited = |callee: &Callee| graphophone_sip::invited(&callee.sip_call_id);
                    self.handover.invited = targets.iter().map(invited).collect();
                }
            }
            self.handover.plan = Some(plan);
        }
    }

    /// Another call of the bot wants this one's leg.
    pub(super) fn wanted_by(&mut self, reply: oneshot::Sender<Carried>) -> Option<Input> {
        // In the rooms where it would be heard only what can be mixed is.
        let is_heard = self.audio.stream().is_some_and(|it| it.codec().sample().is_some());
        let has_all = self.leg.is_some() && is_heard && !reply.is_closed();
        (has_all && self.call.state() == CallState::Established).then(|| {
            self.handover.borrower = Some(reply);
            Input::TakenOver
        })
    }

    /// What is to be kept of dialogs: the call's own, and of who may pick up on its behalf.
    pub(super) fn kept_dialogs(&self) -> Option<String> {
        let invited = self.handover.invited.iter().map(String::as_str);
        let all: Vec<&str> = self.dialog.as_deref().into_iter().chain(invited).collect();
        (!all.is_empty()).then(|| all.join("\n"))
    }

    /// What is to be kept of dialogs once the call is over: those of a bridge, if it ends in one.
    pub(super) fn dialogs_at_end(&mut self, effects: &[Output]) {
        self.handover.invited.clear();
        // Of a group call the dialogs are its conference's.
        let joins = effects.contains(&Output::Bridge(BridgeCommand::Join)) && self.place.is_none();
        if !joins {
            self.dialog = None;
            return;
        }
        self.handover.parting = self.dialog.take();
        if !self.handover.is_wanted() {
            let other = self.handover.answered.as_ref().and_then(|it| it.dialog.as_deref());
            let both: Vec<&str> =
                self.handover.parting.as_deref().into_iter().chain(other).collect();
            self.dialog = Some(both.join("\n"));
        }
    }

    pub(super) fn command_bridge(&mut self, command: BridgeCommand) {
        match command {
            BridgeCommand::Dial => self.dial_others(),
            BridgeCommand::Join if self.place.is_some() => self.join_transferee(),
            BridgeCommand::Join => self.join(),
            BridgeCommand::Abandon => self.handover = Handover::default(),
        }
    }

    fn dial_others(&mut self) {
        let (tell, rings) = mpsc::channel(1);
        let reaching = match self.handover.plan.take() {
            Some(Plan::Dial { targets, from_user, from_display, ring_for }) => {
                let forked = Forked { targets, from_user, from_display, ring_for };
                fork(Arc::clone(&self.shared), forked, tell).boxed()
            }
            Some(Plan::Borrow(from)) => borrow(from).boxed(),
            None => {
                let text = "Nobody is to be called.";
                async move { Err(ResultInfo::of_call(500, 9999, text)) }.boxed()
            }
        };
        self.handover.rings = rings;
        self.handover.reaching = Some(reaching).into();
    }

    fn join(&mut self) {
        let Some(own) = self.carry_away() else { return };
        if let Some(borrower) = self.handover.borrower.take() {
            // A borrower that has gone meanwhile leaves a leg that is hung up.
            let _ = borrower.send(own);
            return;
        }
        if let Some(other) = self.handover.answered.take() {
            // It has waited for its dialog to be durable.
            other.leg.dialog_is_kept();
            let task = bridge(Arc::clone(&self.shared), Row::Call(self.view.clone()), [own, other]);
            self.shared.tasks.spawn(task);
        }
    }

    /// The conference has the leg that is to be bridged.
    fn join_transferee(&mut self) {
        let transferee = self.handover.transferee.take();
        let parts = (&self.place, transferee, self.handover.answered.take());
        if let (Some(place), Some(transferee), Some(other)) = parts {
            place.hand_on(transferee, other);
        }
    }

    /// Takes the leg out of the call, with everything that hears of it.
    fn carry_away(&mut self) -> Option<Carried> {
        let leg = self.leg.take()?;
        let stream = self.audio.give_stream()?;
        let (_, no_signals) = mpsc::channel(1);
        let (_, no_events) = mpsc::channel(1);
        let mut permits = std::mem::take(&mut self.followed);
        permits.extend(self.listed.give_permit());
        Some(Carried {
            leg,
            signals: std::mem::replace(&mut self.signals, no_signals),
            events: std::mem::replace(&mut self.stream_events, no_events),
            stream,
            dialog: self.handover.parting.take(),
            permits,
        })
    }
}
