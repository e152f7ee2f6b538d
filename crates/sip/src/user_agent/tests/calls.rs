//! Outgoing calls.

use graphophone_call::LegEvent;

use super::harness::*;
use crate::user_agent::{LinkId, Output, Transport};

#[test]
fn an_answered_call_is_acknowledged_and_its_media_started() {
    let mut bench = Bench::new();
    bench.call();
    let invite = bench.last("INVITE");
    assert!(start_line(&invite).starts_with("INVITE sip:+15550100@192.0.2.10 SIP/2.0"));
    assert!(invite.contains("m=audio 20000 RTP/AVP 0 8 101"));
    assert!(header(&invite, "From").starts_with("\"The \\\"Bot\\\"\" <sip:bot@192.0.2.1>;tag="));
    bench.receive(&response(&invite, "100 Trying", "peer", None));
    bench.receive(&response(&invite, "180 Ringing", "peer", None));
    bench.receive(&response(&invite, "183 Session Progress", "peer", None));
    bench.receive(&response(&invite, "200 OK", "peer", Some(SDP)));
    assert!(matches!(
        bench.outputs[..],
        [
            Output::Event { event: LegEvent::Ringing, .. },
            Output::StartMedia { .. },
            Output::Event { event: LegEvent::Answered, .. },
            Output::Event { event: LegEvent::Media { active: true }, .. },
        ]
    ));
    let ack = bench.last("ACK");
    assert_eq!(start_line(&ack), "ACK sip:peer@192.0.2.10:5070 SIP/2.0");
    assert_eq!(bench.destination("ACK").port(), 5070);
    assert_ne!(branch(&ack), branch(&invite));
    let number = |text: &str| header(text, "CSeq").split(' ').next().unwrap().to_owned();
    assert_eq!(number(&ack), number(&invite));
}

#[test]
fn a_lost_invite_is_repeated_until_timer_b() {
    let mut bench = Bench::new();
    bench.call();
    bench.pass(secs(31));
    // 0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5 s (RFC 3261 §17.1.1.2)
    assert_eq!(bench.take_sent().len(), 6);
    bench.pass(secs(2));
    let result = bench.take_end();
    assert_eq!((result.code, result.subcode), (408, 10057));
    bench.assert_forgotten();
}

#[test]
fn nothing_is_repeated_over_tcp() {
    let mut bench = Bench::with(10, Transport::Tcp);
    bench.call();
    bench.pass(secs(20));
    let invite = bench.only_sent();
    assert!(header(&invite, "Via").starts_with("SIP/2.0/TCP "));
    assert!(header(&invite, "Contact").contains(";transport=tcp"));
}

#[test]
fn a_repeated_200_gets_the_same_ack_again() {
    let mut bench = Bench::new();
    let (leg, invite) = bench.established_call();
    let first = bench.last("ACK");
    bench.take_sent();
    bench.receive(&response(&invite, "200 OK", "peer", Some(SDP)));
    assert_eq!(bench.only_sent(), first);
    bench.ua.hang_up(bench.now, leg);
    bench.drain();
    let bye = bench.only_sent();
    bench.receive(&response(&bye, "200 OK", "peer", None));
    bench.receive(&response(&invite, "200 OK", "peer", Some(SDP)));
    assert_eq!(bench.only_sent(), first, "also after the call is over");
    bench.assert_forgotten();
}

#[test]
fn the_second_branch_of_a_fork_is_acknowledged_and_hung_up() {
    let mut bench = Bench::new();
    let (_, invite) = bench.established_call();
    bench.take_sent();
    bench.receive(&response(&invite, "200 OK", "other", Some(SDP)));
    let sent = bench.take_sent();
    assert_eq!(sent.len(), 2, "{sent:#?}");
    assert!(sent[0].starts_with("ACK ") && to_tag(&sent[0]) == "other");
    assert!(sent[1].starts_with("BYE ") && to_tag(&sent[1]) == "other");
    bench.receive(&response(&sent[1], "200 OK", "other", None));
    bench.receive(&response(&invite, "200 OK", "other", Some(SDP)));
    assert_eq!(bench.only_sent(), sent[0], "a repetition gets its ACK and no second BYE");
    assert!(!bench.take_events().iter().any(|event| matches!(event, LegEvent::Ended(_))));
}

