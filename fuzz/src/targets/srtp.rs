//! SRTP and SRTCP: no bytes without the key are taken, a good packet is taken once, and not when
//! anything in it was changed.

use std::sync::LazyLock;

use graphophone_media::{
    rtp::{HEADER_LEN, Header},
    srtp::{MasterKey, Protect, SRTP_OVERHEAD, Unprotect},
};

static KEY: LazyLock<MasterKey> = LazyLock::new(|| MasterKey { key: [0x5A; 16], salt: [0xC3; 12] });

pub(crate) fn run(data: &[u8]) {
    let mut room = [0; 1_500];
    let mut receiver = Unprotect::new(&KEY);
    assert!(receiver.rtp(data, &mut room).is_err(), "RTP without the key");
    assert!(receiver.rtcp(data, &mut room).is_err(), "RTCP without the key");

    let [a, b, c, rest @ ..] = data else { return };
    let sequence = u16::from_be_bytes([*a, *b]);
    let payload = &rest[..rest.len().min(160)];
    let header = Header {
        marker: false,
        payload_type: 0,
        sequence,
        timestamp: u32::from(sequence) * 160,
        ssrc: 7,
    };
    let mut good = vec![0; HEADER_LEN + payload.len() + SRTP_OVERHEAD];
    header.write(good.first_chunk_mut().expect("room for a header"));
    good[HEADER_LEN..][..payload.len()].copy_from_slice(payload);
    Protect::new(&KEY).rtp(&mut good, HEADER_LEN + payload.len(), sequence.into());

    let mut changed = good.clone();
    let place = usize::from(*c) % changed.len();
    changed[place] ^= 1 << (*a % 8);
    let mut receiver = Unprotect::new(&KEY);
    assert!(receiver.rtp(&changed, &mut room).is_err(), "a changed packet is taken");
    let clear = receiver.rtp(&good, &mut room).expect("a good packet is taken");
    assert!(&clear[HEADER_LEN..] == payload);
    assert!(receiver.rtp(&good, &mut room).is_err(), "a packet is taken twice");
}
