//! The engine's core: the streams of one thread, driven by ticks. Time is an argument and packets
//! leave through [`PacketSender`], so tests move a clock and read what was sent.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, UNIX_EPOCH},
};

use super::{
    Now,
    calendar::Calendar,
    deadlines::Deadlines,
    lane::{Books, Lane},
    sender::{Batch, Channel, Content, PacketSender},
    stats::ShardCounters,
    stream::{EARLY, MAX_PER_TICK, Stream, StreamCommand, StreamSetup, is_rtcp},
};

/// Names a stream between its owner and its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct StreamId(pub(super) u64);

/// The streams of one thread.
pub(super) struct Shard<S> {
    /// By slot. A slot is used again after its stream has closed.
    streams: Vec<Option<Box<Stream>>>,
    /// What the streams have lent, by slot.
    lanes: Vec<Option<Lane>>,
    free: Vec<usize>,
    slots: HashMap<StreamId, usize>,
    /// When packets are due.
    calendar: Calendar,
    /// When reports are, and events to be tried again.
    chores: Deadlines,
    batch: Batch,
    sender: S,
    /// Streams that have no far end.
    virtual_streams: usize,
    counters: Arc<ShardCounters>,
    /// Whether streams lend nothing.
    #[cfg(test)]
    without_lanes: bool,
}

impl<S: PacketSender> Shard<S> {
    pub(super) fn new(began: Instant, sender: S, counters: Arc<ShardCounters>) -> Self {
        Self {
            streams: Vec::new(),
            lanes: Vec::new(),
            free: Vec::new(),
            slots: HashMap::new(),
            calendar: Calendar::new(began),
            chores: Deadlines::default(),
            batch: Batch::new(),
            sender,
            virtual_streams: 0,
            counters,
            #[cfg(test)]
            without_lanes: false,
        }
    }

    #[cfg(test)]
    pub(super) fn set_lanes(&mut self, lanes: bool) {
        self.without_lanes = !lanes;
    }

    pub(super) fn sender(&mut self) -> &mut S {
        &mut self.sender
    }

