//! The store from outside: what survives, what is refused, what can be found again.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is to panic where it stands")]

mod behaviour;
mod flipped_bits;
mod full_disk;
mod kill;
mod migration;
mod opening;
mod requests;
mod rows;
