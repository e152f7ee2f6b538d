//! Incoming INVITE: from the first look to the answer and its ACK.

use std::{net::IpAddr, sync::Arc, time::Instant};

use graphophone_call::{LegEvent, RejectReason};
use sipx_sip::{HeaderName, Request};

use super::{
    Kept, LegId, Output, UserAgent,
    dialog::{Dialog, is_inside},
    flow::Flow,
    leg::{Established, Leg, Ringing, State, Unacknowledged},
    message,
    replaces::user_of,
    screening::{allow, retry_after},
    timers::Timer,
};
use crate::{
    result_info::Cause,
    sdp::{self, Description, Direction, SdpError},
};

/// Status and extra headers.
pub(super) type Refusal = (u16, Vec<(HeaderName, String)>);

impl UserAgent {
    pub(super) fn receive_invite(
        &mut self,
        now: Instant,
        flow: Flow,
        reply_to: Flow,
        request: Request,
    ) {
        let Some(from) = self.caller(now, flow, reply_to, &request) else { return };
        let Some(cseq) = message::cseq(&request.headers) else { return };
        let from_tag = message::from_tag(&request.headers).unwrap_or_default();
        let merge_key = (message::call_id(&request.headers), from_tag, cseq);
        if self.merged.contains_key(&merge_key) {
            return self.refuse(reply_to, &request, 482, Vec::new());
        }
        if request.headers.get(&HeaderName::Replaces).is_some() {
            return self.receive_replacement(now, flow, reply_to, request, &from);
        }
        if !self.has_slot() || self.room == 0 {
            return self.refuse(reply_to, &request, 503, vec![retry_after()]);
        }
        // Nothing was made of it yet but a challenge, so refusing costs next to nothing.
        if let Some(Err(wait)) = self.admit.as_mut().map(|admit| admit()) {
            let seconds = (HeaderName::RetryAfter, wait.as_secs().max(1).to_string());
            return self.refuse(reply_to, &request, 503, vec![seconds]);
        }
        let offer = match self.read_offer(&request, flow) {
            Ok(offer) => offer,
            Err((status, headers)) => return self.refuse(reply_to, &request, status, headers),
        };
        let accepts = message::tokens(&request.headers, &HeaderName::Accept);
        if !accepts.is_empty() && !accepts.iter().any(|accept| takes_sdp(accept)) {
            return self.refuse(reply_to, &request, 406, Vec::new());
        }

        let local_tag = self.ids.tag();
        let first_cseq = self.ids.first_cseq();
        let phone = matches!(from, crate::endpoint::Party::Phone { .. });
        let Some(dialog) = Dialog::of_request(&request, &local_tag, first_cseq, flow, phone) else {
            return self.refuse(reply_to, &request, 400, Vec::new());
        };
        let id = self.new_leg_id();
        let Some(key) = self.start_server(now, reply_to, request.clone(), Some(id)) else {
            return;
        };
        if let Some(trying) = message::respond(&request, 100, None, &[], None) {
            self.send_response(now, &key, trying);
        }
        let to_user = message::user_of(&request.uri);
        let sip_call_id = message::call_id(&request.headers);
        self.tags.insert(local_tag.clone(), id);
        self.merged.insert(merge_key.clone(), id);
        let state = State::Ringing(Box::new(Ringing { key, request, flow, offer, merge_key }));
        let leg = Leg {
            local_tag,
            phone,
            peer_user: user_of(&from),
            user: to_user.clone(),
            account: None,
            local: None,
            agreed: None,
            said_end: false,
            state,
        };
        self.legs.insert(id, leg);
        let dialog = Kept::of(&dialog).to_json();
        self.outputs.push_back(Output::Incoming { leg: id, from, to_user, sip_call_id, dialog });
    }

    /// Somebody listens to a ringing leg, so its caller may hear that it rings.
    pub(crate) fn ring(&mut self, now: Instant, id: LegId) {
        let Some(Leg { state: State::Ringing(ringing), local_tag, user, .. }) = self.legs.get(&id)
        else {
            return;
        };
        let contact = message::our_contact(&ringing.flow, user);
        let headers = [(HeaderName::Contact, contact), allow(&self.config)];
        let response = message::respond(&ringing.request, 180, Some(local_tag), &headers, None);
        let key = Arc::clone(&ringing.key);
        if let Some(response) = response {
            self.send_response(now, &key, response);
        }
    }

    /// The offer of an INVITE, if it has one, or how to refuse it.
    pub(super) fn read_offer(
        &self,
        request: &Request,
        flow: Flow,
    ) -> Result<Option<Description>, Refusal> {
        let body = match message::body(&request.headers, request.body()) {
            message::Body::None => return Ok(None),
            message::Body::Sdp(body) => body,
            message::Body::Other => {
                let accept = (HeaderName::Accept, message::SDP.to_owned());
                return Err((415, vec![accept]));
            }
        };
        match self.read_description(&body, flow.remote.ip()) {
            Ok(offer) => Ok(Some(offer)),
            Err(error) => Err((488, vec![warning(&error.to_string())])),
        }
    }

