//! Playouts: the audio on the wire, its timing, and what the owner is told.

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::*;

const SILENCE: u8 = 0xFF;

fn finished(id: u128) -> StreamEvent {
    StreamEvent::Finished(PlayoutId(id))
}

fn stopped(id: u128) -> StreamEvent {
    StreamEvent::Stopped(PlayoutId(id))
}

fn times(sent: &[Sent]) -> Vec<u64> {
    sent.iter().map(|sent| u64::try_from(sent.at.as_millis()).unwrap()).collect()
}

#[test]
fn the_first_packet_leaves_at_once_and_the_others_every_20_ms() {
    let (mut rig, mut owner) = Rig::with_stream();
    rig.run(Duration::from_micros(12_345));
    rig.play(&owner, 1, &[segment(&samples(1, 800), 1)], true, false);
    rig.run(ms(79));
    assert_eq!(owner.events(), []);
    rig.run(ms(200));
    let sent = rig.rtp();
    let at: Vec<_> = sent.iter().map(|sent| sent.at.as_micros()).collect();
    assert_eq!(at, [12_345, 32_345, 52_345, 72_345, 92_345]);
    for (number, sent) in (0u16..).zip(&sent) {
        let expected = Header {
            marker: number == 0,
            payload_type: 0,
            sequence: FIRST_SEQUENCE.wrapping_add(number),
            timestamp: FIRST_TIMESTAMP.wrapping_add(160 * u32::from(number)),
            ssrc: 0x1234_5678,
        };
        assert_eq!((sent.header(), sent.to), (expected, address(4_000)));
    }
    assert_eq!(owner.events(), [finished(1)]);
    assert_eq!(owner.stats().counts.octets_sent, 800);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_sent_audio_is_exactly_the_concatenation(
        prompts in proptest::collection::vec((0usize..700, 1u32..4), 0..8),
        extended_at in 0usize..8,
        extended_after in 0u64..200,
    ) {
        let (mut rig, mut owner) = Rig::with_stream();
        let segments: Vec<_> = prompts
            .iter()
            .enumerate()
            .map(|(seed, (length, repeat))| segment(&samples(seed, *length), *repeat))
            .collect();
        let (now, later) = segments.split_at(extended_at.min(segments.len()));
        let progress = rig.play(&owner, 1, now, false, false);
        rig.run(ms(extended_after));
        prop_assert_eq!(owner.events(), []);
        rig.extend(&owner, 1, later, true, &progress);
        rig.run(Duration::from_secs(3));

        let mut expected: Vec<u8> = segments
            .iter()
            .flat_map(|segment| bytes_of(segment).repeat(segment.repeat as usize))
            .collect();
        let lengths: Vec<_> =
            segments.iter().map(|it| it.prompt.units() * u64::from(it.repeat)).collect();
        expected.resize(expected.len().next_multiple_of(160), SILENCE);
        let sent = rig.rtp();
        prop_assert_eq!(audio(&sent), expected);
        prop_assert!(sent.iter().all(|sent| sent.packet().payload.len() == 160));
        prop_assert_eq!(owner.events(), [finished(1)]);
        let receipt: Vec<_> = progress.segments().iter().map(|it| it.samples_sent).collect();
        prop_assert_eq!(receipt, lengths);
    }

    #[test]
    fn a_loop_is_the_list_over_and_over_until_it_is_stopped(
        prompts in proptest::collection::vec((0usize..300, 1u32..3), 1..4),
        rounds in 1u64..400,
    ) {
        let (mut rig, mut owner) = Rig::with_stream();
        let segments: Vec<_> = prompts
            .iter()
            .enumerate()
            .map(|(seed, (length, repeat))| segment(&samples(seed, *length), *repeat))
            .collect();
        let round: Vec<u8> = segments
            .iter()
            .flat_map(|segment| bytes_of(segment).repeat(segment.repeat as usize))
            .collect();
        let progress = rig.play(&owner, 1, &segments, true, true);
        rig.run(ms(rounds * 20 - 1));
        rig.stop(&owner, 1);
        rig.run(ms(100));
        let sent = rig.rtp();
        if round.is_empty() {
            prop_assert!(sent.is_empty());
            prop_assert_eq!(owner.events(), [finished(1)]);
        } else {
            let expected: Vec<u8> = round.iter().copied().cycle().take(rounds as usize * 160).collect();
            prop_assert_eq!(audio(&sent), expected);
            prop_assert!(sent.windows(2).all(|pair| pair[1].at - pair[0].at == ms(20)));
            prop_assert_eq!(owner.events(), [stopped(1)]);
            let total: u64 = progress.segments().iter().map(|it| it.samples_sent).sum();
            prop_assert_eq!(total, rounds * 160);
        }
    }
}

