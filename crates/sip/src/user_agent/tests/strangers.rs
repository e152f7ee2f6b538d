//! What somebody without a password gets: no, in as many bytes as were sent, at the address it was
//! sent from, and nothing is kept of it (P31, P34).

use super::harness::*;

const STRANGER: &str = "198.51.100.7:33333";

/// A server as it is installed: it listens, and knows nobody.
fn fresh() -> Bench {
    let mut bench = Bench::new();
    bench.ua.config.phones.clear();
    bench.ua.config.trunks.clear();
    bench.from(STRANGER);
    bench
}

/// One that has phones, and none of them here.
fn with_phones() -> Bench {
    let mut bench = Bench::new();
    bench.from(STRANGER);
    bench
}

/// What any phone or scanner says besides what it must.
const USUAL: &str = "User-Agent: friendly-scanner\r\nSupported: replaces, timer, path\r\n\
    Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH, MESSAGE\r\n\
    Accept: application/sdp, application/dtmf-relay\r\nExpires: 3600\r\n";

/// A method, a user, a host of the Request-URI.
fn ask(method: &str, user: &str, host: &str) -> String {
    let body = (method == "INVITE").then_some(SDP);
    let to = format!("<sip:{user}@{host}>");
    let extra = match method {
        "REFER" => "Refer-To: <sip:+19005550100@192.0.2.10>\r\n",
        "SUBSCRIBE" | "NOTIFY" => "Event: dialog\r\n",
        _ => "",
    };
    request(method, 1, "z9hG4bKs", "s", &to, body)
        .replace("sip:bot@192.0.2.1 SIP", &format!("sip:{user}@{host} SIP"))
        .replace("sip:+15550199@", &format!("sip:{user}@"))
        .replace("Max-Forwards", &format!("{extra}{USUAL}Max-Forwards"))
}

const METHODS: [&str; 11] = [
    "INVITE",
    "REGISTER",
    "REFER",
    "SUBSCRIBE",
    "MESSAGE",
    "NOTIFY",
    "PUBLISH",
    "INFO",
    "UPDATE",
    "BYE",
    "PRACK",
];
/// Whoever asks for these hears the same.
const USERS: [&str; 5] = ["alice", "nobody", "bot", "+19005550100", "4711"];
const HOSTS: [&str; 3] = ["192.0.2.1", "trunk.example.com", "[2001:db8::1]"];

/// A response without what is drawn anew each time, and without what the request said.
fn faceless(text: &str, user: &str) -> String {
    let mut text = text.replace(user, "USER");
    for mark in ["nonce=\"", ";tag="] {
        let mut at = 0;
        while let Some(found) = text[at..].find(mark) {
            let start = at + found + mark.len();
            let length = text[start..].find(['"', '\r', ';', '>']).unwrap_or(0);
            text.replace_range(start..start + length, "X");
            at = start;
        }
    }
    text
}

#[test]
fn every_request_of_a_stranger_is_refused_and_nothing_is_kept_of_it() {
    for (make, challenged) in [(fresh as fn() -> Bench, false), (with_phones, true)] {
        for method in METHODS {
            for host in HOSTS {
                let mut said = Vec::new();
                for user in USERS {
                    let mut bench = make();
                    let request = ask(method, user, host);
                    bench.receive(&request);
                    let to = bench.sent[0].0.remote;
                    let answer = bench.only_sent();
                    let status: u16 = answer[8..11].parse().unwrap();
                    let expected: &[u16] = match method {
                        "INVITE" | "REGISTER" if challenged => &[401],
                        "INVITE" | "REGISTER" => &[403],
                        _ => &[405, 481, 501],
                    };
                    assert!(expected.contains(&status), "{method} {user}@{host}: {answer}");
                    assert_eq!(to, STRANGER.parse().unwrap());
                    assert!(answer.len() <= request.len(), "{answer}\n{request}");
                    assert!(bench.outputs.is_empty());
                    assert_eq!(bench.ua.footprint(), 0);
                    said.push(faceless(&answer, user));
                }
                said.dedup();
                assert_eq!(said.len(), 1, "{method} {host}: {said:#?}");
            }
        }
    }
}

