//! Incoming calls, and what happens inside dialogs of either direction.

use std::time::Duration;

use graphophone_call::{LegEvent, RejectReason, Tone};

use super::harness::*;
use crate::{
    endpoint::Party,
    user_agent::{Output, Transport},
};

#[test]
fn an_incoming_call_rings_and_is_answered() {
    let mut bench = Bench::new();
    bench.receive(&invite("one", "z9hG4bKa", Some(SDP)));
    let lines: Vec<String> =
        bench.sent.iter().map(|(_, text)| start_line(text).to_owned()).collect();
    assert_eq!(lines, ["SIP/2.0 100 Trying", "SIP/2.0 180 Ringing"]);
    let Some(Output::Incoming { from, to_user, sip_call_id, leg, .. }) = bench.outputs.first()
    else {
        panic!("{:?}", bench.outputs)
    };
    let party = Party::Trunk {
        trunk: "carrier".to_owned(),
        user: "+15550199".to_owned(),
        display_name: Some("Caller".to_owned()),
    };
    assert_eq!((from, to_user.as_str(), sip_call_id.as_str()), (&party, "bot", "one"));
    bench.ua.answer(bench.now, *leg, local());
    bench.drain();
    let ok = bench.last("SIP/2.0 200");
    // The offer's order decides: 8 before 0.
    assert!(ok.contains("m=audio 20000 RTP/AVP 8 101\r\n"), "{ok}");
    assert_eq!(to_tag(&ok), to_tag(&bench.last("SIP/2.0 180")));
    assert!(matches!(bench.outputs.last(), Some(Output::StartMedia { .. })));
    bench.outputs.clear();
    bench.receive(&in_dialog("ACK", 1, "z9hG4bKb", "one", &to_tag(&ok), None));
    assert_eq!(bench.take_events(), [LegEvent::Answered, LegEvent::Media { active: true }]);
}

#[test]
fn a_repeated_invite_gets_the_last_response_and_no_second_call() {
    let mut bench = Bench::new();
    let invite = invite("one", "z9hG4bKa", Some(SDP));
    bench.receive(&invite);
    bench.take_sent();
    bench.receive(&invite);
    assert!(bench.only_sent().starts_with("SIP/2.0 180"));
    assert_eq!(bench.outputs.len(), 1);
}

#[test]
fn our_200_is_repeated_until_the_ack_and_then_given_up() {
    let mut bench = Bench::new();
    bench.receive(&invite("one", "z9hG4bKa", Some(SDP)));
    let leg = bench.incoming_leg();
    bench.ua.answer(bench.now, leg, local());
    bench.drain();
    bench.take_sent();
    bench.pass(secs(31));
    // 0.5, 1.5, 3.5, 7.5, 11.5, … 27.5 s (RFC 3261 §13.3.1.4)
    let repeated = bench.take_start_lines();
    assert_eq!(repeated.len(), 9, "{repeated:?}");
    assert!(repeated.iter().all(|line| line == "SIP/2.0 200 OK"));
    bench.pass(secs(2));
    let bye = bench.take_sent().pop().unwrap();
    assert!(bye.starts_with("BYE "));
    bench.receive(&response(&bye, "200 OK", "far", None));
    let result = bench.take_end();
    assert_eq!((result.code, result.subcode), (408, 1106));
    bench.assert_forgotten();
}

#[test]
fn a_rejected_call_is_refused_with_the_reasons_status() {
    for (reason, status) in
        [(RejectReason::None, 480), (RejectReason::Busy, 486), (RejectReason::Forbidden, 403)]
    {
        let mut bench = Bench::new();
        bench.receive(&invite("one", "z9hG4bKa", Some(SDP)));
        let leg = bench.incoming_leg();
        bench.ua.reject(bench.now, leg, reason);
        bench.drain();
        let refusal = bench.last("SIP/2.0 4");
        assert!(refusal.starts_with(&format!("SIP/2.0 {status}")));
        let tag = to_tag(&refusal);
        bench.receive(&in_dialog("ACK", 1, "z9hG4bKa", "one", &tag, None));
        assert_eq!(bench.take_end().code, status);
        bench.assert_forgotten();
    }
}

