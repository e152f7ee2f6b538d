//! What is heard in a conference: its room, and hold music.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use graphophone_call::{
    AppId, MediaPrompt, MemberMix, Mix, MixerLevel, ParticipantId, ResultInfo, TenantId,
};
use graphophone_media::{
    codec::{Codec, SampleCodec},
    engine::{EngineFull, PlayoutId, Segment, StreamEvent, StreamHandle, VirtualStreamConfig},
    prompt::{Accept, Prompt},
    room::{Ducking, Gain, Levels, MemberId, Room, RoomConfig, RoomEvent, Route},
    wav,
};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::{ConferenceAudio, tune};
use crate::{
    engine::registry::Shared,
    prompts::{PrepareError, Prepared, to_result},
};

/// How long a stop of hold music may take before it counts as done; the engine answers in a tick.
const STOP_WITHIN: Duration = Duration::from_millis(100);

/// The audio of one conference.
pub(super) struct Sound {
    audio: ConferenceAudio,
    room: Room,
    events: mpsc::Receiver<RoomEvent>,
    /// Streams of bots, held as long as they take part.
    bots: HashMap<ParticipantId, Arc<StreamHandle>>,
    /// What the room was told last.
    applied: Mix,
    /// It could not be told all: it is to be told again.
    is_behind: bool,
    hold: Option<Hold>,
    news: mpsc::Receiver<Fetched>,
    tell: mpsc::Sender<Fetched>,
}

/// Hold music that plays, or is on its way.
struct Hold {
    participant: ParticipantId,
    playout: PlayoutId,
    stream: Arc<StreamHandle>,
    repeat: u32,
    _fetch: Option<AbortOnDropHandle<()>>,
}

/// A prompt for hold music, or why there is none.
pub(super) type Fetched = (PlayoutId, Result<Prepared, PrepareError>);

impl Sound {
    /// An empty room.
    ///
    /// # Errors
    /// [`EngineFull`].
    pub(super) fn open(audio: ConferenceAudio) -> Result<Self, EngineFull> {
        let (room, events) = audio.rooms.open(RoomConfig::default())?;
        let (tell, news) = mpsc::channel(4);
        Ok(Self {
            audio,
            room,
            events,
            bots: HashMap::new(),
            applied: Mix::default(),
            is_behind: false,
            hold: None,
            news,
            tell,
        })
    }

    /// Makes the stream of a bot, and lets it take part.
    ///
    /// # Errors
    /// Why it cannot, for people.
    pub(super) fn enter_bot(
        &mut self,
        id: ParticipantId,
        events: mpsc::Sender<StreamEvent>,
    ) -> Result<Arc<StreamHandle>, String> {
        let config = VirtualStreamConfig { codec: SampleCodec::Pcmu, events };
        let made = self.audio.engine.add_virtual_stream(config);
        let stream = Arc::new(made.map_err(|error| error.to_string())?);
        self.enter(id, &stream)?;
        self.bots.insert(id, Arc::clone(&stream));
        Ok(stream)
    }

    /// Lets somebody take part.
    ///
    /// # Errors
    /// Why they cannot, for people.
    pub(super) fn enter(&self, id: ParticipantId, stream: &StreamHandle) -> Result<(), String> {
        self.room.join(member(id), stream).map_err(|error| error.to_string())
    }

    pub(super) fn exit(&mut self, id: ParticipantId) {
        self.bots.remove(&id);
        self.is_behind |= self.room.leave(member(id)).is_err();
        self.applied.members.retain(|known| known.id != id);
        self.applied.levels.retain(|level| level.participant != id);
    }

    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Tells the room who hears whom, as far as that is another now.
    pub(super) fn mix(&mut self, mix: Mix) {
        self.is_behind = match self.tell_room(&mix) {
            Ok(()) => {
                self.applied = mix;
                false
            }
            Err(EngineFull) => {
                debug!("the room takes no changes for now");
                // All of it is told again.
                self.applied = Mix::default();
                true
            }
        };
    }

    fn tell_room(&self, mix: &Mix) -> Result<(), EngineFull> {
        for new in &mix.members {
            let known = self.applied.members.iter().find(|known| known.id == new.id);
            // What a room knows of one who has just joined.
            let joined =
                MemberMix { id: new.id, is_muted: false, is_isolated: false, is_in_default: true };
            let is_told_again = self.is_behind;
            let known = known.unwrap_or(&joined);
            if is_told_again || known.is_muted != new.is_muted {
                self.room.set_muted(member(new.id), new.is_muted)?;
            }
            if is_told_again || known.is_isolated != new.is_isolated {
                self.room.set_isolated(member(new.id), new.is_isolated)?;
            }
            if is_told_again || known.is_in_default != new.is_in_default {
                self.room.set_in_default(member(new.id), new.is_in_default)?;
            }
        }
        if self.is_behind || mix.routes != self.applied.routes {
            let route = |(source, receivers): &(ParticipantId, Vec<ParticipantId>)| Route {
                sources: vec![member(*source)],
                receivers: receivers.iter().copied().map(member).collect(),
            };
            self.room.set_routes(mix.routes.iter().map(route).collect())?;
        }
        for level in &mix.levels {
            if !self.applied.levels.contains(level) {
                self.room.set_levels(member(level.participant), levels(level))?;
            }
        }
        Ok(())
    }

