//! Phones that register here, and our own registrations at trunks.

use std::time::Instant;

use sipx_sip::auth::{Challenge, Credentials, respond};

use super::harness::*;
use crate::user_agent::{LinkId, Output, RegistrationState, Transport};

struct Phone {
    bench: Bench,
    challenge: Challenge,
    count: u32,
    call_id: &'static str,
}

impl Phone {
    fn new() -> Self {
        let mut bench = Bench::new();
        bench.from("198.51.100.7:33333");
        bench.receive(&register("", "0", 1));
        let challenge = bench.only_sent();
        assert!(challenge.starts_with("SIP/2.0 401"));
        let challenge = header(&challenge, "WWW-Authenticate");
        let challenge = Challenge::parse(challenge.as_bytes(), false).unwrap();
        Self { bench, challenge, count: 0, call_id: "reg" }
    }

    fn register(&mut self, extra: &str) -> String {
        self.count += 1;
        let credentials = Credentials::new("alice", "secret");
        let value =
            respond(&self.challenge, &credentials, "REGISTER", "sip:192.0.2.1", self.count, "c");
        let extra = format!("Authorization: {value}\r\n{extra}");
        let request = register(&extra, &self.count.to_string(), self.count + 1);
        let call_id = format!("Call-ID: {}\r\n", self.call_id);
        self.bench.receive(&request.replace("Call-ID: reg\r\n", &call_id));
        self.bench.only_sent()
    }

    fn contact(&self, at: Instant) -> Option<String> {
        let binding = self.bench.ua.contact_of(at, "alice-id")?;
        Some(String::from_utf8(binding.uri().to_bytes().to_vec()).unwrap())
    }
}

fn register(extra: &str, branch: &str, cseq: u32) -> String {
    format!(
        "REGISTER sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.5;rport;branch=z9hG4bKr{branch}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:alice@192.0.2.1>;tag=f\r\nTo: <sip:alice@192.0.2.1>\r\n\
         Call-ID: reg\r\nCSeq: {cseq} REGISTER\r\n{extra}Content-Length: 0\r\n\r\n"
    )
}

const CONTACT: &str = "Contact: <sip:alice@10.0.0.5:5062>;expires=120\r\n";

#[test]
fn a_phone_registers_and_is_forgotten_when_its_time_is_over() {
    let mut phone = Phone::new();
    let ok = phone.register(CONTACT);
    assert!(ok.starts_with("SIP/2.0 200"), "{ok}");
    assert_eq!(header(&ok, "Contact"), "<sip:alice@10.0.0.5:5062>;expires=120");
    let now = phone.bench.now;
    assert_eq!(phone.contact(now).as_deref(), Some("sip:alice@10.0.0.5:5062"));
    let binding = phone.bench.ua.binding_of(now, "alice").unwrap();
    assert_eq!(binding.flow.remote, phone.bench.flow.remote, "back the way it came");
    assert!(phone.bench.ua.binding_at(now, "sip:alice@10.0.0.5:5062").is_some());
    phone.bench.pass(secs(119));
    assert!(phone.contact(phone.bench.now).is_some());
    phone.bench.pass(secs(1));
    assert!(phone.contact(phone.bench.now).is_none());
}

#[test]
fn a_phone_asks_for_its_bindings_and_removes_them() {
    let mut phone = Phone::new();
    phone.register(CONTACT);
    phone.bench.pass(secs(20));
    let listed = phone.register("");
    assert_eq!(header(&listed, "Contact"), "<sip:alice@10.0.0.5:5062>;expires=100");
    let removed = phone.register("Contact: *\r\nExpires: 0\r\n");
    assert!(removed.starts_with("SIP/2.0 200") && maybe_header(&removed, "Contact").is_none());
    assert!(phone.contact(phone.bench.now).is_none());
    phone.register(CONTACT);
    let removed = phone.register("Contact: <sip:alice@10.0.0.5:5062>;expires=0\r\n");
    assert!(maybe_header(&removed, "Contact").is_none());
}

#[test]
fn a_phone_keeps_several_contacts_and_a_restarted_one_only_its_new() {
    let mut phone = Phone::new();
    let two = phone.register("Contact: <sip:alice@10.0.0.5:1>, <sip:alice@10.0.0.5:2>\r\n");
    assert_eq!(two.matches("Contact: ").count(), 2, "{two}");
    let three = phone.register("Contact: <sip:alice@10.0.0.5:3>\r\n");
    assert_eq!(three.matches("Contact: ").count(), 3, "{three}");
    phone.call_id = "restarted";
    let one = phone.register(CONTACT);
    assert_eq!(one.matches("Contact: ").count(), 1, "{one}");
}

