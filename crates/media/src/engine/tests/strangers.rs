//! What somebody else than the far end can do to a stream (P20, P21), and when a silent far end is
//! told (P23).

use super::{reporting::report_about, *};
use crate::rtcp::{MAX_COMPOUND_LEN, Report};

/// The splitmix64 generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A packet with everything guessed but the payload types, which everybody knows.
    fn forgery(&mut self) -> Vec<u8> {
        let bits = self.next();
        let payload_type = [0, 8, EVENT_TYPE][(bits >> 32) as usize % 3];
        let header = Header {
            marker: bits & 1 == 1,
            payload_type,
            sequence: (bits >> 40) as u16,
            timestamp: bits as u32,
            ssrc: self.next() as u32,
        };
        rtp_bytes(header, if payload_type == EVENT_TYPE { &[7, 0x80, 3, 0x20] } else { &[9; 160] })
    }
}

fn genuine(rig: &mut Rig, owner: &Owner, sequence: u16) {
    let bytes = rtp_bytes(far_header(sequence, u32::from(sequence) * 160, 0), &[1; 160]);
    rig.deliver(owner, Channel::Rtp, address(4_000), &bytes);
}

#[test]
fn of_a_hundred_thousand_forgeries_with_the_far_ends_address_none_is_heard() {
    let (mut rig, mut owner) = Rig::with_stream();
    let mut random = Random(20_261_123);
    let mut tapped = Vec::new();
    for round in 0..10_000 {
        genuine(&mut rig, &owner, round);
        tapped.extend(owner.tap.try_iter());
        for _ in 0..10 {
            rig.run(ms(2));
            let forgery = random.forgery();
            rig.deliver(&owner, Channel::Rtp, address(4_000), &forgery);
            tapped.extend(owner.tap.try_iter());
        }
    }
    assert_eq!(owner.events(), [StreamEvent::Receiving], "no key was pressed");
    assert!(tapped.iter().all(|packet| packet.payload == [1; 160]));
    assert_eq!(tapped.len(), 10_000, "and every genuine packet is heard");
    let counts = owner.stats().counts;
    assert_eq!((counts.packets_received, counts.foreign_packets), (10_000, 100_000));
    assert_eq!(owner.stats().lost, 0);
}

#[test]
fn who_knows_the_source_must_also_hit_its_window_of_numbers() {
    let (mut rig, mut owner) = Rig::with_stream();
    genuine(&mut rig, &owner, 30_000);
    owner.events();
    let press = |sequence: u16| rtp_bytes(far_header(sequence, 77, EVENT_TYPE), &[7, 0, 3, 0x20]);
    let heard = (0..=u16::MAX).step_by(7).filter(|sequence| {
        let mut other = Rig::with_stream();
        genuine(&mut other.0, &other.1, 30_000);
        other.0.deliver(&other.1, Channel::Rtp, address(4_000), &press(*sequence));
        other.1.stats().counts.packets_received == 2
    });
    let heard: Vec<u16> = heard.collect();
    assert!(heard.iter().all(|it| (29_900..31_948).contains(it)), "{heard:?}");
    assert!(heard.len() * 7 <= 2_048 + 7 && heard.len() > 250, "{}", heard.len());
    assert_eq!(owner.events(), []);
}

#[test]
fn another_source_of_the_far_end_is_heard_once_the_first_is_silent() {
    let (mut rig, owner) = Rig::with_stream();
    for sequence in 0..5 {
        genuine(&mut rig, &owner, sequence);
        rig.run(ms(20));
    }
    for sequence in 500..520 {
        let header = Header { ssrc: 0xBEEF, ..far_header(sequence, u32::from(sequence) * 160, 0) };
        rig.deliver(&owner, Channel::Rtp, address(4_000), &rtp_bytes(header, &[2; 160]));
        rig.run(ms(20));
    }
    let counts = owner.stats().counts;
    // The old one spoke last 20 ms before the new one began.
    assert_eq!((counts.packets_received, counts.foreign_packets), (5 + 16, 4));
    assert_eq!(owner.stats().lost, 0, "the new source is counted from its own first packet");
}

