//! Doors for the targets in `fuzz/`: what takes foreign bytes here, with plain values in and out.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use bytes::Bytes;
use sipx_sip::auth::Credentials;

use crate::{
    digest::{DigestAlgorithm, Guard, Judgement},
    endpoint::{PhoneAccount, Trunk},
    gate::{self, StreamGate, Verdict},
    registrar::callable,
    sdp::{self, Agreed, Description, Direction, Local},
    user_agent::{Account, Config, Flow, LegId, LinkId, NewCall, Output, Transport, UserAgent},
};

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It goes to the user agent.
    Pass {
        /// As we print it.
        printed: Vec<u8>,
        /// Its body.
        body: Vec<u8>,
    },
    /// This goes back.
    Refuse(Vec<u8>),
    /// Nothing.
    Drop,
}

impl From<Verdict> for Judged {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass(message) => {
                Self::Pass { printed: message.to_bytes().to_vec(), body: message.body().to_vec() }
            }
            Verdict::Refuse(response) => Self::Refuse(response.to_vec()),
            Verdict::Drop => Self::Drop,
        }
    }
}

/// Judges a datagram.
pub fn datagram(bytes: &[u8]) -> Judged {
    gate::datagram(Bytes::copy_from_slice(bytes)).into()
}

/// A TCP connection's bytes.
pub struct Stream(StreamGate);

impl Stream {
    /// A connection that has just been opened.
    #[expect(clippy::new_without_default, reason = "a door, not a type")]
    pub fn new() -> Self {
        Self(StreamGate::new())
    }

    /// What comes out of one read, and whether the connection is closed.
    pub fn push(&mut self, chunk: &[u8]) -> (Vec<Judged>, bool) {
        let read = self.0.push(chunk);
        (read.verdicts.into_iter().map(Judged::from).collect(), read.close)
    }

    /// Whether a message has begun and not ended.
    pub fn is_inside_message(&self) -> bool {
        self.0.is_inside_message()
    }
}

/// Offers and answers.
pub struct Sdp(Description);

/// What was agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stood(Agreed);

impl Stood {
    /// Payload types of audio and of telephone-event.
    pub fn payload_types(&self) -> (u8, Option<u8>) {
        (self.0.payload_type, self.0.telephone_event)
    }

    /// Our offer for the running stream.
    pub fn offer(&self) -> String {
        sdp::offer(&LOCAL, Some(&self.0), Direction::SendReceive)
    }
}

const LOCAL: Local = Local {
    address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    rtp_port: 40_000,
    rtcp_port: 40_001,
    session: 1,
    version: 1,
};

impl Sdp {
    /// Reads a description.
    pub fn parse(body: &[u8]) -> Option<Self> {
        Description::parse(body).ok().map(Self)
    }

    /// Our answer to it.
    pub fn answer(&self, running: Option<&Stood>) -> Option<(String, Stood)> {
        let (text, agreed) = sdp::answer(&self.0, &LOCAL, running.map(|stood| &stood.0)).ok()?;
        Some((text, Stood(agreed)))
    }

    /// What it means as an answer to ours.
    pub fn accept(&self, running: Option<&Stood>) -> Option<Stood> {
        sdp::accept(&self.0, running.map(|stood| &stood.0)).ok().map(Stood)
    }

    /// Our first offer.
    pub fn first_offer() -> String {
        sdp::offer(&LOCAL, None, Direction::SendReceive)
    }
}

/// The registrar's digest guard, in front of one user: `alice`.
pub struct DigestGuard {
    guard: Guard,
    password: String,
    now: Instant,
}

impl DigestGuard {
    /// With a password for `alice`.
    pub fn new(password: &str) -> Self {
        let now = Instant::now();
        let guard = Guard::new([7; 32], &[DigestAlgorithm::Sha256, DigestAlgorithm::Md5], now);
        Self { guard, password: password.to_owned(), now }
    }

    /// Challenges of `from`, by their last address octet.
    pub fn challenges(&self, from: u8) -> Vec<String> {
        self.guard.challenges(self.now, source(from), 1, false)
    }

    /// Whether the credentials are those of `alice`.
    pub fn lets_in(&mut self, from: u8, method: &str, values: &[String]) -> bool {
        let password = |user: &str| (user == "alice").then(|| self.password.clone());
        let judgement = self.guard.judge(self.now, source(from), method, values, password);
        matches!(judgement, Judgement::Valid { .. })
    }

