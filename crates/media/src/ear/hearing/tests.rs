//! Recordings by real packets on a clock that tests move.

use super::*;
use crate::{
    analysis::align,
    codec::SampleCodec,
    ear::RECORDING_RATE,
    resample::resample,
    testing::{noise, speech, speech_from},
    wav::WavReader,
};

const ID: RecordingId = RecordingId(9);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// An ear, its clock, and what it said with when.
struct Rig {
    began: Instant,
    now: Instant,
    hearing: Hearing,
    said: Vec<(u128, EarEvent)>,
    path: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let began = Instant::now();
        let hearing = Hearing::new(Codec::Pcmu, began).unwrap();
        let path = tempfile::tempdir().unwrap();
        Self { began, now: began, hearing, said: Vec::new(), path }
    }

    fn tick(&mut self) {
        self.hearing.advance(self.now);
        self.listen();
    }

    fn listen(&mut self) {
        let at = (self.now - self.began).as_millis();
        while let Some(event) = self.hearing.poll() {
            self.said.push((at, event));
        }
    }

    /// Lets the far end send this, in packets that come when `arrival` says.
    fn send(&mut self, samples: &[i16], timestamp: u32, lost: impl Fn(usize) -> bool) {
        for (number, frame) in samples.chunks(160).enumerate() {
            if !lost(number) {
                self.hearing.packet(TappedPacket {
                    at: self.now,
                    sequence: 0,
                    timestamp: timestamp.wrapping_add(number as u32 * 160),
                    codec: Codec::Pcmu,
                    payload: SampleCodec::Pcmu.encode(frame),
                });
            }
            self.now += ms(20);
            self.tick();
        }
    }

    /// Lets time pass without packets.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += ms(20);
            self.tick();
        }
    }

    fn record(&mut self, longest: Duration) {
        let file = File::create_new(self.path.path().join("a.wav")).unwrap();
        self.hearing.record(NewRecording { id: ID, file, from: self.now, longest });
    }

    fn finish(&mut self) -> RecordedFile {
        self.hearing.finish(ID, self.now, self.now);
        self.listen();
        match self.said.pop() {
            Some((_, EarEvent::Recorded { id: ID, file })) => file,
            other => panic!("{other:?}"),
        }
    }

    fn recorded(&self) -> Vec<i16> {
        let file = std::fs::read(self.path.path().join("a.wav")).unwrap();
        let mut reader = WavReader::open(file.as_slice()).unwrap();
        reader.require_graph_format().unwrap();
        let mut samples = Vec::new();
        while reader.read(&mut samples).unwrap() > 0 {}
        samples
    }

    /// When the recording began, in milliseconds of the rig's clock.
    fn recording_began(&self) -> u128 {
        let began = self.said.iter().find_map(|(at, event)| {
            let EarEvent::Began { ago, .. } = event else { return None };
            Some(at - ago.as_millis())
        });
        began.unwrap_or_else(|| panic!("{:?}", self.said))
    }
}

#[test]
fn a_recording_is_what_was_said_in_real_time() {
    let mut rig = Rig::new();
    rig.wait(ms(1_000));
    rig.record(Duration::from_secs(60));
    rig.wait(ms(700));
    let said = speech(8_000, -16.0, 3_000);
    rig.send(&said, 5_000, |_| false);
    rig.wait(ms(1_000));
    let ended = (rig.now - rig.began).as_millis();
    let file = rig.finish();
    let began = rig.recording_began();
    assert!((1_400..=1_700).contains(&began), "300 ms before the speech, but no more: {began}");
    assert_eq!(file.duration().as_millis(), ended - began);

    let recorded = rig.recorded();
    assert_eq!(recorded.len() as u64, file.samples);
    let expected = resample(&said, 8_000, RECORDING_RATE);
    let found = align(&recorded, &expected, RECORDING_RATE).unwrap();
    println!("length {} ms of {}, {found:?}", file.duration().as_millis(), ended - began);
    assert!(found.correlation > 0.99, "{found:?}");
    assert_eq!(rig.said.iter().filter(|it| matches!(it.1, EarEvent::Hearing)).count(), 1);
}

#[test]
fn what_is_lost_is_silence_and_shifts_nothing() {
    let mut rig = Rig::new();
    rig.record(Duration::from_secs(60));
    let said = speech(8_000, -16.0, 4_000);
    // One in ten, and 300 ms in a row.
    rig.send(&said, 0, |packet| packet % 10 == 5 || (100..115).contains(&packet));
    let ended = (rig.now - rig.began).as_millis();
    let file = rig.finish();
    assert_eq!(file.duration().as_millis(), ended - rig.recording_began());
    let recorded = rig.recorded();
    let expected = resample(&said, 8_000, RECORDING_RATE);
    // The end came through: it is where it was said.
    let tail = &expected[expected.len() - 16_000..];
    let found = align(&recorded, tail, RECORDING_RATE).unwrap();
    let place = recorded.len() - 16_000;
    assert!(found.offset_samples.abs_diff(place as i64) <= 16, "{found:?}, expected at {place}");
}

