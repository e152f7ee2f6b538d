//! A user agent on a bench: the test writes the peer's messages and moves the clock.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use graphophone_call::{LegEvent, ResultInfo};
use sipx_sip::auth::Credentials;

use crate::{
    digest::DigestAlgorithm,
    endpoint::{PhoneAccount, Trunk},
    gate::{self, Verdict},
    leg::{DialogName, ReferWish},
    sdp,
    user_agent::{Account, Config, Flow, LegId, LinkId, NewCall, Output, Transport, UserAgent},
};

pub(super) const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\n\
    t=0 0\r\nm=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

/// What a Request-URI or a header of ours must contain in every test.
pub(super) const OUR_ADDRESS: &str = "192.0.2.1:5060";

pub(super) struct Bench {
    pub(super) ua: UserAgent,
    pub(super) now: Instant,
    pub(super) flow: Flow,
    /// Messages sent, with where they went.
    pub(super) sent: Vec<(Flow, String)>,
    pub(super) outputs: Vec<Output>,
    /// What owners were told to keep.
    pub(super) dialogs: Vec<String>,
    /// How others may name them.
    pub(super) names: Vec<DialogName>,
    /// The owner attaches to incoming calls at once, so they ring.
    pub(super) is_attended: bool,
    /// The only one our own password is for.
    pub(super) realm: Option<String>,
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Bench {
    /// A user agent with the phone alice and a trunk at 192.0.2.10.
    pub(super) fn new() -> Self {
        Self::with(10, Transport::Udp)
    }

    pub(super) fn with(max_calls: usize, transport: Transport) -> Self {
        Self::with_all(max_calls, transport, ("192.0.2.10", 32), false)
    }

    /// The same with a trunk in another network.
    pub(super) fn with_peers(max_calls: usize, transport: Transport, peers: (&str, u8)) -> Self {
        Self::with_all(max_calls, transport, peers, false)
    }

    /// One that takes REFER.
    pub(super) fn referable() -> Self {
        Self::with_all(10, Transport::Udp, ("192.0.2.10", 32), true)
    }

    pub(super) fn with_all(
        max_calls: usize,
        transport: Transport,
        (network, length): (&str, u8),
        takes_refer: bool,
    ) -> Self {
        let now = Instant::now();
        let config = Config {
            agent: "bench".to_owned(),
            digest: vec![DigestAlgorithm::Sha256, DigestAlgorithm::Md5],
            phones: vec![PhoneAccount {
                user: "alice".to_owned(),
                password: "secret".to_owned(),
                user_id: "alice-id".to_owned(),
            }],
            trunks: vec![Trunk {
                name: "carrier".to_owned(),
                uri: Some("sip:192.0.2.10".to_owned()),
                username: Some("acc".to_owned()),
                from: None,
                password: Some("pw".to_owned()),
                realm: None,
                register: false,
                peers: vec![(network.parse().unwrap(), length)],
            }],
            max_calls,
            own_addresses: vec![OUR_ADDRESS.parse().unwrap()],
            media_is_ipv4: true,
            takes_refer,
        };
        let flow = Flow {
            transport,
            link: LinkId(1),
            remote: "192.0.2.10:5060".parse().unwrap(),
            local: OUR_ADDRESS.parse().unwrap(),
        };
        let ua = UserAgent::new(config, [3; 32], now);
        Self {
            ua,
            now,
            flow,
            sent: Vec::new(),
            outputs: Vec::new(),
            dialogs: Vec::new(),
            names: Vec::new(),
            is_attended: true,
            realm: None,
        }
    }

    /// The same bench, with messages from now on coming from elsewhere.
    pub(super) fn from(&mut self, remote: &str) {
        self.flow.remote = remote.parse().unwrap();
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.ua.poll_output() {
            match output {
                Output::Send { flow, message } => {
                    let text = String::from_utf8(message.to_vec()).unwrap();
                    self.sent.push((flow, text));
                }
                Output::Dialog { dialog, name, .. } => {
                    self.dialogs.push(dialog);
                    self.names.push(name);
                }
                Output::Incoming { leg, ref dialog, .. } => {
                    self.dialogs.push(dialog.clone());
                    if self.is_attended {
                        self.ua.ring(self.now, leg);
                    }
                    self.outputs.push(output);
                }
                Output::Event { .. }
                | Output::Referred { .. }
                | Output::StartMedia { .. }
                | Output::UpdateMedia { .. }
                | Output::Registration { .. } => self.outputs.push(output),
            }
        }
    }

    pub(super) fn receive(&mut self, text: &str) {
        match gate::datagram(text.to_owned().into()) {
            Verdict::Pass(message) => self.ua.receive(self.now, self.flow, *message),
            refused @ (Verdict::Refuse(_) | Verdict::Drop) => panic!("{refused:?}: {text}"),
        }
        self.drain();
    }

    /// Moves the clock, stopping at every timer.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.ua.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.ua.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// Takes what was sent since the last look.
    pub(super) fn take_sent(&mut self) -> Vec<String> {
        std::mem::take(&mut self.sent).into_iter().map(|(_, text)| text).collect()
    }

    /// Takes what was sent and gives the start lines.
    pub(super) fn take_start_lines(&mut self) -> Vec<String> {
        self.take_sent().iter().map(|text| start_line(text).to_owned()).collect()
    }

    /// The only message sent since the last look.
    pub(super) fn only_sent(&mut self) -> String {
        let sent = self.take_sent();
        assert_eq!(sent.len(), 1, "{sent:#?}");
        sent.into_iter().next().unwrap()
    }

    /// The last message sent that begins so.
    pub(super) fn last(&self, start: &str) -> String {
        let found = self.sent.iter().rev().find(|(_, text)| text.starts_with(start));
        found.unwrap_or_else(|| panic!("no {start} in {:#?}", self.sent)).1.clone()
    }

    pub(super) fn destination(&self, start: &str) -> SocketAddr {
        self.sent.iter().rev().find(|(_, text)| text.starts_with(start)).unwrap().0.remote
    }

    /// Takes the leg events so far.
    pub(super) fn take_events(&mut self) -> Vec<LegEvent> {
        let outputs = std::mem::take(&mut self.outputs);
        let events = outputs.into_iter().filter_map(|output| match output {
            Output::Event { event, .. } => Some(event),
            Output::Send { .. }
            | Output::Incoming { .. }
            | Output::Dialog { .. }
            | Output::Referred { .. }
            | Output::StartMedia { .. }
            | Output::UpdateMedia { .. }
            | Output::Registration { .. } => None,
        });
        events.collect()
    }

    /// The result of the only end among the events so far.
    pub(super) fn take_end(&mut self) -> ResultInfo {
        let mut ends = self.take_events().into_iter().filter_map(|event| match event {
            LegEvent::Ended(result) => Some(result),
            LegEvent::Ringing
            | LegEvent::Answered
            | LegEvent::Media { .. }
            | LegEvent::Tone(_)
            | LegEvent::Conference(_)
            | LegEvent::ReferAccepted
            | LegEvent::ReferRefused
            | LegEvent::ReferEnded(_) => None,
        });
        let result = ends.next().expect("the leg has not ended");
        assert!(ends.next().is_none(), "ended twice");
        result
    }

    /// Asserts that nothing is left of anything after the transactions' own lifetimes.
    pub(super) fn assert_forgotten(&mut self) {
        self.pass(secs(100));
        assert_eq!(self.ua.footprint(), 0);
    }

    pub(super) fn call(&mut self) -> LegId {
        self.call_holding(false)
    }

    /// One whose owner wants to note the dialog before the answer is acknowledged.
    pub(super) fn call_holding(&mut self, holds_ack: bool) -> LegId {
        let call = self.new_call(holds_ack);
        let (leg, _) = self.ua.place_call(self.now, call);
        self.drain();
        leg
    }

    fn new_call(&self, holds_ack: bool) -> NewCall {
        NewCall {
            call_id: None,
            peer_user: None,
            replaces: None,
            holds_ack,
            target: crate::registrar::callable("sip:+15550100@192.0.2.10").unwrap(),
            flow: self.flow,
            phone: false,
            from_user: "bot".to_owned(),
            from_host: None,
            from_display: Some("The \"Bot\"\r\n".to_owned()),
            ring_timeout: secs(60),
            account: Some(Account {
                credentials: Credentials::new("acc", "pw"),
                realm: self.realm.clone(),
            }),
            local: local(),
        }
    }

    /// As an owner that follows every REFER, to somebody behind the trunk.
    pub(super) fn follow(&mut self, leg: LegId) {
        let Some(local) = self.ua.movable(leg) else { return };
        let call = NewCall { local, ..self.new_call(false) };
        self.ua.follow(self.now, leg, call);
        self.drain();
    }

    /// Places a call and lets the peer answer it.
    pub(super) fn established_call(&mut self) -> (LegId, String) {
        let leg = self.call();
        let invite = self.last("INVITE");
        self.receive(&response(&invite, "200 OK", "peer", Some(SDP)));
        (leg, invite)
    }

    /// An INVITE of the trunk, answered and acknowledged; gives the leg, the INVITE and our tag.
    pub(super) fn established_incoming(&mut self) -> (LegId, String, String) {
        let invite = invite("one", "z9hG4bKa", Some(SDP));
        self.receive(&invite);
        let leg = self.incoming_leg();
        self.ua.answer(self.now, leg, local());
        self.drain();
        let tag = to_tag(&self.last("SIP/2.0 200"));
        self.receive(&in_dialog("ACK", 1, "z9hG4bKb", "one", &tag, None));
        (leg, invite, tag)
    }

    pub(super) fn incoming_leg(&self) -> LegId {
        let legs = self.outputs.iter().filter_map(|output| match output {
            Output::Incoming { leg, .. } => Some(*leg),
            Output::Send { .. }
            | Output::Event { .. }
            | Output::Dialog { .. }
            | Output::Referred { .. }
            | Output::StartMedia { .. }
            | Output::UpdateMedia { .. }
            | Output::Registration { .. } => None,
        });
        legs.last().expect("no call has come in")
    }
}

pub(super) fn local() -> sdp::Local {
    sdp::Local {
        address: "192.0.2.1".parse().unwrap(),
        rtp_port: 20_000,
        rtcp_port: 20_001,
        session: 7,
        version: 1,
    }
}

pub(super) fn start_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// A header's value; panics if there is none.
pub(super) fn header<'a>(text: &'a str, name: &str) -> &'a str {
    maybe_header(text, name).unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// A header's first value, in any spelling that RFC 3261 section 7.3.1 allows on one line: what a