#[test]
fn an_extension_in_time_joins_without_a_gap() {
    let (mut rig, mut owner) = Rig::with_stream();
    let (a, b) = (samples(1, 410), samples(2, 390));
    let progress = rig.play(&owner, 1, &[segment(&a, 1)], false, false);
    rig.run(ms(35));
    rig.extend(&owner, 1, &[segment(&b, 1)], false, &progress);
    rig.run(ms(60));
    rig.extend(&owner, 1, &[], true, &progress);
    let sent = rig.rtp();
    assert_eq!(audio(&sent), [a, b].concat());
    assert_eq!(times(&sent), [0, 20, 40, 60, 80]);
    assert_eq!(sent.iter().filter(|sent| sent.header().marker).count(), 1);
    assert_eq!(owner.events(), [finished(1)], "sealing what is already sent finishes it");
}

#[test]
fn an_unsealed_end_is_silence_until_more_comes_and_then_a_new_talkspurt() {
    let (mut rig, mut owner) = Rig::with_stream();
    let (a, b) = (samples(1, 400), samples(2, 240));
    let progress = rig.play(&owner, 1, &[segment(&a, 1)], false, false);
    rig.run(ms(500));
    assert_eq!(times(&rig.rtp()), [0, 20], "80 samples wait for what follows");
    assert_eq!(owner.events(), []);
    rig.extend(&owner, 1, &[segment(&b, 1)], true, &progress);
    rig.run(ms(500));
    let sent = rig.rtp();
    assert_eq!(times(&sent), [500, 520]);
    assert_eq!(audio(&sent), [&a[320..], &b[..]].concat());
    let header = sent[0].header();
    assert!(header.marker && !sent[1].header().marker);
    assert_eq!(header.timestamp, FIRST_TIMESTAMP.wrapping_add(500 * 8), "elapsed time");
    assert_eq!(header.sequence, FIRST_SEQUENCE.wrapping_add(2));
    assert_eq!(owner.events(), [finished(1)]);
}

#[test]
fn after_silence_the_timestamp_jumps_by_the_time_that_passed() {
    let (mut rig, owner) = Rig::with_stream();
    rig.play(&owner, 1, &[segment(&samples(1, 160), 1)], true, false);
    rig.run(Duration::from_micros(1_000_125));
    rig.play(&owner, 2, &[segment(&samples(1, 320), 1)], true, false);
    rig.run(ms(100));
    let headers: Vec<_> = rig.rtp().iter().map(Sent::header).collect();
    assert!(headers[1].marker && !headers[2].marker);
    assert_eq!(headers[1].timestamp.wrapping_sub(headers[0].timestamp), 8_001);
    assert_eq!(headers[2].timestamp.wrapping_sub(headers[1].timestamp), 160);
}

#[test]
fn a_playout_right_after_another_continues_its_20_ms_grid() {
    let (mut rig, mut owner) = Rig::with_stream();
    rig.play(&owner, 1, &[segment(&samples(1, 320), 1)], true, false);
    rig.run(ms(20));
    assert_eq!(owner.events(), [finished(1)]);
    rig.run(ms(3));
    rig.play(&owner, 2, &[segment(&samples(2, 320), 1)], true, false);
    rig.run(ms(100));
    let sent = rig.rtp();
    assert_eq!(times(&sent), [0, 20, 40, 60]);
    assert_eq!(sent.iter().filter(|sent| sent.header().marker).count(), 1);
    assert_eq!(
        sent[2].header().timestamp.wrapping_sub(sent[1].header().timestamp),
        160,
        "the far end plays on"
    );
}

#[test]
fn a_playout_without_samples_finishes_at_once() {
    for looping in [false, true] {
        let (mut rig, mut owner) = Rig::with_stream();
        let progress = rig.play(&owner, 1, &[segment(&[], 3)], true, looping);
        assert_eq!(owner.events(), [finished(1)]);
        rig.run(ms(100));
        assert!(rig.rtp().is_empty());
        let segment = progress.segments()[0];
        assert_eq!((segment.samples_sent, segment.first_packet), (0, None));
    }
}

#[test]
fn a_stop_cuts_at_once_and_its_waiter_hears_of_it() {
    let (mut rig, mut owner) = Rig::with_stream();
    rig.play(&owner, 1, &[segment(&samples(1, 8_000), 1)], true, false);
    rig.run(ms(45));
    let (done, mut answer) = oneshot::channel();
    rig.command(&owner, StreamCommand::Stop { id: PlayoutId(1), done: Some(done) });
    assert_eq!(answer.try_recv(), Ok(true));
    rig.run(ms(500));
    assert_eq!(times(&rig.rtp()), [0, 20, 40]);
    assert_eq!(owner.events(), [stopped(1)]);

    let (done, mut answer) = oneshot::channel();
    rig.command(&owner, StreamCommand::Stop { id: PlayoutId(1), done: Some(done) });
    assert_eq!(answer.try_recv(), Ok(false));
    assert_eq!(owner.events(), [], "stopping what has ended is absorbed");
}

