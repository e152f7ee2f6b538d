//! Where dialogs lead: Record-Route, next hops, and when a BYE may go.

use super::harness::*;
use crate::user_agent::{LinkId, Transport};

#[test]
fn responses_that_make_a_dialog_copy_the_record_route() {
    let mut bench = Bench::new();
    let routes = "Record-Route: <sip:192.0.2.12;lr>, <sip:192.0.2.11;lr>\r\n\
        Record-Route: <sip:192.0.2.10;lr>\r\n";
    let invite = invite("one", "z9hG4bKa", Some(SDP));
    bench.receive(&invite.replace("Max-Forwards", &format!("{routes}Max-Forwards")));
    let leg = bench.incoming_leg();
    bench.ua.answer(bench.now, leg, local());
    bench.drain();
    for (start, copies) in [("SIP/2.0 100", false), ("SIP/2.0 180", true), ("SIP/2.0 200", true)] {
        assert_eq!(bench.last(start).contains(routes), copies, "{start}");
    }
}

#[test]
fn a_refusal_copies_no_record_route() {
    let mut bench = Bench::new();
    let other = SDP.replace("8 0 101", "3 9");
    let invite = invite("one", "z9hG4bKa", Some(&other));
    bench.receive(&invite.replace("Max-Forwards", "Record-Route: <sip:h;lr>\r\nMax-Forwards"));
    assert!(!bench.only_sent().contains("Record-Route"));
}

#[test]
fn a_bye_leaves_a_connection_that_ends_at_another_host() {
    for (contact, transport, link) in [
        ("192.0.2.10:5070;transport=tcp", Transport::Tcp, LinkId(1)),
        ("192.0.2.10:5070", Transport::Tcp, LinkId(1)),
        ("192.0.2.77:5070", Transport::Tcp, LinkId::ANY),
        ("192.0.2.10:5070;transport=udp", Transport::Udp, LinkId::ANY),
    ] {
        let mut bench = Bench::with(10, Transport::Tcp);
        let leg = bench.call();
        let invite = bench.last("INVITE");
        let answer = response(&invite, "200 OK", "peer", Some(SDP));
        bench.receive(&answer.replace("192.0.2.10:5070", contact));
        bench.ua.hang_up(bench.now, leg);
        bench.drain();
        for start in ["ACK", "BYE"] {
            let (flow, text) = bench.sent.iter().find(|(_, text)| text.starts_with(start)).unwrap();
            assert_eq!((flow.transport, flow.link), (transport, link), "{start} {contact}");
            assert_eq!(flow.remote.port(), 5070);
            let via = format!("SIP/2.0/{} ", transport.via());
            assert!(header(text, "Via").starts_with(&via), "{text}");
        }
    }
}

#[test]
fn a_hang_up_waits_for_the_ack_of_our_answer() {
    let mut bench = Bench::new();
    bench.receive(&invite("one", "z9hG4bKa", Some(SDP)));
    let leg = bench.incoming_leg();
    bench.ua.answer(bench.now, leg, local());
    bench.drain();
    let tag = to_tag(&bench.last("SIP/2.0 200"));
    bench.take_sent();
    bench.ua.hang_up(bench.now, leg);
    bench.ua.hang_up(bench.now, leg);
    bench.drain();
    assert!(bench.take_sent().is_empty(), "RFC 3261 section 15");
    bench.pass(secs(1));
    assert_eq!(bench.take_start_lines(), ["SIP/2.0 200 OK"], "the answer is repeated still");
    bench.outputs.clear();
    bench.receive(&in_dialog("ACK", 1, "z9hG4bKb", "one", &tag, None));
    let bye = bench.only_sent();
    assert!(bye.starts_with("BYE "));
    bench.receive(&response(&bye, "200 OK", "far", None));
    assert_eq!(bench.take_end().subcode, 7000);
    bench.assert_forgotten();
}

#[test]
fn a_hang_up_ends_with_a_bye_also_if_no_ack_comes() {
    let mut bench = Bench::new();
    bench.receive(&invite("one", "z9hG4bKa", Some(SDP)));
    let leg = bench.incoming_leg();
    bench.ua.answer(bench.now, leg, local());
    bench.ua.hang_up(bench.now, leg);
    bench.pass(secs(33));
    let bye = bench.last("BYE");
    bench.receive(&response(&bye, "200 OK", "far", None));
    assert_eq!(bench.take_end().subcode, 7000);
    bench.assert_forgotten();
}

#[test]
fn a_caller_that_hangs_up_while_our_bye_waits_ends_the_call() {
    let mut bench = Bench::new();
    bench.receive(&invite("one", "z9hG4bKa", Some(SDP)));
    let leg = bench.incoming_leg();
    bench.ua.answer(bench.now, leg, local());
    bench.ua.hang_up(bench.now, leg);
    bench.drain();
    let tag = to_tag(&bench.last("SIP/2.0 200"));
    bench.receive(&in_dialog("BYE", 2, "z9hG4bKc", "one", &tag, None));
    assert_eq!(bench.take_end().subcode, 7000);
    bench.assert_forgotten();
}

#[test]
fn a_number_that_nobody_has_does_not_ring() {
    let mut bench = Bench::new();
    bench.is_attended = false;
    bench.receive(&invite("one", "z9hG4bKa", Some(SDP)));
    let leg = bench.incoming_leg();
    bench.ua.not_found(bench.now, leg);
    bench.drain();
    assert_eq!(bench.take_start_lines(), ["SIP/2.0 100 Trying", "SIP/2.0 404 Not Found"]);
    bench.assert_forgotten();
}
