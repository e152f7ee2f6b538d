//! The ways for datagrams into the kernel, and the choice between them by measurement.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use graphophone_datagrams::{RawSender, Ring};

use super::{
    clock::thread_cpu_time,
    sender::{BATCH, Batch, Channel, Content, PacketSender},
    sockets::{SocketTable, Sockets},
};

/// How the engine hands datagrams to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DatagramIo {
    /// What costs less CPU time here, measured when the engine starts (some ten milliseconds).
    #[default]
    Measured,
    /// RTP over IPv4 in batches out of one raw socket, from the ports of the calls' own sockets,
    /// which go on to hear; everything else like [`Self::IoUring`] where that is allowed.
    /// [`super::Engine::start`] fails without `CAP_NET_RAW`.
    Raw,
    /// Batches, by io_uring; [`super::Engine::start`] fails where it is not allowed.
    IoUring,
    /// One system call for each datagram.
    Single,
}

/// The chosen way, with what it needs.
#[derive(Debug)]
pub(super) struct Crossing {
    /// For RTP over IPv4.
    pub(super) raw: Option<Box<RawSender>>,
    /// For everything that `raw` does not send, and for receiving.
    pub(super) ring: Option<Box<Ring>>,
    /// Without a ring there is one call for each; the place that a received datagram is read to is
    /// as long as a datagram can be.
    pub(super) buffer: Box<[u8]>,
}

impl Crossing {
    /// As [`DatagramIo`] says, which is not [`DatagramIo::Measured`] any more.
    pub(super) fn new(io: DatagramIo) -> io::Result<Self> {
        let mut crossing = Self::single();
        match io {
            DatagramIo::Raw => {
                crossing.raw = Some(Box::new(RawSender::new()?));
                crossing.ring = Ring::new().ok().map(Box::new);
            }
            DatagramIo::IoUring => crossing.ring = Some(Box::new(Ring::new()?)),
            DatagramIo::Single | DatagramIo::Measured => {}
        }
        Ok(crossing)
    }

    pub(super) fn single() -> Self {
        Self { raw: None, ring: None, buffer: vec![0; 1 << 16].into() }
    }

    /// Notes that the ring has broken, which the kernel does not do while it has memory.
    pub(super) fn give_ring_up(&mut self) {
        tracing::error!("io_uring has failed; datagrams cross one by one from now on");
        self.ring = None;
    }
}

/// Batches of each way that are timed; the fastest counts, as everything else is disturbance.
const ROUNDS: usize = 12;
/// The ways between which a measurement decides.
const WAYS: [DatagramIo; 3] = [DatagramIo::Single, DatagramIo::IoUring, DatagramIo::Raw];

impl DatagramIo {
    /// Decides, where the decision is left to us.
    pub(super) fn decide(self) -> Self {
        if self != Self::Measured {
            return self;
        }
        // In a thread of its own: what a ring leaves behind interrupts the thread that made it.
        let measured = std::thread::spawn(measure)
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the measurement has panicked")));
        let choice = measured.as_ref().ok().and_then(|ways| {
            let known = ways.iter().filter_map(|(io, time)| Some((*io, (*time)?)));
            known.min_by_key(|(_, time)| *time)
        });
        let choice = choice.map_or(Self::Single, |(io, _)| io);
        tracing::debug!(?choice, ?measured, "CPU time of a batch of datagrams");
        choice
    }
}

/// CPU time of a batch by each of [`WAYS`]; `None` for one that is not allowed.
fn measure() -> io::Result<[(DatagramIo, Option<Duration>); WAYS.len()]> {
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let to = receiver.local_addr()?;
    let mut tables = Vec::new();
    for io in WAYS {
        let Ok(crossing) = Crossing::new(io) else { continue };
        let mut table = SocketTable::new(crossing);
        for slot in 0..BATCH {
            let rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            rtp.set_nonblocking(true)?;
            table.insert(slot, Sockets { rtp, rtcp: None });
        }
        tables.push((io, table));
    }
    let mut batch = Batch::new();
    let mut best = WAYS.map(|io| (io, None));
    for _ in 0..ROUNDS {
        for (io, table) in &mut tables {
            for slot in 0..BATCH {
                let datagram = batch.push();
                (datagram.slot, datagram.to, datagram.len) = (slot, to, 172);
                (datagram.channel, datagram.content) = (Channel::Rtp, Content::Routine);
            }
            let begun = thread_cpu_time();
            table.send(batch.take());
            let took = thread_cpu_time().saturating_sub(begun);
            for (_, best) in best.iter_mut().filter(|(way, _)| way == io) {
                *best = Some(best.map_or(took, |best: Duration| best.min(took)));
            }
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_that_is_named_is_taken_and_a_measured_one_can_be_had() {
        for io in WAYS {
            assert_eq!(io.decide(), io);
        }
        let decided = DatagramIo::Measured.decide();
        assert_ne!(decided, DatagramIo::Measured);
        assert!(Crossing::new(decided).is_ok());
    }

    #[test]
    fn what_is_allowed_is_measured() {
        for (io, time) in measure().unwrap() {
            assert_eq!(time.is_some(), Crossing::new(io).is_ok(), "{io:?}");
        }
    }
}
