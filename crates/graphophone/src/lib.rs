//! Graphophone: the Microsoft Graph calling API on your own phone lines.

pub mod api;
pub mod auth;
pub mod bench;
pub mod bot;
pub mod cli;
pub mod config;
pub mod engine;
pub mod outbox;
pub mod prompts;
pub mod recordings;
mod server;

pub use server::{Server, StartError};

/// Doors for the targets in `fuzz/`.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::{auth::fuzzing::*, outbox::fuzzing::*, prompts::fuzzing::*};
}