#[test]
fn final_responses_become_end_codes() {
    for (status, code, subcode) in
        [("486 Busy Here", 486, 8539), ("603 Decline", 603, 8538), ("404 Not Found", 404, 10134)]
    {
        let mut bench = Bench::new();
        bench.call();
        let invite = bench.last("INVITE");
        bench.receive(&response(&invite, status, "peer", None));
        let ack = bench.last("ACK");
        assert_eq!(branch(&ack), branch(&invite), "the ACK belongs to the transaction");
        let result = bench.take_end();
        assert_eq!((result.code, result.subcode), (code, subcode));
        bench.assert_forgotten();
    }
}

#[test]
fn a_redirection_is_not_followed() {
    let mut bench = Bench::new();
    bench.call();
    let invite = bench.last("INVITE");
    bench.take_sent();
    bench.receive(&response(&invite, "302 Moved Temporarily", "peer", None));
    assert_eq!(bench.take_start_lines(), ["ACK sip:+15550100@192.0.2.10 SIP/2.0"]);
    assert_eq!(bench.take_end().subcode, 10134);
}

const CHALLENGE: &str =
    "WWW-Authenticate: Digest realm=\"carrier\", nonce=\"n1\", qop=\"auth\"\r\n";
const PROXY_CHALLENGE: &str = "Proxy-Authenticate: Digest realm=\"carrier\", nonce=\"n2\", algorithm=SHA-256, qop=\"auth\"\r\n";

#[test]
fn each_protection_space_is_answered_once_and_both_stay() {
    let mut bench = Bench::new();
    bench.call();
    let first = bench.last("INVITE");
    bench.receive(&response_with(&first, "401 Unauthorized", "a", CHALLENGE, None));
    let second = bench.last("INVITE");
    assert!(header(&second, "Authorization").contains("username=\"acc\", realm=\"carrier\""));
    assert!(!second.contains("pw\""));
    assert_ne!(branch(&second), branch(&first));
    assert_eq!(header(&second, "Call-ID"), header(&first, "Call-ID"));
    assert_eq!(header(&second, "From"), header(&first, "From"));
    assert_ne!(header(&second, "CSeq"), header(&first, "CSeq"));
    bench.receive(&response_with(
        &second,
        "407 Proxy Authentication Required",
        "b",
        PROXY_CHALLENGE,
        None,
    ));
    let third = bench.last("INVITE");
    assert!(header(&third, "Proxy-Authorization").contains("algorithm=SHA-256"));
    assert_eq!(header(&third, "Authorization"), header(&second, "Authorization"));
    bench.take_sent();
    bench.receive(&response_with(&third, "401 Unauthorized", "c", CHALLENGE, None));
    assert_eq!(bench.take_start_lines().len(), 1, "only the ACK");
    assert_eq!(bench.take_end().code, 401);
    bench.assert_forgotten();
}

#[test]
fn refused_credentials_are_not_sent_again_unless_their_nonce_was_stale() {
    let fresh = CHALLENGE.replace("n1", "n2");
    let stale = fresh.replace("qop", "stale=true, qop");
    for (again, is_answered) in [(fresh, false), (stale, true)] {
        let mut bench = Bench::new();
        bench.call();
        let first = bench.last("INVITE");
        bench.receive(&response_with(&first, "401 Unauthorized", "a", CHALLENGE, None));
        let second = bench.last("INVITE");
        bench.take_sent();
        bench.receive(&response_with(&second, "401 Unauthorized", "b", &again, None));
        let sent = bench.take_sent();
        assert_eq!(sent.len(), if is_answered { 2 } else { 1 }, "{sent:#?}");
        if is_answered {
            assert!(header(&sent[1], "Authorization").contains("nonce=\"n2\""));
        } else {
            assert_eq!(bench.take_end().code, 401);
        }
    }
}

