//! What a crash leaves behind, ended by the next process: another user agent at the same address.

use super::harness::{Bench, SDP, branch, header, response, secs, start_line, to_tag};
use crate::{invited, user_agent::Kept};

/// The last thing the owner was told to keep.
fn kept(bench: &Bench) -> String {
    bench.dialogs.last().expect("something is to be kept").clone()
}

fn release(kept: &str) -> Bench {
    let mut next = Bench::new();
    let flow = next.flow;
    next.ua.release(next.now, Kept::parse(kept).unwrap(), Some(flow));
    next.drain();
    next
}

#[test]
fn a_call_that_was_answered_is_ended_with_bye_by_the_next_process() {
    let mut bench = Bench::new();
    let (leg, invite) = bench.established_call();
    let kept = kept(&bench);
    bench.take_sent();
    bench.ua.hang_up(bench.now, leg);
    bench.drain();
    let expected = bench.only_sent();

    let mut next = release(&kept);
    let bye = next.only_sent();
    for name in ["From", "To", "Call-ID", "CSeq"] {
        assert_eq!(header(&bye, name), header(&expected, name));
    }
    assert_eq!(start_line(&bye), start_line(&expected));
    assert_eq!(header(&bye, "Call-ID"), header(&invite, "Call-ID"));
    next.receive(&response(&bye, "200 OK", "peer", None));
    assert!(next.take_events().is_empty(), "nobody is there to be told");
    next.assert_forgotten();
}

#[test]
fn a_call_that_came_in_is_ended_with_bye_even_before_its_answer_was_kept() {
    let mut bench = Bench::new();
    let (_, invite, tag) = bench.established_incoming();
    let bye = release(&kept(&bench)).only_sent();
    assert_eq!(start_line(&bye), "BYE sip:peer@192.0.2.10:5070 SIP/2.0");
    assert_eq!(header(&bye, "To"), header(&invite, "From"));
    assert!(header(&bye, "From").ends_with(&format!(";tag={tag}")));
}

#[test]
fn a_trunk_that_asks_who_hangs_up_is_told() {
    let mut bench = Bench::new();
    bench.established_call();
    let mut kept = kept(&bench);
    // Its Contact is where the trunk is configured.
    kept = kept.replace(":5070", "");
    let mut next = release(&kept);
    let bye = next.only_sent();
    let challenge = "407 Proxy Authentication Required";
    let asks = response(&bye, challenge, "peer", None).replace(
        "Contact:",
        "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=MD5\r\nContact:",
    );
    next.receive(&asks);
    let again = next.last("BYE");
    assert!(header(&again, "Proxy-Authorization").contains("username=\"acc\""), "{again}");
    assert_ne!(branch(&again), branch(&bye));
}

#[test]
fn who_picks_up_after_the_crash_is_acknowledged_and_released() {
    let mut bench = Bench::new();
    bench.call();
    let invite = bench.last("INVITE");
    let call_id = header(&invite, "Call-ID").to_owned();
    let mut next = release(&invited(&call_id));
    assert!(next.take_sent().is_empty());
    next.receive(&response(&invite, "180 Ringing", "peer", None));
    assert!(next.take_sent().is_empty());
    let answer = response(&invite, "200 OK", "peer", Some(SDP));
    next.receive(&answer);
    let sent = next.take_sent();
    assert_eq!(sent.len(), 2, "{sent:#?}");
    assert_eq!(start_line(&sent[0]), "ACK sip:peer@192.0.2.10:5070 SIP/2.0");
    assert_eq!(start_line(&sent[1]), "BYE sip:peer@192.0.2.10:5070 SIP/2.0");
    for message in &sent {
        assert_eq!(header(message, "Call-ID"), call_id);
        assert_eq!(to_tag(message), "peer");
        assert_eq!(header(message, "From"), header(&invite, "From"));
    }
    // A repetition of the answer gets its ACK again and nothing else.
    next.receive(&answer);
    assert_eq!(next.take_sent(), sent[..1]);
    next.receive(&response(&sent[1], "200 OK", "peer", None));
    next.pass(secs(40));
    next.take_sent();
}

#[test]
fn an_answer_to_nobodys_invite_is_dropped() {
    let mut bench = Bench::new();
    bench.call();
    let invite = bench.last("INVITE");
    let mut next = release(&invited("another"));
    next.receive(&response(&invite, "200 OK", "peer", Some(SDP)));
    assert!(next.take_sent().is_empty());
}

#[test]
fn an_answer_is_acknowledged_when_its_dialog_is_kept() {
    let mut bench = Bench::new();
    let leg = bench.call_holding(true);
    let invite = bench.last("INVITE");
    let answer = response(&invite, "200 OK", "peer", Some(SDP));
    bench.take_sent();
    bench.receive(&answer);
    bench.receive(&answer);
    assert!(bench.take_sent().is_empty());
    let kept = kept(&bench);
    bench.ua.kept(leg);
    bench.drain();
    assert!(bench.only_sent().starts_with("ACK"));
    bench.receive(&answer);
    assert!(bench.only_sent().starts_with("ACK"));

    // After a crash before that, the answer comes again; after it, the dialog is known.
    let mut next = release(&invited(header(&invite, "Call-ID")));
    next.receive(&answer);
    assert_eq!(next.take_sent().len(), 2);
    assert!(release(&kept).only_sent().starts_with("BYE"));
}

#[test]
fn an_owner_that_is_slow_to_keep_a_dialog_does_not_keep_the_peer_waiting() {
    let mut bench = Bench::new();
    bench.call_holding(true);
    let invite = bench.last("INVITE");
    bench.take_sent();
    bench.receive(&response(&invite, "200 OK", "peer", Some(SDP)));
    bench.pass(std::time::Duration::from_millis(399));
    assert!(bench.take_sent().is_empty());
    bench.pass(std::time::Duration::from_millis(1));
    assert!(bench.only_sent().starts_with("ACK"));
}

#[test]
fn an_answer_that_is_given_up_is_acknowledged_first() {
    let mut bench = Bench::new();
    let leg = bench.call_holding(true);
    let invite = bench.last("INVITE");
    bench.take_sent();
    bench.receive(&response(&invite, "200 OK", "peer", Some(SDP)));
    bench.ua.hang_up(bench.now, leg);
    bench.drain();
    let sent = bench.take_start_lines();
    assert!(sent[0].starts_with("ACK") && sent[1].starts_with("BYE"), "{sent:?}");
}
