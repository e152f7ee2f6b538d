//! The vectors of RFC 7714, and both sides against each other.

use proptest::prelude::*;

use super::{keys::SessionKey, *};
use crate::rtp::{Header, Packet};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(u8::is_ascii_hexdigit)
        .map(|digit| (digit as char).to_digit(16).unwrap() as u8)
        .collect();
    digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect()
}

/// The session key and salt of RFC 7714 §16 and §17, for RTP and RTCP.
fn session() -> SessionKey {
    let key = std::array::from_fn(|at| at as u8);
    SessionKey::new(&key, *b"Quid pro quo")
}

fn protect() -> Protect {
    Protect::with(session(), session())
}

fn unprotect() -> Unprotect {
    Unprotect::with(session(), session())
}

/// Both sides of a stream with one master key.
fn pair() -> (Protect, Unprotect) {
    let key = MasterKey { key: [0xA5; 16], salt: [0x5A; 12] };
    (Protect::new(&key), Unprotect::new(&key))
}

fn sealed(length: usize, plain: &[u8], seal: impl FnOnce(&mut [u8], usize) -> usize) -> Vec<u8> {
    let mut buffer = [plain, &vec![0xEE; length]].concat();
    let length = seal(&mut buffer, plain.len());
    buffer.truncate(length);
    buffer
}

fn seal_rtp(protect: &Protect, plain: &[u8], index: u64) -> Vec<u8> {
    sealed(SRTP_OVERHEAD + 5, plain, |buffer, length| protect.rtp(buffer, length, index))
}

fn seal_rtcp(protect: &mut Protect, plain: &[u8]) -> Vec<u8> {
    sealed(SRTCP_OVERHEAD + 5, plain, |buffer, length| protect.rtcp(buffer, length))
}

fn open_rtp(unprotect: &mut Unprotect, datagram: &[u8]) -> Result<Vec<u8>, PeerSrtpError> {
    unprotect.rtp(datagram, &mut [0; 600]).map(<[u8]>::to_vec)
}

fn open_rtcp(unprotect: &mut Unprotect, datagram: &[u8]) -> Result<Vec<u8>, PeerSrtpError> {
    unprotect.rtcp(datagram, &mut [0; 600]).map(<[u8]>::to_vec)
}

fn packet(index: u64, payload: &[u8]) -> Vec<u8> {
    let (sequence, timestamp) = (index as u16, index as u32 * 160);
    let mut bytes = [0; 12];
    Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 0xCAFE }.write(&mut bytes);
    [&bytes[..], payload].concat()
}

const REPORT: [u8; 12] = [0x80, 201, 0, 1, 0, 0, 0xCA, 0xFE, 0x81, 203, 0, 0];

#[test]
fn rtp_is_protected_as_in_rfc_7714_section_16_1() {
    let plain = hex("8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 \
                     69736120 696e2070 61727465 73207472 6573");
    let expected = hex("8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 \
                        0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 \
                        0cce");
    assert_eq!(seal_rtp(&protect(), &plain, 0xF17B), expected);
    assert_eq!(open_rtp(&mut unprotect(), &expected), Ok(plain));
}

#[test]
fn rtcp_is_protected_as_in_rfc_7714_section_17() {
    let plain = hex("81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 \
                     deadbeef deadbeef deadbeef deadbeef deadbeef");
    let expected = hex("81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d \
                        c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 \
                        45d9eade 800005d4");
    let mut protect = protect();
    protect.set_next_report(0x5D4);
    assert_eq!(seal_rtcp(&mut protect, &plain), expected);
    assert_eq!(open_rtcp(&mut unprotect(), &expected).as_ref(), Ok(&plain));
    // §17.3: tagged only.
    let trailer = hex("841dd968 3dd78ec9 2ae58790 125f62b3 000005d4");
    let tagged = [&plain[..], &trailer].concat();
    assert_eq!(open_rtcp(&mut unprotect(), &tagged), Ok(plain));
}

/// The packets of libsrtp's own test of this profile, which begins with a master key.
#[test]
fn another_implementation_derives_the_same_session_keys() {
    let key = std::array::from_fn(|at| at as u8);
    let salt = std::array::from_fn(|at| 0xA0 + at as u8);
    let master = MasterKey { key, salt };
    let plain = [hex("800f1234 decafbad cafebabe"), vec![0xAB; 16]].concat();
    let expected = hex("800f1234 decafbad cafebabe c5002ede 04cfdd2e b91159e0 880aa06e d2976826 \
                        f796b201 df3131a1 27e8a392");
    assert_eq!(seal_rtp(&Protect::new(&master), &plain, 0x1234), expected);
    let plain = [hex("81c8000b cafebabe"), vec![0xAB; 16]].concat();
    let expected = hex("81c8000b cafebabe c98b8b5d f0392a55 852b6c21 ac8e7025 c52c6fbe a2b3b446 \
                        ea31123b a88ce61e 80000001");
    assert_eq!(seal_rtcp(&mut Protect::new(&master), &plain), expected);
}

#[test]
fn csrc_and_extension_stay_in_clear_and_are_authenticated() {
    // What another sender may send: our own headers are plain.
    let mut header = packet(7, &[1, 1, 1, 1, 0xBE, 0xDE, 0, 1, 9, 9, 9, 9]);
    header[0] = 0x80 | 0x10 | 1;
    let mut payload = *b"hello";
    let tag = pair().0.seal_rtp(&header, &mut payload, 7);
    let datagram = [&header[..], &payload, tag.as_ref()].concat();
    let clear = open_rtp(&mut pair().1, &datagram).unwrap();
    assert_eq!(Packet::parse(&clear).unwrap().payload, b"hello");
    for at in 12..header.len() {
        let mut changed = datagram.clone();
        changed[at] ^= 0x10;
        assert!(open_rtp(&mut pair().1, &changed).is_err(), "{at}");
    }
}