#[test]
fn a_refusal_is_repeated_until_its_ack() {
    let mut bench = Bench::new();
    bench.receive(&invite("one", "z9hG4bKa", Some(SDP)));
    let leg = bench.incoming_leg();
    bench.ua.reject(bench.now, leg, RejectReason::Busy);
    bench.drain();
    bench.take_sent();
    bench.pass(secs(2));
    assert_eq!(bench.take_sent().len(), 2);
    bench.assert_forgotten();
}

#[test]
fn a_caller_that_cancels_gets_200_and_487() {
    let mut bench = Bench::new();
    let invite = invite("one", "z9hG4bKa", Some(SDP));
    bench.receive(&invite);
    bench.take_sent();
    bench.receive(&request("CANCEL", 1, "z9hG4bKa", "one", "<sip:bot@192.0.2.1>", None));
    let sent = bench.take_sent();
    assert!(sent[0].starts_with("SIP/2.0 200") && header(&sent[0], "CSeq") == "1 CANCEL");
    assert!(sent[1].starts_with("SIP/2.0 487") && header(&sent[1], "CSeq") == "1 INVITE");
    assert_eq!(bench.take_end().subcode, 8542);
    bench.assert_forgotten();
}

#[test]
fn a_cancel_from_elsewhere_or_of_nothing_changes_nothing() {
    let mut bench = Bench::new();
    bench.receive(&invite("one", "z9hG4bKa", Some(SDP)));
    bench.take_sent();
    bench.receive(&request("CANCEL", 1, "z9hG4bKx", "one", "<sip:bot@192.0.2.1>", None));
    assert!(bench.only_sent().starts_with("SIP/2.0 481"));
    bench.from("198.51.100.1:5060");
    bench.receive(&request("CANCEL", 1, "z9hG4bKa", "one", "<sip:bot@192.0.2.1>", None));
    assert!(bench.only_sent().starts_with("SIP/2.0 481"));
    assert!(bench.take_events().is_empty());
}

#[test]
fn a_cancel_after_our_answer_is_too_late() {
    let mut bench = Bench::new();
    bench.receive(&invite("one", "z9hG4bKa", Some(SDP)));
    let leg = bench.incoming_leg();
    bench.ua.answer(bench.now, leg, local());
    bench.drain();
    bench.take_sent();
    bench.receive(&request("CANCEL", 1, "z9hG4bKa", "one", "<sip:bot@192.0.2.1>", None));
    assert_eq!(bench.take_start_lines(), ["SIP/2.0 200 OK"]);
    assert!(bench.take_events().is_empty());
}

#[test]
fn a_bye_of_the_caller_ends_the_call() {
    let mut bench = Bench::new();
    let (_, _, tag) = bench.established_incoming();
    bench.take_sent();
    bench.take_events();
    let bye = in_dialog("BYE", 2, "z9hG4bKc", "one", &tag, None);
    bench.receive(&bye);
    assert!(bench.only_sent().starts_with("SIP/2.0 200"));
    assert_eq!(bench.take_end().subcode, 560_000);
    bench.receive(&bye);
    assert!(bench.only_sent().starts_with("SIP/2.0 200"), "a repeated BYE gets the same");
    bench.assert_forgotten();
    bench.receive(&bye);
    assert!(bench.only_sent().starts_with("SIP/2.0 481"), "a late one belongs to nothing");
}

#[test]
fn a_bye_of_the_callee_ends_the_call() {
    let mut bench = Bench::new();
    let (_, invite) = bench.established_call();
    bench.take_events();
    bench.receive(&peer_request(&invite, "BYE", 1, "z9hG4bKc"));
    assert_eq!(bench.take_end().subcode, 560_000);
    bench.assert_forgotten();
}

