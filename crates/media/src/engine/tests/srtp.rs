//! Streams with SRTP: what leaves can be read by the far end only, and only the far end is heard.

use super::*;
use crate::{
    dtmf::Event,
    rtcp::{Item, MAX_COMPOUND_LEN, Report, ReportBlock, parse},
    srtp::SRTCP_OVERHEAD,
};

fn secured() -> Options {
    Options { srtp: Some(srtp_keys()), ..Options::default() }
}

/// What the far end makes of our packets.
fn opened(ear: &mut Unprotect, sent: &[Sent]) -> Vec<(Header, Vec<u8>)> {
    sent.iter()
        .map(|sent| {
            let mut clear = [0; 1_500];
            let packet = Packet::parse(ear.rtp(&sent.bytes, &mut clear).unwrap()).unwrap();
            assert_eq!(packet.header, sent.header(), "the header is in clear");
            (packet.header, packet.payload.to_vec())
        })
        .collect()
}

/// An SRTCP report of the far end that it has our packets up to `highest`.
fn report(protect: &mut Protect, highest: u32) -> Vec<u8> {
    let block = ReportBlock {
        ssrc: secured().ssrc,
        fraction_lost: 0,
        cumulative_lost: 0,
        highest_sequence: highest,
        jitter: 0,
        last_sender_report: 0,
        delay_since_sender_report: 0,
    };
    let mut bytes = [0; MAX_COMPOUND_LEN];
    let length = Report { ssrc: 0xFA4, sender: None, block: Some(block), cname: "f", bye: false }
        .write(&mut bytes);
    let mut bytes = [&bytes[..length], &[0; SRTCP_OVERHEAD]].concat();
    protect.rtcp(&mut bytes, length);
    bytes
}

#[test]
fn audio_and_tones_can_be_read_with_the_key_over_roll_overs() {
    let (mut rig, owner) = Rig::with(secured());
    let mut ear = Unprotect::new(&srtp_keys().local);
    let prompt = samples(1, 160 * 100);
    rig.play(&owner, 1, &[segment(&prompt, 1)], true, true);
    // The sequence starts at 0xFFFE: the roll-over counter is 2 at the end.
    let mut heard = Vec::new();
    for _ in 0..70 {
        rig.run(Duration::from_secs(20));
        heard.extend(opened(&mut ear, &rig.rtp()).into_iter().flat_map(|(_, payload)| payload));
    }
    assert!(heard.len() > (0x1_0002 + 100) * 160);
    assert!(heard.chunks(prompt.len()).all(|round| prompt.starts_with(round)));
    assert_eq!(owner.stats().counts.octets_sent, heard.len() as u64, "tags are no payload");

    let (codes, duration, gap) = (vec![5], ms(40), ms(0));
    rig.tones(&owner, 7, codes, duration, gap);
    rig.run(ms(50));
    let tones: Vec<_> = opened(&mut ear, &rig.rtp())
        .into_iter()
        .filter(|(header, _)| header.payload_type == EVENT_TYPE)
        .collect();
    assert_eq!(Event::read(tones[0].1[..].try_into().unwrap()).code, 5);
}

#[test]
fn opus_of_any_length_is_protected_as_well() {
    let (mut rig, owner) = Rig::with(Options { codec: Codec::Opus, ..secured() });
    let frames = frames(1, &[0, 399, 1, 120]);
    rig.play(&owner, 1, &[opus_segment(&frames, 1)], true, false);
    rig.run(ms(200));
    let sent = rig.rtp();
    let heard = opened(&mut Unprotect::new(&srtp_keys().local), &sent);
    assert_eq!(heard.into_iter().map(|(_, payload)| payload).collect::<Vec<_>>(), frames);
    assert!(sent.iter().zip(&frames).all(|(sent, frame)| sent.bytes.len() == 28 + frame.len()));
}

