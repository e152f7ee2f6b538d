//! The first look at a request: which transaction, which dialog, and for the rest who may ask for
//! what. Strangers are answered without keeping anything (RFC 3261 §8.2.7), so a flood of them
//! costs no memory and no retransmissions, and over UDP never with more bytes than they sent: the
//! source of a datagram may be somebody else.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use sipx_sip::{HeaderName, Message, Method, Request, TransactionKey};

use super::{
    Config, MOST_SERVER_TRANSACTIONS, Output, UserAgent,
    flow::{Flow, Transport},
    message,
};
use crate::{
    digest::Judgement,
    endpoint::{Party, Trunk},
    registrar::{self, RegisterError, Registration, SHORTEST},
};

impl UserAgent {
    #[expect(clippy::wildcard_enum_match_arm, reason = "sipx may come to know more methods")]
    pub(super) fn receive_request(&mut self, now: Instant, flow: Flow, mut request: Request) {
        let is_known = self.trunk_at(flow.remote.ip()).is_some();
        let longest = match flow.transport {
            Transport::Udp if !is_known => message::length(&request),
            Transport::Udp | Transport::Tcp => usize::MAX,
        };
        self.budget = (longest, now);
        let reply_to = message::stamp_via(&mut request, flow);
        // sipx would copy it into responses (RFC 7044), which strangers could use to amplify.
        request.headers.remove_all(&HeaderName::HistoryInfo);
        let Some(key) = TransactionKey::from_request(&request) else { return };
        if self.layer.server_state(&key).is_some() {
            let reliability = flow.transport.reliability();
            let dispatch = self.layer.receive(Message::Request(request), reliability);
            return self.dispatched(now, dispatch);
        }
        match &request.method {
            Method::Ack => return self.acknowledged(now, &request),
            Method::Cancel => return self.cancelled(now, reply_to, request),
            _ => {}
        }
        if self.servers.len() >= MOST_SERVER_TRANSACTIONS {
            return self.refuse(reply_to, &request, 503, vec![retry_after()]);
        }
        if message::to_tag(&request.headers).is_some() {
            return self.receive_in_dialog(now, flow, reply_to, request);
        }
        if !request.uri.scheme().is_sip() {
            return self.refuse(reply_to, &request, 416, Vec::new());
        }
        let mut unknown = message::tokens(&request.headers, &HeaderName::Require);
        if request.method == Method::Invite {
            unknown.retain(|option| option != message::SUPPORTED);
        }
        if !unknown.is_empty() {
            let unsupported = (HeaderName::Unsupported, unknown.join(", "));
            return self.refuse(reply_to, &request, 420, vec![unsupported]);
        }
        match &request.method {
            Method::Invite => self.receive_invite(now, flow, reply_to, request),
            Method::Register => self.receive_register(now, flow, reply_to, request),
            Method::Options => {
                let headers =
                    vec![allow(&self.config), (HeaderName::Accept, message::SDP.to_owned())];
                self.refuse(reply_to, &request, 200, headers);
            }
            Method::Other(_) => self.refuse(reply_to, &request, 501, vec![allow(&self.config)]),
            _ => self.refuse(reply_to, &request, 405, vec![allow(&self.config)]),
        }
    }

    /// Answers without a transaction. A repeated request gets the same To tag again. If the
    /// response would be longer than a stranger's request, headers are left out from the last on;
    /// if it still is, [`super::terse`] decides.
    pub(super) fn refuse(
        &mut self,
        flow: Flow,
        request: &Request,
        status: u16,
        mut headers: Vec<(HeaderName, String)>,
    ) {
        let tag = self.stateless_tag(request);
        loop {
            let Some(response) = message::respond(request, status, Some(&tag), &headers, None)
            else {
                return;
            };
            let message = Message::Response(response).to_bytes();
            if message.len() <= self.budget.0 || headers.pop().is_none() {
                return self.answer_stranger(flow, message);
            }
        }
    }