#[test]
fn our_hang_up_ends_when_the_bye_is_answered_or_lost() {
    for answer in [Some("200 OK"), Some("481 Call/Transaction Does Not Exist"), None] {
        let mut bench = Bench::new();
        let (leg, ..) = bench.established_incoming();
        bench.take_sent();
        bench.take_events();
        bench.ua.hang_up(bench.now, leg);
        bench.drain();
        let bye = bench.only_sent();
        assert_eq!(start_line(&bye), "BYE sip:peer@192.0.2.10:5070 SIP/2.0");
        match answer {
            Some(status) => bench.receive(&response(&bye, status, "far", None)),
            None => bench.pass(secs(33)),
        }
        assert_eq!(bench.take_end().subcode, 7000);
        bench.assert_forgotten();
    }
}

#[test]
fn of_crossing_byes_the_callers_is_answered_and_ends_the_call_at_once() {
    let mut bench = Bench::new();
    let (leg, _, tag) = bench.established_incoming();
    bench.take_events();
    bench.ua.hang_up(bench.now, leg);
    bench.drain();
    let bye = bench.last("BYE");
    bench.take_sent();
    bench.receive(&in_dialog("BYE", 2, "z9hG4bKc", "one", &tag, None));
    assert!(bench.only_sent().starts_with("SIP/2.0 200"));
    assert_eq!(bench.take_end().subcode, 7000);
    bench.receive(&response(&bye, "200 OK", "far", None));
    assert!(bench.outputs.is_empty() && bench.take_sent().is_empty());
    bench.assert_forgotten();
}

#[test]
fn a_request_for_no_dialog_gets_481() {
    let mut bench = Bench::new();
    let (_, _, tag) = bench.established_incoming();
    for (call_id, tag) in [("one", "guess"), ("other", tag.as_str())] {
        bench.take_sent();
        bench.receive(&in_dialog("BYE", 2, "z9hG4bKc", call_id, tag, None));
        assert!(bench.only_sent().starts_with("SIP/2.0 481"));
    }
    bench.take_sent();
    bench.receive(&in_dialog("ACK", 2, "z9hG4bKd", "one", "guess", None));
    assert!(bench.take_sent().is_empty(), "an ACK is never answered");
}

#[test]
fn hold_and_resume_stop_and_start_the_audio() {
    let mut bench = Bench::new();
    let (_, _, tag) = bench.established_incoming();
    let sendonly = format!("{SDP}a=sendonly\r\n");
    let inactive = format!("{SDP}a=inactive\r\n");
    let zero = SDP.replace("c=IN IP4 192.0.2.10", "c=IN IP4 0.0.0.0");
    let mut cseq = 1;
    for (hold, answer) in [(sendonly, "a=recvonly"), (inactive, "a=inactive"), (zero, "a=recvonly")]
    {
        for (body, active, line) in [(hold.as_str(), false, answer), (SDP, true, "a=sendrecv")] {
            bench.outputs.clear();
            cseq += 1;
            let branch = format!("z9hG4bKr{cseq}");
            bench.receive(&in_dialog("INVITE", cseq, &branch, "one", &tag, Some(body)));
            let ok = bench.last("SIP/2.0 200");
            assert!(ok.contains(line), "{ok}");
            assert!(ok.contains(&format!("o=- 7 {cseq} IN")), "the version rises: {ok}");
            assert!(matches!(
                bench.outputs[..],
                [Output::UpdateMedia { sending, .. }, Output::Event { .. }] if sending == active
            ));
            assert_eq!(bench.take_events(), [LegEvent::Media { active }]);
            let ack = format!("z9hG4bKk{cseq}");
            bench.receive(&in_dialog("ACK", cseq, &ack, "one", &tag, None));
            assert!(bench.take_events().is_empty());
        }
    }
}

