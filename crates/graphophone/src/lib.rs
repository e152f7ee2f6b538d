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
mod server;

pub use server::{Server, StartError};