/// mutated request says is echoed as it came.
pub(super) fn maybe_header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let compact = match name {
        "Call-ID" => "i",
        "From" => "f",
        "To" => "t",
        "Via" => "v",
        _ => name,
    };
    let mut lines = text.lines().take_while(|line| !line.is_empty());
    lines.find_map(|line| {
        let (found, value) = line.split_once(':')?;
        let found = found.trim_end();
        let same = found.eq_ignore_ascii_case(name) || found.eq_ignore_ascii_case(compact);
        same.then_some(value.trim())
    })
}

pub(super) fn to_tag(text: &str) -> String {
    header(text, "To").split("tag=").nth(1).expect("no To tag").to_owned()
}

pub(super) fn branch(text: &str) -> &str {
    header(text, "Via").split("branch=").nth(1).unwrap()
}

/// A peer's response to a request of ours.
pub(super) fn response(request: &str, status: &str, tag: &str, body: Option<&str>) -> String {
    response_with(request, status, tag, "", body)
}

pub(super) fn response_with(
    request: &str,
    status: &str,
    tag: &str,
    extra: &str,
    body: Option<&str>,
) -> String {
    let to = header(request, "To");
    let to = if to.contains("tag=") { to.to_owned() } else { format!("{to};tag={tag}") };
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:peer@192.0.2.10:5070>\r\n{extra}{}",
        header(request, "Via"),
        header(request, "From"),
        header(request, "Call-ID"),
        header(request, "CSeq"),
        ending(body),
    )
}

