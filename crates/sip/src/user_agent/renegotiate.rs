//! A later offer in a dialog: the peer's, by re-INVITE or UPDATE (RFC 3261 §14, RFC 3311), and
//! ours, by which a phone holds its call.

use std::{sync::Arc, time::Instant};

use sipx_sip::{HeaderName, Method, Request, Response, TransactionKey};

use super::{
    Kept, LegId, Output, UserAgent,
    flow::Flow,
    incoming::warning,
    leg::{HeldAck, State, Unacknowledged},
    message,
    screening::{allow, retry_after},
    timers::Timer,
    transactions::Purpose,
};
use crate::{
    result_info::Cause,
    sdp::{self, Agreed, Direction},
};

impl UserAgent {
    /// A later offer of the peer, or its wish to see one of ours (RFC 3261 §14.2).
    pub(super) fn receive_reinvite(
        &mut self,
        now: Instant,
        id: LegId,
        flow: Flow,
        reply_to: Flow,
        request: Request,
    ) {
        if !self.is_settled(id) {
            return self.conclude(now, reply_to, request, 491, Vec::new());
        }
        let Ok((body, after)) = self.renegotiated(now, id, flow, reply_to, &request, true) else {
            return;
        };
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let contact = message::our_contact(&reply_to, &leg.user);
        let headers = [(HeaderName::Contact, contact), allow(&self.config)];
        let Some(response) = message::respond(&request, 200, None, &headers, body) else {
            return;
        };
        let cseq = message::cseq(&request.headers).unwrap_or_default();
        self.refreshed(id, &request, flow);
        let Some(key) = self.start_server(now, reply_to, request, None) else { return };
        let waiting = Unacknowledged {
            offered: after.is_none(),
            ..Unacknowledged::new(&key, &response, cseq, now)
        };
        self.send_response(now, &key, response);
        self.timers.set(Timer::Accept(id), now + super::TIMERS.t1);
        if let Some(established) = self.established(id) {
            established.unacknowledged = Some(waiting);
        }
        self.agree(id, after);
    }

    /// The same without an ACK, and without an offer only a sign of life.
    pub(super) fn receive_update(
        &mut self,
        now: Instant,
        id: LegId,
        flow: Flow,
        reply_to: Flow,
        request: Request,
    ) {
        let is_early = matches!(
            self.legs.get(&id).map(|leg| &leg.state),
            Some(State::Ringing(_) | State::Calling(_))
        );
        let offers = !request.body().is_empty();
        if is_early && offers {
            // Its first offer has no answer yet (RFC 3311 §5.2).
            return self.conclude(now, reply_to, request, 500, vec![retry_after()]);
        }
        if !is_early && !self.is_settled(id) {
            return self.conclude(now, reply_to, request, 491, Vec::new());
        }
        let (body, after) = if offers {
            match self.renegotiated(now, id, flow, reply_to, &request, false) {
                Ok(agreed) => agreed,
                Err(()) => return,
            }
        } else {
            (None, None)
        };
        let user = self.legs.get(&id).map(|leg| leg.user.clone()).unwrap_or_default();
        let contact = (HeaderName::Contact, message::our_contact(&reply_to, &user));
        let headers = [contact, allow(&self.config)];
        self.refreshed(id, &request, flow);
        let response = message::respond(&request, 200, None, &headers, body);
        let key = self.start_server(now, reply_to, request, None);
        if let (Some(key), Some(response)) = (key, response) {
            self.send_response(now, &key, response);
        }
        self.agree(id, after);
    }

    /// Whether no offer is under way in an established dialog.
    fn is_settled(&mut self, id: LegId) -> bool {
        self.established(id).is_some_and(|established| {
            established.unacknowledged.is_none() && !established.offering
        })
    }

    /// What we say to an offer, and what it leads to; a refusal has been sent otherwise.
    /// `may_lack` lets an empty body ask for an offer of ours.
    fn renegotiated(
        &mut self,
        now: Instant,
        id: LegId,
        flow: Flow,
        reply_to: Flow,
        request: &Request,
        may_lack: bool,
    ) -> Result<(Option<String>, Option<Agreed>), ()> {
        let offer = match self.read_offer(request, flow) {
            Ok(offer) => offer,
            Err((status, headers)) => {
                self.conclude(now, reply_to, request.clone(), status, headers);
                return Err(());
            }
        };
        let Some(leg) = self.legs.get_mut(&id) else { return Err(()) };
        let (Some(local), Some(before)) = (&mut leg.local, leg.agreed) else { return Err(()) };
        local.version += 1;
        // Prompts are encoded for this codec, so it stays for the whole call.
        match &offer {
            None if may_lack => {
                Ok((Some(sdp::offer(local, Some(&before), Direction::SendReceive)), None))
            }
            None => Ok((None, None)),
            Some(offer) => match sdp::answer(offer, local, Some(&before)) {
                Ok((body, agreed)) => Ok((Some(body), Some(agreed))),
                Err(error) => {
                    let headers = vec![warning(&error.to_string())];
                    self.conclude(now, reply_to, request.clone(), 488, headers);
                    Err(())
                }
            },
        }
    }

