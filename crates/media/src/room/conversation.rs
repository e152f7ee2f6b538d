//! One room on its thread: members' packets in, a mix for each of them out, once every 20 ms.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, TryRecvError},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc::{Sender, error::TrySendError};

use super::{
    MOST_MEMBERS, MemberId, RoomConfig, RoomEvent, TAP,
    mixer::Mixer,
    routing::Routing,
    stats::{RoomCounters, ThreadCounters, count},
    thread::{Change, NewMember},
};
use crate::{
    codec::SampleCodec,
    engine::{Feed, FeedError, FeedWaker, TappedPacket},
    jitter::{Cushion, JitterBuffer, Played},
    resample::halfband::FRAME,
};

/// Conversations want little delay; a bad network gets up to a fifth of a second.
const CUSHION: Cushion =
    Cushion { least: Duration::from_millis(10), most: Duration::from_millis(200) };

/// Frames between two looks at who speaks.
const TELL_EVERY: u32 = 10;

/// See the module.
pub(super) struct Conversation {
    mixer: Mixer,
    routing: Routing,
    /// By their places in the mixer.
    members: Vec<Option<Box<Member>>>,
    places: HashMap<MemberId, usize>,
    /// Whether who hears whom is to be worked out anew for all pairs.
    rerouted: bool,
    /// The threads of all members' streams.
    wakers: Vec<FeedWaker>,
    events: Sender<RoomEvent>,
    /// Members of whose going the owner is still to be told.
    gone: Vec<MemberId>,
    /// The speakers of whom the owner was told.
    told: Vec<MemberId>,
    speaking: Vec<MemberId>,
    since_told: u32,
    counters: Arc<RoomCounters>,
    abandoned: Arc<AtomicBool>,
}

struct Member {
    id: MemberId,
    voice: Receiver<TappedPacket>,
    buffer: JitterBuffer,
    feed: Feed,
}

impl Conversation {
    pub(super) fn new(
        config: RoomConfig,
        events: Sender<RoomEvent>,
        counters: Arc<RoomCounters>,
        abandoned: Arc<AtomicBool>,
    ) -> Self {
        Self {
            mixer: Mixer::new(config.speakers),
            routing: Routing::default(),
            members: Vec::new(),
            places: HashMap::new(),
            rerouted: false,
            wakers: Vec::new(),
            events,
            gone: Vec::new(),
            told: Vec::new(),
            speaking: Vec::new(),
            since_told: TELL_EVERY,
            counters,
            abandoned,
        }
    }