#[test]
fn nobody_who_speaks_is_no_recording_and_one_that_is_ended_has_the_last_moments() {
    let mut rig = Rig::new();
    rig.record(Duration::from_secs(60));
    rig.send(&noise(8_000, -30.0, 5_000, 1), 0, |_| false);
    assert_eq!(rig.finish().duration(), KEPT);
    assert!(rig.said.iter().all(|(_, event)| matches!(event, EarEvent::Hearing)), "{:?}", rig.said);
}

#[test]
fn who_speaks_while_the_prompt_ends_is_recorded_from_its_end_on() {
    let mut rig = Rig::new();
    let said = speech(8_000, -16.0, 4_000);
    rig.send(&said[..8_000], 0, |_| false);
    rig.record(ms(2_000));
    rig.send(&said[8_000..], 8_000, |_| false);
    let file = rig.finish();
    assert_eq!(rig.recording_began(), 1_000);
    assert_eq!(file.duration(), ms(2_000), "and never longer than it may be");
    let expected = resample(&said, 8_000, RECORDING_RATE);
    let part = &expected[17_000..46_000];
    let found = align(&rig.recorded(), part, RECORDING_RATE).unwrap();
    assert!(found.correlation > 0.98 && found.offset_samples.abs_diff(1_000) <= 2, "{found:?}");
}

#[test]
fn pauses_are_told_with_the_time_since_they_began() {
    let mut rig = Rig::new();
    rig.record(Duration::from_secs(60));
    for sentence in 0..2 {
        rig.send(&speech_from(8_000, -16.0, 2_000, sentence), 0, |_| false);
        rig.wait(ms(2_000));
    }
    let silent: Vec<_> = rig
        .said
        .iter()
        .filter_map(|(at, event)| {
            let EarEvent::FellSilent { ago, .. } = event else { return None };
            Some(at - ago.as_millis())
        })
        .collect();
    assert_eq!(silent.len(), 2, "{:?}", rig.said);
    assert!(silent[0].abs_diff(2_000) < 250 && silent[1].abs_diff(6_000) < 250, "{silent:?}");
    let spoke = rig.said.iter().filter(|(_, event)| matches!(event, EarEvent::Spoke { .. }));
    assert_eq!(spoke.count(), 1, "of the second sentence; the first began the recording");
}

#[test]
fn keys_as_sound_are_heard_only_when_they_are_wanted() {
    let mut rig = Rig::new();
    let key = crate::dtmf::generate::tone(7, 8_000, ms(100)).unwrap();
    let press = [key, vec![0; 800]].concat();
    rig.send(&press, 0, |_| false);
    rig.wait(ms(400));
    rig.hearing.set_tones(true);
    rig.send(&press, 0, |_| false);
    rig.wait(ms(400));
    let tones: Vec<_> =
        rig.said.iter().filter(|(_, event)| matches!(event, EarEvent::Tone(7))).collect();
    assert_eq!(tones.len(), 1, "{:?}", rig.said);
}

#[test]
fn a_recording_that_cannot_be_written_fails_once() {
    let mut rig = Rig::new();
    let file = File::options().write(true).open("/dev/full").unwrap();
    let new = NewRecording { id: ID, file, from: rig.now, longest: Duration::from_secs(9) };
    rig.hearing.record(new);
    rig.send(&speech(8_000, -16.0, 2_000), 0, |_| false);
    let failed = rig.said.iter().filter(|(_, event)| matches!(event, EarEvent::Failed { .. }));
    assert_eq!(failed.count(), 1);
    rig.hearing.finish(ID, rig.now, rig.now);
    assert!(rig.hearing.poll().is_none());
}

#[test]
fn streams_that_nothing_decodes_are_refused() {
    let deaf = Hearing::new(Codec::Opus, Instant::now()).err().unwrap();
    assert_eq!(deaf.to_string(), "audio in Opus cannot be heard: there is no decoder for it");
}

#[test]
fn speech_is_told_once_each_time_it_begins_while_somebody_wants_to_know() {
    let mut rig = Rig::new();
    let told = |rig: &Rig| {
        let speech = rig.said.iter().filter(|(_, event)| matches!(event, EarEvent::Speech));
        speech.map(|(at, _)| *at).collect::<Vec<_>>()
    };
    rig.send(&speech(8_000, -16.0, 1_000), 0, |_| false);
    rig.wait(ms(2_000));
    assert!(told(&rig).is_empty(), "nobody has asked");
    rig.hearing.set_speech(true);
    rig.send(&noise(8_000, -45.0, 2_000, 3), 30_000, |_| false);
    assert!(told(&rig).is_empty(), "that is no voice");
    rig.wait(ms(1_000));
    let began = (rig.now - rig.began).as_millis();
    rig.send(&speech(8_000, -16.0, 1_500), 60_000, |_| false);
    let at = told(&rig);
    assert_eq!(at.len(), 1, "{at:?}");
    assert!((began..began + 700).contains(&at[0]), "{at:?}, it began at {began}");
    rig.hearing.set_speech(false);
    rig.wait(ms(2_000));
    rig.send(&speech(8_000, -16.0, 1_000), 100_000, |_| false);
    assert_eq!(told(&rig).len(), 1);
}