#[test]
fn a_peer_that_moves_is_followed() {
    let mut bench = Bench::new();
    let (leg, _, tag) = bench.established_incoming();
    bench.outputs.clear();
    let moved = SDP.replace("c=IN IP4 192.0.2.10", "c=IN IP4 192.0.2.77");
    let reinvite = in_dialog("INVITE", 2, "z9hG4bKr", "one", &tag, Some(&moved));
    bench.receive(&reinvite.replace("peer@192.0.2.10:5070", "peer@192.0.2.77:5080"));
    assert!(matches!(
        bench.outputs[..],
        [Output::UpdateMedia { remote, sending: true, .. }]
            if remote.rtp == "192.0.2.77:40000".parse().unwrap()
    ));
    bench.receive(&in_dialog("ACK", 2, "z9hG4bKk", "one", &tag, None));
    bench.ua.hang_up(bench.now, leg);
    bench.drain();
    assert_eq!(bench.destination("BYE"), "192.0.2.77:5080".parse().unwrap());
}

#[test]
fn a_reinvite_keeps_the_codec_or_is_refused() {
    let mut bench = Bench::new();
    let (_, _, tag) = bench.established_incoming();
    let other_order = SDP.replace("8 0 101", "0 8 101");
    bench.receive(&in_dialog("INVITE", 2, "z9hG4bKr", "one", &tag, Some(&other_order)));
    assert!(bench.last("SIP/2.0 200").contains("RTP/AVP 8 101"));
    bench.receive(&in_dialog("ACK", 2, "z9hG4bKk", "one", &tag, None));
    let other_codec = SDP.replace("8 0 101", "0 101");
    bench.receive(&in_dialog("INVITE", 3, "z9hG4bKs", "one", &tag, Some(&other_codec)));
    assert!(bench.sent.last().unwrap().1.starts_with("SIP/2.0 488"));
    assert!(!bench.take_events().iter().any(|event| matches!(event, LegEvent::Ended(_))));
}

#[test]
fn a_reinvite_before_the_ack_is_glare() {
    let mut bench = Bench::new();
    let (_, _, tag) = bench.established_incoming();
    bench.receive(&in_dialog("INVITE", 2, "z9hG4bKr", "one", &tag, Some(SDP)));
    bench.take_sent();
    bench.receive(&in_dialog("INVITE", 3, "z9hG4bKs", "one", &tag, Some(SDP)));
    assert!(bench.only_sent().starts_with("SIP/2.0 491"));
}

#[test]
fn an_old_sequence_number_is_refused() {
    let mut bench = Bench::new();
    let (_, _, tag) = bench.established_incoming();
    bench.take_sent();
    bench.receive(&in_dialog("INFO", 1, "z9hG4bKr", "one", &tag, None));
    assert!(bench.only_sent().starts_with("SIP/2.0 500"));
}

#[test]
fn an_invite_without_offer_gets_ours_and_its_ack_carries_the_answer() {
    let mut bench = Bench::new();
    bench.receive(&invite("one", "z9hG4bKa", None));
    let leg = bench.incoming_leg();
    bench.ua.answer(bench.now, leg, local());
    bench.drain();
    let ok = bench.last("SIP/2.0 200");
    assert!(ok.contains("m=audio 20000 RTP/AVP 0 8 101"));
    bench.outputs.clear();
    bench.receive(&in_dialog("ACK", 1, "z9hG4bKb", "one", &to_tag(&ok), Some(SDP)));
    assert!(matches!(bench.outputs[0], Output::StartMedia { .. }));
    assert_eq!(bench.take_events(), [LegEvent::Answered, LegEvent::Media { active: true }]);
}

