//! Whatever comes in whatever order: no panic, at most one end for each leg, and nothing left.

use std::collections::HashMap;

use bytes::Bytes;
use graphophone_call::{LegEvent, RejectReason, Tone};
use proptest::prelude::*;

use super::harness::*;
use crate::{
    gate::{self, Verdict},
    user_agent::{LegId, LinkId, Output, Transport},
};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// We call.
    Call,
    /// The peer calls, with or without an offer.
    Invite { number: u8, offer: bool },
    /// Our owner does something with some leg.
    Command { leg: u8, command: u8 },
    /// The peer responds to some request of ours.
    Respond { request: u8, status: u16, body: bool },
    /// The peer sends something in some dialog that we know a To tag of.
    Request { response: u8, method: u8, cseq: u8, body: bool },
    /// The last message once more, with some bytes changed.
    Mutate { at: usize, byte: u8 },
    /// Time passes.
    Pass { millis: u16 },
    /// The connection breaks.
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop_oneof![
        Just(100_u16),
        Just(180),
        Just(183),
        Just(200),
        Just(302),
        Just(401),
        Just(407),
        Just(486),
        Just(503)
    ];
    prop_oneof![
        1 => Just(Step::Call),
        1 => (0..3_u8, any::<bool>()).prop_map(|(number, offer)| Step::Invite { number, offer }),
        3 => (any::<u8>(), 0..9_u8).prop_map(|(leg, command)| Step::Command { leg, command }),
        4 => (any::<u8>(), status, any::<bool>())
            .prop_map(|(request, status, body)| Step::Respond { request, status, body }),
        4 => (any::<u8>(), 0..10_u8, 0..6_u8, any::<bool>()).prop_map(
            |(response, method, cseq, body)| Step::Request { response, method, cseq, body }
        ),
        2 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Step::Mutate { at, byte }),
        2 => (0..u16::MAX).prop_map(|millis| Step::Pass { millis }),
        1 => Just(Step::Close),
    ]
}

struct Chaos {
    bench: Bench,
    legs: Vec<LegId>,
    ended: HashMap<LegId, bool>,
    requests: Vec<String>,
    tags: Vec<(String, String)>,
    last: String,
    branches: u32,
}

impl Chaos {
    fn new(transport: Transport) -> Self {
        Self {
            bench: Bench::with_all(5, transport, ("192.0.2.10", 32), true),
            legs: Vec::new(),
            ended: HashMap::new(),
            requests: Vec::new(),
            tags: Vec::new(),
            last: String::new(),
            branches: 0,
        }
    }

    fn feed(&mut self, text: String) {
        self.last.clone_from(&text);
        self.feed_bytes(text.into());
    }

    fn feed_bytes(&mut self, bytes: Bytes) {
        if let Verdict::Pass(message) = gate::datagram(bytes) {
            self.bench.ua.receive(self.bench.now, self.bench.flow, *message);
        }
        self.note();
    }