#[test]
fn a_request_too_short_for_its_answer_gets_less_or_none() {
    let shortest = |method: &str| {
        format!(
            "{method} sip:b SIP/2.0\r\nv:SIP/2.0/UDP 1;branch=z9hG4bK1;rport\r\nf:<sip:a>;tag=1\r\n\
             t:sip:b\r\ni:1\r\nm:<sip:a>\r\nCSeq:1 {method}\r\nMax-Forwards:1\r\nl:0\r\n\r\n"
        )
    };
    for method in METHODS.into_iter().chain(["OPTIONS"]) {
        let mut bench = with_phones();
        let request = shortest(method);
        // A terse phone must register all the same: a few answers a second for an address.
        for _ in 0..100 {
            bench.receive(&request);
        }
        let sent = bench.take_sent();
        let long = sent.iter().filter(|it| it.len() > request.len()).count();
        assert!(sent.len() >= 4 && long <= 4, "{method}: {long} of {}", sent.len());
        bench.receive(&request);
        let back: usize = bench.take_sent().iter().map(String::len).sum();
        assert!(back <= request.len(), "{method}: {back} for {}", request.len());
    }
    // Over TCP the source is who it says.
    let mut bench = Bench::with(10, crate::user_agent::Transport::Tcp);
    bench.from(STRANGER);
    bench.receive(&shortest("REGISTER").replace("UDP", "TCP"));
    assert!(bench.only_sent().starts_with("SIP/2.0 401"));
}

#[test]
fn answers_go_to_the_source_whatever_the_request_says() {
    for claim in [
        "SIP/2.0/UDP 203.0.113.9:9;received=203.0.113.10;rport=11",
        "SIP/2.0/UDP 203.0.113.9:9;maddr=203.0.113.10;rport",
        "SIP/2.0/UDP 239.1.1.1:9;maddr=239.1.1.1;ttl=16;rport",
        "SIP/2.0/UDP 203.0.113.9:9",
        "SIP/2.0/UDP 203.0.113.9",
    ] {
        for method in ["INVITE", "REGISTER", "OPTIONS", "BYE", "CANCEL"] {
            let mut bench = with_phones();
            let request = ask(method, "alice", "192.0.2.1")
                .replace("SIP/2.0/UDP 192.0.2.10:5060;rport", claim)
                .replace("Contact: <sip:peer@192.0.2.10:5070>", "Contact: <sip:p@203.0.113.12>");
            bench.receive(&request);
            assert_eq!(bench.sent.len(), 1, "{method}");
            assert_eq!(bench.sent[0].0.remote.ip().to_string(), "198.51.100.7", "{claim}");
        }
    }
}

#[test]
fn neither_a_redirect_nor_a_refer_makes_a_leg() {
    let mut bench = Bench::new();
    bench.call();
    let invite = bench.last("INVITE");
    bench.take_sent();
    let elsewhere = "Contact: <sip:+19005550100@192.0.2.10>\r\n";
    let moved = response(&invite, "302 Moved Temporarily", "peer", None)
        .replace("Contact: <sip:peer@192.0.2.10:5070>\r\n", elsewhere);
    bench.receive(&moved);
    assert_eq!(bench.take_start_lines().len(), 1, "the ACK alone");
    assert_eq!(bench.take_end().subcode, 10134);
    bench.assert_forgotten();

    let mut bench = Bench::new();
    let (_, invite) = bench.established_call();
    bench.take_sent();
    let refer = peer_request(&invite, "REFER", 1, "z9hG4bKr")
        .replace("Max-Forwards", "Refer-To: <sip:+19005550100@192.0.2.10>\r\nMax-Forwards");
    bench.receive(&refer);
    assert!(bench.only_sent().starts_with("SIP/2.0 603"));

    let mut bench = Bench::new();
    let (_, first, tag) = bench.established_incoming();
    bench.take_sent();
    let replaces = format!("Replaces: one;to-tag={tag};from-tag=far\r\nRequire: replaces\r\n");
    let hijack = first.replace("z9hG4bKa", "z9hG4bKh").replace("Call-ID: one", "Call-ID: two");
    bench.from("198.51.100.9:5060");
    bench.receive(&with_headers(&hijack, &replaces));
    assert!(bench.only_sent().starts_with("SIP/2.0 401"), "only who is in the call may hand it on");
}

#[test]
fn only_the_realm_of_the_trunk_is_answered() {
    for (realm, is_answered) in [(None, true), (Some("carrier"), true), (Some("other"), false)] {
        let mut bench = Bench::new();
        bench.realm = realm.map(str::to_owned);
        bench.call();
        let invite = bench.last("INVITE");
        bench.take_sent();
        let challenge = "WWW-Authenticate: Digest realm=\"carrier\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"\r\n";
        bench.receive(&response_with(&invite, "401 Unauthorized", "a", challenge, None));
        assert_eq!(bench.take_sent().len(), if is_answered { 2 } else { 1 }, "{realm:?}");
    }
}