#[test]
fn a_missing_answer_in_the_ack_ends_the_call() {
    let mut bench = Bench::new();
    bench.receive(&invite("one", "z9hG4bKa", None));
    let leg = bench.incoming_leg();
    bench.ua.answer(bench.now, leg, local());
    bench.drain();
    let tag = to_tag(&bench.last("SIP/2.0 200"));
    bench.receive(&in_dialog("ACK", 1, "z9hG4bKb", "one", &tag, None));
    let bye = bench.last("BYE");
    bench.receive(&response(&bye, "200 OK", "far", None));
    assert_eq!(bench.take_end().subcode, 1005);
    bench.assert_forgotten();
}

#[test]
fn keys_sent_by_info_are_heard() {
    let mut bench = Bench::new();
    let (_, _, tag) = bench.established_incoming();
    bench.take_events();
    let body = "Signal=#\r\nDuration=160\r\n";
    let info = in_dialog("INFO", 2, "z9hG4bKi", "one", &tag, Some(body));
    bench.receive(&info.replace("application/sdp", "application/dtmf-relay"));
    assert_eq!(bench.take_events(), [LegEvent::Tone(Tone::Pound)]);
    bench.take_sent();
    bench.receive(&in_dialog("INFO", 3, "z9hG4bKj", "one", &tag, Some(body)));
    assert!(bench.only_sent().starts_with("SIP/2.0 415"));
}

#[test]
fn methods_we_lack_are_named_with_allow() {
    let mut bench = Bench::new();
    let (_, _, tag) = bench.established_incoming();
    for (cseq, (method, inside, outside)) in (2..).zip([
        ("SUBSCRIBE", 405, 405),
        ("DANCE", 501, 501),
        ("UPDATE", 200, 405),
        ("NOTIFY", 489, 405),
        ("REFER", 603, 405),
    ]) {
        let request_inside =
            in_dialog(method, cseq, &format!("z9hG4bK{method}"), "one", &tag, None);
        let request_outside =
            request(method, 1, &format!("z9hG4bKo{method}"), "x", "<sip:a@b>", None);
        for (text, status) in [(request_inside, inside), (request_outside, outside)] {
            bench.take_sent();
            bench.receive(&text);
            let refusal = bench.only_sent();
            assert!(refusal.starts_with(&format!("SIP/2.0 {status}")), "{refusal}");
            if matches!(status, 405 | 501) {
                assert!(header(&refusal, "Allow").contains("INVITE"));
            }
        }
    }
}

#[test]
fn a_required_extension_is_refused_by_name() {
    let mut bench = Bench::new();
    let invite = invite("one", "z9hG4bKa", Some(SDP));
    bench.receive(&invite.replace("Max-Forwards", "Require: 100rel, nothingSIPs\r\nMax-Forwards"));
    let refusal = bench.only_sent();
    assert!(refusal.starts_with("SIP/2.0 420"));
    assert_eq!(header(&refusal, "Unsupported"), "100rel, nothingSIPs");
}

#[test]
fn a_merged_request_is_a_loop() {
    let mut bench = Bench::new();
    bench.receive(&invite("one", "z9hG4bKa", Some(SDP)));
    bench.take_sent();
    bench.receive(&invite("one", "z9hG4bKother", Some(SDP)));
    assert!(bench.only_sent().starts_with("SIP/2.0 482"));
}

#[test]
fn too_many_calls_are_refused_with_retry_after() {
    let mut bench = Bench::with(1, Transport::Udp);
    bench.receive(&invite("one", "z9hG4bKa", Some(SDP)));
    bench.take_sent();
    bench.receive(&invite("two", "z9hG4bKb", Some(SDP)));
    let refusal = bench.only_sent();
    assert!(refusal.starts_with("SIP/2.0 503"));
    header(&refusal, "Retry-After");
}

#[test]
fn a_full_queue_of_the_owner_refuses_calls() {
    let mut bench = Bench::new();
    bench.ua.set_room(0);
    bench.receive(&invite("one", "z9hG4bKa", Some(SDP)));
    assert!(bench.only_sent().starts_with("SIP/2.0 503"));
    bench.assert_forgotten();
}