    /// Reads what a peer at `source` says about its media, and whether we can and may send there.
    pub(super) fn read_description(
        &self,
        body: &[u8],
        source: IpAddr,
    ) -> Result<Description, SdpError> {
        let mut description = Description::parse(body)?;
        let claimed = description.rtp_address().ip();
        // A phone behind a NAT that does not ask STUN names its inside. Its media most likely
        // comes from where its signalling does, and its port is latched on when it does.
        if is_inside(claimed) && !is_inside(source) && claimed.is_ipv4() == source.is_ipv4() {
            description.move_to(source);
        }
        let address = description.rtp_address();
        let usable = address.is_ipv4() == self.config.media_is_ipv4
            && !self.config.own_addresses.contains(&address);
        usable.then_some(description).ok_or(SdpError::PeerAddress)
    }

    /// Where the INVITE of a ringing leg came from.
    pub(crate) fn ringing_flow(&self, id: LegId) -> Option<Flow> {
        match &self.legs.get(&id)?.state {
            State::Ringing(ringing) => Some(ringing.flow),
            State::Calling(_) | State::Established(_) | State::Ending { .. } => None,
        }
    }

    /// Accepts a ringing leg; `local` is our end of the media.
    pub(crate) fn answer(&mut self, now: Instant, id: LegId, local: sdp::Local) {
        let Some(mut leg) = self.legs.remove(&id) else { return };
        let State::Ringing(ringing) = &leg.state else {
            self.legs.insert(id, leg);
            return;
        };
        let (key, flow, request) = (Arc::clone(&ringing.key), ringing.flow, &ringing.request);
        let described = match &ringing.offer {
            None => Some((sdp::offer(&local, None, Direction::SendReceive), None)),
            Some(offer) => {
                sdp::answer(offer, &local, None).ok().map(|(body, agreed)| (body, Some(agreed)))
            }
        };
        let first_cseq = self.ids.first_cseq();
        let dialog = Dialog::of_request(request, &leg.local_tag, first_cseq, flow, leg.phone);
        let (Some((body, agreed)), Some(dialog)) = (described, dialog) else {
            // The offer and the Contact were read with success before, so this does not happen.
            self.legs.insert(id, leg);
            return self.refuse_leg(now, id, 488, Vec::new(), Cause::BadDescription);
        };
        let contact = (HeaderName::Contact, message::our_contact(&flow, &leg.user));
        let headers =
            [contact, allow(&self.config), (HeaderName::Server, self.config.agent.clone())];
        let tag = Some(leg.local_tag.as_str());
        let Some(response) = message::respond(request, 200, tag, &headers, Some(body)) else {
            self.legs.insert(id, leg);
            return self.lack_resources(now, id);
        };
        self.merged.remove(&ringing.merge_key);
        leg.local = Some(local);
        leg.agreed = agreed;
        let cseq = dialog.remote_cseq.unwrap_or_default();
        let unacknowledged = Unacknowledged {
            first: true,
            offered: agreed.is_none(),
            ..Unacknowledged::new(&key, &response, cseq, now)
        };
        let takes_refer = message::may_take_refer(&request.headers);
        let mut established = Established::new(dialog, takes_refer);
        established.unacknowledged = Some(unacknowledged);
        let name = established.dialog.name();
        let kept = Kept::of(&established.dialog).to_json();
        leg.state = State::Established(Box::new(established));
        self.legs.insert(id, leg);
        self.send_response(now, &key, response);
        self.outputs.push_back(Output::Dialog { leg: id, dialog: kept, name });
        self.timers.set(Timer::Accept(id), now + super::TIMERS.t1);
        if let Some(agreed) = agreed {
            self.outputs.push_back(Output::StartMedia { leg: id, agreed });
        }
    }

    /// Refuses a ringing leg.
    pub(crate) fn reject(&mut self, now: Instant, id: LegId, reason: RejectReason) {
        let status = match reason {
            RejectReason::None => 480,
            RejectReason::Busy => 486,
            RejectReason::Forbidden => 403,
        };
        self.refuse_leg(now, id, status, Vec::new(), Cause::Refused(reason));
    }

    /// Refuses a ringing leg for good.
    pub(crate) fn decline(&mut self, now: Instant, id: LegId) {
        self.refuse_leg(now, id, 603, Vec::new(), Cause::Refused(RejectReason::None));
    }

    /// Nobody has the number that a ringing leg asks for.
    pub(crate) fn not_found(&mut self, now: Instant, id: LegId) {
        self.refuse_leg(now, id, 404, Vec::new(), Cause::Refused(RejectReason::None));
    }