#[test]
fn stopping_another_playout_changes_nothing() {
    let (mut rig, mut owner) = Rig::with_stream();
    rig.play(&owner, 1, &[segment(&samples(1, 320), 1)], true, false);
    rig.stop(&owner, 9);
    rig.run(ms(100));
    assert_eq!(rig.rtp().len(), 2);
    assert_eq!(owner.events(), [finished(1)]);
}

#[test]
fn a_new_playout_cuts_the_old_one_without_a_gap() {
    let (mut rig, mut owner) = Rig::with_stream();
    let (a, b) = (samples(1, 8_000), samples(2, 320));
    let old = rig.play(&owner, 1, &[segment(&a, 1)], true, false);
    rig.run(ms(30));
    rig.play(&owner, 2, &[segment(&b, 1)], true, false);
    rig.run(ms(100));
    let sent = rig.rtp();
    assert_eq!(times(&sent), [0, 20, 40, 60]);
    assert_eq!(audio(&sent), [&a[..320], &b].concat());
    assert_eq!(owner.events(), [stopped(1), finished(2)]);
    assert_eq!(old.segments()[0].samples_sent, 320);
}

#[test]
fn a_late_tick_sends_three_packets_at_most_and_the_rest_moves_back() {
    let (mut rig, owner) = Rig::with_stream();
    let prompt = samples(1, 160 * 20);
    rig.play(&owner, 1, &[segment(&prompt, 1)], true, false);
    rig.stall(ms(1_000));
    let sent = rig.rtp();
    assert_eq!(times(&sent), [0, 1_000, 1_000, 1_000]);
    rig.run(ms(60));
    let later = rig.rtp();
    assert_eq!(times(&later), [1_020, 1_040, 1_060]);
    rig.run(Duration::from_secs(1));
    let all = [sent, later, rig.rtp()].concat();
    assert_eq!(audio(&all), prompt, "nothing is skipped");
    for pair in all.windows(2) {
        let [a, b] = [pair[0].header(), pair[1].header()];
        assert_eq!(b.timestamp.wrapping_sub(a.timestamp), 160, "timestamps go with the samples");
        assert!(!b.marker);
    }
    let stats = owner.stats();
    assert_eq!((stats.counts.slips, stats.counts.late_packets), (1, 3));
    assert_eq!(stats.max_lateness, ms(980));
}

#[test]
fn a_stall_leaves_streams_spread_over_the_20_ms() {
    let mut rig = Rig::new();
    let owners: Vec<_> = (0..4).map(|_| rig.stream(Options::default())).collect();
    for owner in &owners {
        rig.play(owner, 1, &[segment(&samples(1, 160 * 30), 1)], true, false);
        rig.run(ms(5));
    }
    rig.stall(ms(1_000));
    rig.rtp();
    rig.run(ms(40));
    let sent = rig.rtp();
    for owner in &owners {
        let own: Vec<_> = sent.iter().filter(|sent| sent.slot == owner.slot).cloned().collect();
        let phase = 5 * owner.slot as u64;
        // The burst was at 1,020.
        let first = if phase == 0 { 1_040 } else { 1_020 + phase };
        assert_eq!(times(&own), [first, first + 20]);
    }
    assert!(owners.iter().all(|owner| owner.stats().counts.slips == 1));
}

#[test]
fn a_slightly_late_tick_does_not_move_the_grid() {
    let (mut rig, owner) = Rig::with_stream();
    rig.play(&owner, 1, &[segment(&samples(1, 160 * 6), 1)], true, false);
    rig.stall(ms(47));
    rig.run(ms(100));
    assert_eq!(times(&rig.rtp()), [0, 47, 47, 60, 80, 100]);
    assert_eq!(owner.stats().counts.slips, 0);
}