    /// Takes the peer's new Contact (RFC 3261 §12.2.2).
    fn refreshed(&mut self, id: LegId, request: &Request, flow: Flow) {
        let Some(established) = self.established(id) else { return };
        established.dialog.refresh(&request.headers, flow);
        if request.headers.get(&HeaderName::Allow).is_some() {
            established.takes_refer = message::may_take_refer(&request.headers);
        }
        let dialog = Kept::of(&established.dialog).to_json();
        let name = established.dialog.name();
        self.outputs.push_back(Output::Dialog { leg: id, dialog, name });
    }

    fn agree(&mut self, id: LegId, after: Option<Agreed>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if let (Some(after), Some(before)) = (after, leg.agreed) {
            leg.agreed = Some(after);
            self.change_media(id, before, after);
        }
    }

    /// Puts the peer on hold, or takes it back, by a re-INVITE of ours. While another offer is under
    /// way (RFC 3261 §14.1) the last wish waits for its end.
    pub(crate) fn hold(&mut self, now: Instant, id: LegId, holds: bool) {
        self.kept(id);
        if !self.is_settled(id) {
            if let Some(established) = self.established(id) {
                established.next_hold = Some(holds);
            }
            return;
        }
        let branch = self.ids.branch();
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let (Some(local), Some(before)) = (&mut leg.local, leg.agreed) else { return };
        local.version += 1;
        let direction = if holds { Direction::SendOnly } else { Direction::SendReceive };
        let offer = sdp::offer(local, Some(&before), direction);
        let State::Established(established) = &mut leg.state else { return };
        established.offering = true;
        let dialog = &mut established.dialog;
        dialog.local_cseq += 1;
        let flow = dialog.next_hop();
        let headers = vec![
            (HeaderName::Contact, message::our_contact(&flow, &leg.user)),
            allow(&self.config),
        ];
        let body = Some((message::SDP, offer));
        let invite = dialog.request_with(Method::Invite, dialog.local_cseq, &branch, headers, body);
        let sent =
            invite.and_then(|invite| self.send_request(now, flow, invite, Purpose::Reinvite(id)));
        if sent.is_none()
            && let Some(established) = self.established(id)
        {
            established.offering = false;
        }
    }

    /// An offer has ended: what was wished for meanwhile comes next.
    pub(super) fn offer_ended(&mut self, now: Instant, id: LegId) {
        let wish = self.established(id).and_then(|established| established.next_hold.take());
        if let Some(holds) = wish {
            self.hold(now, id, holds);
        }
    }

    /// What became of our re-INVITE. If it was refused, what was agreed before goes on
    /// (RFC 3261 §14.1).
    pub(super) fn reinvite_outcome(
        &mut self,
        now: Instant,
        key: &Arc<TransactionKey>,
        id: LegId,
        outcome: Result<Response, Cause>,
    ) {
        let response = match outcome {
            Ok(response) if response.status.is_provisional() => return,
            Ok(response) if response.status.is_success() => response,
            Ok(_) | Err(_) => {
                if let Some(established) = self.established(id) {
                    established.offering = false;
                }
                return self.offer_ended(now, id);
            }
        };
        let tag = message::to_tag(&response.headers).unwrap_or_default();
        let known = self
            .clients
            .get(key)
            .and_then(|entry| entry.acknowledged.iter().find(|(known, ..)| *known == tag).cloned());
        if let Some((_, flow, ack)) = known {
            return self.outputs.push_back(Output::Send { flow, message: ack });
        }
        let Some(invite) = self.layer.client_request(key).cloned() else { return };
        let dialog = match self.legs.get_mut(&id).map(|leg| &mut leg.state) {
            Some(State::Established(established)) => {
                established.offering = false;
                let flow = established.dialog.flow;
                established.dialog.refresh(&response.headers, flow);
                established.dialog.clone()
            }
            Some(State::Ending { dialog, .. }) => dialog.as_ref().clone(),
            Some(State::Calling(_) | State::Ringing(_)) | None => return,
        };
        self.acknowledge(HeldAck { key: Arc::clone(key), invite, tag }, &dialog);
        if let message::Body::Sdp(body) = message::body(&response.headers, response.body())
            && let Ok(answer) = self.read_description(&body, dialog.source())
        {
            let before = self.legs.get(&id).and_then(|leg| leg.agreed);
            self.agree(id, before.and_then(|before| sdp::accept(&answer, Some(&before)).ok()));
        }
        self.offer_ended(now, id);
    }
}