    fn answer_stranger(&mut self, flow: Flow, message: Bytes) {
        let (longest, now) = self.budget;
        if message.len() <= longest || self.terse.may(now, flow.remote.ip()) {
            self.outputs.push_back(Output::Send { flow, message });
        }
    }

    fn stateless_tag(&self, request: &Request) -> String {
        let mut hasher = DefaultHasher::new();
        self.tag_secret.hash(&mut hasher);
        request.headers.value(&HeaderName::Via).hash(&mut hasher);
        request.headers.value(&HeaderName::CallId).hash(&mut hasher);
        // 32 bits, as RFC 3261 §19.3 asks for.
        format!("{:08x}", hasher.finish() >> 32)
    }

    /// Who sends an INVITE. Answers for whoever may not, always the same way: nobody learns which
    /// users exist.
    pub(super) fn caller(
        &mut self,
        now: Instant,
        flow: Flow,
        reply_to: Flow,
        request: &Request,
    ) -> Option<Party> {
        let source = flow.remote.ip();
        let claims_phone = request.headers.get(&HeaderName::Authorization).is_some();
        if !claims_phone && let Some(trunk) = self.trunk_at(source) {
            let party = message::trunk_party(&trunk.name, &request.headers);
            // A phone and a trunk on one host (in tests, always): the phone's own address counts.
            let Party::Trunk { user, .. } = &party else { return None };
            if !self.registrar.is_at(now, user, &flow) {
                return Some(party);
            }
        }
        if self.config.phones.is_empty() {
            self.refuse(reply_to, request, 403, Vec::new());
            return None;
        }
        let user = self.authenticate(now, reply_to, request)?;
        let phone = self.config.phones.iter().find(|phone| phone.user == user)?;
        Some(Party::Phone { user: phone.user.clone(), user_id: phone.user_id.clone() })
    }

    pub(super) fn trunk_at(&self, source: IpAddr) -> Option<&Trunk> {
        let source = source.to_canonical();
        self.config.trunks.iter().find(|trunk| {
            trunk.peers.iter().any(|(network, length)| is_inside(source, *network, *length))
        })
    }

    /// The phone that proved itself; answers 401 or 403 for anybody else.
    fn authenticate(&mut self, now: Instant, reply_to: Flow, request: &Request) -> Option<String> {
        let source = reply_to.remote.ip();
        let values: Vec<String> = request
            .headers
            .get_all(&HeaderName::Authorization)
            .map(|header| String::from_utf8_lossy(&header.value()).into_owned())
            .collect();
        let phones = &self.config.phones;
        let password_of = |user: &str| {
            phones.iter().find(|phone| phone.user == user).map(|phone| phone.password.clone())
        };
        let method = request.method.to_string();
        match self.guard.judge(now, source, &method, &values, password_of) {
            Judgement::Valid { user } => return Some(user),
            Judgement::Wrong => self.refuse(reply_to, request, 403, Vec::new()),
            Judgement::Challenge { stale } => {
                let salt = self.ids.number();
                let challenges = self.guard.challenges(now, source, salt, stale);
                let headers =
                    challenges.into_iter().map(|value| (HeaderName::WwwAuthenticate, value));
                self.challenge(reply_to, request, &headers.collect::<Vec<_>>());
            }
        }
        None
    }

    /// Sends all challenges or none: a phone may know the last of them only.
    fn challenge(&mut self, reply_to: Flow, request: &Request, headers: &[(HeaderName, String)]) {
        let tag = self.stateless_tag(request);
        if let Some(response) = message::respond(request, 401, Some(&tag), headers, None) {
            self.answer_stranger(reply_to, Message::Response(response).to_bytes());
        }
    }

