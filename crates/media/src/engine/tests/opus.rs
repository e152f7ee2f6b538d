//! Frame codecs: a frame per packet, and everything counted by the 48 kHz clock.

use proptest::prelude::*;

use super::*;
use crate::{
    dtmf::Event,
    rtcp::{MAX_COMPOUND_LEN, Report, ReportBlock},
};

fn opus() -> Options {
    Options { codec: Codec::Opus, ..Options::default() }
}

fn payloads(sent: &[Sent]) -> Vec<Vec<u8>> {
    sent.iter().map(|sent| sent.packet().payload.to_vec()).collect()
}

fn repeated(frames: &[Vec<u8>], times: usize) -> Vec<Vec<u8>> {
    std::iter::repeat_n(frames, times).flatten().cloned().collect()
}

/// The far end has our packets up to the `packets`th, but for `lost` of them.
fn report(rig: &mut Rig, owner: &Owner, packets: u32, lost: i32) {
    let block = ReportBlock {
        ssrc: opus().ssrc,
        fraction_lost: 0,
        cumulative_lost: lost,
        highest_sequence: u32::from(FIRST_SEQUENCE) + packets - 1,
        jitter: 96,
        last_sender_report: 0,
        delay_since_sender_report: 0,
    };
    let mut bytes = [0; MAX_COMPOUND_LEN];
    let length = Report { ssrc: 0xFA4, sender: None, block: Some(block), cname: "f", bye: false }
        .write(&mut bytes);
    rig.deliver(owner, Channel::Rtcp, address(4_001), &bytes[..length]);
}

fn acknowledged(progress: &PlayoutProgress) -> Vec<Option<u64>> {
    progress.segments().iter().map(|segment| segment.samples_acknowledged).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_frames_of_a_list_leave_in_order_one_every_20_ms(
        prompts in proptest::collection::vec(
            (proptest::collection::vec(0usize..400, 0..6), 1u32..4), 0..6,
        ),
        extended_at in 0usize..6,
        extended_after in 0u64..200,
        rounds in 1usize..3,
    ) {
        let (mut rig, mut owner) = Rig::with(opus());
        let prompts: Vec<_> = prompts
            .iter()
            .enumerate()
            .map(|(seed, (lengths, repeat))| (frames(seed * 7, lengths), *repeat))
            .collect();
        let segments: Vec<_> =
            prompts.iter().map(|(frames, repeat)| opus_segment(frames, *repeat)).collect();
        let list: Vec<_> = prompts
            .iter()
            .flat_map(|(frames, repeat)| repeated(frames, *repeat as usize))
            .collect();
        let looping = rounds > 1;
        let (now, later) = segments.split_at(extended_at.min(segments.len()));
        let progress = rig.play(&owner, 1, now, false, looping);
        rig.run(ms(extended_after));
        rig.extend(&owner, 1, later, true, &progress);
        // The packets of all rounds, and nothing of the next.
        let packets = list.len() * rounds;
        while rig.counters.packets_sent.get() < packets as u64 {
            rig.run(ms(5));
        }
        if looping {
            rig.stop(&owner, 1);
        }
        rig.run(ms(100));

        let sent = rig.rtp();
        prop_assert_eq!(payloads(&sent), repeated(&list, rounds));
        let last = if looping && !list.is_empty() {
            StreamEvent::Stopped(PlayoutId(1))
        } else {
            StreamEvent::Finished(PlayoutId(1))
        };
        prop_assert_eq!(owner.events(), [last]);
        for pair in sent.windows(2).filter(|pair| !pair[1].header().marker) {
            let [before, after] = [pair[0].header(), pair[1].header()];
            prop_assert_eq!(after.timestamp.wrapping_sub(before.timestamp), 960);
            prop_assert_eq!(after.sequence.wrapping_sub(before.sequence), 1);
            prop_assert_eq!(pair[1].at - pair[0].at, ms(20));
        }
        let octets = sent.iter().map(|sent| sent.packet().payload.len() as u64).sum::<u64>();
        prop_assert_eq!(owner.stats().counts.octets_sent, octets);
        let receipt: Vec<_> = progress.segments().iter().map(|it| it.samples_sent).collect();
        let expected: Vec<_> = prompts
            .iter()
            .map(|(frames, repeat)| frames.len() as u64 * u64::from(*repeat) * 960 * rounds as u64)
            .collect();
        prop_assert_eq!(receipt, expected);
        if packets > 0 {
            report(&mut rig, &owner, u32::try_from(packets).unwrap(), 0);
            let sent: Vec<_> =
                progress.segments().iter().map(|it| Some(it.samples_sent)).collect();
            prop_assert_eq!(acknowledged(&progress), sent);
        }
    }
}

