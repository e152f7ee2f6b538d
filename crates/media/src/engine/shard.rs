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
    deadlines::Deadlines,
    sender::{Batch, Channel, Content, PacketSender},
    stats::ShardCounters,
    stream::{EARLY, MAX_PER_TICK, Stream, StreamCommand, StreamSetup},
};

/// Names a stream between its owner and its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct StreamId(pub(super) u64);

/// The streams of one thread.
pub(super) struct Shard<S> {
    /// By slot. A slot is used again after its stream has closed.
    streams: Vec<Option<Stream>>,
    free: Vec<usize>,
    slots: HashMap<StreamId, usize>,
    deadlines: Deadlines,
    batch: Batch,
    sender: S,
    counters: Arc<ShardCounters>,
}

impl<S: PacketSender> Shard<S> {
    pub(super) fn new(sender: S, counters: Arc<ShardCounters>) -> Self {
        Self {
            streams: Vec::new(),
            free: Vec::new(),
            slots: HashMap::new(),
            deadlines: Deadlines::default(),
            batch: Batch::new(),
            sender,
            counters,
        }
    }

    pub(super) fn sender(&mut self) -> &mut S {
        &mut self.sender
    }

    /// When [`Self::tick`] should be called; `None` while there is no stream.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| deadline)
    }

    /// Adds a stream and returns its slot.
    pub(super) fn add(&mut self, now: Now, id: StreamId, setup: StreamSetup) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.streams.push(None);
            self.streams.len() - 1
        });
        self.slots.insert(id, slot);
        self.deadlines.reserve(slot);
        self.streams[slot] = Some(Stream::new(setup, now));
        self.refresh(slot);
        slot
    }

    /// Takes a command for a stream. What it makes due leaves with the next tick.
    pub(super) fn handle(&mut self, now: Now, id: StreamId, command: StreamCommand) {
        let Some(slot) = self.slots.get(&id).copied() else { return };
        if let Some(stream) = &mut self.streams[slot] {
            stream.handle(now, command);
            self.refresh(slot);
        }
    }

    /// Takes what has come to the streams' sockets: `read` reads it with the sender, and calls
    /// what it is given with each datagram and the slot that it is for.
    pub(super) fn receive(
        &mut self,
        now: Now,
        read: impl FnOnce(&mut S, &mut dyn FnMut(usize, Channel, SocketAddr, &[u8])),
    ) {
        let Self { streams, deadlines, sender, counters, .. } = self;
        read(sender, &mut |slot, channel, from, datagram| {
            if let Some(stream) = streams.get_mut(slot).and_then(Option::as_mut) {
                stream.receive(now, channel, from, datagram, counters);
                deadlines.set(slot, Some(stream.deadline()));
            }
        });
    }

    /// Sends everything that is due.
    pub(super) fn tick(&mut self, now: Now) {
        let horizon = now.at + EARLY;
        while let Some((_, slot)) = self.deadlines.first().filter(|(due, _)| *due <= horizon) {
            if !self.batch.has_room(MAX_PER_TICK) {
                self.flush(now);
            }
            if let Some(stream) = &mut self.streams[slot] {
                stream.tick(now, slot, &mut self.batch, &self.counters);
            }
            self.refresh(slot);
        }
        self.flush(now);
    }

    /// Ends a stream, with an RTCP BYE. Its sockets, those of the slot, are to be closed before it
    /// is dropped: that tells the owner that its ports are free.
    pub(super) fn close(&mut self, now: Now, id: StreamId) -> Option<(usize, Stream)> {
        let slot = self.slots.remove(&id)?;
        if let Some(stream) = &mut self.streams[slot] {
            stream.report(now, slot, &mut self.batch, true);
        }
        self.flush(now);
        let stream = self.streams[slot].take()?;
        self.refresh(slot);
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

    fn refresh(&mut self, slot: usize) {
        self.deadlines.set(slot, self.streams[slot].as_ref().map(Stream::deadline));
    }

    fn flush(&mut self, now: Now) {
        if self.batch.is_empty() {
            return;
        }
        let wall = now.wall.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let wall = u64::try_from(wall.as_nanos()).unwrap_or(0);
        let batch = self.batch.take();
        self.sender.send(batch);
        for datagram in batch {
            let Some(stream) = &mut self.streams[datagram.slot] else { continue };
            stream.settle(now, wall, datagram, &self.counters);
            if matches!(datagram.content, Content::Audio { filled, .. } if filled.last) {
                self.deadlines.set(datagram.slot, Some(stream.deadline()));
            }
        }
    }
}