#[test]
fn every_flipped_bit_is_refused_and_spoils_nothing() {
    let (mut protect, mut unprotect) = pair();
    let plain = packet(0x1_0003, &[7; 40]);
    // So that the roll-over counter is known.
    open_rtp(&mut unprotect, &seal_rtp(&protect, &packet(0xFFFF, b"x"), 0xFFFF)).unwrap();
    let datagram = seal_rtp(&protect, &plain, 0x1_0003);
    let report = seal_rtcp(&mut protect, &REPORT);
    for bit in 0..datagram.len() * 8 {
        let mut changed = datagram.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(open_rtp(&mut unprotect, &changed).is_err(), "bit {bit}");
    }
    for bit in 0..report.len() * 8 {
        let mut changed = report.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(open_rtcp(&mut unprotect, &changed).is_err(), "bit {bit}");
    }
    assert_eq!(open_rtp(&mut unprotect, &datagram), Ok(plain));
    assert_eq!(open_rtcp(&mut unprotect, &report).as_deref(), Ok(&REPORT[..]));
}

#[test]
fn a_wrong_key_is_refused() {
    let other = MasterKey { key: [0xA5; 16], salt: [0; 12] };
    let datagram = seal_rtp(&pair().0, &packet(5, b"x"), 5);
    let opened = open_rtp(&mut Unprotect::new(&other), &datagram);
    assert_eq!(opened, Err(PeerSrtpError::Unauthentic));
}

#[test]
fn replays_are_refused() {
    let (mut protect, mut unprotect) = pair();
    let datagrams: Vec<_> =
        (0..70).map(|index| seal_rtp(&protect, &packet(index, b"audio"), index)).collect();
    assert!(open_rtp(&mut unprotect, &datagrams[69]).is_ok());
    assert_eq!(open_rtp(&mut unprotect, &datagrams[69]), Err(PeerSrtpError::Replayed));
    assert!(open_rtp(&mut unprotect, &datagrams[6]).is_ok(), "late by 63");
    assert_eq!(open_rtp(&mut unprotect, &datagrams[6]), Err(PeerSrtpError::Replayed));
    assert_eq!(open_rtp(&mut unprotect, &datagrams[5]), Err(PeerSrtpError::Replayed), "too late");
    let report = seal_rtcp(&mut protect, &REPORT);
    assert!(open_rtcp(&mut unprotect, &report).is_ok());
    assert_eq!(open_rtcp(&mut unprotect, &report), Err(PeerSrtpError::Replayed));
}

#[test]
fn reports_end_with_their_indices() {
    let (mut protect, mut unprotect) = pair();
    protect.set_next_report((1 << 31) - 1);
    assert!(protect.can_report());
    let report = seal_rtcp(&mut protect, &REPORT);
    assert_eq!(report[report.len() - 4..], [0xFF; 4]);
    assert!(open_rtcp(&mut unprotect, &report).is_ok());
    assert!(!protect.can_report());
}

#[test]
fn what_is_longer_than_the_room_for_it_is_refused() {
    let (mut protect, mut unprotect) = pair();
    let datagram = seal_rtp(&protect, &packet(5, &[0; 600]), 5);
    assert_eq!(open_rtp(&mut unprotect, &datagram), Err(PeerSrtpError::Length));
    let report = seal_rtcp(&mut protect, &[0x80; 597]);
    assert_eq!(open_rtcp(&mut unprotect, &report), Err(PeerSrtpError::Length));
}

proptest! {
    #[test]
    fn what_is_protected_arrives_over_loss_misorder_and_wraps(
        first in 0u64..0x2_0000,
        steps in proptest::collection::vec((1u64..3_000, 0u64..30), 1..60),
        payload in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let (protect, mut unprotect) = pair();
        // A far end begins with a roll-over counter of 0.
        let mut highest = first & 0xFFFF;
        for (ahead, back) in steps {
            for index in [highest, highest + ahead, highest + ahead - back.min(ahead - 1)] {
                let plain = packet(index, &payload);
                match open_rtp(&mut unprotect, &seal_rtp(&protect, &plain, index)) {
                    Ok(opened) => prop_assert_eq!(opened, plain),
                    Err(error) => prop_assert_eq!(error, PeerSrtpError::Replayed),
                }
            }
            highest += ahead;
        }
    }

    #[test]
    fn reports_of_any_length_round_trip(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (mut protect, mut unprotect) = pair();
        let plain = [&REPORT[..8], &body].concat();
        for _ in 0..3 {
            let datagram = seal_rtcp(&mut protect, &plain);
            prop_assert_eq!(open_rtcp(&mut unprotect, &datagram), Ok(plain.clone()));
        }
    }

    #[test]
    fn garbage_is_refused_without_panic(
        start in prop_oneof![Just(vec![]), Just(vec![0x80]), Just(vec![0x9F]), Just(vec![0x81, 200])],
        rest in proptest::collection::vec(any::<u8>(), 0..100),
        room in 0usize..120,
    ) {
        let (_, mut unprotect) = pair();
        let (datagram, mut clear) = ([start, rest].concat(), vec![0; room]);
        prop_assert!(unprotect.rtp(&datagram, &mut clear).is_err());
        prop_assert!(unprotect.rtcp(&datagram, &mut clear).is_err());
    }
}