#[test]
fn only_authentic_packets_are_heard_and_each_once() {
    let (mut rig, mut owner) = Rig::with(secured());
    let far = Protect::new(&srtp_keys().remote);
    let clear = |sequence: u16| {
        rtp_bytes(far_header(sequence, u32::from(sequence) * 160, 0), &[sequence as u8; 160])
    };
    let datagrams: Vec<_> =
        (1..4).map(|sequence| sealed(&far, &clear(sequence), sequence.into())).collect();
    let mut changed = datagrams[2].clone();
    changed[40] ^= 1;
    // From another port of the far end: what is not authentic must not be latched.
    for datagram in [&clear(3), &changed, &vec![0x80; 20], &vec![]] {
        rig.deliver(&owner, Channel::Rtp, address(9_000), datagram);
    }
    assert_eq!(owner.events(), []);
    assert_eq!(owner.stats().counts.unauthentic_packets, 4);
    for datagram in [&datagrams[0], &datagrams[0], &datagrams[2], &datagrams[1]] {
        rig.deliver(&owner, Channel::Rtp, address(4_000), datagram);
    }
    let tapped: Vec<_> = owner.tap.try_iter().map(|it| (it.sequence, it.payload)).collect();
    assert_eq!(tapped, [1, 3, 2].map(|sequence| (sequence, vec![sequence as u8; 160])));
    assert_eq!(owner.events(), [StreamEvent::Receiving]);
    let counts = owner.stats().counts;
    assert_eq!((counts.unauthentic_packets, counts.packets_received), (5, 3));

    let stranger = SocketAddr::from(([198, 51, 100, 7], 4_000));
    rig.deliver(&owner, Channel::Rtp, stranger, &sealed(&far, &clear(4), 4));
    assert_eq!(owner.stats().counts.foreign_packets, 1, "not even looked at");
    rig.deliver(&owner, Channel::Rtp, address(4_000), &sealed(&far, &clear(4), 4));
    assert_eq!(owner.stats().counts.packets_received, 4);

    rig.play(&owner, 1, &[segment(&samples(1, 160), 1)], true, false);
    assert_eq!(rig.rtp()[0].to, address(4_000));
}

#[test]
fn reports_are_protected_and_only_authentic_ones_are_receipts() {
    let (mut rig, owner) = Rig::with(Options { rtcp_interval: ms(500), ..secured() });
    let mut far = Protect::new(&srtp_keys().remote);
    let progress = rig.play(&owner, 1, &[segment(&samples(1, 160 * 10), 1)], true, false);
    rig.run(ms(2_000));
    let acknowledged = || progress.segments()[0].samples_acknowledged;
    let bytes = report(&mut far, 0xFFFE + 4);
    let clear = &bytes[..bytes.len() - SRTCP_OVERHEAD];
    rig.deliver(&owner, Channel::Rtcp, address(4_001), clear);
    assert_eq!(acknowledged(), None);
    rig.deliver(&owner, Channel::Rtcp, address(4_001), &bytes);
    assert_eq!(acknowledged(), Some(800));
    rig.deliver(&owner, Channel::Rtcp, address(4_001), &bytes);
    let counts = owner.stats().counts;
    assert_eq!((counts.reports_received, counts.unauthentic_packets), (1, 2));

    // On a shared port as well.
    rig.deliver(&owner, Channel::Rtp, address(4_000), &report(&mut far, 0xFFFE + 9));
    assert_eq!(acknowledged(), Some(1_600));

    let now = rig.now();
    rig.shard.close(now, owner.id);
    let mut ear = Unprotect::new(&srtp_keys().local);
    let mut items = Vec::new();
    for sent in rig.rtcp() {
        let mut clear = [0; 1_500];
        items.extend(parse(ear.rtcp(&sent.bytes, &mut clear).unwrap()).unwrap());
    }
    let ssrc = secured().ssrc;
    assert!(matches!(items[0], Item::SenderReport { ssrc: it, .. } if it == ssrc), "{items:?}");
    assert_eq!(items.last(), Some(&Item::Bye { ssrc }));
}

#[test]
fn two_streams_with_crossed_keys_acknowledge_each_other() {
    let mut rig = Rig::new();
    let SrtpKeys { local, remote } = srtp_keys();
    let crossed = SrtpKeys { local: remote, remote: local };
    let rtcp_interval = ms(400);
    let a = rig.stream(Options { ssrc: 1, rtcp_interval, ..secured() });
    let b =
        rig.stream(Options { ssrc: 2, rtcp_interval, srtp: Some(crossed), ..Options::default() });
    let progress = rig.play(&a, 1, &[segment(&samples(1, 8_000), 3)], true, false);
    for _ in 0..500 {
        rig.run(ms(10));
        for sent in std::mem::take(&mut rig.shard.sender().sent) {
            let hearer = if sent.slot == a.slot { &b } else { &a };
            let from = if sent.channel == Channel::Rtp { address(4_000) } else { address(4_001) };
            rig.deliver(hearer, sent.channel, from, &sent.bytes);
        }
    }
    assert_eq!(progress.segments()[0].samples_acknowledged, Some(24_000));
    for owner in [a, b] {
        assert_eq!(owner.stats().counts.unauthentic_packets, 0);
        assert_eq!(owner.stats().lost, 0);
    }
}
