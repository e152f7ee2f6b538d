//! Our REFER (RFC 3515): asks the peer of a dialog to call somebody else, and reads what becomes of
//! that out of its NOTIFYs.

use std::time::{Duration, Instant};

use graphophone_call::{LegEvent, ResultInfo};
use sipx_sip::{HeaderName, Method, Request, Response, headers::ContentType};

use super::{
    LegId, UserAgent,
    answers::Answers,
    flow::Flow,
    leg::{Established, Leg, State},
    message,
    timers::Timer,
    transactions::Purpose,
};
use crate::{leg::ReferWish, registrar::callable, result_info::Cause};

/// How long the peer may try, from its 202 to the final NOTIFY: longer than people let ring.
const REPORTED_WITHIN: Duration = Duration::from_secs(90);

/// A REFER of ours.
#[derive(Debug)]
pub(super) struct Referring {
    wish: ReferWish,
    answers: Answers,
    /// Of the REFER in flight: also the id of its implicit subscription.
    cseq: u32,
    /// The owner has heard that the peer tries.
    is_accepted: bool,
    /// The owner has heard the outcome; what still comes is answered only.
    is_over: bool,
}

impl UserAgent {
    /// Asks the peer of an established leg to call somebody else in our place.
    pub(crate) fn refer(&mut self, now: Instant, id: LegId, wish: &ReferWish) {
        // An answer is acknowledged before anything else is sent in its dialog.
        self.kept(id);
        let may = self.established(id).is_some_and(|established| {
            established.takes_refer
                && established.leaving.is_none()
                && established.referring.as_ref().is_none_or(|referring| referring.is_over)
        });
        if !may || callable(&wish.target).is_none() {
            if self.legs.get(&id).is_some_and(|leg| !leg.said_end) {
                self.tell(id, LegEvent::ReferRefused);
            }
            return;
        }
        let referring = Referring {
            wish: wish.clone(),
            answers: Answers::default(),
            cseq: 0,
            is_accepted: false,
            is_over: false,
        };
        if let Some(established) = self.established(id) {
            established.referring = Some(referring);
        }
        self.send_refer(now, id);
    }

    fn send_refer(&mut self, now: Instant, id: LegId) {
        let branch = self.ids.branch();
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let State::Established(established) = &mut leg.state else { return };
        let Established { dialog, referring: Some(referring), .. } = &mut **established else {
            return;
        };
        dialog.local_cseq += 1;
        referring.cseq = dialog.local_cseq;
        let flow = dialog.next_hop();
        let mut headers = vec![
            (HeaderName::Contact, message::our_contact(&flow, &leg.user)),
            (HeaderName::ReferTo, refer_to(&referring.wish)),
            (HeaderName::ReferredBy, without_tag(&dialog.local)),
        ];
        headers.extend(referring.answers.headers());
        let refer = dialog.request(Method::Refer, dialog.local_cseq, &branch, headers);
        let sent = refer.and_then(|refer| self.send_request(now, flow, refer, Purpose::Refer(id)));
        if sent.is_none() {
            self.refer_ended(id, Err(Cause::Unreachable.result()));
        }
    }

    /// What the peer says to our REFER itself.
    pub(super) fn refer_outcome(
        &mut self,
        now: Instant,
        id: LegId,
        outcome: Result<Response, Cause>,
    ) {
        let cnonce = self.ids.tag();
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let State::Established(established) = &mut leg.state else { return };
        let Established { dialog, referring: Some(referring), .. } = &mut **established else {
            return;
        };
        let response = match outcome {
            Ok(response) if response.status.is_provisional() => return,
            Ok(response) => response,
            Err(cause) => return self.refer_ended(id, Err(cause.result())),
        };
        if response.status.is_success() {
            self.refer_accepted(now, id);
            // RFC 4488: it will not say what becomes of it.
            let reports = message::text(&response.headers, &HeaderName::ReferSub);
            if reports.is_some_and(|value| value.trim().eq_ignore_ascii_case("false")) {
                self.refer_ended(id, Ok(()));
            }
            return;
        }
        if let Some(account) = &leg.account
            && referring.answers.take(&response, account, "REFER", &dialog.request_uri(), &cnonce)
        {
            return self.send_refer(now, id);
        }
        if !referring.is_over && !referring.is_accepted {
            established.referring = None;
            self.tell(id, LegEvent::ReferRefused);
        }
    }

    /// The peer tries; a NOTIFY may say so before the 202 does (RFC 3515 §2.4.4).
    fn refer_accepted(&mut self, now: Instant, id: LegId) {
        let Some(referring) = self.established(id).and_then(|it| it.referring.as_mut()) else {
            return;
        };
        if !std::mem::replace(&mut referring.is_accepted, true) {
            self.timers.set(Timer::Refer(id), now + REPORTED_WITHIN);
            self.tell(id, LegEvent::ReferAccepted);
        }
    }

