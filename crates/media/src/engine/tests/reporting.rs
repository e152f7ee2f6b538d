//! RTCP: reports of ours, and reading the far end's as receipts.

use rtcp_types::{Compound, Packet as RtcpPacket};

use super::*;
use crate::rtcp::{MAX_COMPOUND_LEN, Report, ReportBlock, SenderInfo, ntp};

const INTERVAL: Duration = Duration::from_secs(5);

fn reporting() -> Options {
    Options { rtcp_interval: INTERVAL, ..Options::default() }
}

/// The far end's report that it has our packets up to `highest`, all of them.
fn receiver_report(highest: u32) -> Vec<u8> {
    report_about(Options::default().ssrc, highest, 0)
}

pub(super) fn report_about(ssrc: u32, highest: u32, cumulative_lost: i32) -> Vec<u8> {
    let block = ReportBlock {
        ssrc,
        fraction_lost: 0,
        cumulative_lost,
        highest_sequence: highest,
        jitter: 16,
        last_sender_report: 0,
        delay_since_sender_report: 0,
    };
    let mut bytes = [0; MAX_COMPOUND_LEN];
    let length = Report { ssrc: 0xFA4, sender: None, block: Some(block), cname: "far", bye: true }
        .write(&mut bytes);
    bytes[..length].to_vec()
}

fn acknowledged(progress: &PlayoutProgress) -> Vec<Option<u64>> {
    progress.segments().iter().map(|segment| segment.samples_acknowledged).collect()
}

#[test]
fn a_receiver_report_tells_what_was_heard_of_each_segment() {
    let (mut rig, owner) = Rig::with_stream();
    let segments = [segment(&samples(1, 200), 1), segment(&samples(2, 300), 1)];
    let progress = rig.play(&owner, 1, &segments, true, false);
    rig.run(ms(45));
    assert_eq!(acknowledged(&progress), [None, None]);
    // The sequence starts at 0xFFFE: the second packet is 0xFFFF, the third wraps.
    rig.deliver(&owner, Channel::Rtcp, address(4_001), &receiver_report(0xFFFF));
    assert_eq!(acknowledged(&progress), [Some(200), Some(120)]);
    rig.run(ms(500));
    rig.deliver(&owner, Channel::Rtcp, address(4_001), &receiver_report(0x1_0000));
    assert_eq!(acknowledged(&progress), [Some(200), Some(280)], "also after the end");
    rig.deliver(&owner, Channel::Rtcp, address(4_001), &receiver_report(0x1_0001));
    assert_eq!(acknowledged(&progress), [Some(200), Some(300)], "never the padding");
    assert_eq!(owner.stats().remote_jitter, ms(2));
}

#[test]
fn packets_the_far_end_lost_are_in_no_receipt() {
    let (mut rig, owner) = Rig::with_stream();
    let segments = [segment(&samples(1, 800), 1), segment(&samples(2, 800), 1)];
    let progress = rig.play(&owner, 1, &segments, true, false);
    rig.run(ms(500));
    let report = |rig: &mut Rig, packets: u32, lost| {
        let highest = u32::from(FIRST_SEQUENCE) + packets - 1;
        let bytes = report_about(Options::default().ssrc, highest, lost);
        rig.deliver(&owner, Channel::Rtcp, address(4_001), &bytes);
        acknowledged(&progress)
    };
    assert_eq!(report(&mut rig, 5, 2), [Some(480), Some(0)]);
    assert_eq!(report(&mut rig, 10, 2), [Some(480), Some(800)]);
    assert_eq!(owner.stats().remote_lost, 2);
}

#[test]
fn packets_that_the_kernel_refused_are_taken_off_once() {
    let (mut rig, owner) = Rig::with_stream();
    let progress = rig.play(&owner, 1, &[segment(&samples(1, 800), 1)], true, false);
    rig.shard.sender().refuse = true;
    rig.run(ms(40));
    rig.shard.sender().refuse = false;
    rig.run(ms(200));
    // The far end sees two numbers missing.
    let highest = u32::from(FIRST_SEQUENCE) + 4;
    let bytes = report_about(Options::default().ssrc, highest, 2);
    rig.deliver(&owner, Channel::Rtcp, address(4_001), &bytes);
    assert_eq!(acknowledged(&progress), [Some(480)]);
    assert_eq!(progress.segments()[0].samples_sent, 480);
}

