//! A call's ear and its recordings: what the core asks for, and what it hears of it.

use std::{
    f64::consts::TAU,
    fs::File,
    sync::{Arc, LazyLock},
    time::Instant,
};

use graphophone_call::{
    AccessToken, AppId, Input, LegEvent, OperationId, RecordSettings, Recorded, RecordingEvent,
    ResultInfo, TenantId, Tone,
};
use graphophone_media::{
    codec::{Codec, SampleCodec},
    ear::{Ear, EarEvent, Ears, NewRecording, RecordingId},
    engine::{Segment, StreamHandle},
    prompt::{EncodedPrompt, Sha256},
};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::{
    auth::Secret,
    recordings::{MakeError, Place, Recordings},
};

/// Events of an ear that wait for the call's task.
const EVENTS: usize = 64;

/// The beep: a pure tone that no key has, of 300 ms.
const BEEP_HZ: f64 = 1_400.0;
const BEEP_SECONDS: f64 = 0.3;
const BEEP_AMPLITUDE: f64 = 0.25;
const BEEP_RAMP_SECONDS: f64 = 0.01;

/// Listens for one call.
pub(super) struct Recorder {
    owner: (TenantId, AppId),
    ears: Ears,
    recordings: Recordings,
    ear: Option<Ear>,
    to_ear: mpsc::Sender<EarEvent>,
    heard: mpsc::Receiver<EarEvent>,
    tell: mpsc::Sender<Disk>,
    disk: mpsc::Receiver<Disk>,
    current: Option<Current>,
}

/// The recording that is being made.
struct Current {
    operation: OperationId,
    settings: Arc<RecordSettings>,
    from: Instant,
    /// On the disk; `None` until that has answered, and when the file is being completed.
    place: Option<Place>,
    /// It was to end before the disk had answered.
    ends: Option<Instant>,
}

/// What the disk has answered.
pub(super) enum Disk {
    Made(OperationId, Result<(Place, File), MakeError>),
    Kept(OperationId, Result<Secret, MakeError>),
}

/// Something to be looked at.
pub(super) enum Heard {
    Ear(EarEvent),
    Disk(Disk),
}

impl Recorder {
    pub(super) fn new(owner: (TenantId, AppId), ears: Ears, recordings: Recordings) -> Self {
        let (to_ear, heard) = mpsc::channel(EVENTS);
        let (tell, disk) = mpsc::channel(4);
        Self { owner, ears, recordings, ear: None, to_ear, heard, tell, disk, current: None }
    }

    /// The stream is there. A far end that takes no telephone-events sends its key presses as sound.
    pub(super) fn open(&mut self, stream: &StreamHandle) {
        if stream.takes_events() {
            return;
        }
        let listens = self
            .listen(stream)
            .and_then(|ear| ear.set_tones(true).map_err(|error| error.to_string()));
        if let Err(cause) = listens {
            debug!(cause, "key presses as sound are not heard");
        }
    }

