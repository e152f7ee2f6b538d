//! Our REFER and what the peer reports; the peer's, and the call that follows it.

use graphophone_call::LegEvent;

use super::harness::*;
use crate::{
    leg::{ReferWish, Referral},
    user_agent::{LegId, Output},
};

/// An established call of the trunk's whose leg has been asked to refer.
fn referring(bench: &mut Bench) -> (LegId, String, String) {
    let (leg, _, tag) = bench.established_incoming();
    bench.take_sent();
    bench.take_events();
    bench.ua.refer(bench.now, leg, &refer_wish());
    bench.drain();
    let refer = bench.only_sent();
    (leg, tag, refer)
}

fn notify(cseq: u32, tag: &str, state: &str, fragment: &str) -> String {
    let notify = in_dialog("NOTIFY", cseq, &format!("z9hG4bKn{cseq}"), "one", tag, None);
    let headers = format!("Event: refer\r\nSubscription-State: {state}\r\n");
    let notify = with_headers(&notify, &headers);
    with_body(&notify, "message/sipfrag;version=2.0", fragment)
}

fn ended(bench: &mut Bench) -> (u32, u32) {
    match &bench.take_events()[..] {
        [LegEvent::ReferEnded(Err(result))] => (result.code, result.subcode),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refer_is_reported_on_until_its_target_is_reached() {
    let mut bench = Bench::new();
    let (leg, tag, refer) = referring(&mut bench);
    assert_eq!(start_line(&refer), "REFER sip:peer@192.0.2.10:5070 SIP/2.0");
    assert_eq!(header(&refer, "Refer-To"), "<sip:+15550177@192.0.2.10>");
    assert_eq!(header(&refer, "Referred-By"), "<sip:bot@192.0.2.1>");
    assert_eq!(header(&refer, "Contact"), "<sip:bot@192.0.2.1:5060>");
    bench.receive(&response(&refer, "202 Accepted", "far", None));
    assert_eq!(bench.take_events(), [LegEvent::ReferAccepted]);
    for (cseq, fragment) in [(2, "SIP/2.0 100 Trying\r\n"), (3, "SIP/2.0 180 Ringing\r\n")] {
        bench.receive(&notify(cseq, &tag, "active;expires=60", fragment));
        assert!(bench.only_sent().starts_with("SIP/2.0 200"));
        assert!(bench.take_events().is_empty());
    }
    bench.receive(&notify(4, &tag, "terminated;reason=noresource", "SIP/2.0 200 OK\r\n"));
    assert!(bench.only_sent().starts_with("SIP/2.0 200"));
    assert_eq!(bench.take_events(), [LegEvent::ReferEnded(Ok(()))]);
    // One too many.
    bench.receive(&notify(5, &tag, "terminated", "SIP/2.0 486 Busy Here\r\n"));
    assert!(bench.only_sent().starts_with("SIP/2.0 200") && bench.take_events().is_empty());
    bench.ua.hang_up(bench.now, leg);
    bench.drain();
    bench.receive(&response(&bench.last("BYE"), "200 OK", "far", None));
    assert_eq!(bench.take_end().subcode, 7000);
    bench.assert_forgotten();
}

#[test]
fn a_notify_that_overtakes_the_202_accepts_the_refer() {
    let mut bench = Bench::new();
    let (_, tag, refer) = referring(&mut bench);
    bench.receive(&notify(2, &tag, "active", "SIP/2.0 100 Trying\r\n"));
    assert_eq!(bench.take_events(), [LegEvent::ReferAccepted]);
    bench.receive(&response(&refer, "202 Accepted", "far", None));
    assert!(bench.take_events().is_empty());
}

#[test]
fn a_target_that_is_not_reached_leaves_the_leg_as_it_was() {
    for (state, fragment, expected) in [
        ("terminated", "SIP/2.0 486 Busy Here\r\n", (486, 8539)),
        ("active", "SIP/2.0 603 Decline", (603, 8538)),
        ("terminated;reason=giveup", "SIP/2.0 100 Trying\r\n", (480, 10076)),
        ("terminated", "", (480, 10076)),
    ] {
        let mut bench = Bench::new();
        let (leg, tag, refer) = referring(&mut bench);
        bench.receive(&response(&refer, "202 Accepted", "far", None));
        bench.take_events();
        bench.receive(&notify(2, &tag, state, fragment));
        assert_eq!(ended(&mut bench), expected, "{state} {fragment}");
        // It may be asked again, in a subscription of its own.
        bench.take_sent();
        bench.ua.refer(bench.now, leg, &refer_wish());
        bench.drain();
        assert!(bench.only_sent().starts_with("REFER"));
    }
}

#[test]
fn a_peer_that_does_not_refer_says_so_at_once_or_never_hears_of_it() {
    for status in ["405 Method Not Allowed", "501 Not Implemented", "603 Decline", "403 Forbidden"]
    {
        let mut bench = Bench::new();
        let (.., refer) = referring(&mut bench);
        bench.receive(&response(&refer, status, "far", None));
        assert_eq!(bench.take_events(), [LegEvent::ReferRefused], "{status}");
    }
    let mut bench = Bench::new();
    let leg = bench.call();
    let invite = bench.last("INVITE");
    let allow = "Allow: INVITE, ACK, BYE, CANCEL\r\n";
    bench.receive(&response_with(&invite, "200 OK", "peer", allow, Some(SDP)));
    bench.take_sent();
    bench.take_events();
    bench.ua.refer(bench.now, leg, &refer_wish());
    bench.drain();
    assert_eq!(bench.take_events(), [LegEvent::ReferRefused]);
    assert!(bench.take_sent().is_empty());
}

#[test]
fn a_peer_that_never_says_what_became_of_it_is_given_up() {
    let mut bench = Bench::new();
    let (_, _, refer) = referring(&mut bench);
    bench.receive(&response(&refer, "202 Accepted", "far", None));
    bench.take_events();
    bench.pass(secs(89));
    assert!(bench.take_events().is_empty());
    bench.pass(secs(2));
    assert_eq!(ended(&mut bench), (408, 10057));
}

#[test]
fn a_refer_that_nobody_answers_has_failed() {
    let mut bench = Bench::new();
    referring(&mut bench);
    bench.pass(secs(33));
    assert_eq!(ended(&mut bench), (408, 10057));
}

#[test]
fn a_peer_without_reports_has_done_it_when_it_accepts() {
    let mut bench = Bench::new();
    let (_, _, refer) = referring(&mut bench);
    bench.receive(&response_with(&refer, "202 Accepted", "far", "Refer-Sub: false\r\n", None));
    assert_eq!(bench.take_events(), [LegEvent::ReferAccepted, LegEvent::ReferEnded(Ok(()))]);
}

#[test]
fn a_trunk_that_asks_who_refers_is_told() {
    let mut bench = Bench::new();
    let (leg, _) = bench.established_call();
    bench.take_sent();
    bench.take_events();
    bench.ua.refer(bench.now, leg, &refer_wish());
    bench.drain();
    let refer = bench.only_sent();
    let challenge = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    let status = "407 Proxy Authentication Required";
    bench.receive(&response_with(&refer, status, "peer", challenge, None));
    let again = bench.last("REFER");
    assert!(header(&again, "Proxy-Authorization").contains("username=\"acc\""));
    let cseq = |text: &str| header(text, "CSeq").split(' ').next().unwrap().parse::<u32>().unwrap();
    assert_eq!(cseq(&again), cseq(&refer) + 1);
    bench.receive(&response_with(&again, status, "peer", challenge, None));
    assert_eq!(bench.take_events(), [LegEvent::ReferRefused]);
}

#[test]
fn the_dialog_to_be_replaced_goes_along() {
    let mut bench = Bench::new();
    let (leg, ..) = bench.established_incoming();
    bench.take_sent();
    let replaces = Some("x@y;to-tag=a;from-tag=b".to_owned());
    let wish = ReferWish { replaces, ..refer_wish() };
    bench.ua.refer(bench.now, leg, &wish);
    bench.drain();
    let expected = "<sip:+15550177@192.0.2.10?Replaces=x%40y%3Bto-tag%3Da%3Bfrom-tag%3Db>";
    assert_eq!(header(&bench.only_sent(), "Refer-To"), expected);
}

#[test]
fn a_notify_of_nothing_is_refused() {
    let mut bench = Bench::new();
    let (_, _, tag) = bench.established_incoming();
    bench.take_sent();
    bench.receive(&notify(2, &tag, "active", "SIP/2.0 100 Trying\r\n"));
    assert!(bench.only_sent().starts_with("SIP/2.0 481"));
    let other = notify(3, &tag, "active", "").replace("Event: refer", "Event: presence");
    bench.receive(&other);
    let refusal = bench.only_sent();
    assert!(refusal.starts_with("SIP/2.0 489"));
    assert_eq!(header(&refusal, "Allow-Events"), "refer");
}

fn refer(cseq: u32, tag: &str, to: &str) -> String {
    let refer = in_dialog("REFER", cseq, &format!("z9hG4bKf{cseq}"), "one", tag, None);
    with_headers(&refer, &format!("Refer-To: {to}\r\nReferred-By: <sip:far@192.0.2.10>\r\n"))
}

/// A call whose peer has referred us, and the INVITE that follows.
fn following(bench: &mut Bench) -> (LegId, String, String) {
    let (leg, _, tag) = bench.established_incoming();
    bench.take_sent();
    bench.outputs.clear();
    bench.receive(&refer(2, &tag, "<sip:+15550111@192.0.2.10>"));
    let sent = bench.take_sent();
    assert!(sent[0].starts_with("SIP/2.0 202"), "{sent:#?}");
    assert!(sent[1].ends_with("\r\n\r\nSIP/2.0 100 Trying\r\n"), "{}", sent[1]);
    assert_eq!(header(&sent[1], "Event"), "refer;id=2");
    bench.outputs.clear();
    bench.follow(leg);
    let invite = bench.only_sent();
    (leg, tag, invite)
}

#[test]
fn a_refer_is_declined_unless_it_is_allowed() {
    let mut bench = Bench::new();
    let (_, _, tag) = bench.established_incoming();
    assert!(!header(&bench.last("SIP/2.0 200"), "Allow").contains("REFER"));
    bench.take_sent();
    bench.take_events();
    bench.receive(&refer(2, &tag, "<sip:+19005550100@192.0.2.10>"));
    assert!(bench.only_sent().starts_with("SIP/2.0 603"));
    assert!(bench.outputs.is_empty());
}

#[test]
fn what_a_refer_asks_for_is_told_without_the_headers_it_smuggles() {
    for (to, target, replaces) in [
        ("<sip:+15550111@192.0.2.10>", "sip:+15550111@192.0.2.10", None),
        (
            "\"Bob\" <sip:bob@192.0.2.9:5090;transport=tcp?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2&\
             Subject=hello&Route=%3Csip:evil%3E>",
            "sip:bob@192.0.2.9:5090;transport=tcp",
            Some("a@b;to-tag=1;from-tag=2"),
        ),
        ("sip:bob@192.0.2.9", "sip:bob@192.0.2.9", None),
    ] {
        let mut bench = Bench::referable();
        let (_, _, tag) = bench.established_incoming();
        assert!(header(&bench.last("SIP/2.0 200"), "Allow").contains("REFER"));
        bench.outputs.clear();
        bench.receive(&refer(2, &tag, to));
        let [Output::Referred { referral, .. }] = &bench.outputs[..] else {
            panic!("{:?}", bench.outputs)
        };
        let expected = Referral {
            target: target.to_owned(),
            replaces: replaces.map(str::to_owned),
            referred_by: Some("<sip:far@192.0.2.10>".to_owned()),
        };
        assert_eq!(*referral, expected);
    }
}

#[test]
fn a_refer_that_is_no_call_to_one_sip_uri_is_refused() {
    for to in [
        "<tel:+15550111>",
        "<http://192.0.2.10/>",
        "<sip:bob@192.0.2.9;method=BYE>",
        "<sip:bob@192.0.2.9>\r\nRefer-To: <sip:eve@192.0.2.9>",
        "<sip:bob@192.0.2.9?Replaces=a%0D%0AX%3A>",
    ] {
        let mut bench = Bench::referable();
        let (_, _, tag) = bench.established_incoming();
        bench.take_sent();
        bench.outputs.clear();
        bench.receive(&refer(2, &tag, to));
        assert!(bench.only_sent().starts_with("SIP/2.0 400"), "{to}");
        assert!(bench.outputs.is_empty());
    }
}

#[test]
fn the_target_takes_the_place_of_who_referred_us() {
    let mut bench = Bench::referable();
    let (leg, tag, invite) = following(&mut bench);
    assert_eq!(start_line(&invite), "INVITE sip:+15550100@192.0.2.10 SIP/2.0");
    // The stream that runs goes on: its codec and no other.
    assert!(invite.contains("m=audio 20000 RTP/AVP 8 101\r\n"), "{invite}");
    bench.receive(&response(&invite, "180 Ringing", "new", None));
    assert!(bench.only_sent().ends_with("\r\n\r\nSIP/2.0 180 Ringing\r\n"));
    assert!(bench.take_events().is_empty());
    let there =
        SDP.replace("c=IN IP4 192.0.2.10", "c=IN IP4 192.0.2.77").replace("8 0 101", "8 101");
    bench.receive(&response(&invite, "200 OK", "new", Some(&there)));
    let sent = bench.take_sent();
    let lines: Vec<&str> = sent.iter().map(|text| text.split(' ').next().unwrap()).collect();
    assert_eq!(lines, ["ACK", "NOTIFY", "BYE"]);
    assert!(sent[1].ends_with("\r\n\r\nSIP/2.0 200 OK\r\n"));
    assert!(header(&sent[1], "Subscription-State").starts_with("terminated"));
    assert_eq!((header(&sent[1], "Call-ID"), header(&sent[2], "Call-ID")), ("one", "one"));
    assert!(matches!(
        bench.outputs[..],
        [Output::UpdateMedia { leg: moved, remote, sending: true, .. }]
            if moved == leg && remote.rtp == "192.0.2.77:40000".parse().unwrap()
    ));
    let kept = bench.dialogs.last().unwrap();
    assert!(kept.contains(header(&invite, "Call-ID")), "a crash ends the new dialog: {kept}");
    // The old dialog is over; keys and BYE of the new one are the leg's.
    bench.outputs.clear();
    bench.receive(&response(&sent[2], "200 OK", "far", None));
    assert!(bench.outputs.is_empty());
    bench.receive(&in_dialog("INFO", 9, "z9hG4bKo", "one", &tag, None));
    assert!(bench.only_sent().starts_with("SIP/2.0 481"));
    bench.receive(&peer_request(&invite, "BYE", 1, "z9hG4bKq").replace(";tag=peer", ";tag=new"));
    assert_eq!(bench.take_end().subcode, 560_000);
    bench.assert_forgotten();
}

#[test]
fn a_target_that_is_not_reached_is_reported_and_the_call_goes_on() {
    let mut bench = Bench::referable();
    let (leg, tag, invite) = following(&mut bench);
    bench.receive(&response(&invite, "486 Busy Here", "new", None));
    let notify = bench.last("NOTIFY");
    assert!(notify.ends_with("\r\n\r\nSIP/2.0 486 Busy Here\r\n"), "{notify}");
    assert!(bench.take_events().is_empty());
    // Again, as often as it likes.
    bench.receive(&refer(3, &tag, "<sip:+15550111@192.0.2.10>"));
    assert!(bench.last("SIP/2.0 202").contains("CSeq: 3 REFER"));
    bench.ua.report(bench.now, leg, 403);
    bench.drain();
    assert!(bench.last("NOTIFY").ends_with("\r\n\r\nSIP/2.0 403 Forbidden\r\n"));
    bench.receive(&in_dialog("BYE", 4, "z9hG4bKz", "one", &tag, None));
    assert_eq!(bench.take_end().subcode, 560_000);
    bench.assert_forgotten();
}

#[test]
fn who_refers_and_hangs_up_at_once_leaves_us_to_the_target() {
    for answers in [true, false] {
        let mut bench = Bench::referable();
        let (_, tag, invite) = following(&mut bench);
        bench.receive(&in_dialog("BYE", 3, "z9hG4bKz", "one", &tag, None));
        assert!(bench.only_sent().starts_with("SIP/2.0 200"));
        assert!(bench.take_events().is_empty(), "the call waits for the target");
        if answers {
            bench.receive(&response(&invite, "200 OK", "new", Some(SDP)));
            assert_eq!(bench.take_start_lines().len(), 1, "an ACK, and nothing to who has gone");
            let bye = peer_request(&invite, "BYE", 1, "z9hG4bKq");
            bench.receive(&bye.replace(";tag=peer", ";tag=new"));
        } else {
            bench.receive(&response(&invite, "486 Busy Here", "new", None));
        }
        assert_eq!(bench.take_end().subcode, 560_000);
        bench.assert_forgotten();
    }
}

#[test]
fn our_hang_up_ends_the_call_that_follows_too() {
    let mut bench = Bench::referable();
    let (leg, _, invite) = following(&mut bench);
    bench.receive(&response(&invite, "180 Ringing", "new", None));
    bench.take_sent();
    bench.ua.hang_up(bench.now, leg);
    bench.drain();
    let sent = bench.take_sent();
    assert!(sent[0].starts_with("CANCEL") && sent[1].starts_with("BYE"), "{sent:#?}");
    bench.receive(&response(&sent[1], "200 OK", "far", None));
    bench.receive(&response(&invite, "487 Request Terminated", "new", None));
    assert_eq!(bench.take_end().subcode, 7000);
    bench.assert_forgotten();
}

#[test]
fn a_target_that_rings_too_long_is_given_up() {
    let mut bench = Bench::referable();
    let (_, _, invite) = following(&mut bench);
    bench.receive(&response(&invite, "180 Ringing", "new", None));
    bench.pass(secs(61));
    bench.receive(&response(&invite, "487 Request Terminated", "new", None));
    assert!(bench.last("NOTIFY").ends_with("\r\n\r\nSIP/2.0 408 Request Timeout\r\n"));
    assert!(bench.take_events().is_empty());
}

#[test]
fn two_refers_at_a_time_are_one_too_many() {
    let mut bench = Bench::referable();
    let (_, tag, _) = following(&mut bench);
    bench.receive(&refer(3, &tag, "<sip:+15550112@192.0.2.10>"));
    assert!(bench.only_sent().starts_with("SIP/2.0 491"));
}
