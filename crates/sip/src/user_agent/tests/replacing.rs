//! INVITE with Replaces, UPDATE, and holds of our own.

use graphophone_call::LegEvent;

use super::harness::*;
use crate::{leg::DialogName, user_agent::Output};

/// An INVITE that wants to replace the dialog `one` of the trunk.
fn replacement(tag: &str, extra: &str) -> String {
    let invite = invite("two", "z9hG4bKr", Some(SDP)).replace("tag=far", "tag=else");
    let replaces =
        format!("Replaces: one;to-tag={tag};from-tag=far{extra}\r\nRequire: replaces\r\n");
    with_headers(&invite, &replaces)
}

#[test]
fn a_new_dialog_takes_the_place_of_a_running_one() {
    let mut bench = Bench::new();
    let (leg, _, tag) = bench.established_incoming();
    bench.take_sent();
    bench.outputs.clear();
    let moved = replacement(&tag, "").replace("c=IN IP4 192.0.2.10", "c=IN IP4 192.0.2.78");
    bench.receive(&moved);
    let sent = bench.take_sent();
    assert!(sent[0].starts_with("SIP/2.0 200") && sent[1].starts_with("BYE"), "{sent:#?}");
    assert!(sent[0].contains("m=audio 20000 RTP/AVP 8 101"), "the stream that runs: {}", sent[0]);
    assert_eq!((header(&sent[0], "Call-ID"), header(&sent[1], "Call-ID")), ("two", "one"));
    assert!(matches!(
        bench.outputs[..],
        [Output::UpdateMedia { leg: moved, remote, .. }]
            if moved == leg && remote.rtp == "192.0.2.78:40000".parse().unwrap()
    ));
    assert!(bench.dialogs.last().unwrap().contains("\"two\""));
    bench.outputs.clear();
    bench.receive(&response(&sent[1], "200 OK", "far", None));
    let new_tag = to_tag(&sent[0]);
    let ack = in_dialog("ACK", 1, "z9hG4bKs", "two", &new_tag, None);
    bench.receive(&ack.replace("tag=far", "tag=else"));
    bench.pass(secs(40));
    assert!(bench.take_sent().is_empty() && bench.outputs.is_empty(), "nobody notices more");
    let bye = in_dialog("BYE", 2, "z9hG4bKt", "two", &new_tag, None);
    bench.receive(&bye.replace("tag=far", "tag=else"));
    assert_eq!(bench.take_end().subcode, 560_000);
    bench.assert_forgotten();
}

#[test]
fn a_replacement_that_is_never_acknowledged_ends_the_call() {
    let mut bench = Bench::new();
    let (_, _, tag) = bench.established_incoming();
    bench.take_events();
    bench.receive(&replacement(&tag, ""));
    let bye = bench.last("BYE");
    bench.receive(&response(&bye, "200 OK", "far", None));
    bench.pass(secs(33));
    let bye = bench.last("BYE");
    assert_eq!(header(&bye, "Call-ID"), "two");
    bench.receive(&response(&bye, "200 OK", "else", None));
    assert_eq!(bench.take_end().subcode, 1106);
    bench.assert_forgotten();
}

#[test]
fn nobody_else_may_take_the_place() {
    // Another trunk's network, a phone without its password, or a phone that is not in the call.
    let mut bench = Bench::with_peers(10, crate::user_agent::Transport::Udp, ("192.0.2.0", 24));
    let (_, _, tag) = bench.established_incoming();
    bench.take_sent();
    bench.take_events();
    let other_codec = SDP.replace("8 0 101", "0 101");
    for (replaces, status) in [
        (replacement(&tag, "").replace("one;", "other;"), 481),
        (replacement(&tag, "").replace("from-tag=far", "from-tag=guess"), 481),
        (replacement("guess", ""), 481),
        (replacement(&tag, ";early-only"), 486),
        (replacement(&tag, ";to-tag=again"), 400),
        (with_body(&replacement(&tag, ""), "application/sdp", &other_codec), 488),
    ] {
        bench.receive(&replaces);
        let refusal = bench.only_sent();
        assert!(refusal.starts_with(&format!("SIP/2.0 {status}")), "{refusal}");
    }
    bench.from("198.51.100.9:5060");
    bench.receive(&replacement(&tag, ""));
    assert!(bench.only_sent().starts_with("SIP/2.0 401"), "a stranger proves who it is first");
    assert!(bench.outputs.is_empty());
}

