//! Outgoing INVITE: provisional and final responses, challenges, forks, CANCEL.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use graphophone_call::LegEvent;
use sipx_sip::{HeaderName, Message, Method, Request, Response, TransactionKey};

use super::{
    Kept, LegId, NewCall, Output, UserAgent,
    answers::Answers,
    dialog::Dialog,
    flow::Flow,
    leg::{Calling, Established, HeldAck, Leg, State},
    message,
    screening::allow,
    timers::Timer,
    transactions::Purpose,
};
use crate::{
    result_info::Cause,
    sdp::{self, Agreed, Direction},
};

/// Most answers of different peers to one INVITE.
pub(super) const MOST_FORKS: usize = 16;
/// How long an owner may take to note a dialog: the peer repeats its 2xx after 500 ms.
const NOTED_WITHIN: Duration = Duration::from_millis(400);

impl UserAgent {
    /// Sends an INVITE with our offer. Gives the leg and its Call-ID.
    pub(crate) fn place_call(&mut self, now: Instant, call: NewCall) -> (LegId, String) {
        self.place_call_for(now, call, None)
    }

    /// The same, for a leg that moves into the new dialog if there comes to be one.
    pub(super) fn place_call_for(
        &mut self,
        now: Instant,
        call: NewCall,
        moves: Option<(LegId, Agreed)>,
    ) -> (LegId, String) {
        let id = self.new_leg_id();
        let call_id = call.call_id.unwrap_or_else(|| self.ids.call_id());
        let host = call.from_host.unwrap_or_else(|| message::uri_host(call.flow.local.ip()));
        let user = message::escaped_user(&call.from_user);
        let at = if user.is_empty() { "" } else { "@" };
        let display = call.from_display.map(|name| message::quoted(&name) + " ");
        let leg = Leg {
            local_tag: self.ids.tag(),
            phone: call.phone,
            peer_user: call.peer_user,
            user: call.from_user,
            account: call.account,
            local: Some(call.local),
            agreed: None,
            // Nobody owns one that moves another.
            said_end: moves.is_some(),
            state: State::Calling(Box::new(Calling {
                target: call.target,
                flow: call.flow,
                from: format!("{}<sip:{user}{at}{host}>", display.unwrap_or_default()),
                call_id: call_id.clone(),
                cseq: self.ids.first_cseq(),
                key: None,
                request: None,
                answers: Answers::default(),
                provisional: false,
                said_ringing: false,
                replaces: call.replaces,
                moves,
                holds_ack: call.holds_ack,
                unwanted: None,
            })),
        };
        self.tags.insert(leg.local_tag.clone(), id);
        self.timers.set(Timer::Ring(id), now + call.ring_timeout);
        self.invite(now, id, leg);
        (id, call_id)
    }

    /// Sends the INVITE of a leg, for the first time or with credentials.
    fn invite(&mut self, now: Instant, id: LegId, mut leg: Leg) {
        let branch = self.ids.branch();
        let request = self.compose_invite(&leg, &branch);
        let State::Calling(calling) = &mut leg.state else { return };
        let flow = calling.flow;
        calling.request.clone_from(&request);
        self.legs.insert(id, leg);
        let key =
            request.and_then(|request| self.send_request(now, flow, request, Purpose::Invite(id)));
        match (key, self.legs.remove(&id)) {
            (Some(key), Some(mut leg)) => {
                if let State::Calling(calling) = &mut leg.state {
                    calling.key = Some(key);
                }
                self.legs.insert(id, leg);
            }
            (None, Some(leg)) => self.end(now, id, leg, Cause::Unreachable),
            (_, None) => {}
        }
    }