    /// When [`Self::tick`] should be called; `None` while there is no stream.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let chores = self.chores.first().map(|(deadline, _)| deadline);
        [self.calendar.earliest(), chores].into_iter().flatten().min()
    }

    /// Adds a stream and returns its slot.
    pub(super) fn add(&mut self, now: Now, id: StreamId, setup: StreamSetup) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.streams.push(None);
            self.lanes.push(None);
            self.streams.len() - 1
        });
        self.slots.insert(id, slot);
        self.calendar.reserve(slot);
        self.chores.reserve(slot);
        self.streams[slot] = Some(Box::new(Stream::new(setup, now)));
        self.lend(now, slot);
        slot
    }

    /// Adds a stream that has no far end, and no sockets.
    pub(super) fn add_virtual(&mut self, now: Now, id: StreamId, setup: StreamSetup) {
        let slot = self.add(now, id, setup);
        if let Some(stream) = &mut self.streams[slot] {
            stream.make_virtual();
            self.virtual_streams += 1;
        }
    }

    /// Sends, or hears, what a feeder has handed over.
    pub(super) fn take_live(&mut self, now: Now, id: StreamId) {
        let Some(slot) = self.slots.get(&id).copied() else { return };
        if !self.batch.has_room(MAX_PER_TICK) {
            self.flush(now);
        }
        // A lane is lent for a playout, beside which no live audio is sent: the stream counts what
        // it leaves out, and nothing that the lane must know of is changed.
        if let Some(stream) = &mut self.streams[slot] {
            stream.take_live(now, slot, &mut self.batch);
            // The owner of a virtual stream is told that it hears something.
            self.chores.set(slot, Some(stream.chores()));
        }
    }

    /// Takes a command for a stream. What it makes due leaves with the next tick.
    pub(super) fn handle(&mut self, now: Now, id: StreamId, command: StreamCommand) {
        let Some(slot) = self.slots.get(&id).copied() else { return };
        if let Some(stream) = self.take_back(now, slot) {
            stream.handle(now, command);
            self.lend(now, slot);
        }
    }

    /// Takes what has come to the streams' sockets: `read` reads it with the sender, and calls
    /// what it is given with each datagram and the slot that it is for.
    pub(super) fn receive(
        &mut self,
        now: Now,
        read: impl FnOnce(&mut S, &mut dyn FnMut(usize, Channel, SocketAddr, &[u8])),
    ) {
        let Self { streams, lanes, chores, sender, counters, .. } = self;
        read(sender, &mut |slot, channel, from, datagram| {
            let Some(stream) = streams.get_mut(slot).and_then(Option::as_mut) else { return };
            let lane = &mut lanes[slot];
            // A report may be about packets that are not in the stream's books yet. Nothing is on
            // its way out while packets come in.
            if let Some(lane) = lane.as_mut().filter(|_| is_rtcp(channel, datagram)) {
                stream.take_back(lane);
                lane.books = Books::default();
            }
            stream.receive(now, channel, from, datagram, counters);
            if let (Some(lane), Some(to)) = (lane, stream.rtp_target()) {
                lane.to = to;
            }
            chores.set(slot, Some(stream.chores()));
        });
    }

    /// Sends everything that is due.
    pub(super) fn tick(&mut self, now: Now) {
        let moment = self.calendar.moment(now.at);
        while let Some(slot) = self.calendar.pop(moment) {
            if !self.batch.has_room(MAX_PER_TICK) {
                self.flush(now);
            }
            match &mut self.lanes[slot] {
                Some(lane) if lane.may_lay_down(moment) => {
                    let protect = match &self.streams[slot] {
                        Some(stream) if lane.is_protected => stream.protect(),
                        _ => None,
                    };
                    self.counters.lateness(moment.since(lane.due));
                    lane.lay_down(moment, slot, protect, self.batch.push());
                    self.calendar.set(moment, slot, Some(lane.due));
                }
                _ => self.turn(now, slot),
            }
        }
        let horizon = now.at + EARLY;
        while let Some((_, slot)) = self.chores.first().filter(|(due, _)| *due <= horizon) {
            if !self.batch.has_room(MAX_PER_TICK) {
                self.flush(now);
            }
            self.turn(now, slot);
        }
        self.flush(now);
    }

    /// Lets a stream decide what is to be done.
    fn turn(&mut self, now: Now, slot: usize) {
        if self.take_back(now, slot).is_none() {
            return;
        }
        if let Some(stream) = &mut self.streams[slot] {
            stream.tick(now, slot, &mut self.batch, &self.counters);
        }
        self.lend(now, slot);
    }

    /// Ends a stream, with an RTCP BYE. Its sockets, those of the slot, are to be closed before it
    /// is dropped: that tells the owner that its ports are free.
    pub(super) fn close(&mut self, now: Now, id: StreamId) -> Option<(usize, Box<Stream>)> {
        let slot = self.slots.remove(&id)?;
        self.take_back(now, slot);
        if let Some(stream) = &mut self.streams[slot] {
            stream.report(now, slot, &mut self.batch, true);
        }
        self.flush(now);
        let stream = self.streams[slot].take()?;
        self.virtual_streams -= usize::from(stream.is_virtual());
        self.lend(now, slot);
        self.free.push(slot);
        Some((slot, stream))
    }

    /// Streams whose owner has gone without being able to say so.
    pub(super) fn abandoned(&self) -> Vec<StreamId> {
        let is_abandoned = |slot: usize| {
            self.streams[slot].as_ref().is_some_and(|it| it.abandoned.load(Ordering::Acquire))
        };
        self.slots.iter().filter(|(_, slot)| is_abandoned(**slot)).map(|(id, _)| *id).collect()
    }

    /// All streams.
    pub(super) fn ids(&self) -> Vec<StreamId> {
        self.slots.keys().copied().collect()
    }

    /// Brings a stream's books up to date, for something that is not routine.
    fn take_back(&mut self, now: Now, slot: usize) -> Option<&mut Stream> {
        if self.lanes[slot].as_ref().is_some_and(|lane| lane.books.is_open()) {
            self.flush(now);
        }
        let stream = self.streams[slot].as_deref_mut()?;
        if let Some(lane) = self.lanes[slot].take() {
            stream.take_back(&lane);
        }
        Some(stream)
    }

    /// Whatever was done with a stream: sees to when it is next looked at, and by whom.
    fn lend(&mut self, now: Now, slot: usize) {
        let stream = self.streams[slot].as_deref();
        let due = stream.and_then(Stream::due).map(|due| self.calendar.moment(due));
        self.lanes[slot] = stream.and_then(|stream| stream.lend(&self.calendar));
        #[cfg(test)]
        if self.without_lanes {
            self.lanes[slot] = None;
        }
        self.calendar.set(self.calendar.moment(now.at), slot, due);
        self.chores.set(slot, stream.map(Stream::chores));
    }

    fn flush(&mut self, now: Now) {
        if self.batch.is_empty() {
            return;
        }
        let wall = now.wall.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let wall = u64::try_from(wall.as_nanos()).unwrap_or(0);
        let batch = self.batch.take();
        if self.virtual_streams > 0 {
            for datagram in batch.iter_mut().filter(|it| it.channel == Channel::Room) {
                let stream = self.streams[datagram.slot].as_mut();
                datagram.sent = stream.is_some_and(|stream| stream.say(now, datagram));
            }
        }
        self.sender.send(batch);
        let (mut sent, mut refused) = (0, 0);
        for datagram in batch {
            let slot = datagram.slot;
            match (&mut self.lanes[slot], datagram.content) {
                (Some(lane), Content::Routine) => {
                    lane.settle(wall, datagram);
                    sent += u64::from(datagram.sent);
                    refused += u64::from(!datagram.sent);
                }
                _ => {
                    let Some(stream) = &mut self.streams[slot] else { continue };
                    stream.settle(now, wall, datagram, &self.counters);
                    if matches!(datagram.content, Content::Audio { filled, .. } if filled.last) {
                        self.chores.set(slot, Some(stream.chores()));
                    }
                }
            }
        }
        self.counters.packets_sent.add(sent);
        self.counters.send_errors.add(refused);
    }
}