    /// Begins to play hold music to somebody: `Some` says at once how that went; else
    /// [`Sound::fetched`] does.
    pub(super) fn start_hold(
        &mut self,
        participant: ParticipantId,
        stream: Option<&Arc<StreamHandle>>,
        (shared, owner): (&Arc<Shared>, (TenantId, AppId)),
        prompt: Option<MediaPrompt>,
    ) -> Option<Result<(), ResultInfo>> {
        let Some(stream) = stream.cloned() else { return Some(Err(ResultInfo::play_failed())) };
        let playout = PlayoutId(uuid::Uuid::new_v4().as_u128());
        let codec = stream.codec();
        let mut hold = Hold { participant, playout, stream, repeat: 1, _fetch: None };
        let Some(prompt) = prompt else {
            let played = hold.play(built_in(codec));
            self.hold = played.is_ok().then_some(hold);
            return Some(played);
        };
        hold.repeat = prompt.repeat;
        let (prompts, tell) = (shared.prompts.clone(), self.tell.clone());
        hold._fetch = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let outcome = prompts.prepare(owner, &prompt, codec).await;
            // The conference may be over by now.
            let _ = tell.send((playout, outcome)).await;
        })));
        self.hold = Some(hold);
        None
    }

    /// A prompt of hold music is there, or cannot be had. Says who was to hear it and how that goes.
    pub(super) fn fetched(
        &mut self,
        (playout, outcome): Fetched,
    ) -> Option<(ParticipantId, Result<(), ResultInfo>)> {
        let hold = self.hold.as_ref().filter(|hold| hold.playout == playout)?;
        let participant = hold.participant;
        let played = match outcome {
            Ok(prepared) => hold.play(prepared.encoded),
            Err(error) => Err(to_result(&error)),
        };
        if played.is_err() {
            self.hold = None;
        }
        Some((participant, played))
    }

    /// Silences hold music. When this comes back, nothing of it will be sent.
    pub(super) async fn stop_hold(&mut self, participant: ParticipantId) {
        let Some(hold) = self.hold.take_if(|hold| hold.participant == participant) else { return };
        let stop = hold.stream.stop_and_wait(hold.playout);
        match tokio::time::timeout(STOP_WITHIN, stop).await {
            Ok(Ok(_)) => {}
            Ok(Err(EngineFull)) | Err(_) => warn!("the playout engine does not confirm a stop"),
        }
    }

    /// Waits for a prompt of hold music. Cancel-safe.
    pub(super) async fn next_fetched(&mut self) -> Option<Fetched> {
        loop {
            tokio::select! {
                fetched = self.news.recv() => return fetched,
                // Nobody is told who speaks; whose stream is gone is told by their leg.
                Some(_) = self.events.recv() => {}
            }
        }
    }
}

impl Hold {
    fn play(
        &self,
        prompt: Arc<graphophone_media::prompt::EncodedPrompt>,
    ) -> Result<(), ResultInfo> {
        let segment = Segment { prompt, repeat: self.repeat };
        let played = self.stream.play(self.playout, vec![segment], true, true);
        played.map(drop).map_err(|error| {
            warn!(%error, "hold music cannot be played");
            ResultInfo::play_failed()
        })
    }
}

fn member(id: ParticipantId) -> MemberId {
    MemberId(id.uuid().as_u128())
}

fn levels(level: &MixerLevel) -> Levels {
    let gain = |per_cent: u8| Gain::from_factor(f32::from(per_cent) / 100.0);
    let ducking = level.ducking.map(|ducking| Ducking {
        lower: gain(ducking.lower),
        upper: gain(ducking.upper),
        ramp_down: Duration::from_millis(ducking.ramp_down_ms.into()),
        ramp_up: Duration::from_millis(ducking.ramp_up_ms.into()),
    });
    Levels {
        exclusive: level.is_exclusive,
        sources: level.sources.iter().map(|(id, per)| (member(*id), gain(*per))).collect(),
        ducking,
    }
}

/// The built-in tune in a codec, made once.
fn built_in(codec: Codec) -> Arc<graphophone_media::prompt::EncodedPrompt> {
    static TUNE: OnceLock<Prompt> = OnceLock::new();
    let tune = TUNE.get_or_init(|| {
        let file = wav::to_bytes(tune::RATE, &tune::samples());
        Prompt::decode(file.as_slice(), Accept::Any).expect("a WAV file of our own")
    });
    // Frames cannot be made here: the engine then refuses what it is given.
    Arc::new(tune.encode(codec.sample().unwrap_or(SampleCodec::Pcmu)))
}