    fn refer_ended(&mut self, id: LegId, outcome: Result<(), ResultInfo>) {
        let Some(referring) = self.established(id).and_then(|it| it.referring.as_mut()) else {
            return;
        };
        if !std::mem::replace(&mut referring.is_over, true) {
            self.timers.stop(&Timer::Refer(id));
            self.tell(id, LegEvent::ReferEnded(outcome));
        }
    }

    /// The peer has said nothing final for too long.
    pub(super) fn refer_expired(&mut self, id: LegId) {
        self.refer_ended(id, Err(Cause::RingTimeout.result()));
    }

    /// The dialog that our REFER was sent in is no longer the leg's.
    pub(super) fn refer_moot(&mut self, id: LegId) {
        self.refer_ended(id, Err(Cause::Status(487).result()));
        if let Some(established) = self.established(id) {
            established.referring = None;
        }
    }

    /// A NOTIFY inside a dialog: of the implicit subscription that our REFER has made, or of
    /// nothing.
    pub(super) fn receive_notify(
        &mut self,
        now: Instant,
        id: LegId,
        reply_to: Flow,
        request: Request,
    ) {
        let event = message::text(&request.headers, &HeaderName::Event).unwrap_or_default();
        let mut parts = event.split(';').map(str::trim);
        if !parts.next().is_some_and(|package| package.eq_ignore_ascii_case("refer")) {
            let known = (HeaderName::AllowEvents, "refer".to_owned());
            return self.conclude(now, reply_to, request, 489, vec![known]);
        }
        let named = parts.find_map(|part| part.strip_prefix("id=")).map(str::to_owned);
        let referring = self.established(id).and_then(|it| it.referring.as_ref());
        let is_ours = referring.is_some_and(|referring| {
            // Some peers never write an id, and many only from the second REFER on.
            named.is_none_or(|named| named == referring.cseq.to_string())
        });
        if !is_ours {
            return self.conclude(now, reply_to, request, 481, Vec::new());
        }
        let status = fragment_status(&request);
        let state =
            message::text(&request.headers, &HeaderName::SubscriptionState).unwrap_or_default();
        let state = state.split(';').next().unwrap_or_default().trim();
        let is_last = state.eq_ignore_ascii_case("terminated");
        self.conclude(now, reply_to, request, 200, Vec::new());
        self.refer_accepted(now, id);
        match status {
            Some(200..300) => self.refer_ended(id, Ok(())),
            Some(status @ 300..) => self.refer_ended(id, Err(Cause::Status(status).result())),
            Some(_) | None if is_last => {
                self.refer_ended(id, Err(Cause::Status(480).result()));
            }
            Some(_) | None => {}
        }
    }

    /// What an established leg has beside its dialog.
    pub(super) fn established(&mut self, id: LegId) -> Option<&mut Established> {
        match self.legs.get_mut(&id) {
            Some(Leg { state: State::Established(established), .. }) => Some(established),
            Some(_) | None => None,
        }
    }
}

/// Refer-To (RFC 3515 §2.1), with the dialog to be replaced as a header of the URI (RFC 3891 §4).
fn refer_to(wish: &ReferWish) -> String {
    match &wish.replaces {
        None => format!("<{}>", wish.target),
        Some(replaces) => format!("<{}?Replaces={}>", wish.target, escaped(replaces)),
    }
}

/// Everything but what may stand anywhere in a URI.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The address of a From or To value.
fn without_tag(value: &str) -> String {
    match value.find(";tag=") {
        Some(at) => value[..at].to_owned(),
        None => value.to_owned(),
    }
}

/// The status in a `message/sipfrag` (RFC 3420), as far as there is one.
fn fragment_status(request: &Request) -> Option<u16> {
    let kind = message::typed::<ContentType>(&request.headers)?;
    if !kind.is("message", "sipfrag") {
        return None;
    }
    let body = request.body();
    let line = body.split(|byte| *byte == b'\r' || *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let status = line.strip_prefix("SIP/2.0 ")?.split(' ').next()?.parse().ok()?;
    (100..700).contains(&status).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dialog_to_be_replaced_is_hidden_in_the_uri() {
        let wish = ReferWish {
            target: "sip:bob@192.0.2.7:5062;transport=tcp".to_owned(),
            replaces: Some("a@b;to-tag=1;from-tag=2".to_owned()),
        };
        let expected = "<sip:bob@192.0.2.7:5062;transport=tcp?\
            Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2>";
        assert_eq!(refer_to(&wish), expected);
    }
}
