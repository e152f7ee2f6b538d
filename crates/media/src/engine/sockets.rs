//! The sockets of a thread's streams, and how their datagrams cross into the kernel.
//!
//! Every call has a socket of its own (its port tells the calls apart, and the far end may check
//! ours), so `sendmmsg` and `recvmmsg`, which serve one socket, have nothing to batch. io_uring
//! has; where it is not allowed or not faster, there is one `sendto` or `recvfrom` for each.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd,
};

use graphophone_datagrams::Outgoing;

use super::{
    crossing::Crossing,
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
            Channel::Rtp => &self.rtp,
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
    sockets: Vec<Option<Sockets>>,
    crossing: Crossing,
    /// Which of a batch was sent.
    sent: Vec<bool>,
}

impl SocketTable {
    pub(super) fn new(crossing: Crossing) -> Self {
        Self { sockets: Vec::new(), crossing, sent: Vec::with_capacity(BATCH) }
    }

    pub(super) fn insert(&mut self, slot: usize, sockets: Sockets) {
        if self.sockets.len() <= slot {
            self.sockets.resize_with(slot + 1, || None);
        }
        self.sockets[slot] = Some(sockets);
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<Sockets> {
        self.sockets.get_mut(slot)?.take()
    }

    /// Takes one datagram from each ready socket. `heard` gets the datagrams, `failed` is called
    /// for each error: port unreachable and the like, the far end's matter and not the thread's.
    pub(super) fn receive(
        &mut self,
        ready: impl Iterator<Item = Ready> + Clone,
        mut heard: impl FnMut(Ready, SocketAddr, &[u8]),
        mut failed: impl FnMut(),
    ) {
        let Self { sockets, crossing, .. } = self;
        let socket = |it: &Ready| match it.channel {
            Channel::Rtp => sockets.get(it.slot)?.as_ref().map(|it| &it.rtp),
            Channel::Rtcp => sockets.get(it.slot)?.as_ref()?.rtcp.as_ref(),
        };
        // A stream may have been closed since its socket was ready.
        let mut ready = ready.filter_map(|it| socket(&it).map(|socket| (it, socket)));
        let mut take = |it, result: io::Result<(SocketAddr, &[u8])>| match result {
            Ok((from, bytes)) => heard(it, from, bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => failed(),
        };
        match crossing {
            Crossing::Ring(ring) => {
                let mut told = ready.clone();
                ring.receive(ready.map(|(_, socket)| socket.as_fd()), |_, result| {
                    if let Some((it, _)) = told.next() {
                        take(it, result.map(|received| (received.from, received.bytes)));
                    }
                });
                if !ring.works() {
                    self.crossing = Crossing::after_failure();
                }
            }
            Crossing::Single { buffer } => ready.by_ref().for_each(|(it, socket)| {
                let result = socket.recv_from(buffer);
                take(it, result.map(|(length, from)| (from, &buffer[..length])));
            }),
        }
    }
}

impl PacketSender for SocketTable {
    fn send(&mut self, batch: &mut [Datagram]) {
        let Self { sockets, crossing, sent } = self;
        let socket = |datagram: &Datagram| {
            Some(sockets.get(datagram.slot)?.as_ref()?.outgoing(datagram.channel))
        };
        match crossing {
            Crossing::Ring(ring) => {
                let outgoing = batch.iter().filter_map(|datagram| {
                    let socket = socket(datagram)?.as_fd();
                    Some(Outgoing { socket, to: datagram.to, bytes: datagram.bytes() })
                });
                sent.clear();
                ring.send(outgoing, |_, result| sent.push(result.is_ok()));
                let works = ring.works();
                let with_socket = batch.iter_mut().filter(|datagram| socket(datagram).is_some());
                for (datagram, sent) in with_socket.zip(sent) {
                    datagram.sent = *sent;
                }
                if !works {
                    self.crossing = Crossing::after_failure();
                }
            }
            Crossing::Single { .. } => {
                for datagram in batch {
                    let Some(socket) = socket(datagram) else { continue };
                    datagram.sent = socket.send_to(datagram.bytes(), datagram.to).is_ok();
                }
            }
        }
    }
}