    /// Waits for an ear or the disk. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        tokio::select! {
            Some(event) = self.heard.recv() => Some(Heard::Ear(event)),
            Some(answer) = self.disk.recv() => Some(Heard::Disk(answer)),
            else => None,
        }
    }

    /// Begins to listen for an operation.
    pub(super) fn start(
        &mut self,
        operation: OperationId,
        settings: Arc<RecordSettings>,
        stream: Option<&StreamHandle>,
    ) -> Option<Input> {
        let from = Instant::now();
        let listens = match stream {
            Some(stream) => self.listen(stream).map(drop),
            None => Err("there is no stream".to_owned()),
        };
        if let Err(cause) = listens {
            return Some(failed(operation, &format!("Reason: {cause}.")));
        }
        let longest = settings.longest;
        self.current = Some(Current { operation, settings, from, place: None, ends: None });
        let (recordings, tell) = (self.recordings.clone(), self.tell.clone());
        tokio::task::spawn_blocking(move || {
            let made = recordings.begin(operation, longest);
            // A call that is gone does not want it any more.
            let _ = tell.blocking_send(Disk::Made(operation, made));
        });
        let has_heard = stream.is_some_and(|stream| stream.stats().counts.packets_received > 0);
        has_heard.then_some(Input::Recording(RecordingEvent::Hearing(operation)))
    }

    /// Ends a recording.
    pub(super) fn finish(&mut self, operation: OperationId) -> Option<Input> {
        let current = self.current.as_mut().filter(|it| it.operation == operation)?;
        let at = Instant::now();
        if current.place.is_none() {
            current.ends = Some(at);
            return None;
        }
        let asked = self.ear.as_ref()?.finish(recording_id(operation), at);
        asked.err().map(|error| failed(operation, &format!("Reason: {error}.")))
    }

    /// Gives a recording up.
    pub(super) fn give_up(&mut self, operation: OperationId) {
        if self.current.take_if(|it| it.operation == operation).is_some()
            && let Some(ear) = &self.ear
            && let Err(error) = ear.discard(recording_id(operation))
        {
            debug!(%operation, %error, "a recording goes on until the next one");
        }
    }

    /// Lets go of everything.
    pub(super) fn close(&mut self) {
        self.ear = None;
        self.current = None;
    }

    /// What the core is to hear of it.
    pub(super) fn note(&mut self, heard: Heard) -> Option<Input> {
        let event = match heard {
            Heard::Ear(event) => self.note_ear(event)?,
            Heard::Disk(Disk::Made(operation, Ok((place, file)))) => {
                return self.made(operation, place, file);
            }
            Heard::Disk(Disk::Kept(operation, Ok(token))) => {
                let root = &self.current.take_if(|it| it.operation == operation)?.settings.root;
                let recorded = Recorded {
                    location: format!("{root}/recordings/{operation}"),
                    access_token: AccessToken(token.expose().to_owned()),
                };
                Input::Recording(RecordingEvent::Saved { operation, recorded })
            }
            Heard::Disk(Disk::Made(operation, Err(error)) | Disk::Kept(operation, Err(error))) => {
                warn!(%operation, %error, "a recording cannot be kept");
                failed(operation, &error.to_string())
            }
        };
        Some(event)
    }

    fn note_ear(&mut self, event: EarEvent) -> Option<Input> {
        Some(match event {
            EarEvent::Hearing => {
                let operation = self.current.as_ref()?.operation;
                Input::Recording(RecordingEvent::Hearing(operation))
            }
            EarEvent::Tone(code) => Input::Leg(LegEvent::Tone(Tone::from_event_code(code)?)),
            // Who minds speech has an ear of its own (`speech.rs`).
            EarEvent::Speech => return None,
            EarEvent::Began { id, ago } => {
                Input::Recording(RecordingEvent::Began { operation: operation_id(id), ago })
            }
            EarEvent::Spoke { id } => Input::Recording(RecordingEvent::Spoke(operation_id(id))),
            EarEvent::FellSilent { id, ago } => {
                Input::Recording(RecordingEvent::FellSilent { operation: operation_id(id), ago })
            }
            EarEvent::Recorded { id, file } => {
                let operation = operation_id(id);
                let current = self.current.as_mut().filter(|it| it.operation == operation)?;
                let (place, owner, tell) = (current.place.take()?, self.owner, self.tell.clone());
                tokio::task::spawn_blocking(move || {
                    let kept = place.keep(&file.file, owner);
                    let _ = tell.blocking_send(Disk::Kept(operation, kept));
                });
                return None;
            }
            EarEvent::Failed { id, error } => {
                warn!(operation = %operation_id(id), %error, "a recording cannot be written");
                failed(operation_id(id), &MakeError::Disk(error).to_string())
            }
        })
    }

    /// The disk has room: the ear may begin.
    fn made(&mut self, operation: OperationId, place: Place, file: File) -> Option<Input> {
        // One that was given up meanwhile is deleted here.
        let current = self.current.as_mut().filter(|it| it.operation == operation)?;
        current.place = Some(place);
        let (from, longest, ends) = (current.from, current.settings.longest, current.ends);
        let ear = self.ear.as_ref()?;
        let id = recording_id(operation);
        let mut asked = ear.record(NewRecording { id, file, from, longest });
        if let (Ok(()), Some(at)) = (&asked, ends) {
            asked = ear.finish(id, at);
        }
        asked.err().map(|error| failed(operation, &format!("Reason: {error}.")))
    }

    /// The ear of the call's stream.
    fn listen(&mut self, stream: &StreamHandle) -> Result<&Ear, String> {
        if self.ear.is_none() {
            let ear = self.ears.listen(stream, self.to_ear.clone());
            self.ear = Some(ear.map_err(|error| error.to_string())?);
        }
        self.ear.as_ref().ok_or_else(|| "nobody listens".to_owned())
    }
}

/// The beep in a codec; `None` where nothing encodes it. Made once.
pub(super) fn beep(codec: Codec) -> Option<Segment> {
    static PCMU: LazyLock<Arc<EncodedPrompt>> = LazyLock::new(|| encoded_beep(SampleCodec::Pcmu));
    static PCMA: LazyLock<Arc<EncodedPrompt>> = LazyLock::new(|| encoded_beep(SampleCodec::Pcma));
    let prompt = match codec.sample()? {
        SampleCodec::Pcmu => Arc::clone(&PCMU),
        SampleCodec::Pcma => Arc::clone(&PCMA),
    };
    Some(Segment { prompt, repeat: 1 })
}

fn encoded_beep(codec: SampleCodec) -> Arc<EncodedPrompt> {
    let rate = f64::from(codec.rate());
    let samples = (BEEP_SECONDS * rate) as usize;
    let sound: Vec<i16> = (0..samples)
        .map(|at| {
            let edge = at.min(samples - at) as f64 / (BEEP_RAMP_SECONDS * rate);
            let sine = (TAU * BEEP_HZ * at as f64 / rate).sin();
            (sine * edge.min(1.0) * BEEP_AMPLITUDE * 32_767.0) as i16
        })
        .collect();
    Arc::new(EncodedPrompt::samples(codec, Sha256([0; 32]), codec.encode(&sound)))
}

fn failed(operation: OperationId, cause: &str) -> Input {
    let result = ResultInfo::record_failed(cause);
    Input::Recording(RecordingEvent::Failed { operation, result })
}

fn recording_id(operation: OperationId) -> RecordingId {
    RecordingId(operation.uuid().as_u128())
}

fn operation_id(id: RecordingId) -> OperationId {
    OperationId::new(uuid::Uuid::from_u128(id.0))
}
