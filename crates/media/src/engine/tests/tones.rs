//! Key presses of ours between the audio.

use super::*;
use crate::{dtmf::Event, engine::tones::sound};

const ID: TonesId = TonesId(7);

fn tones(rig: &mut Rig, owner: &Owner, codes: &[u8], duration: Duration, gap: Duration) {
    rig.tones(owner, 7, codes.to_vec(), duration, gap);
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
    let sent = StreamEvent::TonesSent(ID);
    assert_eq!(owner.events(), [sent, StreamEvent::Finished(PlayoutId(1))]);
}

#[test]
fn tones_that_cannot_be_sent_are_counted_and_told() {
    let mut rig = Rig::new();
    let mut owner = rig.stream(Options { telephone_event: None, ..Options::default() });
    tones(&mut rig, &owner, &[1, 2], ms(100), ms(100));
    let mut other = rig.stream(Options::default());
    tones(&mut rig, &other, &[17, 1], ms(100), ms(100));
    tones(&mut rig, &other, &[1; 257], ms(100), ms(100));
    rig.run(ms(500));
    assert_eq!(owner.stats().counts.tones_refused, 2);
    assert_eq!(owner.events(), [StreamEvent::TonesStopped(ID)]);
    assert_eq!(other.stats().counts.tones_refused, 2 + 257);
    assert_eq!(other.events(), vec![StreamEvent::TonesStopped(ID); 2]);
    assert_eq!(rig.rtp().len(), 0);
}

#[test]
fn each_sequence_is_told_when_all_of_it_was_sent_and_an_empty_one_at_once() {
    let (mut rig, mut owner) = Rig::with_stream();
    for (id, codes) in [(1, vec![1, 2]), (2, vec![]), (3, vec![3])] {
        rig.tones(&owner, id, codes, ms(100), ms(100));
    }
    let sent = |id| StreamEvent::TonesSent(TonesId(id));
    assert_eq!(owner.events(), [sent(2)]);
    // 100 ms, 100 ms of pause, and 100 ms with two repeats of the end.
    rig.run(ms(319));
    assert_eq!(owner.events(), []);
    rig.run(ms(1));
    assert_eq!(owner.events(), [sent(1)]);
    rig.run(ms(300));
    assert_eq!(owner.events(), [sent(3)]);
}

#[test]
fn a_sequence_can_be_given_up_while_it_is_sent_and_while_it_waits() {
    let (mut rig, mut owner) = Rig::with_stream();
    for (id, codes) in [(1, vec![1, 1, 1]), (2, vec![2, 2]), (3, vec![3])] {
        rig.tones(&owner, id, codes, ms(200), ms(100));
    }
    rig.run(ms(100));
    for id in [2, 1, 1, 9] {
        rig.command(&owner, StreamCommand::StopTones(TonesId(id)));
    }
    let stopped = |id| StreamEvent::TonesStopped(TonesId(id));
    assert_eq!(owner.events(), [stopped(2), stopped(1)]);
    rig.run(ms(2_000));
    assert_eq!(owner.events(), [StreamEvent::TonesSent(TonesId(3))]);
    let events: Vec<_> = rig.rtp().iter().filter_map(event).collect();
    let ends: Vec<_> = events.iter().filter(|it| it.end).map(|it| (it.code, it.duration)).collect();
    assert_eq!(ends, [[(1, 1_120); 3], [(3, 1_600); 3]].concat(), "of 1 only what had begun");
}

#[test]
fn who_takes_no_events_hears_tones_and_then_the_rest_of_the_prompt() {
    let mut rig = Rig::new();
    let mut owner = rig.stream(Options { telephone_event: None, ..Options::default() });
    let prompt = samples(1, 160 * 4);
    rig.play(&owner, 1, &[segment(&prompt, 1)], true, false);
    rig.run(ms(30));
    let bytes = sound(SampleCodec::Pcmu, &[5, 11], ms(100), ms(50)).unwrap();
    let form = Form::Sound { tones: 2, bytes: Arc::clone(&bytes) };
    rig.command(&owner, StreamCommand::Tones(Tones { id: ID, form }));
    rig.run(ms(1_000));
    let heard = audio(&rig.rtp());
    let (before, rest) = heard.split_at(320);
    let (tones, after) = rest.split_at(bytes.len());
    assert_eq!((before, after), prompt.split_at(320));
    assert_eq!(tones, &*bytes);
    assert_eq!(owner.events(), [StreamEvent::TonesSent(ID), StreamEvent::Finished(PlayoutId(1))]);
    let samples = SampleCodec::Pcmu.decode(tones);
    let level = |at: usize, hz| crate::analysis::tone_level_db(&samples[at..at + 700], 8_000, hz);
    assert!(level(50, 770.0) > -12.0 && level(50, 1_336.0) > -12.0);
    assert!(level(1_250, 941.0) > -12.0 && level(1_250, 1_477.0) > -12.0);
    assert!(crate::analysis::rms_db(&samples[810..1_190]) < -60.0);
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