/// Who is to be called by our REFERs.
pub(super) fn refer_wish() -> ReferWish {
    ReferWish { target: "sip:+15550177@192.0.2.10".to_owned(), replaces: None }
}

/// A request with more headers, each with its line end.
pub(super) fn with_headers(request: &str, headers: &str) -> String {
    request.replacen("Max-Forwards", &format!("{headers}Max-Forwards"), 1)
}

/// The same request with another body.
pub(super) fn with_body(request: &str, kind: &str, body: &str) -> String {
    let end = request.find("\r\nContent-").expect("every request here has one") + 2;
    let (head, length) = (&request[..end], body.len());
    format!("{head}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// An INVITE of the trunk, outside any dialog.
pub(super) fn invite(call_id: &str, branch: &str, body: Option<&str>) -> String {
    request("INVITE", 1, branch, call_id, "<sip:bot@192.0.2.1>", body)
}

/// A request of the trunk inside the dialog that its INVITE made.
pub(super) fn in_dialog(
    method: &str,
    cseq: u32,
    branch: &str,
    call_id: &str,
    tag: &str,
    body: Option<&str>,
) -> String {
    let to = format!("<sip:bot@192.0.2.1>;tag={tag}");
    request(method, cseq, branch, call_id, &to, body)
}

pub(super) fn request(
    method: &str,
    cseq: u32,
    branch: &str,
    call_id: &str,
    to: &str,
    body: Option<&str>,
) -> String {
    format!(
        "{method} sip:bot@192.0.2.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.10:5060;rport;branch={branch}\r\nMax-Forwards: 70\r\n\
         From: \"Caller\" <sip:+15550199@192.0.2.10>;tag=far\r\nTo: {to}\r\n\
         Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:peer@192.0.2.10:5070>\r\n{}",
        ending(body)
    )
}

/// A peer's request in the dialog that our INVITE made.
pub(super) fn peer_request(invite: &str, method: &str, cseq: u32, branch: &str) -> String {
    format!(
        "{method} sip:bot@192.0.2.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.10:5060;rport;branch={branch}\r\nMax-Forwards: 70\r\n\
         From: {};tag=peer\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:peer@192.0.2.10:5070>\r\n{}",
        header(invite, "To"),
        header(invite, "From"),
        header(invite, "Call-ID"),
        ending(None)
    )
}

fn ending(body: Option<&str>) -> String {
    match body {
        None => "Content-Length: 0\r\n\r\n".to_owned(),
        Some(body) => {
            format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }
    }
}
