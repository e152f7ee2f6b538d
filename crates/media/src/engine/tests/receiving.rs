//! What comes from the far end, and what must not be taken for it.

use proptest::prelude::*;

use super::*;

fn from_far(rig: &mut Rig, owner: &Owner, port: u16, sequence: u16) {
    let bytes = rtp_bytes(far_header(sequence, u32::from(sequence) * 160, 0), &[1; 160]);
    rig.deliver(owner, Channel::Rtp, address(port), &bytes);
}

#[test]
fn the_first_packet_is_told_once_and_audio_reaches_the_tap() {
    let (mut rig, mut owner) = Rig::with_stream();
    for sequence in 5..8 {
        from_far(&mut rig, &owner, 4_000, sequence);
        rig.run(ms(20));
    }
    assert_eq!(owner.events(), [StreamEvent::Receiving]);
    let tapped: Vec<_> = owner.tap.try_iter().collect();
    let seen: Vec<_> =
        tapped.iter().map(|it| (it.sequence, it.timestamp, it.at - rig.start)).collect();
    assert_eq!(seen, [(5, 800, ms(0)), (6, 960, ms(20)), (7, 1_120, ms(40))]);
    assert!(tapped.iter().all(|it| it.codec == Codec::Pcmu && it.payload == [1; 160]));
    assert_eq!(owner.stats().counts.packets_received, 3);
}

#[test]
fn a_full_tap_loses_packets_and_counts_them() {
    let (mut rig, owner) = Rig::with_stream();
    for sequence in 0..6 {
        from_far(&mut rig, &owner, 4_000, sequence);
    }
    assert_eq!((owner.tap.try_iter().count(), owner.stats().counts.tap_dropped), (4, 2));
}

#[test]
fn taps_come_and_go_and_a_fifth_is_let_go_of() {
    let (mut rig, owner) = Rig::with_stream();
    let tap = |rig: &mut Rig| {
        let (to, tap) = std::sync::mpsc::sync_channel(2);
        rig.command(&owner, StreamCommand::Tap(to));
        tap
    };
    from_far(&mut rig, &owner, 4_000, 0);
    let (first, second, third, fifth) =
        (tap(&mut rig), tap(&mut rig), tap(&mut rig), tap(&mut rig));
    drop(second);
    from_far(&mut rig, &owner, 4_000, 1);
    let seen = |tap: &std::sync::mpsc::Receiver<TappedPacket>| {
        tap.try_iter().map(|packet| packet.sequence).collect::<Vec<_>>()
    };
    assert_eq!([seen(&owner.tap), seen(&first), seen(&third)], [vec![0, 1], vec![1], vec![1]]);
    assert_eq!(fifth.try_recv().unwrap_err(), std::sync::mpsc::TryRecvError::Disconnected);
    let fourth = tap(&mut rig);
    for sequence in 2..5 {
        from_far(&mut rig, &owner, 4_000, sequence);
        assert_eq!(seen(&fourth), [sequence]);
    }
    assert_eq!(owner.stats().counts.tap_dropped, 2, "the third packet to two that read nothing");
}

#[test]
fn packets_of_strangers_are_ignored() {
    let (mut rig, mut owner) = Rig::with_stream();
    let bytes = rtp_bytes(far_header(1, 1, EVENT_TYPE), &[5, 0, 0, 160]);
    let stranger = SocketAddr::from(([198, 51, 100, 7], 4_000));
    rig.deliver(&owner, Channel::Rtp, stranger, &bytes);
    assert_eq!(owner.events(), []);
    assert_eq!(owner.stats().counts.foreign_packets, 1);
}

#[test]
fn packets_go_to_the_port_the_far_end_sends_from() {
    let (mut rig, owner) = Rig::with_stream();
    rig.play(&owner, 1, &[segment(&samples(1, 800), 1)], true, false);
    from_far(&mut rig, &owner, 9_000, 1);
    rig.run(ms(20));
    from_far(&mut rig, &owner, 9_999, 2);
    rig.run(ms(20));
    let to: Vec<_> = rig.rtp().iter().map(|sent| sent.to.port()).collect();
    assert_eq!(to, [4_000, 9_000, 9_000]);
    assert_eq!(owner.stats().counts.foreign_packets, 1);
}