#[test]
fn a_lost_packet_takes_its_20_ms_off_the_receipt() {
    let (mut rig, owner) = Rig::with(opus());
    let segments = [opus_segment(&frames(1, &[60; 5]), 1), opus_segment(&frames(9, &[80; 5]), 1)];
    let progress = rig.play(&owner, 1, &segments, true, false);
    rig.run(ms(500));
    report(&mut rig, &owner, 5, 2);
    assert_eq!(acknowledged(&progress), [Some(3 * 960), Some(0)]);
    report(&mut rig, &owner, 10, 2);
    assert_eq!(acknowledged(&progress), [Some(3 * 960), Some(5 * 960)]);
    assert_eq!(owner.stats().remote_jitter, ms(2));
    let segment = progress.segments()[1];
    assert_eq!((segment.samples_planned, segment.samples_sent), (5 * 960, 5 * 960));
}

#[test]
fn after_silence_the_timestamp_goes_on_by_the_time_that_has_passed() {
    let (mut rig, owner) = Rig::with(opus());
    let prompt = [opus_segment(&frames(1, &[60]), 1)];
    rig.play(&owner, 1, &prompt, true, false);
    rig.run(ms(100));
    rig.play(&owner, 2, &prompt, true, false);
    let sent = rig.rtp();
    let headers: Vec<_> = sent.iter().map(Sent::header).collect();
    assert_eq!(headers[1].timestamp.wrapping_sub(headers[0].timestamp), 4_800);
    assert!(headers[1].marker);
    assert_eq!(headers[1].payload_type, OPUS_TYPE);
}

#[test]
fn tones_are_measured_by_the_clock_of_the_audio() {
    let (mut rig, owner) = Rig::with(opus());
    let progress = rig.play(&owner, 1, &[opus_segment(&frames(1, &[60; 3]), 1)], true, false);
    let (codes, duration, gap) = (vec![5], ms(60), ms(0));
    rig.tones(&owner, 7, codes, duration, gap);
    rig.run(ms(500));
    let (events, audio): (Vec<_>, Vec<_>) =
        rig.rtp().into_iter().partition(|sent| sent.header().payload_type == EVENT_TYPE);
    let durations: Vec<_> = events
        .iter()
        .map(|sent| Event::read(sent.packet().payload.try_into().unwrap()).duration)
        .collect();
    assert_eq!(durations, [960, 1_920, 2_880, 2_880, 2_880]);
    assert!(events.windows(2).all(|pair| pair[1].at - pair[0].at == ms(20)));
    assert_eq!(audio.len(), 3, "a tone replaces nothing");
    assert_eq!(progress.segments()[0].samples_sent, 3 * 960);
}

#[test]
fn what_is_heard_is_opus_and_no_codec_of_another_clock() {
    let (mut rig, owner) = Rig::with(opus());
    let heard = |rig: &mut Rig, sequence, payload_type| {
        let header = far_header(sequence, u32::from(sequence) * 960, payload_type);
        rig.deliver(&owner, Channel::Rtp, address(4_000), &rtp_bytes(header, &[1; 60]));
        rig.run(ms(20));
    };
    for sequence in 0..4 {
        heard(&mut rig, sequence, OPUS_TYPE);
    }
    heard(&mut rig, 4, 0);
    assert!(owner.tap.try_iter().all(|it| it.codec == Codec::Opus && it.payload == [1; 60]));
    let stats = owner.stats();
    assert_eq!((stats.counts.packets_received, stats.counts.unknown_payloads), (4, 1));
    assert_eq!((stats.jitter, stats.lost), (ms(0), 0));
}
