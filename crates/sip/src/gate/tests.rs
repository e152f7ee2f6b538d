//! What passes the gate, what is refused, what is dropped, and that framing and parsing agree.

use std::time::Instant;

use proptest::prelude::*;

use super::*;

const OPTIONS: &str = "OPTIONS sip:bot@example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
    From: <sip:a@example.com>;tag=1\r\nTo: <sip:bot@example.com>\r\nCall-ID: c1\r\n\
    CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

const INVITE: &str = "INVITE sip:bot@example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
    From: <sip:a@example.com>;tag=1\r\nTo: <sip:bot@example.com>\r\nCall-ID: c1\r\n\
    CSeq: 1 INVITE\r\nContact: <sip:a@192.0.2.1>\r\nContent-Length: 0\r\n\r\n";

/// `pass`, `drop`, or the status of the refusal.
fn verdict(bytes: impl AsRef<[u8]>) -> String {
    match datagram(Bytes::copy_from_slice(bytes.as_ref())) {
        Verdict::Pass(_) => "pass".to_owned(),
        Verdict::Drop => "drop".to_owned(),
        Verdict::Refuse(response) => {
            let text = String::from_utf8(response.to_vec()).unwrap();
            text.split(' ').nth(1).unwrap().to_owned()
        }
    }
}

#[test]
fn sound_messages_pass() {
    for text in [
        OPTIONS.to_owned(),
        INVITE.to_owned(),
        OPTIONS.replace("Max-Forwards: 70\r\n", ""),
        OPTIONS
            .replace("From: <sip:a@example.com>;tag=1", "f:\r\n \"\u{e4} \\\" x\"\r\n\t<sip:a@b>"),
        OPTIONS.replace("Via: ", "v: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK2, "),
        OPTIONS.replace("OPTIONS", "!interesting-Method0123456789_*+`.%indeed'~"),
        "SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
         To: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n"
            .to_owned(),
    ] {
        assert_eq!(verdict(&text), "pass", "{text}");
    }
}

#[test]
fn unsound_requests_are_refused() {
    let long = format!("Subject: {}\r\nTo", "x".repeat(9_000));
    let many = format!("{}To", "X: y\r\n".repeat(200));
    let vias = format!("{}Via", "Via: SIP/2.0/UDP h;branch=z9hG4bK3\r\n".repeat(40));
    let folds = format!("Subject: x{}\r\nTo", "\r\n y".repeat(40));
    let rows = [
        ("CSeq: 1 OPTIONS", "CSeq: 1 INVITE", "400"),
        ("CSeq: 1 OPTIONS", "CSeq: 99999999999 OPTIONS", "400"),
        ("CSeq: 1 OPTIONS\r\n", "", "400"),
        ("Call-ID: c1\r\n", "", "400"),
        ("Call-ID: c1", "Call-ID: c1\r\nCall-ID: c2", "400"),
        ("Max-Forwards: 70", "Max-Forwards: 300", "400"),
        ("To: <sip:bot", "To: \"unended <sip:bot", "400"),
        ("Content-Length: 0", "Content-Length: 0\r\nl: 0", "400"),
        ("Content-Length: 0", "Content-Length: 10", "400"),
        ("Content-Length: 0", "Content-Length: +0", "400"),
        ("Content-Length: 0", "Content-Length: 18446744073709551621", "400"),
        ("Content-Length: 0", "Content-Length: 2147483647", "413"),
        ("To: ", "To\u{a0}: ", "400"),
        ("To: ", "T\u{b}o: ", "400"),
        ("Call-ID: c1", "Call-ID: c1\u{1b}[2J", "400"),
        ("branch=z9hG4bK1", "branch=z9hG4bK", "400"),
        ("Via: SIP/2.0/UDP 192.0.2.1", "Via: SIP/2.0/UDP 192.0.2.1;;,;,,", "400"),
        ("sip:bot@example.com SIP", "<sip:bot@example.com> SIP", "400"),
        ("sip:bot@example.com SIP", "sip:bot@example.com?Route=x SIP", "400"),
        ("sip:bot@example.com SIP", "sip:bot@[::1 SIP", "400"),
        ("SIP/2.0\r\nVia", "SIP/7.0\r\nVia", "505"),
        ("To", &long, "513"),
        ("To", &many, "513"),
        ("Via", &vias, "513"),
        ("To", &folds, "513"),
    ];
    for (from, to, status) in rows {
        let text = OPTIONS.replacen(from, to, 1);
        assert_eq!(verdict(&text), status, "{from:?} → {:.80?}", to);
    }
    for contact in ["", "Contact: *\r\n", "Contact: <tel:+1>\r\n", "Contact: <sip:>;x\r\n"] {
        let text = INVITE.replace("Contact: <sip:a@192.0.2.1>\r\n", contact);
        assert_eq!(verdict(&text), "400", "{contact}");
    }
    let utf8 = [&OPTIONS.as_bytes()[..OPTIONS.len() - 4], b"\r\nX: \xFF\xFE\r\n\r\n"].concat();
    assert_eq!(verdict(utf8), "400");
}