    fn compose_invite(&self, leg: &Leg, branch: &str) -> Option<Request> {
        let State::Calling(calling) = &leg.state else { return None };
        let target = String::from_utf8_lossy(&calling.target.to_bytes()).into_owned();
        let mut headers = vec![
            (HeaderName::Via, message::via(&calling.flow, branch)),
            (HeaderName::MaxForwards, "70".to_owned()),
            (HeaderName::From, format!("{};tag={}", calling.from, leg.local_tag)),
            (HeaderName::To, format!("<{target}>")),
            (HeaderName::CallId, calling.call_id.clone()),
            (HeaderName::CSeq, format!("{} INVITE", calling.cseq)),
            (HeaderName::Contact, message::our_contact(&calling.flow, &leg.user)),
            allow(&self.config),
            (HeaderName::Supported, message::SUPPORTED.to_owned()),
            (HeaderName::UserAgent, self.config.agent.clone()),
        ];
        if let Some(replaces) = &calling.replaces {
            headers.push((HeaderName::Replaces, replaces.clone()));
            headers.push((HeaderName::Require, message::SUPPORTED.to_owned()));
        }
        headers.extend(calling.answers.headers());
        let running = calling.moves.as_ref().map(|(_, agreed)| agreed);
        let offer = sdp::offer(leg.local.as_ref()?, running, Direction::SendReceive);
        let body = Some((message::SDP, offer));
        message::request(Method::Invite, calling.target.clone(), headers, body)
    }

    /// What became of an INVITE of ours.
    pub(super) fn invite_outcome(
        &mut self,
        now: Instant,
        key: &Arc<TransactionKey>,
        id: LegId,
        outcome: Result<Response, Cause>,
    ) {
        let is_current = |leg: &mut Leg| match &leg.state {
            // Not yet noted: the transaction failed while it was being started.
            State::Calling(calling) => calling.key.as_ref().is_none_or(|current| current == key),
            State::Ringing(_) | State::Established(_) | State::Ending { .. } => false,
        };
        let waiting = self.legs.get_mut(&id).is_some_and(is_current);
        match outcome {
            Ok(response) if response.status.is_success() => {
                self.answered(now, key, waiting.then_some(id), &response);
            }
            Ok(response) if waiting => self.not_answered(now, id, &response),
            Err(cause) if waiting => {
                if let Some(leg) = self.legs.remove(&id) {
                    let cause = unwanted(&leg).unwrap_or(cause);
                    self.end(now, id, leg, cause);
                }
            }
            Ok(_) | Err(_) => {}
        }
    }

    fn not_answered(&mut self, now: Instant, id: LegId, response: &Response) {
        let Some(mut leg) = self.legs.remove(&id) else { return };
        let State::Calling(calling) = &mut leg.state else { return };
        let status = response.status.code();
        if status < 200 {
            calling.provisional = true;
            let rings = matches!(status, 180 | 183) && !calling.said_ringing;
            calling.said_ringing |= rings;
            let moves = calling.moves.map(|(moved, _)| moved);
            let unwanted = calling.unwanted.is_some();
            self.legs.insert(id, leg);
            if unwanted {
                self.cancel(now, id);
            } else if rings && let Some(moved) = moves {
                self.report(now, moved, 180);
            } else if rings {
                self.tell(id, LegEvent::Ringing);
            }
            return;
        }
        if let Some(cause) = calling.unwanted {
            return self.end(now, id, leg, cause);
        }
        let target = calling.target.to_bytes();
        if let Some(account) = &leg.account
            && calling.answers.take(
                response,
                account,
                "INVITE",
                &String::from_utf8_lossy(&target),
                &self.ids.tag(),
            )
        {
            calling.cseq += 1;
            calling.key = None;
            calling.provisional = false;
            return self.invite(now, id, leg);
        }
        self.end(now, id, leg, Cause::Status(status));
    }

    /// A 2xx: the answer, the answer of another branch of a fork, or a repetition.
    fn answered(
        &mut self,
        now: Instant,
        key: &Arc<TransactionKey>,
        waiting: Option<LegId>,
        response: &Response,
    ) {
        let tag = message::to_tag(&response.headers).unwrap_or_default();
        let Some(entry) = self.clients.get(key) else { return };
        let flow = entry.flow;
        let known = entry.acknowledged.iter().find(|(known, ..)| *known == tag).cloned();
        if let Some((_, flow, ack)) = known {
            self.outputs.push_back(Output::Send { flow, message: ack });
            return;
        }
        if entry.acknowledged.len() >= MOST_FORKS || self.is_held(&entry.purpose, &tag) {
            return;
        }
        let Some(request) = self.layer.client_request(key).cloned() else { return };
        let phone = waiting.and_then(|id| self.legs.get(&id)).is_some_and(|leg| leg.phone);
        let Some(dialog) = Dialog::of_response(&request, response, flow, phone) else { return };
        let ack = HeldAck { key: Arc::clone(key), invite: request, tag };
        match waiting {
            Some(id) => self.establish(now, id, dialog, (flow, response), ack),
            // Somebody else answered first, or the call is over.
            None => {
                self.acknowledge(ack, &dialog);
                self.send_bye(now, dialog, None, Vec::new());
            }
        }
    }

