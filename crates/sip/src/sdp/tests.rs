//! Offers and answers as phones and gateways write them, and as nobody should.

use proptest::prelude::*;

use super::*;

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.5\r\ns=-\r\nc=IN IP4 192.0.2.5\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

fn local() -> Local {
    Local {
        address: "192.0.2.1".parse().unwrap(),
        rtp_port: 20_000,
        rtcp_port: 20_001,
        session: 9,
        version: 3,
    }
}

fn parse(text: &str) -> Result<Description, SdpError> {
    Description::parse(text.as_bytes())
}

fn answered(text: &str) -> (String, Agreed) {
    answer(&parse(text).unwrap(), &local(), None).unwrap()
}

#[test]
fn the_first_common_codec_of_the_offer_is_taken() {
    let (text, agreed) = answered(OFFER);
    assert_eq!(
        text,
        "v=0\r\no=- 9 3 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
         m=audio 20000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n\
         a=rtcp:20001\r\na=sendrecv\r\n"
    );
    let expected = Agreed {
        codec: Codec::Pcma,
        payload_type: 8,
        telephone_event: Some(101),
        remote: Remote {
            rtp: "192.0.2.5:40000".parse().unwrap(),
            rtcp: Some("192.0.2.5:40001".parse().unwrap()),
        },
        sending: true,
        receiving: true,
    };
    assert_eq!(agreed, expected);
    let other = OFFER.replace("8 0 101", "9 18 0 101");
    assert_eq!(answered(&other).1.codec, Codec::Pcmu);
}

#[test]
fn our_own_offer_is_answered_and_understood() {
    let (answer, theirs) = answered(&offer(&local(), None, Direction::SendReceive));
    let ours = accept(&parse(&answer).unwrap(), None).unwrap();
    assert_eq!((ours.codec, theirs.codec), (Codec::Pcmu, Codec::Pcmu));
    assert_eq!(ours.telephone_event, Some(101));
    assert_eq!(ours.remote, theirs.remote);
}

#[test]
fn keys_come_under_the_number_that_we_offered() {
    let answer = OFFER.replace("8 0 101", "0 96").replace("101 tele", "96 tele");
    assert_eq!(accept(&parse(&answer).unwrap(), None).unwrap().telephone_event, Some(101));
    let without = OFFER.replace("8 0 101", "0");
    assert_eq!(accept(&parse(&without).unwrap(), None).unwrap().telephone_event, None);
}

#[test]
fn dynamic_payload_types_and_missing_telephone_events_are_fine() {
    let text = OFFER.replace("8 0 101", "96").replace("101 telephone-event", "96 pcmu");
    let (text, agreed) = answered(&text);
    assert_eq!((agreed.codec, agreed.payload_type), (Codec::Pcmu, 96));
    assert_eq!(agreed.telephone_event, None);
    assert!(text.contains("m=audio 20000 RTP/AVP 96\r\n"));
}

#[test]
fn a_static_type_with_another_meaning_is_not_taken_for_ours() {
    let text = OFFER.replace("8 0 101", "0").replace("101 telephone-event/8000", "0 PCMU/16000");
    // The rtpmap is not one we can read, so the static meaning stands (RFC 3551 §6).
    assert_eq!(answered(&text).1.payload_type, 0);
    let text = OFFER.replace("8 0 101", "0").replace("101 telephone-event/8000", "0 G729/8000");
    assert_eq!(parse(&text).unwrap_err(), SdpError::PeerNoCodec);
}

#[test]
fn rtcp_goes_where_it_is_asked_to() {
    let port = format!("{OFFER}a=rtcp:50005\r\n");
    let rtcp = answered(&port).1.remote.rtcp.unwrap();
    assert_eq!(rtcp, "192.0.2.5:50005".parse().unwrap());
    let elsewhere = format!("{OFFER}a=rtcp:50005 IN IP4 198.51.100.1\r\n");
    assert_eq!(answered(&elsewhere).1.remote.rtcp.unwrap().ip(), rtcp.ip());
    let (text, agreed) = answered(&format!("{OFFER}a=rtcp-mux\r\n"));
    assert_eq!(agreed.remote.rtcp, None);
    assert!(text.contains("a=rtcp-mux\r\n") && !text.contains("a=rtcp:"));
    let unasked = accept(&parse(&format!("{OFFER}a=rtcp-mux\r\n")).unwrap(), None).unwrap();
    assert!(unasked.remote.rtcp.is_some(), "we did not offer it");
}

