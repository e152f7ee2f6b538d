//! Where there is neither io_uring nor Linux's raw sockets: senders that cannot be made.

use std::{convert::Infallible, io, os::fd::BorrowedFd};

use crate::{Addressed, Outgoing, Received};

/// Cannot be made on this system.
#[derive(Debug)]
pub struct Ring(Infallible);

impl Ring {
    /// Never makes one.
    ///
    /// # Errors
    /// Always `Unsupported`.
    pub fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Cannot be called.
    pub fn works(&self) -> bool {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn send<'a>(
        &mut self,
        _: impl Iterator<Item = Outgoing<'a>>,
        _: impl FnMut(usize, io::Result<usize>),
    ) {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn receive<'a>(
        &mut self,
        _: impl Iterator<Item = BorrowedFd<'a>>,
        _: impl FnMut(usize, io::Result<Received<'_>>),
    ) {
        match self.0 {}
    }
}

/// Cannot be made on this system.
#[derive(Debug)]
pub struct RawSender(Infallible);

impl RawSender {
    /// Never makes one.
    ///
    /// # Errors
    /// Always `Unsupported`.
    pub fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Cannot be called.
    pub fn send<'a>(
        &mut self,
        _: impl Iterator<Item = Addressed<'a>>,
        _: impl FnMut(usize, io::Result<usize>),
    ) {
        match self.0 {}
    }
}
