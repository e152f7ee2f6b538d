//! A peer's REFER (RFC 3515): taken on if the configuration lets peers refer at all, and reported
//! on until the owner's call to the target has come to something.

use std::time::{Duration, Instant};

use sipx_sip::{Address, HeaderName, Method, Request};

use super::{LegId, Output, UserAgent, dialog::Dialog, flow::Flow, message, timers::Timer};
use crate::{leg::Referral, user_agent::transactions::Purpose};

/// How long the owner may take to reach the target; the peer is told.
const DECIDED_WITHIN: Duration = Duration::from_secs(90);
/// RFC 3420.
const FRAGMENT: &str = "message/sipfrag;version=2.0";

/// A REFER that the peer waits for news of.
#[derive(Debug)]
pub(super) struct Referred {
    /// Of the REFER: the id of its subscription.
    cseq: u32,
    since: Instant,
}

impl UserAgent {
    pub(super) fn receive_refer(
        &mut self,
        now: Instant,
        id: LegId,
        reply_to: Flow,
        request: Request,
    ) {
        if !self.config.takes_refer {
            return self.conclude(now, reply_to, request, 603, Vec::new());
        }
        let Some(user) = self.legs.get(&id).map(|leg| leg.user.clone()) else { return };
        let Some(established) = self.established(id) else {
            return self.conclude(now, reply_to, request, 481, Vec::new());
        };
        if established.referred.is_some() || established.following.is_some() {
            return self.conclude(now, reply_to, request, 491, Vec::new());
        }
        let Some(referral) = read(&request) else {
            return self.conclude(now, reply_to, request, 400, Vec::new());
        };
        let cseq = message::cseq(&request.headers).unwrap_or_default();
        established.referred = Some(Referred { cseq, since: now });
        let contact = (HeaderName::Contact, message::our_contact(&reply_to, &user));
        self.conclude(now, reply_to, request, 202, vec![contact]);
        self.timers.set(Timer::Referred(id), now + DECIDED_WITHIN);
        self.report(now, id, 100);
        self.outputs.push_back(Output::Referred { leg: id, referral });
    }

    /// Tells the peer how far its REFER is. A final status ends the implicit subscription.
    pub(crate) fn report(&mut self, now: Instant, id: LegId, status: u16) {
        let Some(established) = self.established(id) else { return };
        let Some(referred) = established.referred.take() else { return };
        if established.departed {
            return;
        }
        let mut dialog = established.dialog.clone();
        let state = if status >= 200 {
            "terminated;reason=noresource".to_owned()
        } else {
            let left = (referred.since + DECIDED_WITHIN).saturating_duration_since(now);
            format!("active;expires={}", left.as_secs())
        };
        let event = format!("refer;id={}", referred.cseq);
        if status < 200 {
            established.referred = Some(referred);
        } else {
            self.timers.stop(&Timer::Referred(id));
        }
        self.notify(now, id, &mut dialog, event, state, status);
        if let Some(established) = self.established(id) {
            established.dialog.local_cseq = dialog.local_cseq;
        }
    }

    fn notify(
        &mut self,
        now: Instant,
        id: LegId,
        dialog: &mut Dialog,
        event: String,
        state: String,
        status: u16,
    ) {
        let user = self.legs.get(&id).map(|leg| leg.user.clone()).unwrap_or_default();
        dialog.local_cseq += 1;
        let branch = self.ids.branch();
        let flow = dialog.next_hop();
        let headers = vec![
            (HeaderName::Contact, message::our_contact(&flow, &user)),
            (HeaderName::Event, event),
            (HeaderName::SubscriptionState, state),
        ];
        let fragment = format!("SIP/2.0 {status} {}\r\n", message::reason(status));
        let body = Some((FRAGMENT, fragment));
        let notify = dialog.request_with(Method::Notify, dialog.local_cseq, &branch, headers, body);
        if let Some(notify) = notify {
            // Nothing depends on whether it arrives: the peer sees its call end, or go on.
            self.send_request(now, flow, notify, Purpose::Unminded);
        }
    }

    /// The owner has not reached the target, and has not said so.
    pub(super) fn referred_expired(&mut self, now: Instant, id: LegId) {
        self.report(now, id, 408);
    }
}

/// What a REFER asks for; `None` if it does not say that in a way we understand: one Refer-To with
/// a SIP URI, to be called.
fn read(request: &Request) -> Option<Referral> {
    let mut values = request.headers.get_all(&HeaderName::ReferTo);
    let value = values.next()?.value().into_owned();
    if values.next().is_some() {
        return None;
    }
    let mut uri = Address::parse(&value, "Refer-To").ok()?.uri;
    let calls = |method: &[u8]| method.eq_ignore_ascii_case(b"INVITE");
    let method = uri.params().and_then(|params| params.value("method"));
    if !uri.scheme().is_sip() || !method.is_none_or(calls) {
        return None;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // Of the headers that the call is to carry, only this one: the others would make us say what a
    // stranger wrote.
    let replaces = uri.headers().and_then(|headers| headers.value("Replaces"));
    let replaces = match replaces {
        Some(escaped) => Some(unescaped(escaped)?),
        None => None,
    };
    let names: Vec<String> =
        uri.headers().into_iter().flat_map(|it| it.iter()).map(|it| text(it.name())).collect();
    names.iter().for_each(|name| {
        uri.remove_header(name);
    });
    uri.remove_param("method");
    let referred_by = message::text(&request.headers, &HeaderName::ReferredBy);
    Some(Referral { target: text(&uri.to_bytes()), replaces, referred_by })
}

/// Undoes the escapes of a URI header; `None` for anything that cannot stand in a header.
fn unescaped(value: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, behind)) = rest.split_first() {
        if byte == b'%' {
            let digits = std::str::from_utf8(behind.get(..2)?).ok()?;
            out.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &behind[2..];
        } else {
            out.push(byte);
            rest = behind;
        }
    }
    let text = String::from_utf8(out).ok()?;
    text.bytes().all(|byte| byte.is_ascii_graphic()).then_some(text)
}
