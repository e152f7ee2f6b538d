//! Framing and parser agree (P17): a stream says the same however it is cut into reads, and each
//! message that the framing cuts out of it is, as a datagram, that message and nothing else.

use graphophone_sip::fuzzing::{Judged, Stream, datagram};

use super::Numbers;

pub(crate) fn run(data: &[u8]) {
    let pieces = octet_by_octet(data);
    let mut numbers = Numbers::of(data);
    let chunked = in_chunks(data, &mut numbers);

    // Up to the first refusal: what follows one in the same read may differ.
    let sound = |judged: &Judged| matches!(judged, Judged::Pass { .. });
    let octets: Vec<_> =
        pieces.iter().map(|(_, judged)| judged).take_while(|judged| sound(judged)).collect();
    let chunks: Vec<_> = chunked.iter().take_while(|judged| sound(judged)).collect();
    assert!(octets == chunks, "the messages depend on how they were read");

    for (piece, judged) in &pieces {
        let Judged::Pass { body, .. } = judged else { continue };
        assert!(piece.ends_with(body), "the body is not the end of what was framed");
        // Line ends before a message are keep-alives of a connection (RFC 3261 §7.5).
        let mut message = *piece;
        while let Some(rest) = message.strip_prefix(b"\r\n") {
            message = rest;
        }
        assert!(datagram(message) == *judged, "the parser reads what was framed as something else");
        let head = &piece[..piece.len() - body.len()];
        assert!(
            head.ends_with(b"\n"),
            "the header section does not end where the body begins: {:?}",
            String::from_utf8_lossy(head)
        );
    }
}

/// Each verdict with the octets that it took.
fn octet_by_octet(data: &[u8]) -> Vec<(&[u8], Judged)> {
    let mut stream = Stream::new();
    let mut found = Vec::new();
    let mut begin = 0;
    for end in 1..=data.len() {
        let (verdicts, close) = stream.push(&data[end - 1..end]);
        assert!(verdicts.len() <= 1, "one octet ends two messages");
        for judged in verdicts {
            found.push((&data[begin..end], judged));
            begin = end;
        }
        if close {
            break;
        }
    }
    found
}

fn in_chunks(data: &[u8], numbers: &mut Numbers) -> Vec<Judged> {
    let mut stream = Stream::new();
    let mut found = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(1 + numbers.below(rest.len()));
        rest = after;
        let (verdicts, close) = stream.push(chunk);
        found.extend(verdicts);
        if close {
            break;
        }
    }
    found
}