#[test]
fn a_call_that_rings_or_is_over_is_not_replaced() {
    let mut bench = Bench::new();
    bench.receive(&invite("one", "z9hG4bKa", Some(SDP)));
    let leg = bench.incoming_leg();
    let tag = to_tag(&bench.last("SIP/2.0 180"));
    bench.take_sent();
    bench.receive(&replacement(&tag, ""));
    assert!(bench.only_sent().starts_with("SIP/2.0 481"));
    bench.ua.answer(bench.now, leg, local());
    bench.drain();
    bench.receive(&in_dialog("ACK", 1, "z9hG4bKb", "one", &tag, None));
    bench.ua.hang_up(bench.now, leg);
    bench.drain();
    bench.take_sent();
    bench.receive(&replacement(&tag, "").replace("z9hG4bKr", "z9hG4bKv"));
    assert!(bench.only_sent().starts_with("SIP/2.0 603"));
}

#[test]
fn a_dialog_has_a_name_for_others() {
    let mut bench = Bench::new();
    let (_, _, tag) = bench.established_incoming();
    let expected = DialogName {
        target: "sip:peer@192.0.2.10:5070".to_owned(),
        replaces: format!("one;to-tag=far;from-tag={tag}"),
    };
    assert_eq!(bench.names.last(), Some(&expected));
}

#[test]
fn an_update_holds_resumes_and_shows_that_one_lives() {
    let mut bench = Bench::new();
    let (_, _, tag) = bench.established_incoming();
    bench.take_sent();
    bench.take_events();
    let hold = format!("{SDP}a=sendonly\r\n");
    for (cseq, body, active, line) in [
        (2, hold.as_str(), false, "a=recvonly"),
        (3, SDP, true, "a=sendrecv"),
        (4, &format!("{SDP}a=inactive\r\n"), false, "a=inactive"),
        (5, &format!("{SDP}a=recvonly\r\n"), true, "a=sendonly"),
    ] {
        bench.receive(&in_dialog(
            "UPDATE",
            cseq,
            &format!("z9hG4bK{cseq}"),
            "one",
            &tag,
            Some(body),
        ));
        let ok = bench.only_sent();
        assert!(ok.starts_with("SIP/2.0 200") && ok.contains(line), "{ok}");
        assert_eq!(bench.take_events(), [LegEvent::Media { active }]);
    }
    bench.receive(&in_dialog("UPDATE", 6, "z9hG4bK6", "one", &tag, None));
    assert!(bench.only_sent().starts_with("SIP/2.0 200"));
    assert!(bench.take_events().is_empty());
    bench.pass(secs(40));
    assert!(bench.take_sent().is_empty(), "an answer to UPDATE waits for no ACK");
}

#[test]
fn an_update_before_the_answer_has_to_wait() {
    let mut bench = Bench::new();
    bench.receive(&invite("one", "z9hG4bKa", Some(SDP)));
    let tag = to_tag(&bench.last("SIP/2.0 180"));
    bench.take_sent();
    bench.receive(&in_dialog("UPDATE", 2, "z9hG4bKu", "one", &tag, Some(SDP)));
    let refusal = bench.only_sent();
    assert!(refusal.starts_with("SIP/2.0 500"));
    header(&refusal, "Retry-After");
}