    /// Whether this 2xx waits for its ACK already.
    fn is_held(&self, purpose: &Purpose, tag: &str) -> bool {
        let Purpose::Invite(id) = purpose else { return false };
        let Some(Leg { state: State::Established(established), .. }) = self.legs.get(id) else {
            return false;
        };
        established.held_ack.as_ref().is_some_and(|held| held.tag == tag)
    }

    /// The owner of a leg has noted its dialog, or has had time to.
    pub(crate) fn kept(&mut self, id: LegId) {
        let Some(Leg { state: State::Established(established), .. }) = self.legs.get_mut(&id)
        else {
            return;
        };
        if let Some(held) = established.held_ack.take() {
            let dialog = established.dialog.clone();
            self.timers.stop(&Timer::Acknowledge(id));
            self.acknowledge(*held, &dialog);
        }
    }

    /// The ACK to a 2xx is ours and not the transaction's (RFC 3261 §13.2.2.4).
    pub(super) fn acknowledge(&mut self, ack: HeldAck, dialog: &Dialog) {
        let HeldAck { key, invite, tag } = ack;
        let cseq = message::cseq(&invite.headers).unwrap_or(dialog.local_cseq);
        // It carries the credentials of its INVITE (RFC 3261 §22.1).
        let credentials = [HeaderName::Authorization, HeaderName::ProxyAuthorization]
            .into_iter()
            .flat_map(|name| {
                let values = invite.headers.get_all(&name).map(|header| {
                    (name.clone(), String::from_utf8_lossy(&header.value()).into_owned())
                });
                values.collect::<Vec<_>>()
            })
            .collect();
        let branch = self.ids.branch();
        let Some(ack) = dialog.request(Method::Ack, cseq, &branch, credentials) else {
            return;
        };
        let ack = Message::Request(ack).to_bytes();
        let flow = dialog.next_hop();
        self.outputs.push_back(Output::Send { flow, message: ack.clone() });
        if let Some(entry) = self.clients.get_mut(&key) {
            entry.acknowledged.push((tag, flow, ack));
        }
    }

    /// The first answer to our call.
    fn establish(
        &mut self,
        now: Instant,
        id: LegId,
        dialog: Dialog,
        (flow, response): (Flow, &Response),
        ack: HeldAck,
    ) {
        let Some(mut leg) = self.legs.remove(&id) else { return };
        self.timers.stop(&Timer::Ring(id));
        self.timers.stop(&Timer::Cancelled(id));
        if let Some(cause) = unwanted(&leg) {
            // Our CANCEL crossed the answer.
            self.acknowledge(ack, &dialog);
            if let State::Calling(calling) = &leg.state
                && let Some((moved, _)) = calling.moves
            {
                self.turn_back(now, moved, cause);
            }
            return self.leave(now, id, leg, dialog, cause);
        }
        let moves = match &leg.state {
            State::Calling(calling) => calling.moves,
            State::Ringing(_) | State::Established(_) | State::Ending { .. } => None,
        };
        let takes_refer = message::may_take_refer(&response.headers);
        match self.read_answer(response, flow, moves.as_ref().map(|(_, agreed)| agreed)) {
            Some(agreed) if let Some((moved, _)) = moves => {
                self.acknowledge(ack, &dialog);
                self.arrive(now, id, (leg, moved), dialog, (agreed, takes_refer));
            }
            Some(agreed) => {
                let kept = Kept::of(&dialog).to_json();
                let name = dialog.name();
                leg.agreed = Some(agreed);
                let holds = matches!(&leg.state, State::Calling(calling) if calling.holds_ack);
                let held_ack = if holds {
                    self.timers.set(Timer::Acknowledge(id), now + NOTED_WITHIN);
                    Some(Box::new(ack))
                } else {
                    self.acknowledge(ack, &dialog);
                    None
                };
                let mut established = Established::new(dialog, takes_refer);
                established.held_ack = held_ack;
                leg.state = State::Established(Box::new(established));
                self.legs.insert(id, leg);
                self.outputs.push_back(Output::Dialog { leg: id, dialog: kept, name });
                self.outputs.push_back(Output::StartMedia { leg: id, agreed });
                self.tell(id, LegEvent::Answered);
                self.tell(id, LegEvent::Media { active: agreed.sending });
            }
            None => {
                self.acknowledge(ack, &dialog);
                if let Some((moved, _)) = moves {
                    self.turn_back(now, moved, Cause::Status(488));
                }
                self.leave(now, id, leg, dialog, Cause::BadDescription);
            }
        }
    }