    /// Time passes.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

fn source(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

/// How a client of ours answers a `WWW-Authenticate`; `None` if it cannot be read.
pub fn answer_challenge(value: &[u8], user: &str, password: &str) -> Option<String> {
    let challenge = sipx_sip::auth::Challenge::parse(value, false)?;
    let credentials = Credentials::new(user, password);
    let uri = "sip:graphophone";
    Some(sipx_sip::auth::respond(&challenge, &credentials, "REGISTER", uri, 1, "cnonce"))
}

/// A user agent with the phone `alice` and a trunk at 192.0.2.10, on a virtual clock.
pub struct Agent {
    ua: UserAgent,
    now: Instant,
    legs: Vec<LegId>,
}

impl Agent {
    /// Idle.
    #[expect(clippy::new_without_default, reason = "a door, not a type")]
    pub fn new() -> Self {
        let now = Instant::now();
        let config = Config {
            agent: "fuzz".to_owned(),
            digest: vec![DigestAlgorithm::Sha256],
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
                realm: None,
                password: Some("pw".to_owned()),
                register: false,
                peers: vec![(source(10), 32)],
            }],
            max_calls: 3,
            own_addresses: vec![(source(1), 5060).into()],
            media_is_ipv4: true,
            takes_refer: true,
        };
        let mut agent = Self { ua: UserAgent::new(config, [3; 32], now), now, legs: Vec::new() };
        agent.ua.set_room(3);
        agent
    }

    /// A datagram of the trunk, or of a stranger. Gives what is sent.
    pub fn receive(&mut self, from_trunk: bool, bytes: &[u8]) -> Vec<Vec<u8>> {
        let flow = flow(if from_trunk { 10 } else { 66 });
        if let Verdict::Pass(message) = gate::datagram(Bytes::copy_from_slice(bytes)) {
            self.ua.receive(self.now, flow, *message);
        }
        self.drain()
    }

    /// Our side calls the trunk.
    pub fn call(&mut self) -> Vec<Vec<u8>> {
        if self.ua.has_slot() {
            let call = NewCall {
                target: callable("sip:+15550100@192.0.2.10").expect("a SIP URI"),
                flow: flow(10),
                phone: false,
                from_user: "bot".to_owned(),
                from_host: None,
                from_display: None,
                ring_timeout: Duration::from_secs(30),
                account: Some(Account { credentials: Credentials::new("acc", "pw"), realm: None }),
                local: LOCAL,
                call_id: None,
                peer_user: None,
                replaces: None,
                holds_ack: self.legs.len().is_multiple_of(2),
            };
            let (leg, _) = self.ua.place_call(self.now, call);
            self.legs.push(leg);
        }
        self.drain()
    }

    /// Our side answers (0), or hangs up, the leg that came last but `back`.
    pub fn command(&mut self, back: usize, command: u8) -> Vec<Vec<u8>> {
        if let Some(leg) = self.legs.iter().rev().nth(back).copied() {
            match command {
                0 => self.ua.answer(self.now, leg, LOCAL),
                _ => self.ua.hang_up(self.now, leg),
            }
        }
        self.drain()
    }

    /// Time passes, timer by timer.
    pub fn pass(&mut self, time: Duration) -> Vec<Vec<u8>> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while let Some(at) = self.ua.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.ua.handle_timeout(self.now);
            sent.extend(self.drain());
        }
        self.now = end;
        sent
    }

    /// Hangs up everything and waits; how much is left then.
    pub fn end(mut self) -> usize {
        for leg in std::mem::take(&mut self.legs) {
            self.ua.hang_up(self.now, leg);
            self.drain();
        }
        // Longer than any registration lasts.
        self.pass(Duration::from_secs(90_000));
        self.ua.footprint()
    }

    /// As the owner of a leg would, whose rules of dialling allow everything.
    fn refer(&mut self, leg: LegId, target: &str) {
        let Some(local) = self.ua.movable(leg) else { return };
        match callable(target) {
            Some(target) => {
                let call = NewCall {
                    target,
                    flow: flow(10),
                    phone: false,
                    peer_user: None,
                    replaces: None,
                    from_user: "bot".to_owned(),
                    from_host: None,
                    from_display: None,
                    ring_timeout: Duration::from_secs(60),
                    account: None,
                    local,
                    call_id: None,
                    holds_ack: false,
                };
                self.ua.follow(self.now, leg, call);
            }
            None => self.ua.report(self.now, leg, 416),
        }
    }

    fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        while let Some(output) = self.ua.poll_output() {
            match output {
                Output::Send { message, .. } => sent.push(message.to_vec()),
                Output::Incoming { leg, .. } => {
                    self.ua.ring(self.now, leg);
                    self.legs.push(leg);
                }
                Output::Dialog { leg, .. } => self.ua.kept(leg),
                Output::Referred { leg, referral } => self.refer(leg, &referral.target),
                Output::Event { .. }
                | Output::StartMedia { .. }
                | Output::UpdateMedia { .. }
                | Output::Registration { .. } => {}
            }
        }
        sent
    }
}

fn flow(from: u8) -> Flow {
    Flow {
        transport: Transport::Udp,
        link: LinkId(1),
        remote: (source(from), 5060).into(),
        local: (source(1), 5060).into(),
    }
}
