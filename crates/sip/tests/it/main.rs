//! Endpoints and phones talk to each other over loopback sockets, with real audio.
#![expect(clippy::unwrap_used, reason = "these are tests, and so are their helpers")]

mod attack;
mod bench;
mod calls;
mod hands;
mod hostile;