    /// Gives up an outgoing call that has no final response.
    pub(super) fn abandon_call(&mut self, now: Instant, id: LegId, cause: Cause) {
        let Some(Leg { state: State::Calling(calling), said_end, .. }) = self.legs.get_mut(&id)
        else {
            return;
        };
        if calling.unwanted.is_some() {
            return;
        }
        calling.unwanted = Some(cause);
        self.timers.stop(&Timer::Ring(id));
        if calling.provisional {
            self.cancel(now, id);
        } else if !std::mem::replace(said_end, true) {
            // Nobody is there who could confirm, and without a provisional response no CANCEL may
            // be sent (RFC 3261 §9.1). The transaction goes on without an owner.
            self.tell(id, LegEvent::Ended(cause.result()));
        }
    }

    /// Sends CANCEL: same branch, same sequence number (RFC 3261 §9.1).
    fn cancel(&mut self, now: Instant, id: LegId) {
        if self.timers.is_set(&Timer::Cancelled(id)) {
            return;
        }
        let Some(Leg { state: State::Calling(calling), .. }) = self.legs.get(&id) else { return };
        let Some(invite) = &calling.request else { return };
        let flow = calling.flow;
        let copied = [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId];
        let mut headers: Vec<_> = copied
            .into_iter()
            .filter_map(|name| Some((name.clone(), message::text(&invite.headers, &name)?)))
            .collect();
        headers.push((HeaderName::MaxForwards, "70".to_owned()));
        headers.push((HeaderName::CSeq, format!("{} CANCEL", calling.cseq)));
        let request = message::request(Method::Cancel, calling.target.clone(), headers, None);
        self.timers.set(Timer::Cancelled(id), now + super::TIMERS.timeout());
        if let Some(request) = request {
            self.send_request(now, flow, request, Purpose::Cancel);
        }
    }

    /// No final response within 64 × T1 of our CANCEL: the INVITE counts as cancelled.
    pub(super) fn forget_cancelled(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.legs.remove(&id) else { return };
        let cause = unwanted(&leg).unwrap_or(Cause::NoResponse);
        if let State::Calling(calling) = &leg.state
            && let Some(key) = calling.key.clone()
        {
            self.abandon_client(now, &key);
        }
        self.end(now, id, leg, cause);
    }

    /// The far end rang long enough.
    pub(super) fn give_up_ringing(&mut self, now: Instant, id: LegId) {
        self.abandon_call(now, id, Cause::RingTimeout);
    }

    fn read_answer(
        &self,
        response: &Response,
        flow: Flow,
        running: Option<&Agreed>,
    ) -> Option<Agreed> {
        match message::body(&response.headers, response.body()) {
            message::Body::Sdp(body) => {
                sdp::accept(&self.read_description(&body, flow.remote.ip()).ok()?, running).ok()
            }
            message::Body::None | message::Body::Other => None,
        }
    }
}

fn unwanted(leg: &Leg) -> Option<Cause> {
    match &leg.state {
        State::Calling(calling) => calling.unwanted,
        State::Ringing(_) | State::Established(_) | State::Ending { .. } => None,
    }
}