#[test]
fn a_server_that_challenges_for_ever_is_given_up() {
    let mut bench = Bench::new();
    bench.call();
    for round in 0..5 {
        let challenge =
            CHALLENGE.replace("n1", &format!("n{round}")).replace("qop", "stale=true, qop");
        let invite = bench.last("INVITE");
        bench.receive(&response_with(&invite, "401 Unauthorized", "a", &challenge, None));
    }
    assert_eq!(bench.take_end().code, 401);
    bench.assert_forgotten();
}

#[test]
fn the_ack_of_a_challenged_call_carries_its_credentials() {
    let mut bench = Bench::new();
    bench.call();
    let first = bench.last("INVITE");
    bench.receive(&response_with(&first, "401 Unauthorized", "a", CHALLENGE, None));
    let second = bench.last("INVITE");
    bench.receive(&response(&second, "200 OK", "peer", Some(SDP)));
    let ack = bench.last("ACK sip:peer");
    assert_eq!(header(&ack, "Authorization"), header(&second, "Authorization"));
}

#[test]
fn a_hang_up_while_ringing_sends_cancel_with_the_invites_branch() {
    let mut bench = Bench::new();
    let leg = bench.call();
    let invite = bench.last("INVITE");
    bench.receive(&response(&invite, "180 Ringing", "peer", None));
    bench.take_sent();
    bench.ua.hang_up(bench.now, leg);
    bench.drain();
    let cancel = bench.only_sent();
    assert_eq!(start_line(&cancel), "CANCEL sip:+15550100@192.0.2.10 SIP/2.0");
    assert_eq!(header(&cancel, "Via"), header(&invite, "Via"));
    let number = header(&invite, "CSeq").split(' ').next().unwrap();
    assert_eq!(header(&cancel, "CSeq"), format!("{number} CANCEL"));
    bench.receive(&response(&invite, "180 Ringing", "peer", None));
    assert!(bench.take_sent().is_empty(), "one CANCEL is enough");
    bench.receive(&response(&cancel, "200 OK", "peer", None));
    bench.take_events();
    bench.receive(&response(&invite, "487 Request Terminated", "peer", None));
    assert_eq!(bench.take_end().subcode, 7000);
    bench.assert_forgotten();
}

