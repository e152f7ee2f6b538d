//! Requests inside a dialog: which leg they belong to, and BYE both ways.

use std::time::Instant;

use graphophone_call::LegEvent;
use sipx_sip::{HeaderName, Method, Request, Response};

use super::{
    LegId, Output, UserAgent,
    answers::Answers,
    dialog::Dialog,
    flow::Flow,
    leg::{Leg, State},
    message,
    screening::allow,
    timers::Timer,
    transactions::Purpose,
};
use crate::{result_info::Cause, sdp::Agreed};

impl UserAgent {
    /// Ends a leg in whatever state it is, at our owner's wish.
    pub(crate) fn hang_up(&mut self, now: Instant, id: LegId) {
        match self.legs.get(&id).map(|leg| &leg.state) {
            Some(State::Calling(_)) => self.abandon_call(now, id, Cause::HungUp),
            Some(State::Ringing(_)) => self.refuse_leg(now, id, 480, Vec::new(), Cause::HungUp),
            Some(State::Established(_)) => self.finish(now, id, Cause::HungUp),
            Some(State::Ending { .. }) | None => {}
        }
    }

    /// The engine has no room for the stream of an established leg.
    pub(crate) fn lose_media(&mut self, now: Instant, id: LegId) {
        self.finish(now, id, Cause::NoResources);
    }

    /// Ends an established leg with BYE, as soon as that may be sent.
    pub(super) fn finish(&mut self, now: Instant, id: LegId, cause: Cause) {
        // An answer is acknowledged before it is given up.
        self.kept(id);
        let Some(mut leg) = self.legs.remove(&id) else { return };
        match &mut leg.state {
            // Not before the ACK, unless none comes (RFC 3261 §15); until then our 2xx is repeated.
            State::Established(established)
                if established.unacknowledged.as_ref().is_some_and(|wait| now < wait.until) =>
            {
                established.leaving.get_or_insert(cause);
                self.legs.insert(id, leg);
            }
            State::Established(established) if established.departed => {
                self.timers.stop(&Timer::Accept(id));
                self.end(now, id, leg, cause);
            }
            State::Established(established) => {
                let dialog = established.dialog.clone();
                self.timers.stop(&Timer::Accept(id));
                self.leave(now, id, leg, dialog, cause);
            }
            State::Calling(_) | State::Ringing(_) | State::Ending { .. } => {
                self.legs.insert(id, leg);
            }
        }
    }

    /// Sends BYE in a dialog; the leg is gone when it is answered.
    pub(super) fn leave(
        &mut self,
        now: Instant,
        id: LegId,
        mut leg: Leg,
        dialog: Dialog,
        cause: Cause,
    ) {
        self.recall(now, &mut leg);
        self.timers.stop(&Timer::Refer(id));
        self.timers.stop(&Timer::Referred(id));
        leg.state =
            State::Ending { dialog: Box::new(dialog.clone()), cause, answers: Answers::default() };
        self.legs.insert(id, leg);
        self.send_bye(now, dialog, Some(id), Vec::new());
    }

    pub(super) fn send_bye(
        &mut self,
        now: Instant,
        mut dialog: Dialog,
        leg: Option<LegId>,
        credentials: Vec<(HeaderName, String)>,
    ) {
        dialog.local_cseq += 1;
        let branch = self.ids.branch();
        let bye = dialog.request(Method::Bye, dialog.local_cseq, &branch, credentials);
        let sent = bye
            .and_then(|bye| self.send_request(now, dialog.next_hop(), bye, Purpose::Bye { leg }));
        if sent.is_none()
            && let Some(id) = leg
        {
            self.bye_outcome(now, id, Err(Cause::Unreachable));
        }
    }