#[test]
fn as_much_as_the_limits_say_passes_and_no_more() {
    use crate::limits::{FOLDED_LINES, HEADER, HEADERS, MESSAGE, PARAMETERS, VIAS};
    let insert = |more: String| OPTIONS.replacen("To: ", &format!("{more}To: "), 1);
    // The sample has seven header fields and one Via.
    let headers = |count: usize| insert("X: y\r\n".repeat(count - 7));
    let vias = |count: usize| insert("Via: SIP/2.0/UDP h;branch=z9hG4bK3\r\n".repeat(count - 1));
    let header = |length: usize| insert(format!("Subject: {}\r\n", "x".repeat(length - 9)));
    let folded = |lines: usize| insert(format!("Subject: x{}\r\n", "\r\n y".repeat(lines)));
    let message = |length: usize| {
        let digits = (length - OPTIONS.len()).to_string();
        let body = length - (OPTIONS.len() + digits.len() - 1);
        let head = OPTIONS.replace("Content-Length: 0", &format!("Content-Length: {body}"));
        head + &"x".repeat(body)
    };
    let parameters = |count: usize| (0..count).map(|k| format!(";p{k}")).collect::<String>();
    let uri = |count| {
        OPTIONS.replacen("example.com SIP", &format!("example.com{} SIP", parameters(count)), 1)
    };
    let field = |count| {
        OPTIONS.replacen(
            "To: <sip:bot@example.com",
            &format!("To: <sip:bot@example.com{}", parameters(count)),
            1,
        )
    };
    type Generator<'a> = &'a dyn Fn(usize) -> String;
    let rows: [(&str, usize, Generator<'_>, &str); 7] = [
        ("parameters of the Request-URI", PARAMETERS, &uri, "513"),
        ("parameters of a field", PARAMETERS, &field, "513"),
        ("headers", HEADERS, &headers, "513"),
        ("vias", VIAS, &vias, "513"),
        ("header", HEADER, &header, "513"),
        ("folded lines", FOLDED_LINES, &folded, "513"),
        ("message", MESSAGE, &message, "513"),
    ];
    for (what, limit, generator, status) in rows {
        assert_eq!(verdict(generator(limit)), "pass", "{limit} of {what}");
        assert_eq!(verdict(generator(limit + 1)), status, "{} of {what}", limit + 1);
    }
}

#[test]
fn what_must_not_be_answered_is_dropped() {
    for text in [
        "",
        "\r\n\r\n",
        "nonsense",
        "GET / HTTP/1.1\r\nHost: x\r\nVia: 1.1 x\r\n\r\n",
        &OPTIONS.replace("OPTIONS", "ACK").replace("CSeq: 1", "CSeq: x"),
        &OPTIONS.replace("OPTIONS sip:bot@example.com SIP/2.0", "SIP/2.0 4294967301 better"),
        &OPTIONS
            .replace("OPTIONS sip:bot@example.com SIP/2.0", "SIP/2.0 200 OK")
            .replace("1 O", "x O"),
        "OPTIONS sip:x SIP/2.0\r\nCSeq: x\r\n\r\n",
    ] {
        assert_eq!(verdict(text), "drop", "{text}");
    }
}

#[test]
fn a_refusal_copies_what_a_response_must() {
    let broken = OPTIONS.replace("Max-Forwards: 70", "Max-Forwards: x");
    let Verdict::Refuse(response) = datagram(broken.clone().into()) else { panic!("{broken}") };
    assert_eq!(
        std::str::from_utf8(&response).unwrap(),
        "SIP/2.0 400 Bad Request\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
         From: <sip:a@example.com>;tag=1\r\nTo: <sip:bot@example.com>\r\nCall-ID: c1\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn a_stream_is_framed_by_the_length_however_it_is_written() {
    let inner = OPTIONS.replace("c1", "hidden");
    for name in ["Content-Length", "Content-Length ", "l", "L\t", "content-LENGTH"] {
        let outer = OPTIONS.replace("Content-Length: 0", &format!("{name}: {}", inner.len()));
        let mut gate = StreamGate::new();
        let read = gate.push(format!("{outer}{inner}{OPTIONS}").as_bytes());
        let passed = read.verdicts.iter().filter(|v| matches!(v, Verdict::Pass(_))).count();
        assert_eq!((passed, read.close), (2, false), "{name}");
        assert!(!gate.is_inside_message());
    }
}

#[test]
fn a_stream_without_a_length_is_closed() {
    let mut gate = StreamGate::new();
    let read = gate.push(OPTIONS.replace("Content-Length: 0\r\n", "").as_bytes());
    assert!(read.close && matches!(read.verdicts[..], [Verdict::Refuse(_)]));
}

#[test]
fn a_faulty_request_on_a_stream_is_refused_and_the_next_one_passes() {
    let mut gate = StreamGate::new();
    let faulty = OPTIONS.replace("CSeq: 1 O", "CSeq: 1 P");
    let read = gate.push(format!("{faulty}{OPTIONS}").as_bytes());
    assert!(!read.close);
    assert!(matches!(read.verdicts[..], [Verdict::Refuse(_), Verdict::Pass(_)]));
    assert!(!gate.is_inside_message());
}

/// Found by the fuzz target `sip_framing_diff`: the fault took the messages before it along, and
/// the first of them got the 400.
#[test]
fn messages_before_a_fault_pass_though_they_were_read_together_with_it() {
    let broken = OPTIONS.replace("Call-ID: c1", "Call-ID: broken\r\nCall-ID").replace("To:", "To");
    for sound in [OPTIONS.to_owned(), OPTIONS.replace("Length: 0\r\n\r\n", "Length: 4\r\n\r\nbody")]
    {
        let mut gate = StreamGate::new();
        let read = gate.push(format!("{sound}{sound}{broken}{sound}").as_bytes());
        let [Verdict::Pass(_), Verdict::Pass(_), Verdict::Refuse(response)] = &read.verdicts[..]
        else {
            panic!("{read:?}")
        };
        assert!(read.close);
        assert!(String::from_utf8_lossy(response).contains("Call-ID: broken\r\n"));
    }
}

#[test]
fn a_message_on_a_stream_is_no_longer_than_a_datagram() {
    let body = LIMITS.max_message_bytes - OPTIONS.len();
    let text = OPTIONS.replace("Length: 0", &format!("Length: {body}")) + &"x".repeat(body);
    let mut gate = StreamGate::new();
    let read = gate.push(text.as_bytes());
    assert!(read.close && matches!(read.verdicts[..], [Verdict::Refuse(_)]), "{read:?}");
    assert_eq!(verdict(&text), "513");
}

#[test]
fn a_body_that_does_not_come_is_a_message_that_has_begun() {
    let mut gate = StreamGate::new();
    let read = gate.push(format!("{OPTIONS}{}", OPTIONS.replace("h: 0", "h: 9")).as_bytes());
    assert!(!read.close && matches!(read.verdicts[..], [Verdict::Pass(_)]));
    assert!(gate.is_inside_message());
}

#[test]
fn a_length_given_twice_on_a_stream_ends_it() {
    let mut gate = StreamGate::new();
    let twice = OPTIONS.replace("Content-Length: 0", "Content-Length: 0\r\nl: 0");
    let read = gate.push(twice.as_bytes());
    assert!(read.close && matches!(read.verdicts[..], [Verdict::Refuse(_)]));
}

#[test]
fn keep_alives_are_answered_and_a_flood_of_them_ends_the_stream() {
    let mut gate = StreamGate::new();
    assert!(gate.push(b"\r\n\r\n").pong);
    assert!(!gate.push(b"\r\n").pong, "that is a pong of theirs");
    assert!(!gate.is_inside_message());
    let read = gate.push(&b"\r\n".repeat(2_000));
    assert!(read.close);
}

#[test]
fn a_header_section_that_never_ends_is_cut_off() {
    let mut gate = StreamGate::new();
    let mut pushed = 0;
    while !gate.push(b"X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n").close {
        assert!(gate.is_inside_message());
        pushed += 1;
        assert!(pushed < 2_000, "64 KiB are enough");
    }
}

#[test]
fn twice_the_input_takes_at_most_about_twice_the_time() {
    let generators: [fn(usize) -> String; 6] = [
        |n| format!("{}\r\n\r\n", "X: y\r\n".repeat(n * 10)),
        |n| format!("Subject: x{}\r\n\r\n", "\r\n y".repeat(n * 10)),
        |n| format!("Via: {}\r\n\r\n", ",".repeat(n * 40)),
        |n| format!("Contact: {}\r\n\r\n", "<sip:a@b>,".repeat(n * 4)),
        |n| format!("To: \"{}\" <sip:a@b>\r\n\r\n", "\\\"".repeat(n * 20)),
        |n| format!("Via: {}\r\n\r\n", "SIP/2.0/UDP h;x=\"<((\",".repeat(n * 2)),
    ];
    for (index, generator) in generators.into_iter().enumerate() {
        let time = |size: usize| {
            let text = format!("OPTIONS sip:a@b SIP/2.0\r\n{}", generator(size));
            let begun = Instant::now();
            let _ = datagram(Bytes::from(text));
            begun.elapsed()
        };
        // Eight times the input; quadratic code would need 64 times the time, always. Linear code
        // is slow, too, when the machine has other work: one quiet moment is enough.
        let is_linear = |_| time(1_200) < time(150) * 24 + std::time::Duration::from_millis(3);
        assert!((0..100).any(is_linear), "generator {index}");
    }
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<usize>(), any::<u8>());
    let mutated = proptest::collection::vec(change, 0..8).prop_map(|changes| {
        let mut bytes = format!("{INVITE}{OPTIONS}").into_bytes();
        for (at, byte) in changes {
            let at = at % bytes.len();
            match byte % 3 {
                0 => drop(bytes.remove(at)),
                1 => bytes.insert(at, byte),
                _ => bytes[at] = byte,
            }
        }
        bytes
    });
    prop_oneof![proptest::collection::vec(any::<u8>(), 0..500), mutated]
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_no_refusal_is_longer_than_they(bytes in any_bytes()) {
        if let Verdict::Refuse(response) = datagram(Bytes::copy_from_slice(&bytes)) {
            prop_assert!(response.len() <= bytes.len());
            prop_assert!(response.ends_with(b"\r\n\r\n"));
        }
    }

    #[test]
    fn a_stream_means_the_same_in_any_pieces(
        bytes in any_bytes(),
        cuts in proptest::collection::vec(any::<usize>(), 0..5),
    ) {
        let messages = |pieces: &[&[u8]]| {
            let mut gate = StreamGate::new();
            let mut passed = Vec::new();
            for piece in pieces {
                let read = gate.push(piece);
                passed.extend(read.verdicts.into_iter().filter_map(|verdict| match verdict {
                    Verdict::Pass(message) => Some(message.to_bytes()),
                    Verdict::Refuse(_) | Verdict::Drop => None,
                }));
                if read.close {
                    break;
                }
            }
            passed
        };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&bytes[from..cut]);
            from = cut;
        }
        pieces.push(&bytes[from..]);
        let (cut, whole) = (messages(&pieces), messages(&[&bytes]));
        // A refused message ends the stream, so what follows it in the same piece may differ.
        prop_assert!(whole.starts_with(&cut) || cut.starts_with(&whole));
    }
}