#[test]
fn reports_about_others_or_from_strangers_acknowledge_nothing() {
    let (mut rig, owner) = Rig::with_stream();
    let progress = rig.play(&owner, 1, &[segment(&samples(1, 800), 1)], true, false);
    rig.run(ms(100));
    rig.deliver(&owner, Channel::Rtcp, address(4_001), &report_about(1, 0x1_0002, 0));
    let stranger = SocketAddr::from(([198, 51, 100, 7], 4_001));
    rig.deliver(&owner, Channel::Rtcp, stranger, &receiver_report(0x1_0002));
    assert_eq!(acknowledged(&progress), [None]);
    assert_eq!(owner.stats().counts.foreign_packets, 1);
}

#[test]
fn a_loop_is_acknowledged_over_its_rounds_and_never_more_than_was_sent() {
    let (mut rig, owner) = Rig::with_stream();
    let segments = [segment(&samples(1, 100), 1), segment(&samples(2, 50), 1)];
    let progress = rig.play(&owner, 1, &segments, true, true);
    rig.run(ms(19 * 20));
    // 20 packets are 3,200 samples: 21 rounds and 50 samples.
    rig.deliver(&owner, Channel::Rtcp, address(4_001), &receiver_report(0xFFFE + 19));
    assert_eq!(acknowledged(&progress), [Some(2_150), Some(1_050)]);
    let sent: Vec<_> = progress.segments().iter().map(|it| Some(it.samples_sent)).collect();
    assert_eq!(acknowledged(&progress), sent);
}

#[test]
fn tones_between_the_audio_do_not_shift_the_receipt() {
    let (mut rig, owner) = Rig::with_stream();
    let progress = rig.play(&owner, 1, &[segment(&samples(1, 160 * 6), 1)], true, false);
    rig.run(ms(30));
    let (codes, duration, gap) = (vec![5], ms(60), ms(0));
    rig.tones(&owner, 7, codes, duration, gap);
    rig.run(ms(1_000));
    // Two packets of audio, five of the tone, and the first of the rest.
    for (index, expected) in [(1, 320), (6, 320), (7, 480), (10, 960)] {
        let bytes = receiver_report(u32::from(FIRST_SEQUENCE) + index);
        rig.deliver(&owner, Channel::Rtcp, address(4_001), &bytes);
        assert_eq!(acknowledged(&progress), [Some(expected)]);
    }
}

#[test]
fn reports_come_at_jittered_intervals_that_a_seed_repeats() {
    let times = || {
        let mut rig = Rig::new();
        let _owner = rig.stream(reporting());
        rig.run(Duration::from_secs(300));
        rig.rtcp().iter().map(|sent| sent.at).collect::<Vec<_>>()
    };
    let seen = times();
    assert_eq!(seen, times());
    assert!((ms(1_250)..=ms(3_750)).contains(&seen[0]), "half an interval first");
    let spans: Vec<_> = seen.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(spans.iter().all(|span| (INTERVAL / 2..=INTERVAL * 3 / 2).contains(span)));
    let (shortest, longest) = (spans.iter().min().unwrap(), spans.iter().max().unwrap());
    assert!(*longest > *shortest + INTERVAL / 4, "{shortest:?} {longest:?}");
}