#[test]
fn another_source_at_a_newly_signalled_address_is_heard_at_once() {
    let (mut rig, owner) = Rig::with_stream();
    genuine(&mut rig, &owner, 1);
    rig.set_remote(&owner, Remote { rtp: address(7_000), rtcp: Some(address(7_001)) }, true);
    let header = Header { ssrc: 0xBEEF, ..far_header(9, 9, 0) };
    rig.deliver(&owner, Channel::Rtp, address(7_000), &rtp_bytes(header, &[2; 160]));
    assert_eq!(owner.stats().counts.packets_received, 2);
}

#[test]
fn a_stranger_at_another_address_gets_nothing_and_is_not_heard() {
    let (mut rig, mut owner) = Rig::with_stream();
    let stranger = SocketAddr::from(([198, 51, 100, 7], 4_000));
    rig.play(&owner, 1, &[segment(&samples(1, 160 * 50), 1)], true, false);
    let mut random = Random(7);
    for sequence in 0..100 {
        if sequence >= 20 {
            genuine(&mut rig, &owner, sequence);
        }
        for _ in 0..10 {
            let forgery = random.forgery();
            rig.deliver(&owner, Channel::Rtp, stranger, &forgery);
            rig.deliver(&owner, Channel::Rtcp, stranger, &forgery);
        }
        rig.run(ms(20));
    }
    let sent = rig.rtp();
    assert_eq!(sent.len(), 50);
    assert!(sent.iter().all(|it| it.to == address(4_000)), "the far end misses nothing");
    assert_eq!(owner.stats().counts.packets_received, 80);
    assert_eq!(owner.events(), [StreamEvent::Receiving, StreamEvent::Finished(PlayoutId(1))]);
}

#[test]
fn whoever_was_quicker_behind_the_same_address_loses_the_stream_to_the_named_port() {
    let (mut rig, owner) = Rig::with_stream();
    rig.play(&owner, 1, &[segment(&samples(1, 160 * 50), 1)], true, false);
    for tick in 0..40_u16 {
        if tick >= 10 {
            genuine(&mut rig, &owner, tick);
        }
        // One source that keeps its order, ten times as fast.
        for packet in 0..10 {
            let header = Header { ssrc: 0xBAD, ..far_header(tick * 10 + packet, 0, 0) };
            let bytes = rtp_bytes(header, &[9; 160]);
            rig.deliver(&owner, Channel::Rtp, address(6_666), &bytes);
            rig.run(ms(2));
        }
    }
    let to: Vec<_> = rig.rtp().iter().map(|sent| sent.to.port()).collect();
    assert_eq!(to[1..10], [6_666; 9]);
    assert!(to[11..].iter().all(|port| *port == 4_000), "from its first packet on");
    assert_eq!(owner.stats().counts.packets_received, 100 + 30);
}

#[test]
fn reports_of_strangers_are_no_receipts_and_end_nothing() {
    let (mut rig, owner) = Rig::with_stream();
    let progress = rig.play(&owner, 1, &[segment(&samples(1, 160 * 10), 1)], true, false);
    rig.run(ms(100));
    let highest = u32::from(FIRST_SEQUENCE) + 4;
    let heard = || progress.segments()[0].samples_acknowledged;
    let stranger = SocketAddr::from(([198, 51, 100, 7], 4_001));
    let ours = Options::default().ssrc;
    // With a BYE in it, as all reports of this helper.
    rig.deliver(&owner, Channel::Rtcp, stranger, &report_about(ours, highest, 0));
    rig.deliver(&owner, Channel::Rtp, stranger, &report_about(ours, highest, 0));
    rig.deliver(&owner, Channel::Rtcp, address(4_001), &report_about(ours + 1, highest, 0));
    assert_eq!(heard(), None);
    rig.deliver(&owner, Channel::Rtcp, address(4_001), &report_about(ours, highest, 0));
    assert_eq!(heard(), Some(800), "the far end's own is one");
    rig.run(ms(500));
    assert_eq!(rig.rtp().len(), 10, "and its BYE cuts nothing");
}

