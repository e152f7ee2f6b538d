//! One ear, without threads: packets and the time in, events and a file out.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    time::{Duration, Instant},
};

use super::{
    Deaf, EarEvent, NewRecording, RecordedFile, RecordingId,
    decode::Decoder,
    recorder::Recorder,
    timeline::{Piece, Timeline},
    voice::{Voice, VoiceChange},
};
use crate::{codec::Codec, dtmf::inband::InBand, engine::TappedPacket, rtp};

/// How much before the beginning of speech belongs to a recording: soft consonants are not voices.
const BEFORE: Duration = Duration::from_millis(300);
/// What is kept for that: the time before, and what a voice takes to be recognised.
const KEPT: Duration = Duration::from_millis(600);
/// Silence is given to the processors in pieces of this, so that none is endless.
const MOST_SILENCE: Duration = Duration::from_millis(100);

/// What is heard of one stream, and what is made of it.
pub(super) struct Hearing {
    timeline: Timeline,
    decoder: Decoder,
    has_heard: bool,
    voice: Voice,
    inband: Option<InBand>,
    /// Whoever begins to speak is told of, recording or not.
    tells_speech: bool,
    /// Samples that were heard; the place of the next one.
    heard: u64,
    /// The last of them.
    recent: VecDeque<i16>,
    /// Where the speech began that goes on, or went on last.
    speech_began: u64,
    recording: Option<Recording>,
    events: VecDeque<EarEvent>,
}

struct Recording {
    id: RecordingId,
    /// Place of the first sample that may be in it.
    from: u64,
    most: u64,
    stage: Stage,
}

enum Stage {
    /// Nobody has spoken.
    Waiting(File),
    Running(Recorder),
}

impl Hearing {
    /// Hears from `began` on.
    pub(super) fn new(codec: Codec, began: Instant) -> Result<Self, Deaf> {
        let decoder = Decoder::new(codec)?;
        let rate = decoder.rate();
        Ok(Self {
            timeline: Timeline::new(began, rate),
            decoder,
            has_heard: false,
            voice: Voice::new(rate),
            inband: None,
            tells_speech: false,
            heard: 0,
            recent: VecDeque::new(),
            speech_began: 0,
            recording: None,
            events: VecDeque::new(),
        })
    }

    /// The next thing that the owner should hear.
    pub(super) fn poll(&mut self) -> Option<EarEvent> {
        self.events.pop_front()
    }

    /// Whether key presses are listened for.
    pub(super) fn set_tones(&mut self, wanted: bool) {
        self.inband = wanted.then(|| InBand::new(self.decoder.rate()));
    }

    /// Whether it is told when somebody begins to speak.
    pub(super) fn set_speech(&mut self, wanted: bool) {
        self.tells_speech = wanted;
    }

    /// Takes a packet.
    pub(super) fn packet(&mut self, packet: TappedPacket) {
        if !self.has_heard {
            self.has_heard = true;
            self.voice.start_at(self.heard);
            self.events.push_back(EarEvent::Hearing);
        }
        let units = self.decoder.units(packet.codec, &packet.payload);
        if units > 0 {
            self.timeline.insert(packet, units);
        }
    }

    /// Hears everything that is due.
    pub(super) fn advance(&mut self, now: Instant) {
        let due = self.timeline.due(now);
        self.hear(due, now);
    }

    /// Begins to wait for somebody to be recorded; a recording that runs is given up.
    pub(super) fn record(&mut self, new: NewRecording) {
        let NewRecording { id, file, from, longest } = new;
        let from = self.timeline.place(from);
        let most = rtp::units(longest, self.decoder.rate());
        self.recording = Some(Recording { id, from, most, stage: Stage::Waiting(file) });
    }

    /// Ends a recording at a moment that has come: what is on its way is not waited for.
    pub(super) fn finish(&mut self, id: RecordingId, at: Instant, now: Instant) {
        let end = self.timeline.place(at);
        self.hear(end, now);
        let Some(recording) = self.recording.take_if(|recording| recording.id == id) else {
            return;
        };
        let recorder = match recording.stage {
            // Nobody has spoken: what is remembered has to do.
            Stage::Waiting(file) => self.recorder(file, recording.from, recording.most),
            Stage::Running(recorder) => Ok(recorder),
        };
        self.events.push_back(match recorder.and_then(Recorder::finish) {
            Ok((file, samples)) => EarEvent::Recorded { id, file: RecordedFile { file, samples } },
            Err(error) => EarEvent::Failed { id, error },
        });
    }

