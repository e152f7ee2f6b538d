//! UDP datagrams of many sockets in one kernel crossing, by io_uring.
//!
//! This crate holds all unsafe code of the project: io_uring is told addresses of memory, and
//! reads and writes there until it says that it is done. [`Ring`] makes that safe by never
//! returning while the kernel still has an address: every operation is asked not to wait
//! (`MSG_DONTWAIT`), so it is over when the kernel has looked at it, and all are waited for.

#[cfg(target_os = "linux")]
mod ring;
#[cfg(not(target_os = "linux"))]
#[path = "absent.rs"]
mod ring;

pub use ring::Ring;

use std::{net::SocketAddr, os::fd::BorrowedFd};

/// Operations of one kernel crossing; more are done in several.
pub const BATCH: usize = 256;

/// Longest datagram that [`Ring::receive`] takes, in octets; longer ones are an error
/// (`InvalidData`). An Ethernet frame carries 1,500.
pub const LONGEST: usize = 2_048;

/// A datagram to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The socket it leaves by.
    pub socket: BorrowedFd<'a>,
    /// Where it goes.
    pub to: SocketAddr,
    /// What it holds.
    pub bytes: &'a [u8],
}

/// A datagram that was received.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Where it came from.
    pub from: SocketAddr,
    /// What it holds.
    pub bytes: &'a [u8],
}