#[test]
fn hold_is_answered_in_kind() {
    for (line, ours, sending) in [
        ("a=sendonly", "a=recvonly", false),
        ("a=recvonly", "a=sendonly", true),
        ("a=inactive", "a=inactive", false),
        ("a=sendrecv", "a=sendrecv", true),
    ] {
        let (text, agreed) = answered(&format!("{OFFER}{line}\r\n"));
        assert!(text.ends_with(&format!("{ours}\r\n")), "{line}: {text}");
        assert_eq!(agreed.sending, sending, "{line}");
        let session = OFFER.replace("t=0 0\r\n", &format!("t=0 0\r\n{line}\r\n"));
        assert_eq!(answered(&session).1.sending, sending, "{line} for the session");
    }
    assert!(!answered(&OFFER.replace("IP4 192.0.2.5\r\nt", "IP4 0.0.0.0\r\nt")).1.sending);
}

#[test]
fn everything_but_one_audio_stream_is_refused_in_place() {
    let text = OFFER.replace(
        "m=audio",
        "m=video 50000 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\nm=audio 6000 RTP/SAVP 0\r\nm=audio",
    ) + "m=audio 7000 RTP/AVP 0\r\n";
    let (text, agreed) = answered(&text);
    assert_eq!(agreed.remote.rtp.port(), 40_000);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        lines,
        [
            "m=video 0 RTP/AVP 99",
            "m=audio 0 RTP/SAVP 0",
            "m=audio 20000 RTP/AVP 8 101",
            "m=audio 0 RTP/AVP 0"
        ]
    );
}

#[test]
fn a_media_address_beats_the_sessions() {
    let text = format!("{OFFER}c=IN IP6 2001:db8::7\r\n");
    let (_, agreed) = answered(&text);
    assert_eq!(agreed.remote.rtp, "[2001:db8::7]:40000".parse().unwrap());
    let mapped = format!("{OFFER}c=IN IP6 ::ffff:192.0.2.9\r\n");
    assert!(answered(&mapped).1.remote.rtp.is_ipv4());
}

#[test]
fn a_running_codec_is_kept_or_the_offer_refused() {
    let offer = parse(OFFER).unwrap();
    let (_, running) = answered(&OFFER.replace("8 0 101", "0 101"));
    assert_eq!(answer(&offer, &local(), Some(&running)).unwrap().1.payload_type, 0);
    let without = parse(&OFFER.replace("8 0 101", "8 101")).unwrap();
    assert_eq!(answer(&without, &local(), Some(&running)), Err(SdpError::PeerNoCodec));
}

#[test]
fn odd_but_harmless_lines_are_overlooked() {
    for (from, to) in [
        ("\r\n", "\n"),
        ("o=- 1 1", "o=- 99999999999999999999999 1"),
        ("t=0 0", "b=AS:99999999999999999999\r\nt=0 0"),
        ("t=0 0", "t=99999999999999999999999 0"),
        ("s=-", "s="),
        ("s=-", "s=-\r\ni=\r\na="),
        ("s=-", "s= \r\ni=\u{e4}\u{f6}\u{fc}\r\nu=http://example.com"),
        (
            "telephone-event/8000\r\n",
            "telephone-event/8000\r\na=ptime:0\r\na=fmtp:\r\na=\u{b5}:x\r\n",
        ),
        ("telephone-event/8000\r\n", "telephone-event/8000\r\na=ptime:99999999999\r\n"),
    ] {
        assert!(parse(&OFFER.replace(from, to)).is_ok(), "{to}");
    }
    let name = b"s=B\xFCro";
    let latin = OFFER.as_bytes().split(|byte| *byte == b'\n').map(|line| match line {
        b"s=-\r" => [name.as_slice(), b"\r"].concat(),
        line => line.to_vec(),
    });
    assert!(Description::parse(&latin.collect::<Vec<_>>().join(&b'\n')).is_ok(), "Latin-1");
}