    /// Our BYE was answered or never will be; either way the leg is over. A proxy may want to
    /// know first who hangs up.
    pub(super) fn bye_outcome(
        &mut self,
        now: Instant,
        id: LegId,
        outcome: Result<Response, Cause>,
    ) {
        if matches!(&outcome, Ok(response) if response.status.is_provisional()) {
            return;
        }
        let Some(mut leg) = self.legs.remove(&id) else { return };
        let State::Ending { dialog, cause, answers } = &mut leg.state else {
            self.legs.insert(id, leg);
            return;
        };
        let cause = *cause;
        if let Ok(response) = &outcome
            && let Some(account) = &leg.account
            && answers.take(response, account, "BYE", &dialog.request_uri(), &self.ids.tag())
        {
            dialog.local_cseq += 1;
            let (dialog, headers) = (dialog.as_ref().clone(), answers.headers());
            self.legs.insert(id, leg);
            return self.send_bye(now, dialog, Some(id), headers);
        }
        self.end(now, id, leg, cause);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "sipx may come to know more methods")]
    pub(super) fn receive_in_dialog(
        &mut self,
        now: Instant,
        flow: Flow,
        reply_to: Flow,
        request: Request,
    ) {
        let tag = message::to_tag(&request.headers).unwrap_or_default();
        let Some(id) = self.tags.get(&tag).copied() else {
            return self.refuse(reply_to, &request, 481, Vec::new());
        };
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let (owns, in_order) = match &mut leg.state {
            State::Established(established) => {
                let dialog = &mut established.dialog;
                (dialog.owns(&request.headers), note_cseq(dialog, &request))
            }
            State::Ending { dialog, .. } => {
                (dialog.owns(&request.headers), note_cseq(dialog, &request))
            }
            State::Ringing(ringing) => {
                let same = message::call_id(&ringing.request.headers)
                    == message::call_id(&request.headers)
                    && message::from_tag(&ringing.request.headers)
                        == message::from_tag(&request.headers);
                (same, true)
            }
            State::Calling(_) => (false, false),
        };
        if !owns {
            return self.refuse(reply_to, &request, 481, Vec::new());
        }
        if !in_order {
            return self.conclude(now, reply_to, request, 500, Vec::new());
        }
        let unknown = message::tokens(&request.headers, &HeaderName::Require);
        if !unknown.is_empty() && request.method != Method::Bye {
            let unsupported = (HeaderName::Unsupported, unknown.join(", "));
            return self.conclude(now, reply_to, request, 420, vec![unsupported]);
        }
        match &request.method {
            Method::Bye => self.receive_bye(now, id, reply_to, request),
            Method::Invite => self.receive_reinvite(now, id, flow, reply_to, request),
            Method::Update => self.receive_update(now, id, flow, reply_to, request),
            Method::Info => self.receive_info(now, id, reply_to, request),
            Method::Notify => self.receive_notify(now, id, reply_to, request),
            Method::Refer => self.receive_refer(now, id, reply_to, request),
            Method::Options => {
                let headers =
                    vec![allow(&self.config), (HeaderName::Accept, message::SDP.to_owned())];
                self.conclude(now, reply_to, request, 200, headers);
            }
            Method::Other(_) => {
                self.conclude(now, reply_to, request, 501, vec![allow(&self.config)])
            }
            _ => self.conclude(now, reply_to, request, 405, vec![allow(&self.config)]),
        }
    }

    fn receive_bye(&mut self, now: Instant, id: LegId, reply_to: Flow, request: Request) {
        self.conclude(now, reply_to, request, 200, Vec::new());
        match self.legs.get(&id).map(|leg| &leg.state) {
            Some(State::Ringing(_)) => self.caller_gave_up(now, id),
            Some(State::Established(established)) if established.following.is_some() => {
                // It leaves us to whom it has referred us to.
                if let Some(established) = self.established(id) {
                    established.departed = true;
                }
            }
            Some(State::Established(established)) => {
                let ours = established.leaving;
                if let Some(leg) = self.legs.remove(&id) {
                    let theirs = Cause::PeerHungUp { phone: leg.phone };
                    self.end(now, id, leg, ours.unwrap_or(theirs));
                }
            }
            // The two have crossed: ours need not be answered any more.
            Some(State::Ending { cause, .. }) => {
                let cause = *cause;
                if let Some(leg) = self.legs.remove(&id) {
                    self.end(now, id, leg, cause);
                }
            }
            Some(State::Calling(_)) | None => {}
        }
    }

    /// Tells the shell and the owner what a new agreement changes.
    pub(super) fn change_media(&mut self, id: LegId, before: Agreed, after: Agreed) {
        let flows = |agreed: Agreed| (agreed.remote, agreed.sending, agreed.receiving);
        if flows(before) != flows(after) {
            let (remote, sending, receiving) = flows(after);
            self.outputs.push_back(Output::UpdateMedia { leg: id, remote, sending, receiving });
        }
        if before.sending != after.sending {
            self.tell(id, LegEvent::Media { active: after.sending });
        }
    }
}

/// Takes the sequence number of a request; `false` if it is not above the last
/// (RFC 3261 §12.2.2).
fn note_cseq(dialog: &mut Dialog, request: &Request) -> bool {
    let Some(cseq) = message::cseq(&request.headers) else { return false };
    let in_order = dialog.remote_cseq.is_none_or(|last| cseq > last);
    if in_order {
        dialog.remote_cseq = Some(cseq);
    }
    in_order
}