    fn receive_register(&mut self, now: Instant, flow: Flow, reply_to: Flow, request: Request) {
        if self.config.phones.is_empty() {
            return self.refuse(reply_to, &request, 403, Vec::new());
        }
        let Some(user) = self.authenticate(now, reply_to, &request) else { return };
        let address = message::typed::<sipx_sip::headers::To>(&request.headers);
        if address.is_none_or(|to| message::user_of(&to.0.uri) != user) {
            return self.refuse(reply_to, &request, 403, Vec::new());
        }
        let Some(cseq) = message::cseq(&request.headers) else { return };
        let registration = Registration {
            user: &user,
            flow,
            headers: &request.headers,
            call_id: message::call_id(&request.headers),
            cseq,
        };
        let (status, headers) = match self.registrar.register(now, &registration) {
            Ok(bindings) => (200, registrar::contact_headers(&bindings)),
            Err(RegisterError::PeerBadContact) => (400, Vec::new()),
            Err(RegisterError::PeerTooBrief) => {
                (423, vec![(HeaderName::MinExpires, SHORTEST.as_secs().to_string())])
            }
            Err(RegisterError::PeerOutOfOrder) => (500, Vec::new()),
            Err(RegisterError::PeerTooMany) => (403, Vec::new()),
        };
        self.conclude(now, reply_to, request, status, headers);
    }

    /// Answers a request through a transaction, so that a repetition gets the same answer.
    pub(super) fn conclude(
        &mut self,
        now: Instant,
        reply_to: Flow,
        request: Request,
        status: u16,
        headers: Vec<(HeaderName, String)>,
    ) {
        let tag = self.stateless_tag(&request);
        let response = message::respond(&request, status, Some(&tag), &headers, None);
        let key = self.start_server(now, reply_to, request, None);
        if let (Some(key), Some(response)) = (key, response) {
            self.send_response(now, &key, response);
        }
    }

    fn cancelled(&mut self, now: Instant, reply_to: Flow, request: Request) {
        let invite = TransactionKey::for_cancelled_invite(&request).map(Arc::new);
        let entry = invite.as_ref().and_then(|key| self.servers.get(key));
        let Some((leg, source)) = entry.map(|entry| (entry.leg, entry.source)) else {
            return self.refuse(reply_to, &request, 481, Vec::new());
        };
        // A CANCEL is not authenticated; the least is that it comes from where the INVITE did.
        if source != reply_to.remote.ip() {
            return self.refuse(reply_to, &request, 481, Vec::new());
        }
        self.conclude(now, reply_to, request, 200, Vec::new());
        if let Some(leg) = leg {
            self.caller_gave_up(now, leg);
        }
    }
}

pub(super) fn allow(config: &Config) -> (HeaderName, String) {
    let methods = if config.takes_refer { message::ALLOW_REFER } else { message::ALLOW };
    (HeaderName::Allow, methods.to_owned())
}

pub(super) fn retry_after() -> (HeaderName, String) {
    (HeaderName::RetryAfter, "5".to_owned())
}

fn is_inside(ip: IpAddr, network: IpAddr, length: u8) -> bool {
    let length = u32::from(length);
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            let differ = ip.to_bits() ^ network.to_bits();
            length <= 32 && differ.checked_shr(32 - length).unwrap_or(0) == 0
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => {
            let differ = ip.to_bits() ^ network.to_bits();
            length <= 128 && differ.checked_shr(128 - length).unwrap_or(0) == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_inside;

    #[test]
    fn a_network_contains_its_addresses_only() {
        let rows = [
            ("203.0.113.9", "203.0.113.0", 24, true),
            ("203.0.114.9", "203.0.113.0", 24, false),
            ("203.0.113.9", "203.0.113.9", 32, true),
            ("198.51.100.1", "0.0.0.0", 0, true),
            ("203.0.113.9", "203.0.113.0", 33, false),
            ("2001:db8::1", "2001:db8::", 32, true),
            ("2001:db9::1", "2001:db8::", 32, false),
            ("203.0.113.9", "::", 0, false),
        ];
        for (ip, network, length, expected) in rows {
            let found = is_inside(ip.parse().unwrap(), network.parse().unwrap(), length);
            assert_eq!(found, expected, "{ip} in {network}/{length}");
        }
    }
}