#[test]
fn our_hold_is_offered_acknowledged_and_taken_back() {
    let mut bench = Bench::new();
    let (leg, ..) = bench.established_incoming();
    bench.take_sent();
    bench.outputs.clear();
    for (holds, line, answer, receiving) in
        [(true, "a=sendonly", "a=recvonly", false), (false, "a=sendrecv", "a=sendrecv", true)]
    {
        bench.ua.hold(bench.now, leg, holds);
        bench.drain();
        let invite = bench.only_sent();
        assert!(invite.contains(line) && invite.contains("RTP/AVP 8 101"), "{invite}");
        let body = format!("{SDP}{answer}\r\n");
        bench.receive(&response(&invite, "200 OK", "far", Some(&body)));
        assert!(bench.only_sent().starts_with("ACK"));
        assert!(matches!(
            bench.outputs[..],
            [Output::UpdateMedia { sending: true, receiving: now, .. }] if now == receiving
        ));
        bench.outputs.clear();
        // Its answer is lost once.
        bench.receive(&response(&invite, "200 OK", "far", Some(&body)));
        assert!(bench.only_sent().starts_with("ACK"));
    }
}

#[test]
fn the_last_wish_waits_for_the_end_of_an_offer() {
    let mut bench = Bench::new();
    let (leg, ..) = bench.established_incoming();
    bench.take_sent();
    bench.ua.hold(bench.now, leg, true);
    bench.drain();
    let invite = bench.only_sent();
    for holds in [false, true, false] {
        bench.ua.hold(bench.now, leg, holds);
    }
    bench.drain();
    assert!(bench.take_sent().is_empty(), "one offer at a time");
    bench.receive(&response(&invite, "200 OK", "far", Some(&format!("{SDP}a=recvonly\r\n"))));
    let sent = bench.take_sent();
    let [ack, invite] = &sent[..] else { panic!("{sent:?}") };
    assert!(ack.starts_with("ACK") && invite.starts_with("INVITE"), "{sent:?}");
    assert!(invite.contains("a=sendrecv"), "{invite}");
}

#[test]
fn offers_that_cross_are_glare() {
    let mut bench = Bench::new();
    let (leg, _, tag) = bench.established_incoming();
    bench.take_sent();
    bench.ua.hold(bench.now, leg, true);
    bench.drain();
    let invite = bench.only_sent();
    for (cseq, method) in [(2, "INVITE"), (3, "UPDATE")] {
        let branch = format!("z9hG4bKx{cseq}");
        bench.receive(&in_dialog(method, cseq, &branch, "one", &tag, Some(SDP)));
        assert!(bench.only_sent().starts_with("SIP/2.0 491"));
    }
    bench.receive(&response(&invite, "491 Request Pending", "far", None));
    assert_eq!(bench.take_start_lines().len(), 1, "the ACK of a refusal");
    bench.receive(&in_dialog("INVITE", 4, "z9hG4bKy", "one", &tag, Some(SDP)));
    assert!(bench.only_sent().starts_with("SIP/2.0 200"));
}

#[test]
fn keys_by_info_come_once_each_and_no_faster_than_fingers() {
    let mut bench = Bench::new();
    let (leg, _, tag) = bench.established_incoming();
    bench.take_sent();
    bench.take_events();
    let body = "Signal=5\r\nDuration=160\r\n";
    let mut refused = 0;
    for cseq in 2..42 {
        let info = in_dialog("INFO", cseq, &format!("z9hG4bKi{cseq}"), "one", &tag, None);
        let info = with_body(&info, "application/dtmf-relay", body);
        bench.receive(&info);
        // A repeated one is the same press.
        bench.receive(&info);
        refused += usize::from(bench.take_start_lines()[0].contains("503"));
    }
    assert_eq!((bench.take_events().len(), refused), (20, 20));
    bench.pass(secs(1));
    bench.ua.press_by_info(bench.now, leg, graphophone_call::Tone::Pound);
    bench.drain();
    let info = bench.only_sent();
    assert!(info.starts_with("INFO") && info.contains("Signal=#\r\n"), "{info}");
}