#[test]
fn descriptions_that_cannot_be_used_say_why() {
    let rows = [
        ("", SdpError::PeerMalformed),
        ("v=1\r\n", SdpError::PeerMalformed),
        ("v=0\r\nnonsense\r\n", SdpError::PeerMalformed),
        (&format!("{OFFER}m=\r\na=sendonly\r\n"), SdpError::PeerMalformed),
        ("v=0\r\ns=-\r\n", SdpError::PeerNoAudio),
        (&OFFER.replace("40000", "65536"), SdpError::PeerMalformed),
        (&OFFER.replace("40000", "-1"), SdpError::PeerMalformed),
        (&OFFER.replace("40000", "40000/2000"), SdpError::PeerMalformed),
        (&OFFER.replace("40000", "0"), SdpError::PeerNoAudio),
        (&OFFER.replace("8 0 101", "300"), SdpError::PeerMalformed),
        (&OFFER.replace("8 0 101", "3 9"), SdpError::PeerNoCodec),
        (&OFFER.replace("RTP/AVP", "UDP/TLS/RTP/SAVPF"), SdpError::PeerNoAudio),
        (&OFFER.replace("c=IN IP4 192.0.2.5\r\n", ""), SdpError::PeerAddress),
        (&OFFER.replace("c=IN IP4 192.0.2.5", "c=IN IP4 a.example"), SdpError::PeerAddress),
        (&OFFER.replace("c=IN IP4 192.0.2.5", "c=IN IP4 239.0.0.1/127"), SdpError::PeerAddress),
        (&OFFER.replace("c=IN IP4 192.0.2.5", "c=IN IP4 255.255.255.255"), SdpError::PeerAddress),
        (&"m=audio 1 RTP/AVP 0\r\n".repeat(1_000), SdpError::PeerMalformed),
    ];
    for (text, expected) in rows {
        assert_eq!(parse(text).unwrap_err(), expected, "{text}");
    }
    let many = format!("{OFFER}{}", "m=audio 1 RTP/AVP 0\r\n".repeat(16));
    assert_eq!(parse(&many).unwrap_err(), SdpError::PeerMalformed);
}

/// A few changes at random places.
fn mutated(seed: Vec<(usize, u8)>) -> Vec<u8> {
    let mut bytes = OFFER.as_bytes().to_vec();
    for (at, byte) in seed {
        let at = at % bytes.len();
        match byte {
            0..=60 => drop(bytes.remove(at)),
            61..=120 => bytes.insert(at, byte),
            _ => bytes[at] = byte,
        }
    }
    bytes
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = Description::parse(&bytes);
    }

    #[test]
    fn whatever_is_taken_is_answered_in_kind(
        seed in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6)
    ) {
        if let Ok(offer) = Description::parse(&mutated(seed)) {
            let (text, agreed) = answer(&offer, &local(), None).unwrap();
            prop_assert!(text.is_ascii() || std::str::from_utf8(text.as_bytes()).is_ok());
            prop_assert_eq!(text.matches("\r\nm=").count(), offer.lines.len());
            let ours = parse(&text).unwrap();
            prop_assert_eq!(accept(&ours, None).unwrap().codec, agreed.codec);
            prop_assert!(!agreed.remote.rtp.ip().is_multicast());
        }
    }
}

/// What the fuzz build counts in instructions (tests/instructions/linear.py), by its result.
#[test]
fn formats_count_once_however_often_they_stand_there_and_the_first_good_mapping_counts() {
    let formats = format!("8 {}0", "8 99 ".repeat(2_000));
    let text = format!(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
         m=audio 4000 RTP/AVP {formats}\r\na=rtpmap:99 opus/48000/2\r\n\
         a=rtpmap:099 PCMU/8000\r\na=rtpmap:+99 PCMU/8000\r\n\
         a=rtpmap:99 telephone-event/8000\r\na=rtpmap:99 PCMU/8000\r\n"
    );
    let offer = Description::parse(text.as_bytes()).unwrap();
    assert_eq!(offer.audio.codecs, [(Codec::Pcma, 8), (Codec::Pcmu, 0)]);
    assert_eq!(offer.audio.telephone_event, Some(99));
    let many = text.replace("8 99 8 99", &"1 ".repeat(100)).replace(" 0\r", " 128\r");
    assert_eq!(Description::parse(many.as_bytes()).unwrap_err(), SdpError::PeerMalformed);
}
