//! Key presses of ours between the audio.

use super::*;
use crate::dtmf::Event;

fn tones(rig: &mut Rig, owner: &Owner, codes: &[u8], duration: Duration, gap: Duration) {
    rig.command(owner, StreamCommand::Tones { codes: codes.to_vec(), duration, gap });
}

fn event(sent: &Sent) -> Option<Event> {
    let packet = sent.packet();
    (packet.header.payload_type == EVENT_TYPE)
        .then(|| Event::read(packet.payload.try_into().unwrap()))
}

#[test]
fn a_tone_leaves_at_once_with_one_timestamp_and_a_marker() {
    let (mut rig, owner) = Rig::with_stream();
    rig.run(ms(7));
    tones(&mut rig, &owner, &[11], ms(60), ms(50));
    rig.run(ms(500));
    let sent = rig.rtp();
    let at: Vec<_> = sent.iter().map(|sent| sent.at.as_millis()).collect();
    assert_eq!(at, [7, 27, 47, 67, 87]);
    let events: Vec<_> = sent.iter().filter_map(event).collect();
    let durations: Vec<_> = events.iter().map(|event| (event.duration, event.end)).collect();
    assert_eq!(durations, [(160, false), (320, false), (480, true), (480, true), (480, true)]);
    assert!(events.iter().all(|event| event.code == 11));
    for (number, sent) in (0u16..).zip(&sent) {
        let header = sent.header();
        assert_eq!(header.marker, number == 0);
        assert_eq!(header.timestamp, FIRST_TIMESTAMP);
        assert_eq!(header.sequence, FIRST_SEQUENCE.wrapping_add(number));
    }
}

#[test]
fn tones_keep_their_gap_and_their_timestamps_follow_the_time() {
    let (mut rig, owner) = Rig::with_stream();
    tones(&mut rig, &owner, &[1, 2], ms(100), ms(100));
    rig.run(ms(1_000));
    let sent = rig.rtp();
    let starts: Vec<_> = sent
        .iter()
        .filter(|sent| sent.header().marker)
        .map(|sent| (sent.at.as_millis(), sent.header().timestamp))
        .collect();
    assert_eq!(starts, [(0, FIRST_TIMESTAMP), (200, FIRST_TIMESTAMP.wrapping_add(1_600))]);
}

#[test]
fn audio_pauses_for_a_tone_and_goes_on_from_the_same_sample() {
    let (mut rig, mut owner) = Rig::with_stream();
    let prompt = samples(1, 160 * 6);
    rig.play(&owner, 1, &[segment(&prompt, 1)], true, false);
    rig.run(ms(30));
    tones(&mut rig, &owner, &[5], ms(60), ms(0));
    rig.run(ms(1_000));
    let sent = rig.rtp();
    let kinds: String =
        sent.iter().map(|sent| if event(sent).is_some() { 'T' } else { 'a' }).collect();
    assert_eq!(kinds, "aaTTTTTaaaa");
    assert!(sent.windows(2).all(|pair| pair[1].at - pair[0].at == ms(20)));
    let audio_only: Vec<_> = sent.iter().filter(|sent| event(sent).is_none()).cloned().collect();
    assert_eq!(audio(&audio_only), prompt);
    let resumed = audio_only[2].header();
    assert!(resumed.marker);
    assert_eq!(resumed.timestamp, FIRST_TIMESTAMP.wrapping_add(7 * 160), "7 packets of 20 ms");
    assert_eq!(owner.events(), [StreamEvent::Finished(PlayoutId(1))]);
}

#[test]
fn tones_that_cannot_be_sent_are_counted() {
    let mut rig = Rig::new();
    let owner = rig.stream(Options { telephone_event: None, ..Options::default() });
    tones(&mut rig, &owner, &[1, 2], ms(100), ms(100));
    let other = rig.stream(Options::default());
    tones(&mut rig, &other, &[17, 1], ms(100), ms(100));
    rig.run(ms(500));
    assert_eq!(owner.stats().counts.tones_refused, 2);
    assert_eq!(other.stats().counts.tones_refused, 1);
    assert!(rig.rtp().iter().all(|sent| sent.slot == other.slot));
}

#[test]
fn tones_from_one_stream_are_heard_by_another_despite_loss_and_repetition() {
    let mut rig = Rig::new();
    let sender = rig.stream(Options::default());
    let mut hearer = rig.stream(Options::default());
    tones(&mut rig, &sender, &[1, 1, 16, 0], ms(80), ms(40));
    rig.run(ms(2_000));
    for (number, sent) in rig.rtp().into_iter().enumerate() {
        // Each first packet and every third is lost, the others come twice.
        if !sent.header().marker && number % 3 != 0 {
            for _ in 0..2 {
                rig.deliver(&hearer, Channel::Rtp, address(4_000), &sent.bytes);
            }
        }
    }
    let tone = StreamEvent::Tone;
    let expected = [StreamEvent::Receiving, tone(1), tone(1), tone(16), tone(0)];
    assert_eq!(hearer.events(), expected);
}