    /// Gives a recording up.
    pub(super) fn discard(&mut self, id: RecordingId) {
        self.recording.take_if(|recording| recording.id == id);
    }

    fn hear(&mut self, until: u64, now: Instant) {
        while let Some(piece) = self.timeline.take(until) {
            match piece {
                Piece::Audio { codec, payload, past } => {
                    let samples = self.decoder.decode(codec, &payload);
                    self.samples(samples.get(past..).unwrap_or_default(), now);
                }
                Piece::Silence(mut count) => {
                    let most = rtp::units(MOST_SILENCE, self.decoder.rate());
                    let silence = vec![0; usize::try_from(most.min(count)).unwrap_or(0)];
                    // An ear whose thread stood still has much to catch up, but no more than that.
                    while count > 0 {
                        let part = count.min(most);
                        self.samples(&silence[..part as usize], now);
                        count -= part;
                    }
                }
            }
        }
    }

    /// Takes what comes next on the axis.
    fn samples(&mut self, samples: &[i16], now: Instant) {
        if let Some(inband) = &mut self.inband
            && self.has_heard
        {
            inband.push(samples, |code| self.events.push_back(EarEvent::Tone(code)));
        }
        self.heard += samples.len() as u64;
        let kept = rtp::units(KEPT, self.decoder.rate()) as usize;
        self.recent.extend(samples);
        let surplus = self.recent.len().saturating_sub(kept.max(samples.len()));
        self.recent.drain(..surplus);

        // A far end that sends nothing costs next to nothing.
        let for_voice = if self.has_heard { samples } else { &[] };
        let Self { voice, timeline, recording, events, speech_began, tells_speech, .. } = self;
        voice.push(for_voice, |change| {
            if let VoiceChange::Began(place) = change {
                *speech_began = place;
                if *tells_speech {
                    events.push_back(EarEvent::Speech);
                }
            }
            let Some(Recording { id, stage: Stage::Running(_), .. }) = recording else { return };
            events.push_back(match change {
                VoiceChange::Began(_) => EarEvent::Spoke { id: *id },
                VoiceChange::Ended(place) => {
                    let ago = now.saturating_duration_since(timeline.moment(place));
                    EarEvent::FellSilent { id: *id, ago }
                }
            });
        });
        if let Some(recording) = self.recording.take() {
            let id = recording.id;
            match self.record_on(recording, samples, now) {
                Ok(recording) => self.recording = Some(recording),
                Err(error) => self.events.push_back(EarEvent::Failed { id, error }),
            }
        }
    }

    /// Begins a file with what is remembered from a place on.
    fn recorder(&mut self, file: File, start: u64, most: u64) -> io::Result<Recorder> {
        let mut recorder = Recorder::new(file, self.decoder.rate(), most)?;
        let oldest = self.heard - self.recent.len() as u64;
        let skipped = usize::try_from(start.saturating_sub(oldest)).unwrap_or(usize::MAX);
        recorder.push(self.recent.make_contiguous().get(skipped..).unwrap_or_default())?;
        Ok(recorder)
    }

    /// Lets a recording begin, or go on, with the samples that were just heard.
    fn record_on(
        &mut self,
        mut recording: Recording,
        samples: &[i16],
        now: Instant,
    ) -> io::Result<Recording> {
        recording.stage = match recording.stage {
            Stage::Running(mut recorder) => {
                recorder.push(samples)?;
                Stage::Running(recorder)
            }
            Stage::Waiting(file) if self.voice.spoke_after(recording.from) => {
                let before = rtp::units(BEFORE, self.decoder.rate());
                let start = self.speech_began.saturating_sub(before).max(recording.from);
                let start = start.max(self.heard - self.recent.len() as u64);
                let recorder = self.recorder(file, start, recording.most)?;
                let ago = now.saturating_duration_since(self.timeline.moment(start));
                self.events.push_back(EarEvent::Began { id: recording.id, ago });
                Stage::Running(recorder)
            }
            Stage::Waiting(file) => Stage::Waiting(file),
        };
        Ok(recording)
    }
}

#[cfg(test)]
mod tests;
