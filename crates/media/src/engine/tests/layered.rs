//! Overlays, pauses and seeks: the audio on the wire sample by sample, and the books.

use super::*;
use crate::engine::stream::LayerCommand;

fn finished(id: u128) -> StreamEvent {
    StreamEvent::Finished(PlayoutId(id))
}

fn overlay(rig: &mut Rig, owner: &Owner, id: u128, segments: &[Segment]) -> Arc<PlayoutProgress> {
    let block = Block::new(segments);
    let progress = Arc::new(PlayoutProgress::new(Arc::clone(&block)));
    let new = NewPlayout {
        id: PlayoutId(id),
        segments: segments.to_vec(),
        block,
        progress: Arc::clone(&progress),
        sealed: true,
        looping: false,
    };
    rig.command(owner, StreamCommand::Layer(LayerCommand::Overlay(Box::new(new))));
    progress
}

fn pause(rig: &mut Rig, owner: &Owner, id: u128, paused: bool) {
    rig.command(owner, StreamCommand::Layer(LayerCommand::Pause { id: PlayoutId(id), paused }));
}

fn seek(rig: &mut Rig, owner: &Owner, id: u128, units: u64) {
    rig.command(owner, StreamCommand::Layer(LayerCommand::Seek { id: PlayoutId(id), units }));
}

fn sent_of(progress: &PlayoutProgress) -> Vec<u64> {
    progress.segments().iter().map(|it| it.samples_sent).collect()
}

/// What two µ-law signals sound like together.
fn sum(one: &[u8], other: &[u8]) -> Vec<u8> {
    let codec = SampleCodec::Pcmu;
    let (one, other) = (codec.decode(one), codec.decode(other));
    let added: Vec<i16> = one.iter().zip(&other).map(|(a, b)| a.saturating_add(*b)).collect();
    codec.encode(&added)
}

/// Consecutive packets: numbers without a hole, and timestamps as far apart as the packets.
fn assert_continuous(sent: &[Sent]) {
    for pair in sent.windows(2) {
        let (one, next) = (pair[0].header(), pair[1].header());
        assert_eq!(next.sequence, one.sequence.wrapping_add(1));
        let units = (pair[1].at - pair[0].at).as_micros() * 8 / 1_000;
        assert_eq!(u128::from(next.timestamp.wrapping_sub(one.timestamp)), units);
    }
}

#[test]
fn an_overlay_is_added_sample_by_sample_and_each_has_its_own_books() {
    let (mut rig, mut owner) = Rig::with_stream();
    let (low, high) = (samples(1, 1_600), samples(2, 500));
    let base = rig.play(&owner, 1, &[segment(&low, 1)], true, false);
    // Two packets of the base are out by then, at 0 and 20 ms.
    rig.run(ms(30));
    let over = overlay(&mut rig, &owner, 2, &[segment(&high, 1)]);
    rig.run(ms(1_000));
    let sent = rig.rtp();
    let heard = audio(&sent);
    assert_eq!(heard.len(), 1_600, "it takes no time of its own");
    assert_eq!(heard[..320], low[..320]);
    let whole = [&high[..], &[0xFF; 140]].concat();
    assert_eq!(heard[320..960], sum(&low[320..960], &whole));
    assert_eq!(heard[960..], low[960..]);
    assert_continuous(&sent);
    assert_eq!(owner.events(), [finished(2), finished(1)]);
    assert_eq!((sent_of(&base), sent_of(&over)), (vec![1_600], vec![500]));
}

#[test]
fn an_overlay_plays_alone_and_outlives_what_it_lies_over() {
    let (mut rig, mut owner) = Rig::with_stream();
    let (long, short) = (samples(1, 800), samples(2, 320));
    let over = overlay(&mut rig, &owner, 7, &[segment(&long, 1)]);
    rig.run(ms(30));
    let base = rig.play(&owner, 1, &[segment(&short, 1)], true, false);
    rig.run(ms(500));
    let sent = rig.rtp();
    let heard = audio(&sent);
    assert_eq!(heard.len(), 800);
    let codec = SampleCodec::Pcmu;
    // What is decoded and encoded alone is the same, but for the two zeros of µ-law.
    assert_eq!(codec.decode(&heard[..320]), codec.decode(&long[..320]));
    assert_eq!(heard[320..640], sum(&long[320..640], &short));
    assert_continuous(&sent);
    assert_eq!(owner.events(), [finished(1), finished(7)]);
    assert_eq!((sent_of(&base), sent_of(&over)), (vec![320], vec![800]));
}

#[test]
fn one_overlay_too_many_is_answered_and_a_stopped_one_leaves_the_others() {
    let (mut rig, mut owner) = Rig::with_stream();
    let sound = [segment(&samples(1, 8_000), 1)];
    for id in 0..=crate::engine::MAX_OVERLAYS as u128 {
        overlay(&mut rig, &owner, id, &sound);
    }
    let last = PlayoutId(crate::engine::MAX_OVERLAYS as u128);
    assert_eq!(owner.events(), [StreamEvent::Stopped(last)]);
    for id in 0..crate::engine::MAX_OVERLAYS as u128 {
        rig.run(ms(40));
        rig.stop(&owner, id);
        assert_eq!(owner.events(), [StreamEvent::Stopped(PlayoutId(id))]);
    }
    rig.rtp();
    rig.run(ms(100));
    assert!(rig.rtp().is_empty(), "nothing of them is left");
    // And what is played then goes the cheap way again.
    let before = rig.shard.sender().routine;
    rig.play(&owner, 9, &sound, true, false);
    rig.run(ms(500));
    assert!(rig.shard.sender().routine > before + 10);
}

