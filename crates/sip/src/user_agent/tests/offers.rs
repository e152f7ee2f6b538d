//! Offers and answers inside running calls, and where their media goes.

use graphophone_call::LegEvent;

use super::harness::*;
use crate::user_agent::{Output, Transport};

#[test]
fn a_reinvite_without_offer_is_offered_what_the_stream_runs_with() {
    let mut bench = Bench::new();
    let offer = SDP.replace("8 0 101", "8 0 96").replace("101 tele", "96 tele");
    bench.receive(&invite("one", "z9hG4bKa", Some(&format!("{offer}a=rtcp-mux\r\n"))));
    let leg = bench.incoming_leg();
    bench.ua.answer(bench.now, leg, local());
    bench.drain();
    let tag = to_tag(&bench.last("SIP/2.0 200"));
    bench.receive(&in_dialog("ACK", 1, "z9hG4bKb", "one", &tag, None));
    bench.receive(&in_dialog("INVITE", 2, "z9hG4bKc", "one", &tag, None));
    let ok = bench.last("SIP/2.0 200");
    assert!(ok.contains("m=audio 20000 RTP/AVP 8 96\r\n"), "{ok}");
    assert!(ok.contains("a=rtcp-mux\r\n") && !ok.contains("a=rtcp:"), "{ok}");
    bench.outputs.clear();
    let moved = offer.replace("40000", "40100").replace("8 0 96", "8 96") + "a=rtcp-mux\r\n";
    bench.receive(&in_dialog("ACK", 2, "z9hG4bKd", "one", &tag, Some(&moved)));
    let Some(Output::UpdateMedia { remote, .. }) = bench.outputs.first() else {
        panic!("{:?}", bench.outputs)
    };
    assert_eq!((remote.rtp.port(), remote.rtcp), (40_100, None));
}

#[test]
fn an_unusable_answer_to_a_reinvite_leaves_the_call_as_it_was() {
    let other_codec = SDP.replace("8 0 101", "0 101");
    for answer in [None, Some("v=0\r\n"), Some(other_codec.as_str())] {
        let mut bench = Bench::new();
        let (leg, _, tag) = bench.established_incoming();
        bench.receive(&in_dialog("INVITE", 2, "z9hG4bKc", "one", &tag, None));
        bench.take_sent();
        bench.outputs.clear();
        bench.receive(&in_dialog("ACK", 2, "z9hG4bKd", "one", &tag, answer));
        assert!(bench.sent.is_empty() && bench.outputs.is_empty(), "{answer:?}");
        bench.ua.hang_up(bench.now, leg);
        bench.drain();
        assert!(bench.only_sent().starts_with("BYE "));
    }
}

#[test]
fn a_reinvite_that_renumbers_a_running_stream_is_refused() {
    let mut bench = Bench::new();
    let (_, _, tag) = bench.established_incoming();
    let event = SDP.replace("8 0 101", "8 0 96").replace("101 tele", "96 tele");
    let codec = SDP.replace("8 0 101", "97 101") + "a=rtpmap:97 PCMA/8000\r\n";
    for (cseq, offer) in (2..).zip([event, codec]) {
        bench.take_sent();
        let branch = format!("z9hG4bKr{cseq}");
        bench.receive(&in_dialog("INVITE", cseq, &branch, "one", &tag, Some(&offer)));
        let refusal = bench.only_sent();
        assert!(refusal.starts_with("SIP/2.0 488"), "{refusal}");
        assert!(header(&refusal, "Warning").contains("renumbers"));
    }
    let without = SDP.replace("8 0 101", "8 0");
    for (cseq, offer) in (4..).zip([without.as_str(), SDP]) {
        bench.take_sent();
        let branch = format!("z9hG4bKr{cseq}");
        bench.receive(&in_dialog("INVITE", cseq, &branch, "one", &tag, Some(offer)));
        let ok = bench.only_sent();
        assert_eq!(ok.contains("telephone-event"), offer == SDP, "{ok}");
        let branch = format!("z9hG4bKk{cseq}");
        bench.receive(&in_dialog("ACK", cseq, &branch, "one", &tag, None));
    }
    assert!(!bench.take_events().iter().any(|event| matches!(event, LegEvent::Ended(_))));
}

#[test]
fn media_of_a_phone_behind_a_nat_goes_to_its_outside() {
    let inside = SDP.replace("c=IN IP4 192.0.2.10", "c=IN IP4 10.0.0.5");
    let hold = SDP.replace("c=IN IP4 192.0.2.10", "c=IN IP4 0.0.0.0");
    for (offer, source, remote) in [
        (inside.as_str(), "192.0.2.10:5060", "192.0.2.10:40000"),
        (&inside, "10.0.0.9:5060", "10.0.0.5:40000"),
        (SDP, "192.0.2.10:5060", "192.0.2.10:40000"),
        (&hold, "192.0.2.10:5060", "0.0.0.0:40000"),
    ] {
        let mut bench = Bench::with_peers(10, Transport::Udp, ("0.0.0.0", 0));
        bench.from(source);
        bench.receive(&invite("one", "z9hG4bKa", Some(offer)));
        let leg = bench.incoming_leg();
        bench.ua.answer(bench.now, leg, local());
        bench.drain();
        let Some(Output::StartMedia { agreed, .. }) = bench.outputs.last() else {
            panic!("{:?}", bench.outputs)
        };
        assert_eq!(agreed.remote.rtp, remote.parse().unwrap(), "{offer} from {source}");
        assert_eq!(agreed.remote.rtcp.map(|rtcp| rtcp.port()), Some(40_001));
    }
}

#[test]
fn the_answer_of_a_phone_behind_a_nat_is_read_likewise() {
    let mut bench = Bench::new();
    bench.call();
    let invite = bench.last("INVITE");
    let inside = SDP.replace("c=IN IP4 192.0.2.10", "c=IN IP4 192.168.1.5");
    bench.receive(&response(&invite, "200 OK", "peer", Some(&inside)));
    let Some(Output::StartMedia { agreed, .. }) = bench.outputs.first() else {
        panic!("{:?}", bench.outputs)
    };
    assert_eq!(agreed.remote.rtp, "192.0.2.10:40000".parse().unwrap());
}