    /// Whether the owner went while the command queue was full.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    pub(super) fn members(&self) -> usize {
        self.places.len()
    }

    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Join(member) => self.join(*member),
            Change::Leave(id) => self.leave(id),
            Change::Muted(id, muted) => {
                self.routing.set_muted(id, muted);
                self.reroute(id);
            }
            Change::Isolated(id, isolated) => {
                self.routing.set_isolated(id, isolated);
                self.reroute(id);
            }
            Change::InDefault(id, in_default) => {
                self.routing.set_in_default(id, in_default);
                self.reroute(id);
            }
            Change::Gain(id, gain) => {
                self.routing.set_gain(id, gain);
                self.reroute(id);
            }
            Change::Levels(id, levels) => {
                self.routing.set_levels(id, *levels);
                self.reroute(id);
            }
            Change::Routes(routes) => {
                self.routing.set_routes(routes);
                self.rerouted = true;
            }
        }
    }

    /// Mixes the frame that is due at `due`.
    pub(super) fn tick(&mut self, due: Instant, counters: &ThreadCounters) {
        if std::mem::take(&mut self.rerouted) {
            self.reroute_all();
        }
        self.listen(due);
        self.tell_who_is_gone();
        let Self { mixer, members, .. } = self;
        let (mut delivered, mut undelivered) = (0, 0);
        let mixes = mixer.mix(|place, payload| {
            let Some(member) = &members[place] else { return };
            match member.feed.push(due, payload) {
                Ok(()) => delivered += 1,
                Err(FeedError::Full) => undelivered += 1,
                // The stream is closing, which its tap tells as well.
                Err(FeedError::Closed) => {}
            }
        });
        self.wakers.iter().for_each(FeedWaker::wake);
        count(&self.counters.frames, 1);
        count(&self.counters.mixes, mixes as u64);
        count(&self.counters.delivered, delivered);
        count(&self.counters.undelivered, undelivered);
        count(&counters.frames, 1);
        self.tell_who_speaks();
    }

    /// Leaves frames out that are due no more.
    pub(super) fn skip(&mut self, frames: u32) {
        count(&self.counters.skipped_frames, frames.into());
        for member in self.members.iter_mut().flatten() {
            member.take_packets();
            member.buffer.skip(frames);
        }
    }

    /// Takes what the members have said.
    fn listen(&mut self, due: Instant) {
        let mut frame = [0; FRAME];
        let (mut concealed, mut late) = (0, 0);
        for place in 0..self.members.len() {
            let Some(member) = &mut self.members[place] else { continue };
            let before = member.buffer.counts();
            let is_open = member.take_packets();
            let played = member.buffer.pop(due, &mut frame);
            let after = member.buffer.counts();
            concealed += after.concealed - before.concealed;
            late += after.late - before.late;
            self.mixer.say(place, (played != Played::Silence).then_some(&frame));
            if !is_open {
                let id = member.id;
                self.gone.push(id);
                self.leave(id);
            }
        }
        count(&self.counters.concealed, concealed);
        count(&self.counters.late_packets, late);
    }

    fn join(&mut self, new: NewMember) {
        let NewMember { id, codec, voice, feed, is_virtual } = new;
        let rate = SampleCodec::rate(codec);
        let buffer = JitterBuffer::new(rate, CUSHION);
        if let Some(place) = self.places.get(&id).copied() {
            self.mixer.remove(place);
            self.members[place] = None;
        } else if self.places.len() == MOST_MEMBERS {
            return self.gone.push(id);
        }
        let place = self.mixer.insert(codec, is_virtual);
        if self.members.len() <= place {
            self.members.resize_with(place + 1, || None);
        }
        self.members[place] = Some(Box::new(Member { id, voice, buffer, feed }));
        self.places.insert(id, place);
        self.routing.insert(id);
        self.reroute(id);
        self.note_members();
    }

    fn leave(&mut self, id: MemberId) {
        let Some(place) = self.places.remove(&id) else { return };
        self.mixer.remove(place);
        self.members[place] = None;
        self.routing.remove(id);
        self.note_members();
    }

    fn note_members(&mut self) {
        self.counters.members.store(self.places.len() as u64, Ordering::Relaxed);
        self.wakers.clear();
        for member in self.members.iter().flatten() {
            let waker = member.feed.waker();
            if !self.wakers.contains(&waker) {
                self.wakers.push(waker);
            }
        }
    }

    /// Works out anew what a member hears, and who hears it.
    fn reroute(&mut self, id: MemberId) {
        let Some(place) = self.places.get(&id).copied() else { return };
        self.reroute_listener(place);
        for other in 0..self.members.len() {
            if let Some(member) = &self.members[other] {
                self.mixer.set_gain(other, place, self.routing.gain(member.id, id));
                // Others may have named it before it came.
                self.name(other);
            }
        }
    }

    fn reroute_all(&mut self) {
        (0..self.members.len()).for_each(|place| self.reroute_listener(place));
    }

    fn reroute_listener(&mut self, place: usize) {
        let Some(listener) = &self.members[place] else { return };
        for (other, member) in self.members.iter().enumerate() {
            if let Some(source) = member {
                self.mixer.set_gain(place, other, self.routing.gain(listener.id, source.id));
            }
        }
        self.name(place);
    }

    /// Tells the mixer before whom a listener's other sources make way.
    fn name(&mut self, place: usize) {
        let Some(listener) = &self.members[place] else { return };
        let ducking = self.routing.ducking(listener.id);
        let mut named = Vec::new();
        if ducking.is_some() {
            let members = self.members.iter().enumerate();
            let is_named = |member: &Member| self.routing.names(listener.id, member.id);
            named.extend(members.filter_map(|(place, member)| {
                member.as_deref().is_some_and(is_named).then_some(place as u16)
            }));
        }
        self.mixer.set_ducking(place, ducking, named);
    }

    fn tell_who_is_gone(&mut self) {
        while let Some(id) = self.gone.last().copied() {
            match self.events.try_send(RoomEvent::Gone(id)) {
                Ok(()) => {
                    self.gone.pop();
                }
                Err(TrySendError::Full(_)) => return,
                // Nobody wants to know.
                Err(TrySendError::Closed(_)) => self.gone.clear(),
            }
        }
    }

    fn tell_who_speaks(&mut self) {
        self.since_told = self.since_told.saturating_add(1);
        if self.since_told < TELL_EVERY {
            return;
        }
        let Self { mixer, members, speaking, .. } = self;
        speaking.clear();
        speaking.extend(mixer.speaking().filter_map(|place| Some(members[place].as_ref()?.id)));
        speaking.sort_unstable();
        if *speaking == self.told {
            return;
        }
        if self.events.try_send(RoomEvent::Speakers(speaking.clone())).is_ok() {
            self.told.clone_from(speaking);
            self.since_told = 0;
        }
    }
}

impl Member {
    /// Takes what has come; false if the stream is closed and all of it was taken.
    fn take_packets(&mut self) -> bool {
        for _ in 0..TAP {
            match self.voice.try_recv() {
                Ok(packet) => self.buffer.push(&packet),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }
}