    fn branch(&mut self) -> String {
        self.branches += 1;
        format!("z9hG4bKx{}", self.branches)
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Call => {
                if self.bench.ua.has_slot() {
                    let leg = self.bench.call();
                    self.legs.push(leg);
                }
            }
            Step::Invite { number, offer } => {
                let branch = self.branch();
                self.feed(invite(&format!("call{number}"), &branch, offer.then_some(SDP)));
            }
            Step::Command { leg, command } => {
                let Some(leg) = pick(&self.legs, leg).copied() else { return };
                let (ua, now) = (&mut self.bench.ua, self.bench.now);
                match command {
                    0 | 1 => ua.answer(now, leg, local()),
                    2 => ua.hang_up(now, leg),
                    3 => ua.reject(now, leg, RejectReason::Busy),
                    4 => ua.lose_media(now, leg),
                    5 => ua.refer(now, leg, &refer_wish()),
                    6 => ua.hold(now, leg, true),
                    7 => ua.report(now, leg, 486),
                    _ => ua.press_by_info(now, leg, Tone::Star),
                }
            }
            Step::Respond { request, status, body } => {
                let Some(request) = pick(&self.requests, request) else { return };
                let extra = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
                let status = format!("{status} Whatever");
                let text = response_with(request, &status, "peer", extra, body.then_some(SDP));
                self.feed(text);
            }
            Step::Request { response, method, cseq, body } => {
                let Some((call_id, tag)) = pick(&self.tags, response).cloned() else { return };
                let methods = [
                    "ACK", "BYE", "INVITE", "INFO", "CANCEL", "OPTIONS", "UPDATE", "REFER",
                    "NOTIFY",
                ];
                let branch = self.branch();
                let Some(method) = methods.get(usize::from(method)) else {
                    // Somebody takes the place of the dialog.
                    let replaces = format!("Replaces: {call_id};to-tag={tag};from-tag=far\r\n");
                    let invite = invite(&branch, &branch, Some(SDP));
                    return self.feed(with_headers(&invite, &replaces));
                };
                let body = body.then_some(SDP);
                let text = in_dialog(method, u32::from(cseq), &branch, &call_id, &tag, body);
                let refer = "Refer-To: <sip:+15550111@192.0.2.10>\r\nEvent: refer\r\n\
                    Subscription-State: terminated\r\n";
                self.feed(with_headers(&text, refer));
            }
            Step::Mutate { at, byte } => {
                let mut bytes = self.last.clone().into_bytes();
                if let Some(place) = at.checked_rem(bytes.len()) {
                    bytes[place] = byte;
                }
                self.feed_bytes(bytes.into());
            }
            Step::Pass { millis } => {
                self.bench.pass(std::time::Duration::from_millis(millis.into()))
            }
            Step::Close => self.bench.ua.connection_closed(self.bench.now, LinkId(1)),
        }
        self.note();
    }

    /// Remembers what can be referred to, and checks the ends.
    fn note(&mut self) {
        self.bench.drain();
        for (_, text) in std::mem::take(&mut self.bench.sent) {
            if text.starts_with("SIP/2.0") {
                if header(&text, "To").contains("tag=") {
                    self.tags.push((header(&text, "Call-ID").to_owned(), to_tag(&text)));
                }
            } else if !text.starts_with("ACK") {
                self.requests.push(text);
            }
        }
        for output in std::mem::take(&mut self.bench.outputs) {
            match output {
                Output::Incoming { leg, .. } => self.legs.push(leg),
                Output::Event { leg, event } => {
                    let ended = self.ended.entry(leg).or_insert(false);
                    assert!(!*ended, "{event:?} after the end");
                    *ended = matches!(event, LegEvent::Ended(_));
                }
                Output::StartMedia { leg, .. } | Output::UpdateMedia { leg, .. } => {
                    assert!(!self.ended.get(&leg).is_some_and(|ended| *ended));
                }
                Output::Referred { leg, .. } => self.bench.follow(leg),
                Output::Send { .. } | Output::Dialog { .. } | Output::Registration { .. } => {}
            }
        }
    }
}

fn pick<T>(list: &[T], number: u8) -> Option<&T> {
    // Recent ones are the interesting ones.
    let back = usize::from(number).checked_rem(list.len().min(6))?;
    list.get(list.len() - 1 - back)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, ..ProptestConfig::default() })]

    #[test]
    fn every_leg_ends_once_and_nothing_is_left(
        tcp in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut chaos = Chaos::new(if tcp { Transport::Tcp } else { Transport::Udp });
        for step in steps {
            chaos.take(step);
        }
        for leg in chaos.legs.clone() {
            chaos.bench.ua.hang_up(chaos.bench.now, leg);
        }
        chaos.bench.pass(secs(300));
        chaos.note();
        for leg in &chaos.legs {
            prop_assert!(chaos.ended.get(leg) == Some(&true), "{leg:?} has not ended");
        }
        prop_assert_eq!(chaos.bench.ua.footprint(), 0);
    }
}