#[test]
fn a_pause_leaves_nothing_out_and_timestamps_go_on_with_time() {
    let (mut rig, mut owner) = Rig::with_stream();
    let sound = samples(1, 1_600);
    let progress = rig.play(&owner, 1, &[segment(&sound, 1)], true, false);
    rig.run(ms(70));
    pause(&mut rig, &owner, 1, true);
    rig.run(ms(930));
    assert_eq!(audio(&rig.rtp()), sound[..640]);
    assert_eq!(sent_of(&progress), [640]);
    rig.run(ms(500));
    assert!(rig.rtp().is_empty() && owner.events().is_empty());
    pause(&mut rig, &owner, 1, false);
    rig.run(ms(500));
    let sent = rig.rtp();
    assert_eq!(audio(&sent), sound[640..]);
    assert_eq!(sent[0].at, ms(1_500), "at once");
    assert!(sent[0].header().marker);
    let since = sent[0].header().timestamp.wrapping_sub(FIRST_TIMESTAMP);
    assert_eq!(since, 12_000, "1.5 s after the first packet");
    assert_eq!(sent[0].header().sequence, FIRST_SEQUENCE.wrapping_add(4));
    assert_continuous(&sent);
    assert_eq!(owner.events(), [finished(1)]);
    assert_eq!(sent_of(&progress), [1_600]);
}

#[test]
fn an_overlay_goes_on_over_a_paused_playout() {
    let (mut rig, mut owner) = Rig::with_stream();
    let (low, high) = (samples(1, 640), samples(2, 640));
    rig.play(&owner, 1, &[segment(&low, 1)], true, false);
    overlay(&mut rig, &owner, 2, &[segment(&high, 1)]);
    rig.run(ms(30));
    pause(&mut rig, &owner, 1, true);
    rig.run(ms(100));
    let heard = audio(&rig.rtp());
    let codec = SampleCodec::Pcmu;
    // The first packet had left when it came.
    assert_eq!(codec.decode(&heard[320..]), codec.decode(&high[160..]));
    assert_eq!(owner.events(), [finished(2)]);
    pause(&mut rig, &owner, 1, false);
    rig.run(ms(100));
    assert_eq!(audio(&rig.rtp()), low[320..]);
    assert_eq!(owner.events(), [finished(1)]);
}

#[test]
fn a_seek_forwards_counts_what_it_goes_over_and_one_backwards_plays_again() {
    let (mut rig, mut owner) = Rig::with_stream();
    let (one, two, three) = (samples(1, 800), samples(2, 400), samples(3, 800));
    let list = [segment(&one, 1), segment(&two, 2), segment(&three, 1)];
    let progress = rig.play(&owner, 1, &list, true, false);
    rig.run(ms(30));
    // From 320 into the second repeat of the second one: 480 and 600 samples are gone over.
    seek(&mut rig, &owner, 1, 1_400);
    rig.run(ms(50));
    let skipped: Vec<u64> = progress.segments().iter().map(|it| it.samples_skipped).collect();
    assert_eq!(skipped, [480, 600, 0]);
    // By now 1400 to 1880 are out; back to the beginning of the second one.
    seek(&mut rig, &owner, 1, 800);
    rig.run(ms(1_000));
    let expected = [&one[..320], &two[200..], &three[..280], &two, &two, &three].concat();
    let mut heard = audio(&rig.rtp());
    assert!(heard.split_off(expected.len()).iter().all(|byte| *byte == 0xFF));
    assert_eq!(heard, expected);
    assert_eq!(sent_of(&progress), [320, 200 + 800, 280 + 800]);
    assert_eq!(owner.events(), [finished(1)]);
}

#[test]
fn a_seek_to_the_end_finishes_and_in_a_loop_stays_in_the_round() {
    let (mut rig, mut owner) = Rig::with_stream();
    let sound = samples(1, 800);
    rig.play(&owner, 1, &[segment(&sound, 1)], true, false);
    rig.run(ms(10));
    seek(&mut rig, &owner, 1, 800);
    assert_eq!(owner.events(), [finished(1)]);
    rig.rtp();
    rig.play(&owner, 2, &[segment(&sound, 1)], true, true);
    rig.run(ms(110));
    rig.rtp();
    seek(&mut rig, &owner, 2, 640);
    rig.run(ms(60));
    let heard = audio(&rig.rtp());
    assert_eq!(heard[..480], [&sound[640..], &sound[..320]].concat());
}

#[test]
fn a_burst_that_holds_the_ends_of_both_keeps_all_books() {
    let (mut rig, mut owner) = Rig::with_stream();
    let (low, high) = (samples(1, 480), samples(2, 480));
    let base = rig.play(&owner, 1, &[segment(&low, 1)], true, false);
    let over = overlay(&mut rig, &owner, 2, &[segment(&high, 1)]);
    // Nobody looked for 50 ms: the rest leaves in one tick.
    rig.stall(ms(50));
    rig.run(ms(100));
    assert_eq!((sent_of(&base), sent_of(&over)), (vec![480], vec![480]));
    let mut events = owner.events();
    events.sort_by_key(|event| format!("{event:?}"));
    assert_eq!(events, [finished(1), finished(2)]);
}