#[test]
fn unusable_datagrams_are_counted_and_latch_nothing() {
    let (mut rig, mut owner) = Rig::with_stream();
    rig.deliver(&owner, Channel::Rtp, address(9_000), &[0x80; 5]);
    let unknown = rtp_bytes(far_header(1, 1, 77), &[0; 10]);
    rig.deliver(&owner, Channel::Rtp, address(9_000), &unknown);
    rig.deliver(&owner, Channel::Rtcp, address(4_001), b"GET / HTTP/1.1");
    rig.play(&owner, 1, &[segment(&samples(1, 160), 1)], true, false);
    assert_eq!(rig.rtp()[0].to, address(4_000));
    let counts = owner.stats().counts;
    assert_eq!((counts.malformed_packets, counts.unknown_payloads), (2, 1));
    assert_eq!(owner.events(), [StreamEvent::Finished(PlayoutId(1))]);
}

#[test]
fn comfort_noise_is_not_loss() {
    let (mut rig, owner) = Rig::with_stream();
    from_far(&mut rig, &owner, 4_000, 1);
    let noise = rtp_bytes(far_header(2, 320, 13), &[40]);
    rig.deliver(&owner, Channel::Rtp, address(4_000), &noise);
    from_far(&mut rig, &owner, 4_000, 3);
    assert_eq!(owner.stats().lost, 0);
    from_far(&mut rig, &owner, 4_000, 5);
    assert_eq!(owner.stats().lost, 1);
}

#[test]
fn the_other_static_codec_is_known_by_its_number() {
    let (mut rig, owner) = Rig::with_stream();
    let bytes = rtp_bytes(far_header(1, 1, 8), &[0xD5; 160]);
    rig.deliver(&owner, Channel::Rtp, address(4_000), &bytes);
    assert_eq!(owner.tap.try_recv().unwrap().codec, Codec::Pcma);
}

#[test]
fn endless_tones_to_an_owner_who_does_not_read_are_bounded() {
    let mut rig = Rig::new();
    let mut owner = rig.stream(Options { event_places: 1, ..Options::default() });
    for press in 0..1_000u16 {
        let header = far_header(press, u32::from(press) * 1_600, EVENT_TYPE);
        let bytes = rtp_bytes(header, &[1, 0x80, 0, 160]);
        rig.deliver(&owner, Channel::Rtp, address(4_000), &bytes);
    }
    rig.play(&owner, 1, &[], true, false);
    let mut events = Vec::new();
    for _ in 0..100 {
        events.extend(owner.events());
        rig.run(ms(20));
    }
    let tones = events.iter().filter(|event| matches!(event, StreamEvent::Tone(_))).count() as u64;
    assert_eq!(tones + owner.stats().counts.tones_dropped, 1_000);
    assert!(tones <= 65, "{tones}");
    assert_eq!(events.last(), Some(&StreamEvent::Finished(PlayoutId(1))), "others are kept");
}

proptest! {
    #[test]
    fn no_datagram_makes_the_engine_panic(
        datagrams in proptest::collection::vec(
            (
                any::<bool>(),
                0u64..30,
                prop_oneof![
                    Just(vec![0x80, 0]),
                    Just(vec![0x80, EVENT_TYPE]),
                    Just(vec![0x81, 200]),
                    Just(vec![0x81, 201, 0, 7]),
                    Just(vec![]),
                ],
                proptest::collection::vec(any::<u8>(), 0..60),
            ),
            0..40,
        ),
    ) {
        let mut rig = Rig::new();
        let interval = ms(100);
        let owner = rig.stream(Options { rtcp_interval: interval, ..Options::default() });
        rig.play(&owner, 1, &[segment(&samples(1, 300), 1)], true, true);
        for (rtcp, after, start, rest) in datagrams {
            rig.run(ms(after));
            let (channel, port) =
                if rtcp { (Channel::Rtcp, 4_001) } else { (Channel::Rtp, 4_000) };
            rig.deliver(&owner, channel, address(port), &[start, rest].concat());
        }
        rig.run(ms(300));
        let ours = rig.rtp();
        prop_assert!(ours.windows(2).all(|pair| pair[1].at - pair[0].at == ms(20)));
    }
}