#[test]
fn who_sends_reports_as_a_sender_and_who_only_hears_as_a_receiver() {
    let mut rig = Rig::new();
    let owner = rig.stream(reporting());
    rig.run(ms(500));
    rig.play(&owner, 1, &[segment(&samples(1, 8_000), 20)], true, false);
    for sequence in [10, 11, 13] {
        rig.run(ms(20));
        let bytes = rtp_bytes(far_header(sequence, u32::from(sequence) * 160, 0), &[0; 160]);
        rig.deliver(&owner, Channel::Rtp, address(4_000), &bytes);
    }
    let far_wall = rig.wall();
    let far_sender = SenderInfo { ntp: ntp(far_wall), rtp_timestamp: 0, packets: 3, octets: 480 };
    let mut bytes = [0; MAX_COMPOUND_LEN];
    let length =
        Report { ssrc: 0xFA4, sender: Some(far_sender), block: None, cname: "far", bye: false }
            .write(&mut bytes);
    rig.deliver(&owner, Channel::Rtcp, address(4_001), &bytes[..length]);
    let far_sent_at = rig.elapsed;

    rig.run(Duration::from_secs(4));
    let first = rig.rtcp().remove(0);
    assert_eq!((first.channel, first.to), (Channel::Rtcp, address(4_001)));
    let mut packets = Compound::parse(&first.bytes).unwrap();
    let Some(Ok(RtcpPacket::Sr(sr))) = packets.next() else { panic!("no SR") };
    let playing = first.at - ms(500);
    let sent = u32::try_from(playing.as_millis() / 20 + 1).unwrap();
    assert_eq!((sr.packet_count(), sr.octet_count()), (sent, sent * 160));
    let expected = FIRST_TIMESTAMP.wrapping_add(u32::try_from(playing.as_micros() / 125).unwrap());
    assert!(sr.rtp_timestamp().abs_diff(expected) <= 1, "the moment of the report");
    let block = sr.report_blocks().next().unwrap();
    assert_eq!((block.ssrc(), block.extended_sequence_number()), (0xFA4, 13));
    assert_eq!((block.cumulative_lost(), block.fraction_lost()), (1, 64));
    assert_eq!(block.last_sender_report_timestamp(), (ntp(far_wall) >> 16) as u32);
    let delay = (first.at - far_sent_at).as_secs_f64() * 65_536.0;
    assert!((f64::from(block.delay_since_last_sender_report_timestamp()) - delay).abs() < 2.0);
    let Some(Ok(RtcpPacket::Sdes(sdes))) = packets.next() else { panic!("no SDES") };
    let chunk = sdes.chunks().next().unwrap();
    assert_eq!(chunk.items().next().unwrap().value(), b"rig@example");

    // 20 s of audio end; two reports later it is a receiver.
    rig.run(Duration::from_secs(60));
    let last = rig.rtcp().pop().unwrap();
    let mut packets = Compound::parse(&last.bytes).unwrap();
    let Some(Ok(RtcpPacket::Rr(rr))) = packets.next() else { panic!("no RR") };
    assert_eq!(rr.n_reports(), 0, "nothing was heard lately");
}

#[test]
fn two_streams_acknowledge_each_other_and_measure_the_round_trip() {
    let mut rig = Rig::new();
    let a = rig.stream(Options { ssrc: 1, ..reporting() });
    let b = rig.stream(Options { ssrc: 2, ..reporting() });
    let progress = rig.play(&a, 1, &[segment(&samples(1, 8_000), 30)], true, false);
    for _ in 0..2_000 {
        rig.run(ms(10));
        // 10 ms each way.
        for sent in std::mem::take(&mut rig.shard.sender().sent) {
            let hearer = if sent.slot == a.slot { &b } else { &a };
            let from = if sent.channel == Channel::Rtp { address(4_000) } else { address(4_001) };
            rig.deliver(hearer, sent.channel, from, &sent.bytes);
        }
    }
    let acknowledged = progress.segments()[0].samples_acknowledged.unwrap();
    assert!(acknowledged > 8_000 * 10, "{acknowledged}");
    assert!(acknowledged <= progress.segments()[0].samples_sent);
    let round_trip = a.stats().round_trip.unwrap();
    assert!(round_trip <= ms(25), "{round_trip:?}");
    assert_eq!(b.stats().lost, 0);
}

