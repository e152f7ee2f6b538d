//! The ways for datagrams into the kernel, and the choice between them by measurement.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use graphophone_datagrams::Ring;

use super::{
    clock::thread_cpu_time,
    sender::{BATCH, Batch, PacketSender},
    sockets::{SocketTable, Sockets},
};

/// How the engine hands datagrams to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DatagramIo {
    /// What costs less CPU time here, measured when the engine starts (a few milliseconds).
    #[default]
    Measured,
    /// Batches, by io_uring; [`super::Engine::start`] fails where it is not allowed.
    IoUring,
    /// One system call for each datagram.
    Single,
}

/// The chosen way, with what it needs.
#[derive(Debug)]
pub(super) enum Crossing {
    /// Batches, by io_uring.
    Ring(Box<Ring>),
    /// One call for each; the place that a received datagram is read to is as long as a datagram
    /// can be.
    Single { buffer: Box<[u8]> },
}

impl Crossing {
    /// As [`DatagramIo`] says, which is not [`DatagramIo::Measured`] any more.
    pub(super) fn new(io: DatagramIo) -> io::Result<Self> {
        match io {
            DatagramIo::IoUring => Ok(Self::Ring(Box::new(Ring::new()?))),
            DatagramIo::Single | DatagramIo::Measured => Ok(Self::single()),
        }
    }

    pub(super) fn single() -> Self {
        Self::Single { buffer: vec![0; 1 << 16].into() }
    }

    /// What is left when a ring breaks, which the kernel does not do while it has memory.
    pub(super) fn after_failure() -> Self {
        tracing::error!("io_uring has failed; datagrams are sent one by one from now on");
        Self::single()
    }
}

/// Batches of each way that are timed; the fastest counts, as everything else is disturbance.
const ROUNDS: usize = 12;

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
        let choice = match measured {
            Ok((single, ring)) if ring < single => Self::IoUring,
            Ok(_) | Err(_) => Self::Single,
        };
        tracing::debug!(?choice, ?measured, "a batch of datagrams by sendto and by io_uring");
        choice
    }
}

/// CPU time of a batch: one by one, and by io_uring.
fn measure() -> io::Result<(Duration, Duration)> {
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let to = receiver.local_addr()?;
    let mut ways = [DatagramIo::Single, DatagramIo::IoUring].map(|io| {
        let mut table = SocketTable::new(Crossing::new(io)?);
        for slot in 0..BATCH {
            let rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            rtp.set_nonblocking(true)?;
            table.insert(slot, Sockets { rtp, rtcp: None });
        }
        io::Result::Ok((table, Duration::MAX))
    });
    let mut batch = Batch::new();
    for _ in 0..ROUNDS {
        for way in &mut ways {
            let (table, best) = way.as_mut().map_err(|error| io::Error::from(error.kind()))?;
            for slot in 0..BATCH {
                let datagram = batch.push();
                (datagram.slot, datagram.to, datagram.len) = (slot, to, 172);
            }
            let begun = thread_cpu_time();
            table.send(batch.take());
            *best = (*best).min(thread_cpu_time().saturating_sub(begun));
        }
    }
    let [single, ring] = ways;
    Ok((single?.1, ring?.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_that_is_named_is_taken_and_a_measured_one_can_be_had() {
        for io in [DatagramIo::IoUring, DatagramIo::Single] {
            assert_eq!(io.decide(), io);
        }
        let decided = DatagramIo::Measured.decide();
        assert_ne!(decided, DatagramIo::Measured);
        assert!(Crossing::new(decided).is_ok());
    }
}
