//! Who may call, and how everybody else is turned away.

use sipx_sip::auth::{Challenge, Credentials, respond};

use super::harness::*;
use crate::{endpoint::Party, user_agent::Output};

const STRANGER: &str = "198.51.100.7:5060";

fn from_user(user: &str) -> String {
    invite("one", "z9hG4bKa", Some(SDP)).replace("sip:+15550199@", &format!("sip:{user}@"))
}

fn with_credentials(invite: &str, challenge: &str, user: &str, password: &str) -> String {
    let challenge = header(challenge, "WWW-Authenticate");
    let challenge = Challenge::parse(challenge.as_bytes(), false).unwrap();
    let credentials = Credentials::new(user, password);
    let value = respond(&challenge, &credentials, "INVITE", "sip:bot@192.0.2.1", 1, "c");
    invite
        .replace("z9hG4bKa", "z9hG4bKb")
        .replace("Max-Forwards", &format!("Authorization: {value}\r\nMax-Forwards"))
}

#[test]
fn strangers_cannot_tell_users_that_exist_from_those_that_do_not() {
    let mut answers = Vec::new();
    for user in ["alice", "nobody"] {
        let mut bench = Bench::new();
        bench.from(STRANGER);
        bench.receive(&from_user(user));
        let challenge = bench.only_sent();
        assert!(challenge.starts_with("SIP/2.0 401"));
        bench.receive(&with_credentials(&from_user(user), &challenge, user, "guess"));
        let refusal = bench.only_sent();
        assert!(refusal.starts_with("SIP/2.0 403"));
        answers.push([challenge, refusal].map(|text| text.replace(user, "USER")));
        assert!(bench.outputs.is_empty());
        bench.assert_forgotten();
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn a_challenge_keeps_no_state_and_is_not_repeated() {
    let mut bench = Bench::new();
    bench.from(STRANGER);
    bench.receive(&from_user("alice"));
    assert_eq!(bench.ua.footprint(), 0);
    let tag = to_tag(&bench.only_sent());
    bench.receive(&from_user("alice"));
    assert_eq!(to_tag(&bench.only_sent()), tag, "a repetition gets the same To tag");
    bench.receive(&in_dialog("ACK", 1, "z9hG4bKa", "one", &tag, None));
    assert!(bench.take_sent().is_empty());
}

#[test]
fn a_phone_calls_with_its_password() {
    let mut bench = Bench::new();
    bench.from(STRANGER);
    bench.receive(&from_user("alice"));
    let challenge = bench.only_sent();
    let algorithms: Vec<_> =
        challenge.lines().filter(|line| line.starts_with("WWW-Authenticate")).collect();
    assert!(algorithms[0].contains("algorithm=SHA-256") && algorithms[1].contains("algorithm=MD5"));
    bench.receive(&with_credentials(&from_user("alice"), &challenge, "alice", "secret"));
    let party = Party::Phone { user: "alice".to_owned(), user_id: "alice-id".to_owned() };
    assert!(matches!(&bench.outputs[..], [Output::Incoming { from, .. }] if *from == party));
}

#[test]
fn a_challenge_is_not_longer_than_the_invite_of_a_phone() {
    let mut bench = Bench::new();
    bench.from(STRANGER);
    // What even a terse phone adds to the bare minimum of the other tests.
    let usual = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\nUser-Agent: Phone 1.0\r\nMax-Forwards";
    let request = from_user("alice").replace("Max-Forwards", usual);
    bench.receive(&request);
    let challenge = bench.only_sent();
    assert!(challenge.len() <= request.len(), "{} > {}", challenge.len(), request.len());
}

#[test]
fn responses_go_to_the_source_and_say_so() {
    let mut bench = Bench::new();
    bench.from("198.51.100.7:33333");
    let natted = from_user("alice").replace("UDP 192.0.2.10:5060", "UDP 10.0.0.9:5060");
    bench.receive(&natted);
    let via = header(&bench.sent[0].1, "Via").to_owned();
    assert!(via.contains(";received=198.51.100.7") && via.contains(";rport=33333"), "{via}");
    assert_eq!(bench.sent[0].0.remote, "198.51.100.7:33333".parse().unwrap());
    bench.sent.clear();
    bench.receive(&natted.replace(";rport", ""));
    assert_eq!(bench.sent[0].0.remote, "198.51.100.7:5060".parse().unwrap(), "RFC 3261 §18.2.2");
}

#[test]
fn options_are_answered_to_anybody() {
    let mut bench = Bench::new();
    bench.from(STRANGER);
    let usual = "User-Agent: Pinger 1.0 (of some make)\r\nAccept: application/sdp\r\nMax-Forwards";
    let ping = request("OPTIONS", 1, "z9hG4bKo", "x", "<sip:bot@192.0.2.1>", None);
    bench.receive(&ping.replace("Max-Forwards", usual));
    let answer = bench.only_sent();
    assert!(answer.starts_with("SIP/2.0 200"));
    header(&answer, "Allow");
    assert_eq!(bench.ua.footprint(), 0);
}

#[test]
fn a_method_of_every_character_there_is_is_not_implemented() {
    let mut bench = Bench::new();
    let method = "!interesting-Method0123456789_*+`.%indeed'~";
    let user = "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)";
    let from = "_token1~` token2'+_ token3.!%*- <sip:t@127.0.0.1>;fromParam''~+*_!.-%=\"\u{440}\";tag=_t~1'+`*%!-.";
    let odd = request(method, 1, "z9hG4bKo", "x", "<sip:bot@192.0.2.1>", None)
        .replace("sip:bot@192.0.2.1 SIP", &format!("sip:{user}@192.0.2.1 SIP"))
        .replace("\"Caller\" <sip:+15550199@192.0.2.10>;tag=far", from);
    bench.receive(&odd);
    let answer = bench.only_sent();
    assert!(answer.starts_with("SIP/2.0 501"), "{answer}");
    header(&answer, "Allow");
}

#[test]
fn other_uri_schemes_are_refused() {
    let mut bench = Bench::new();
    let tel =
        invite("one", "z9hG4bKa", Some(SDP)).replace("INVITE sip:bot@192.0.2.1", "INVITE tel:+1");
    bench.receive(&tel);
    assert!(bench.only_sent().starts_with("SIP/2.0 416"));
}

#[test]
fn bodies_we_do_not_read_are_refused() {
    let mut bench = Bench::new();
    let body = invite("one", "z9hG4bKa", Some(SDP)).replace("application/sdp", "application/x-y");
    bench.receive(&body);
    let refusal = bench.only_sent();
    assert!(refusal.starts_with("SIP/2.0 415"));
    assert_eq!(header(&refusal, "Accept"), "application/sdp");
}