#[test]
fn lifetimes_are_bounded() {
    let mut phone = Phone::new();
    let brief = phone.register("Contact: <sip:a@10.0.0.5>;expires=5\r\n");
    assert!(brief.starts_with("SIP/2.0 423"));
    assert_eq!(header(&brief, "Min-Expires"), "30");
    let long = phone.register("Contact: <sip:a@10.0.0.5>\r\nExpires: 4000000000\r\n");
    assert!(header(&long, "Contact").ends_with("expires=3600"));
}

#[test]
fn contacts_that_could_be_turned_against_us_are_refused() {
    let mut phone = Phone::new();
    for contact in ["<sip:a@b?Route=%3Csip:evil%3E>", "<tel:+1900>", "*", "<sip:a@b>, *"] {
        let refusal = phone.register(&format!("Contact: {contact}\r\n"));
        assert!(refusal.starts_with("SIP/2.0 400"), "{contact} {refusal}");
    }
    assert!(phone.contact(phone.bench.now).is_none());
}

#[test]
fn a_phone_cannot_register_for_another() {
    let mut phone = Phone::new();
    let value = respond(
        &phone.challenge,
        &Credentials::new("alice", "secret"),
        "REGISTER",
        "sip:192.0.2.1",
        1,
        "c",
    );
    let request = register(&format!("Authorization: {value}\r\n{CONTACT}"), "x", 2)
        .replace("To: <sip:alice@", "To: <sip:bob@");
    phone.bench.receive(&request);
    assert!(phone.bench.only_sent().starts_with("SIP/2.0 403"));
}

#[test]
fn a_repeated_register_gets_the_same_answer() {
    let mut phone = Phone::new();
    phone.count = 1;
    let value = respond(
        &phone.challenge,
        &Credentials::new("alice", "secret"),
        "REGISTER",
        "sip:192.0.2.1",
        1,
        "c",
    );
    let request = register(&format!("Authorization: {value}\r\n{CONTACT}"), "x", 2);
    phone.bench.receive(&request);
    let first = phone.bench.only_sent();
    phone.bench.receive(&request);
    assert_eq!(phone.bench.only_sent(), first);
    phone.bench.assert_forgotten();
}

#[test]
fn we_register_at_a_trunk_and_stay_registered() {
    let mut bench = Bench::new();
    let uri = crate::registrar::callable("sip:user@192.0.2.10:5060").unwrap();
    bench.ua.register(bench.now, 0, uri, bench.flow);
    bench.drain();
    let first = bench.only_sent();
    assert_eq!(start_line(&first), "REGISTER sip:192.0.2.10:5060 SIP/2.0");
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    bench.receive(&response_with(&first, "401 Unauthorized", "t", challenge, None));
    let second = bench.only_sent();
    assert!(header(&second, "Authorization").contains("uri=\"sip:192.0.2.10:5060\""));
    let ok = response(&second, "200 OK", "t", None)
        .replace("<sip:peer@192.0.2.10:5070>", "<sip:acc@192.0.2.1:5060>;expires=100");
    bench.receive(&ok);
    let registered = RegistrationState::Registered;
    assert!(
        matches!(bench.outputs[..], [Output::Registration { trunk: 0, state }] if state == registered)
    );
    bench.pass(secs(79));
    assert!(bench.take_sent().is_empty());
    bench.pass(secs(2));
    let refresh = bench.take_sent().remove(0);
    assert!(refresh.starts_with("REGISTER "));
    assert_eq!(header(&refresh, "Call-ID"), header(&first, "Call-ID"));
}

#[test]
fn a_failed_registration_is_tried_again() {
    let mut bench = Bench::new();
    let uri = crate::registrar::callable("sip:192.0.2.10").unwrap();
    bench.ua.register(bench.now, 0, uri, bench.flow);
    bench.drain();
    let first = bench.only_sent();
    bench.receive(&response(&first, "503 Service Unavailable", "t", None));
    assert!(matches!(
        bench.outputs[..],
        [Output::Registration { state: RegistrationState::Failed(503), .. }]
    ));
    bench.pass(secs(2));
    assert!(bench.only_sent().starts_with("REGISTER "));
}

fn registering(bench: &mut Bench) -> String {
    let uri = crate::registrar::callable("sip:192.0.2.10").unwrap();
    bench.ua.register(bench.now, 0, uri, bench.flow);
    bench.drain();
    bench.only_sent()
}

