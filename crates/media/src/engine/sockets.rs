//! The sockets of a thread's streams, and how their datagrams cross into the kernel.
//!
//! Every call has a socket of its own (its port tells the calls apart, and the far end may check
//! ours), so `sendmmsg` and `recvmmsg`, which serve one socket, have nothing to batch. io_uring
//! has; where it is not allowed or not faster, there is one `sendto` or `recvfrom` for each. A
//! raw socket sends for all ports, where we may have one: then the kernel need not look at
//! thousands of sockets to send, only to hear.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd,
};

use graphophone_datagrams::Outgoing;

use super::{
    crossing::Crossing,
    origin::Origin,
    sender::{BATCH, Channel, Datagram, PacketSender},
};

/// The sockets of a stream.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) rtp: UdpSocket,
    pub(super) rtcp: Option<UdpSocket>,
}

impl Sockets {
    /// The socket that RTP or RTCP leaves by; with rtcp-mux they share one (RFC 5761).
    fn outgoing(&self, channel: Channel) -> &UdpSocket {
        match channel {
            Channel::Rtp | Channel::Room => &self.rtp,
            Channel::Rtcp => self.rtcp.as_ref().unwrap_or(&self.rtp),
        }
    }
}

/// A socket that has something to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) slot: usize,
    pub(super) channel: Channel,
}

/// Sockets by slot.
#[derive(Debug)]
pub(super) struct SocketTable {
    streams: Vec<Option<Entry>>,
    crossing: Crossing,
    outcomes: Outcomes,
}

#[derive(Debug)]
struct Entry {
    sockets: Sockets,
    /// `None` for a stream that the raw socket cannot serve.
    origin: Option<Origin>,
}

/// What became of those of a batch that were handed over together: their places in it, and whether
/// they were sent.
#[derive(Debug)]
struct Outcomes {
    places: Vec<usize>,
    sent: Vec<bool>,
}

impl SocketTable {
    pub(super) fn new(crossing: Crossing) -> Self {
        let (places, sent) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        let outcomes = Outcomes { places, sent };
        Self { streams: Vec::new(), crossing, outcomes }
    }

    pub(super) fn insert(&mut self, slot: usize, sockets: Sockets) {
        if self.streams.len() <= slot {
            self.streams.resize_with(slot + 1, || None);
        }
        let origin = Origin::of(&sockets.rtp);
        self.streams[slot] = Some(Entry { sockets, origin });
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<Sockets> {
        Some(self.streams.get_mut(slot)?.take()?.sockets)
    }

    /// Takes one datagram from each ready socket. `heard` gets the datagrams, `failed` is called
    /// for each error: port unreachable and the like, the far end's matter and not the thread's.
    pub(super) fn receive(
        &mut self,
        ready: impl Iterator<Item = Ready> + Clone,
        mut heard: impl FnMut(Ready, SocketAddr, &[u8]),
        mut failed: impl FnMut(),
    ) {
        let Self { streams, crossing, .. } = self;
        let socket = |it: &Ready| {
            let sockets = &streams.get(it.slot)?.as_ref()?.sockets;
            match it.channel {
                Channel::Rtp | Channel::Room => Some(&sockets.rtp),
                Channel::Rtcp => sockets.rtcp.as_ref(),
            }
        };
        // A stream may have been closed since its socket was ready.
        let ready = ready.filter_map(|it| socket(&it).map(|socket| (it, socket)));
        let mut take = |it, result: io::Result<(SocketAddr, &[u8])>| match result {
            Ok((from, bytes)) => heard(it, from, bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => failed(),
        };
        let Some(ring) = &mut crossing.ring else {
            let buffer = &mut crossing.buffer;
            return ready.for_each(|(it, socket)| {
                let result = socket.recv_from(buffer);
                take(it, result.map(|(length, from)| (from, &buffer[..length])));
            });
        };
        let mut told = ready.clone();
        ring.receive(ready.map(|(_, socket)| socket.as_fd()), |_, result| {
            if let Some((it, _)) = told.next() {
                take(it, result.map(|received| (received.from, received.bytes)));
            }
        });
        if !ring.works() {
            crossing.give_ring_up();
        }
    }

    /// Sends what leaves by the raw socket, if there is one. What it does not take, as when its
    /// buffer is full, is left to the streams' own.
    fn send_raw(&mut self, batch: &mut [Datagram]) {
        let Self { streams, crossing, outcomes } = self;
        let Some(raw) = &mut crossing.raw else { return };
        let Outcomes { places, sent } = outcomes.clear();
        let addressed = batch.iter().enumerate().filter_map(|(place, datagram)| {
            let stream = streams.get_mut(datagram.slot)?.as_mut()?;
            let addressed = stream.origin.as_mut()?.address(datagram)?;
            places.push(place);
            Some(addressed)
        });
        raw.send(addressed, |_, result| sent.push(result.is_ok()));
        outcomes.note(batch);
    }

    /// Sends what has not been sent yet by the streams' own sockets.
    fn send_by_own(&mut self, batch: &mut [Datagram]) {
        let Self { streams, crossing, outcomes } = self;
        let socket = |datagram: &Datagram| {
            let stream = streams.get(datagram.slot)?.as_ref()?;
            (!datagram.sent).then(|| stream.sockets.outgoing(datagram.channel))
        };
        let Some(ring) = &mut crossing.ring else {
            for datagram in batch {
                let Some(socket) = socket(datagram) else { continue };
                datagram.sent = socket.send_to(datagram.bytes(), datagram.to).is_ok();
            }
            return;
        };
        let Outcomes { places, sent } = outcomes.clear();
        let outgoing = batch.iter().enumerate().filter_map(|(place, datagram)| {
            let socket = socket(datagram)?.as_fd();
            places.push(place);
            Some(Outgoing { socket, to: datagram.to, bytes: datagram.bytes() })
        });
        ring.send(outgoing, |_, result| sent.push(result.is_ok()));
        outcomes.note(batch);
        if !ring.works() {
            crossing.give_ring_up();
        }
    }
}

impl Outcomes {
    fn clear(&mut self) -> &mut Self {
        self.places.clear();
        self.sent.clear();
        self
    }

    fn note(&self, batch: &mut [Datagram]) {
        for (place, sent) in self.places.iter().zip(&self.sent) {
            batch[*place].sent = *sent;
        }
    }
}

impl PacketSender for SocketTable {
    fn send(&mut self, batch: &mut [Datagram]) {
        self.send_raw(batch);
        self.send_by_own(batch);
    }
}
