//! The wire vocabulary of the Graph calling API: what bots send and get, as values. No HTTP, no
//! I/O, no clock.
//!
//! * [`action`] and [`resource::create_call`] read request bodies through the strict reader in
//!   [`json`]; [`compat`] says how much beyond Microsoft's documents is accepted.
//! * [`resource`] renders calls and operations, [`notification`] what is posted to a bot,
//!   [`error`] what a refused request gets.
//! * [`batch`] reads several requests in one; [`odata`] has the options and pages of a GET.
//! * [`csdl`] is Graph's metadata as a table, with what is made of each member here.
//! * [`path`] reads request paths, [`uri`] the URIs that bots give us.

pub mod action;
pub mod batch;
pub mod compat;
pub mod csdl;
pub mod error;
pub mod json;
pub mod notification;
pub mod odata;
pub mod path;
pub mod prompt_uri;
pub mod resource;
mod stored;
pub mod subcode;
pub mod uri;

pub use compat::{ApiVersion, Compat};
pub use json::BodyError;