#[test]
fn a_registrar_that_wants_longer_lifetimes_gets_them_at_once() {
    let mut bench = Bench::new();
    let first = registering(&mut bench);
    let brief = response_with(&first, "423 Interval Too Brief", "t", "Min-Expires: 1800\r\n", None);
    bench.receive(&brief);
    let second = bench.only_sent();
    assert_eq!((header(&first, "Expires"), header(&second, "Expires")), ("600", "1800"));
    assert!(bench.outputs.is_empty(), "that is no failure");
    let again =
        response_with(&second, "423 Interval Too Brief", "t", "Min-Expires: 3600\r\n", None);
    bench.receive(&again);
    assert!(bench.take_sent().is_empty(), "not for ever");
    bench.pass(secs(2));
    assert_eq!(header(&bench.only_sent(), "Expires"), "3600");
}

#[test]
fn a_registrar_may_ask_for_a_pause_within_bounds() {
    for (asked, pause) in [("30 (reboot)", 30), ("0", 2), ("4000000000", 600)] {
        let mut bench = Bench::new();
        let first = registering(&mut bench);
        let retry = format!("Retry-After: {asked}\r\n");
        bench.receive(&response_with(&first, "503 Service Unavailable", "t", &retry, None));
        bench.pass(secs(pause - 1));
        assert!(bench.take_sent().is_empty(), "{asked}");
        bench.pass(secs(2));
        assert!(bench.take_sent()[0].starts_with("REGISTER "), "{asked}");
    }
}

#[test]
fn the_lifetime_of_another_device_is_not_taken_for_ours() {
    let theirs = "<sip:acc@198.51.100.9:5060>;expires=3600, ";
    let natted = "<sip:acc@203.0.113.5:1024>;expires=100";
    for ours in ["<sip:acc@192.0.2.1:5060>;expires=100", natted] {
        let mut bench = Bench::new();
        let first = registering(&mut bench);
        let ok = response(&first, "200 OK", "t", None);
        bench.receive(&ok.replace("<sip:peer@192.0.2.10:5070>", &format!("{theirs}{ours}")));
        bench.pass(secs(81));
        assert!(bench.take_sent()[0].starts_with("REGISTER "), "{ours}");
    }
}

#[test]
fn a_trunk_that_moved_is_registered_at_where_it_is_now() {
    let mut bench = Bench::new();
    let first = registering(&mut bench);
    bench.receive(&response(&first, "503 Service Unavailable", "t", None));
    bench.from("192.0.2.99:5060");
    let uri = crate::registrar::callable("sip:192.0.2.10").unwrap();
    bench.ua.register(bench.now, 0, uri, bench.flow);
    bench.drain();
    assert!(bench.take_sent().is_empty(), "the pause is kept");
    bench.pass(secs(2));
    assert_eq!(bench.destination("REGISTER"), "192.0.2.99:5060".parse().unwrap());
    assert_eq!(header(&bench.last("REGISTER"), "Call-ID"), header(&first, "Call-ID"));
}

#[test]
fn a_lost_connection_makes_us_register_again() {
    let mut bench = Bench::with(10, Transport::Tcp);
    let uri = crate::registrar::callable("sip:192.0.2.10;transport=tcp").unwrap();
    bench.ua.register(bench.now, 0, uri, bench.flow);
    bench.drain();
    let first = bench.only_sent();
    bench.receive(&response(&first, "200 OK", "t", None));
    bench.ua.connection_closed(bench.now, LinkId(1));
    bench.pass(secs(3));
    assert!(bench.only_sent().starts_with("REGISTER "));
}

#[test]
fn a_shut_down_unregisters() {
    let mut bench = Bench::new();
    let uri = crate::registrar::callable("sip:192.0.2.10").unwrap();
    bench.ua.register(bench.now, 0, uri, bench.flow);
    bench.drain();
    let first = bench.only_sent();
    bench.receive(&response(&first, "200 OK", "t", None));
    bench.ua.shut_down(bench.now);
    bench.drain();
    let last = bench.last("REGISTER");
    assert_eq!(header(&last, "Expires"), "0");
    bench.receive(&response(&last, "200 OK", "t", None));
    bench.take_sent();
    let uri = crate::registrar::callable("sip:192.0.2.10").unwrap();
    bench.ua.register(bench.now, 0, uri, bench.flow);
    bench.drain();
    assert!(bench.take_sent().is_empty(), "a look-up that ends late changes nothing");
}