#[test]
fn reports_move_no_audio() {
    let (mut rig, owner) = Rig::with_stream();
    let ours = Options::default().ssrc;
    rig.deliver(&owner, Channel::Rtcp, address(9_999), &report_about(ours, 1, 0));
    rig.deliver(&owner, Channel::Rtp, address(9_999), &report_about(ours, 1, 0));
    rig.play(&owner, 1, &[segment(&samples(1, 160), 1)], true, false);
    assert_eq!(rig.rtp()[0].to, address(4_000));
}

const TIMEOUT: Duration = Duration::from_secs(60);

fn timed() -> (Rig, Owner) {
    Rig::with(Options { media_timeout: Some(TIMEOUT), ..Options::default() })
}

#[test]
fn a_far_end_that_says_nothing_for_a_minute_is_told_once() {
    let (mut rig, mut owner) = timed();
    rig.run(TIMEOUT - ms(1));
    assert_eq!(owner.events(), []);
    rig.run(ms(2));
    assert_eq!(owner.events(), [StreamEvent::Silent]);
    rig.run(3 * TIMEOUT);
    assert_eq!(owner.events(), []);
    let (mut rig, mut owner) = Rig::with_stream();
    rig.run(100 * TIMEOUT);
    assert_eq!(owner.events(), [], "without a limit it may be silent for ever");
}

#[test]
fn streams_that_fall_silent_almost_at_once_share_a_look() {
    let mut rig = Rig::new();
    let options = || Options { media_timeout: Some(TIMEOUT), ..Options::default() };
    let mut owners = Vec::new();
    for _ in 0..3 {
        owners.push(rig.stream(options()));
        rig.run(Duration::from_micros(150));
    }
    rig.run(TIMEOUT);
    for owner in &mut owners {
        assert_eq!(owner.events(), [StreamEvent::Silent]);
    }
}

#[test]
fn a_far_end_that_only_reports_or_sends_comfort_noise_is_alive() {
    let mut bytes = [0; MAX_COMPOUND_LEN];
    let report = Report { ssrc: 0xFA4, sender: None, block: None, cname: "far", bye: false };
    let length = report.write(&mut bytes);
    let noise = rtp_bytes(far_header(2, 320, 13), &[40]);
    for (channel, port, sign) in
        [(Channel::Rtcp, 4_001, &bytes[..length]), (Channel::Rtp, 4_000, &noise)]
    {
        let (mut rig, mut owner) = timed();
        for _ in 0..20 {
            rig.run(TIMEOUT - ms(1));
            rig.deliver(&owner, channel, address(port), sign);
        }
        assert_eq!(owner.events(), []);
        // What strangers say is no sign of life.
        let stranger = SocketAddr::from(([198, 51, 100, 7], port));
        rig.run(ms(30_000));
        rig.deliver(&owner, channel, stranger, sign);
        rig.run(ms(30_001));
        assert_eq!(owner.events(), [StreamEvent::Silent]);
    }
}

#[test]
fn who_holds_the_call_may_be_silent() {
    let remote = Options::default().remote;
    for (sending, receiving) in [(false, true), (true, false), (false, false)] {
        let (mut rig, mut owner) = timed();
        rig.command(&owner, StreamCommand::SetRemote { remote, sending, receiving });
        rig.run(10 * TIMEOUT);
        assert_eq!(owner.events(), []);
        rig.command(&owner, StreamCommand::SetRemote { remote, sending: true, receiving: true });
        rig.run(TIMEOUT - ms(1));
        assert_eq!(owner.events(), [], "its time begins anew");
        rig.run(ms(2));
        assert_eq!(owner.events(), [StreamEvent::Silent]);
    }
}

#[test]
fn a_moved_far_end_gets_everything_and_its_old_address_nothing_more() {
    let (mut rig, owner) = Rig::with_stream();
    rig.play(&owner, 1, &[segment(&samples(1, 160 * 50), 1)], true, true);
    rig.run(ms(500));
    rig.rtp();
    rig.set_remote(&owner, Remote { rtp: address(7_000), rtcp: Some(address(7_001)) }, true);
    rig.run(ms(500));
    let sent = rig.rtp();
    assert!(sent.iter().all(|it| it.to == address(7_000)), "from the next packet on");
    assert!(sent.len() >= 24);
}