#[test]
fn a_call_that_is_not_admitted_is_forgotten_and_may_come_back() {
    let mut bench = Bench::new();
    let mut answers = vec![Ok(()), Err(Duration::from_secs(4))];
    bench.ua.set_admit(Some(Box::new(move || answers.pop().expect("asked once for each"))));
    bench.receive(&invite("one", "z9hG4bKa", Some(SDP)));
    let refusal = bench.only_sent();
    assert!(refusal.starts_with("SIP/2.0 503"), "{refusal}");
    assert_eq!(header(&refusal, "Retry-After"), "4");
    bench.assert_forgotten();
    bench.receive(&invite("two", "z9hG4bKb", Some(SDP)));
    assert_eq!(bench.take_start_lines(), ["SIP/2.0 100 Trying", "SIP/2.0 180 Ringing"]);
}

#[test]
fn offers_that_cannot_be_taken_get_488() {
    let rows = [
        SDP.replace("8 0 101", "3 9"),
        SDP.replace("RTP/AVP", "RTP/SAVP"),
        SDP.replace("m=audio 40000", "m=audio 0"),
        SDP.replace("c=IN IP4 192.0.2.10", "c=IN IP4 media.example.com"),
        SDP.replace("c=IN IP4 192.0.2.10", "c=IN IP4 224.2.1.1"),
        SDP.replace("c=IN IP4 192.0.2.10", "c=IN IP6 2001:db8::1"),
        SDP.replace("c=IN IP4 192.0.2.10", "c=IN IP4 192.0.2.1").replace("40000", "5060"),
    ];
    for offer in rows {
        let mut bench = Bench::new();
        bench.receive(&invite("one", "z9hG4bKa", Some(&offer)));
        let refusal = bench.only_sent();
        assert!(refusal.starts_with("SIP/2.0 488"), "{offer} {refusal}");
        bench.assert_forgotten();
    }
}

#[test]
fn a_shut_down_ends_every_leg() {
    let mut bench = Bench::new();
    let (_, invite_out) = bench.established_call();
    bench.receive(&invite("two", "z9hG4bKz", Some(SDP)));
    bench.take_sent();
    bench.ua.shut_down(bench.now);
    bench.drain();
    assert!(bench.last("SIP/2.0 480").contains("CSeq: 1 INVITE"));
    let bye = bench.last("BYE");
    assert_eq!(header(&bye, "Call-ID"), header(&invite_out, "Call-ID"));
    assert!(!bench.ua.is_idle());
    bench.receive(&response(&bye, "200 OK", "peer", None));
    assert!(bench.ua.is_idle());
    bench.take_sent();
    bench.receive(&invite("three", "z9hG4bKy", Some(SDP)));
    assert!(bench.only_sent().starts_with("SIP/2.0 503"));
}

#[test]
fn a_thousand_calls_leave_nothing_behind() {
    let mut bench = Bench::new();
    for number in 0..500 {
        let call_id = format!("call{number}");
        bench.receive(&invite(&call_id, &format!("z9hG4bKi{number}"), Some(SDP)));
        let leg = bench.incoming_leg();
        bench.ua.answer(bench.now, leg, local());
        bench.drain();
        let tag = to_tag(&bench.last("SIP/2.0 200"));
        bench.receive(&in_dialog("ACK", 1, &format!("z9hG4bKa{number}"), &call_id, &tag, None));
        bench.receive(&in_dialog("BYE", 2, &format!("z9hG4bKb{number}"), &call_id, &tag, None));
        let (leg, _) = bench.established_call();
        bench.ua.hang_up(bench.now, leg);
        bench.drain();
        let bye = bench.last("BYE");
        bench.receive(&response(&bye, "200 OK", "peer", None));
        bench.sent.clear();
        bench.outputs.clear();
    }
    bench.assert_forgotten();
}
