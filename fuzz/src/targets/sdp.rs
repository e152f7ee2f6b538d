//! A session description: our answer to it can be read back and means the same, our next offer
//! too; memory is a small multiple of the input.

use graphophone_sip::fuzzing::{Sdp, Stood};

pub(crate) fn run(data: &[u8]) {
    let mut read = None;
    let used = allocation_counter::measure(|| read = Sdp::parse(data));
    assert!(used.bytes_max <= 200 * data.len() as u64 + 65_536, "{} bytes", used.bytes_max);
    let Some(theirs) = read else { return };
    if let Some((text, stood)) = theirs.answer(None) {
        assert_lines(&text);
        let (audio, event) = stood.payload_types();
        assert!(audio < 128 && event.is_none_or(|event| event < 128));
        let ours = Sdp::parse(text.as_bytes()).expect("our own answer can be read");
        let back = ours.accept(None).expect("our own answer can be accepted");
        assert_eq!(back.payload_types().0, audio);
        // The same description again, as in a re-INVITE, changes nothing.
        let (_, again) = theirs.answer(Some(&stood)).expect("the same offer is answered again");
        assert!(again == stood, "the same offer, something else agreed");
        check_offer(&stood);
    }
    if let Some(stood) = theirs.accept(None) {
        check_offer(&stood);
    }
}

/// What we offer for a running stream can be answered by one like us, with the same numbers.
fn check_offer(stood: &Stood) {
    let offer = stood.offer();
    assert_lines(&offer);
    let read = Sdp::parse(offer.as_bytes()).expect("our own offer can be read");
    let (_, agreed) = read.answer(None).expect("our own offer can be answered");
    assert_eq!(agreed.payload_types().0, stood.payload_types().0);
}

/// Nothing of theirs may have made a line of its own.
fn assert_lines(text: &str) {
    assert!(text.starts_with("v=0\r\n") && text.ends_with("\r\n"));
    for line in text.strip_suffix("\r\n").unwrap_or(text).split("\r\n") {
        let is_line = line.as_bytes().get(1) == Some(&b'=') && !line.contains(['\r', '\n']);
        assert!(is_line, "not a line: {line:?}");
    }
}