#[test]
fn a_cancel_waits_for_the_first_provisional_response() {
    let mut bench = Bench::new();
    let leg = bench.call();
    let invite = bench.last("INVITE");
    bench.take_sent();
    bench.ua.hang_up(bench.now, leg);
    bench.drain();
    assert!(bench.take_sent().is_empty());
    assert_eq!(bench.take_end().subcode, 7000, "nobody is there who could confirm");
    bench.receive(&response(&invite, "180 Ringing", "peer", None));
    assert!(bench.only_sent().starts_with("CANCEL "));
    bench.receive(&response(&invite, "487 Request Terminated", "peer", None));
    assert!(bench.take_events().is_empty());
    bench.assert_forgotten();
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acknowledged_and_hung_up() {
    let mut bench = Bench::new();
    let leg = bench.call();
    let invite = bench.last("INVITE");
    bench.receive(&response(&invite, "180 Ringing", "peer", None));
    bench.ua.hang_up(bench.now, leg);
    bench.drain();
    bench.take_sent();
    bench.take_events();
    bench.receive(&response(&invite, "200 OK", "peer", Some(SDP)));
    let sent = bench.take_sent();
    assert!(sent[0].starts_with("ACK ") && sent[1].starts_with("BYE "), "{sent:#?}");
    bench.receive(&response(&sent[1], "200 OK", "peer", None));
    assert!(
        matches!(&bench.take_events()[..], [LegEvent::Ended(result)] if result.subcode == 7000)
    );
    bench.assert_forgotten();
}

#[test]
fn a_cancelled_call_without_final_response_is_forgotten() {
    let mut bench = Bench::new();
    let leg = bench.call();
    let invite = bench.last("INVITE");
    bench.receive(&response(&invite, "180 Ringing", "peer", None));
    bench.ua.hang_up(bench.now, leg);
    bench.drain();
    bench.pass(secs(33));
    assert_eq!(bench.take_end().subcode, 7000);
    bench.assert_forgotten();
}

#[test]
fn ringing_is_given_up_after_the_ring_timeout() {
    let mut bench = Bench::new();
    bench.call();
    let invite = bench.last("INVITE");
    bench.receive(&response(&invite, "180 Ringing", "peer", None));
    bench.take_sent();
    bench.pass(secs(60));
    assert!(bench.take_sent()[0].starts_with("CANCEL "));
    bench.receive(&response(&invite, "487 Request Terminated", "peer", None));
    let result = bench.take_end();
    assert_eq!((result.code, result.subcode), (408, 10057));
}

#[test]
fn an_unusable_answer_ends_the_call_with_bye() {
    let video = SDP.replace("m=audio", "m=video");
    let foreign = SDP.replace("8 0 101", "3 101");
    for body in [None, Some("v=0\r\n"), Some(video.as_str()), Some(foreign.as_str())] {
        let mut bench = Bench::new();
        bench.call();
        let invite = bench.last("INVITE");
        bench.take_sent();
        bench.receive(&response(&invite, "200 OK", "peer", body));
        let sent = bench.take_sent();
        assert!(sent[0].starts_with("ACK ") && sent[1].starts_with("BYE "), "{sent:#?}");
        bench.receive(&response(&sent[1], "200 OK", "peer", None));
        assert_eq!(bench.take_end().subcode, 1005);
        bench.assert_forgotten();
    }
}

#[test]
fn a_lost_connection_ends_a_call_that_waits_for_an_answer() {
    let mut bench = Bench::with(10, Transport::Tcp);
    bench.call();
    bench.ua.connection_closed(bench.now, LinkId(9));
    bench.drain();
    assert!(bench.take_events().is_empty());
    bench.ua.connection_closed(bench.now, LinkId(1));
    bench.drain();
    assert_eq!(bench.take_end().code, 480);
    bench.assert_forgotten();
}

#[test]
fn requests_follow_the_record_route() {
    let mut bench = Bench::new();
    let leg = bench.call();
    let invite = bench.last("INVITE");
    let routes = "Record-Route: <sip:192.0.2.12;lr>, <sip:192.0.2.11;lr>\r\n";
    bench.receive(&response_with(&invite, "200 OK", "peer", routes, Some(SDP)));
    bench.ua.hang_up(bench.now, leg);
    bench.drain();
    for start in ["ACK", "BYE"] {
        let request = bench.last(start);
        assert!(start_line(&request).contains("sip:peer@192.0.2.10:5070"));
        let routes: Vec<_> = request.lines().filter(|line| line.starts_with("Route:")).collect();
        assert_eq!(routes, ["Route: <sip:192.0.2.11;lr>", "Route: <sip:192.0.2.12;lr>"]);
        assert_eq!(bench.destination(start), "192.0.2.11:5060".parse().unwrap());
    }
}

#[test]
fn a_contact_inside_a_nat_or_of_a_group_is_not_believed() {
    for contact in ["10.0.0.5:5070", "224.0.0.1", "255.255.255.255", "far.example.com", "[::1]"] {
        let mut bench = Bench::new();
        bench.call();
        let invite = bench.last("INVITE");
        let answer = response(&invite, "200 OK", "peer", Some(SDP));
        bench.receive(&answer.replace("192.0.2.10:5070", contact));
        assert_eq!(bench.destination("ACK"), bench.flow.remote, "{contact}");
    }
}