#[test]
fn a_step_of_the_wall_clock_is_not_in_the_reports() {
    let mut rig = Rig::new();
    let a = rig.stream(Options { ssrc: 1, ..reporting() });
    let b = rig.stream(Options { ssrc: 2, ..reporting() });
    rig.play(&a, 1, &[segment(&samples(1, 8_000), 30)], true, false);
    let mut told = Vec::new();
    for turn in 0..2_000_u32 {
        rig.wall_step = ms(3_600_000) * (turn / 500);
        rig.run(ms(10));
        for sent in std::mem::take(&mut rig.shard.sender().sent) {
            let hearer = if sent.slot == a.slot { &b } else { &a };
            let from = if sent.channel == Channel::Rtp { address(4_000) } else { address(4_001) };
            rig.deliver(hearer, sent.channel, from, &sent.bytes);
            if sent.channel == Channel::Rtcp && sent.slot == a.slot {
                let first = Compound::parse(&sent.bytes).unwrap().next();
                let Some(Ok(RtcpPacket::Sr(report))) = first else { continue };
                told.push((report.ntp_timestamp() >> 32, report.rtp_timestamp()));
            }
        }
        let round_trip = a.stats().round_trip.unwrap_or_default();
        assert!(round_trip <= ms(25), "{round_trip:?} after {turn} turns");
    }
    let (first, last) = (told.first().unwrap(), told.last().unwrap());
    let by_samples = u64::from(last.1.wrapping_sub(first.1)) / 8_000;
    assert!((last.0 - first.0).abs_diff(by_samples) <= 1, "{told:?}");
}

#[test]
fn closing_says_bye_with_the_last_reception() {
    let (mut rig, owner) = Rig::with_stream();
    let bytes = rtp_bytes(far_header(7, 0, 0), &[0; 160]);
    rig.deliver(&owner, Channel::Rtp, address(4_000), &bytes);
    rig.play(&owner, 1, &[segment(&samples(1, 160), 1)], true, false);
    let now = rig.now();
    rig.shard.close(now, owner.id);
    let sent = rig.rtcp();
    let packets: Vec<_> = Compound::parse(&sent[0].bytes).unwrap().map(Result::unwrap).collect();
    let RtcpPacket::Sr(sr) = &packets[0] else { panic!("no SR") };
    assert_eq!(sr.report_blocks().next().unwrap().extended_sequence_number(), 7);
    let RtcpPacket::Bye(bye) = &packets[2] else { panic!("no BYE") };
    assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [Options::default().ssrc]);
}

#[test]
fn a_stream_that_never_sent_closes_silently() {
    let (mut rig, owner) = Rig::with_stream();
    let now = rig.now();
    rig.shard.close(now, owner.id);
    assert!(rig.rtcp().is_empty());
}

#[test]
fn a_bye_of_the_far_end_ends_nothing() {
    let (mut rig, mut owner) = Rig::with_stream();
    rig.play(&owner, 1, &[segment(&samples(1, 800), 1)], true, false);
    // The far end's reports of these tests all carry one.
    rig.deliver(&owner, Channel::Rtcp, address(4_001), &receiver_report(0xFFFE));
    rig.run(ms(200));
    assert_eq!(rig.rtp().len(), 5);
    assert_eq!(owner.events(), [StreamEvent::Finished(PlayoutId(1))]);
}

#[test]
fn without_an_rtcp_address_reports_share_the_rtp_port_and_its_latch() {
    let mut rig = Rig::new();
    let remote = Remote { rtp: address(4_000), rtcp: None };
    let owner = rig.stream(Options { remote, ..reporting() });
    let bytes = rtp_bytes(far_header(7, 0, 0), &[0; 160]);
    rig.deliver(&owner, Channel::Rtp, address(9_000), &bytes);
    let progress = rig.play(&owner, 1, &[segment(&samples(1, 160), 1)], true, false);
    rig.run(Duration::from_secs(4));
    let sent = rig.rtcp().remove(0);
    assert_eq!((sent.channel, sent.to), (Channel::Rtp, address(9_000)));
    rig.deliver(&owner, Channel::Rtp, address(9_000), &receiver_report(0xFFFE));
    assert_eq!(acknowledged(&progress), [Some(160)]);
}