#[test]
fn hold_pauses_the_playout_and_nothing_of_it_is_lost() {
    let (mut rig, mut owner) = Rig::with_stream();
    let prompt = samples(1, 160 * 5);
    rig.play(&owner, 1, &[segment(&prompt, 1)], true, false);
    rig.run(ms(30));
    let remote = Options::default().remote;
    rig.set_remote(&owner, remote, false);
    rig.run(ms(1_000));
    assert_eq!((rig.rtp().len(), owner.events()), (2, vec![]));
    rig.set_remote(&owner, remote, true);
    rig.run(ms(200));
    let sent = rig.rtp();
    assert_eq!(times(&sent), [1_030, 1_050, 1_070]);
    assert_eq!(audio(&sent), prompt[320..]);
    assert!(sent[0].header().marker);
    assert_eq!(sent[0].header().timestamp, FIRST_TIMESTAMP.wrapping_add(1_030 * 8));
    assert_eq!(owner.events(), [finished(1)]);
}

#[test]
fn a_far_end_without_an_address_is_like_hold() {
    let (mut rig, owner) = Rig::with_stream();
    let nowhere = Remote { rtp: SocketAddr::from(([0, 0, 0, 0], 4_000)), rtcp: None };
    rig.set_remote(&owner, nowhere, true);
    rig.play(&owner, 1, &[segment(&samples(1, 320), 1)], true, false);
    rig.run(ms(100));
    assert!(rig.rtp().is_empty());
    rig.set_remote(&owner, Remote { rtp: address(7_000), rtcp: None }, true);
    rig.run(ms(100));
    assert_eq!(rig.rtp().iter().map(|sent| sent.to).collect::<Vec<_>>(), [address(7_000); 2]);
}

#[test]
fn receipts_count_only_what_the_kernel_took() {
    let (mut rig, mut owner) = Rig::with_stream();
    let progress = rig.play(&owner, 1, &[segment(&samples(1, 800), 1)], true, false);
    rig.shard.sender().refuse = true;
    rig.run(ms(40));
    rig.shard.sender().refuse = false;
    rig.run(ms(200));
    let segment = progress.segments()[0];
    assert_eq!((segment.samples_sent, segment.samples_planned), (3 * 160, 5 * 160));
    assert_eq!(owner.stats().counts.send_errors, 2);
    assert_eq!(
        owner.events(),
        [finished(1)],
        "errors end nothing: the owner judges by what was sent"
    );
    let sequences: Vec<_> = rig.rtp().iter().map(|sent| sent.header().sequence).collect();
    assert_eq!(sequences, [0xFFFE, 1, 2], "the far end sees the loss");
}

#[test]
fn receipts_say_when_each_segment_was_sent() {
    let (mut rig, owner) = Rig::with_stream();
    let wall = rig.wall();
    let segments = [segment(&samples(1, 200), 1), segment(&samples(2, 200), 2), segment(&[], 1)];
    let progress = rig.play(&owner, 1, &segments, true, false);
    rig.run(ms(30));
    let times = |progress: &PlayoutProgress| -> Vec<_> {
        progress.segments().iter().map(|it| (it.first_packet, it.last_packet)).collect()
    };
    let at = |after| Some(wall + ms(after));
    assert_eq!(times(&progress), [(at(0), at(20)), (at(20), at(20)), (None, None)]);
    rig.run(ms(200));
    assert_eq!(times(&progress), [(at(0), at(20)), (at(20), at(60)), (None, None)]);
    let expected = SegmentProgressWithoutTimes { sent: 400, acknowledged: None };
    assert_eq!(SegmentProgressWithoutTimes::of(&progress, 1), expected);
}

#[derive(Debug, PartialEq)]
struct SegmentProgressWithoutTimes {
    sent: u64,
    acknowledged: Option<u64>,
}

impl SegmentProgressWithoutTimes {
    fn of(progress: &PlayoutProgress, index: usize) -> Self {
        let segment = progress.segments()[index];
        Self { sent: segment.samples_sent, acknowledged: segment.samples_acknowledged }
    }
}

#[test]
fn a_full_event_queue_loses_nothing() {
    let mut rig = Rig::new();
    let mut owner = rig.stream(Options { event_places: 1, ..Options::default() });
    for id in 1..=5 {
        rig.play(&owner, id, &[], true, false);
    }
    let mut events = Vec::new();
    for _ in 0..10 {
        events.extend(owner.events());
        rig.run(ms(20));
    }
    assert_eq!(events, (1..=5).map(finished).collect::<Vec<_>>());
}

#[test]
fn an_owner_who_does_not_listen_does_not_stop_the_audio() {
    let (mut rig, owner) = Rig::with_stream();
    let Owner { id, slot, counters, events, tap } = owner;
    drop(events);
    let owner = Owner { id, slot, counters, events: mpsc::channel(1).1, tap };
    rig.play(&owner, 1, &[segment(&samples(1, 160), 1)], true, false);
    rig.play(&owner, 2, &[segment(&samples(1, 320), 1)], true, false);
    rig.run(ms(100));
    assert_eq!(rig.rtp().len(), 3);
}
