//! UDP datagrams of many ports in one kernel crossing: by io_uring, or out of a raw socket.
//!
//! This crate holds all unsafe code of the project: the kernel is told addresses of memory.
//! io_uring reads and writes there until it says that it is done; [`Ring`] makes that safe by never
//! returning while the kernel still has an address: every operation is asked not to wait
//! (`MSG_DONTWAIT`), so it is over when the kernel has looked at it, and all are waited for.
//! [`RawSender`] makes one system call, which is over when it returns.

#[cfg(not(target_os = "linux"))]
mod absent;
#[cfg(target_os = "linux")]
mod raw;
#[cfg(target_os = "linux")]
mod ring;

#[cfg(not(target_os = "linux"))]
pub use absent::{RawSender, Ring};
#[cfg(target_os = "linux")]
pub use {raw::RawSender, ring::Ring};

use std::{
    net::{SocketAddr, SocketAddrV4},
    os::fd::BorrowedFd,
};

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

/// A datagram to be sent from an address.
#[derive(Clone, Copy, Debug)]
pub struct Addressed<'a> {
    /// Where it comes from: an address of this machine, never the unspecified one.
    pub from: SocketAddrV4,
    /// Where it goes.
    pub to: SocketAddrV4,
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