    /// There is no RTP port or no room in the engine for a ringing leg.
    pub(crate) fn lack_resources(&mut self, now: Instant, id: LegId) {
        self.refuse_leg(now, id, 503, vec![retry_after()], Cause::NoResources);
    }

    /// The caller sent CANCEL; too late once we have answered.
    pub(super) fn caller_gave_up(&mut self, now: Instant, id: LegId) {
        self.refuse_leg(now, id, 487, Vec::new(), Cause::CallerGaveUp);
    }

    pub(super) fn refuse_leg(
        &mut self,
        now: Instant,
        id: LegId,
        status: u16,
        headers: Vec<(HeaderName, String)>,
        cause: Cause,
    ) {
        let Some(Leg { state: State::Ringing(_), .. }) = self.legs.get(&id) else { return };
        let Some(leg) = self.legs.remove(&id) else { return };
        if let State::Ringing(ringing) = &leg.state {
            let tag = Some(leg.local_tag.as_str());
            let response = message::respond(&ringing.request, status, tag, &headers, None);
            let key = Arc::clone(&ringing.key);
            if let Some(response) = response {
                self.send_response(now, &key, response);
            }
        }
        self.end(now, id, leg, cause);
    }

    /// Our 2xx again, or the end of patience (RFC 3261 §13.3.1.4).
    pub(super) fn repeat_answer(&mut self, now: Instant, id: LegId) {
        let Some(Leg { state: State::Established(established), .. }) = self.legs.get_mut(&id)
        else {
            return;
        };
        let Some(waiting) = &mut established.unacknowledged else { return };
        if now >= waiting.until {
            let cause = established.leaving.unwrap_or(Cause::NoAck);
            return self.finish(now, id, cause);
        }
        waiting.interval = (waiting.interval * 2).min(super::TIMERS.t2);
        let next = (now + waiting.interval).min(waiting.until);
        let (key, response) = (Arc::clone(&waiting.key), waiting.response.clone());
        self.timers.set(Timer::Accept(id), next);
        self.send_response(now, &key, response);
    }

    /// An ACK to a 2xx of ours. Others are taken by their transactions, strays are dropped.
    pub(super) fn acknowledged(&mut self, now: Instant, ack: &Request) {
        let Some(id) = message::to_tag(&ack.headers).and_then(|tag| self.tags.get(&tag).copied())
        else {
            return;
        };
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let State::Established(established) = &mut leg.state else { return };
        let cseq = message::cseq(&ack.headers);
        if !established.dialog.owns(&ack.headers) {
            return;
        }
        let is_for = |waiting: &mut Unacknowledged| Some(waiting.cseq) == cseq;
        let Some(waiting) = established.unacknowledged.take_if(is_for) else { return };
        self.timers.stop(&Timer::Accept(id));
        if let Some(cause) = established.leaving {
            return self.finish(now, id, cause);
        }
        // After a re-INVITE, what was agreed before goes on (RFC 3261 §14.1).
        if waiting.offered && !self.take_late_answer(id, ack) && waiting.first {
            return self.finish(now, id, Cause::BadDescription);
        }
        let sending = self.legs.get(&id).and_then(|leg| leg.agreed).map(|agreed| agreed.sending);
        if waiting.first {
            self.tell(id, LegEvent::Answered);
            self.tell(id, LegEvent::Media { active: sending.unwrap_or(false) });
        }
        self.offer_ended(now, id);
    }

    /// The answer to the offer in our 2xx.
    fn take_late_answer(&mut self, id: LegId, ack: &Request) -> bool {
        let message::Body::Sdp(body) = message::body(&ack.headers, ack.body()) else {
            return false;
        };
        let Some(Leg { state: State::Established(established), .. }) = self.legs.get(&id) else {
            return false;
        };
        let source = established.dialog.source();
        let Ok(answer) = self.read_description(&body, source) else { return false };
        let Some(leg) = self.legs.get_mut(&id) else { return false };
        let before = leg.agreed;
        let Ok(agreed) = sdp::accept(&answer, before.as_ref()) else { return false };
        leg.agreed = Some(agreed);
        match before {
            None => self.outputs.push_back(Output::StartMedia { leg: id, agreed }),
            Some(before) => self.change_media(id, before, agreed),
        }
        true
    }
}

/// Whether an entry of Accept includes session descriptions.
fn takes_sdp(accept: &str) -> bool {
    let range = accept.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(range.as_str(), message::SDP | "application/*" | "*/*")
}

/// RFC 3261 §20.43; 399 is for people.
pub(super) fn warning(text: &str) -> (HeaderName, String) {
    (HeaderName::Warning, format!("399 graphophone \"{text}\""))
}
