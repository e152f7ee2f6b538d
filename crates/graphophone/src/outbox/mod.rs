//! The way of owed notifications to the bots: in order per call, at least once, never silently
//! dropped (spec/notifications.md, promises P1–P6).
//!
//! - `schedule`: when the next attempt is due; pure.
//! - `holds`: what waits for the response to a bot's own request; pure.
//! - `lanes`: which notification may be attempted now; pure.
//! - `endpoints`: the share of one endpoint, and whether it is down; pure.
//! - `signature`, `redirect`: the proof that a notification carries, and how far it goes; pure.
//! - `deliver`: one attempt over HTTP.
//! - `attempt`: what an attempt means for the notification, recorded.
//! - `client`: guarded HTTP clients, one per endpoint.
//! - `dispatch`: [`Outbox`], which drives the lanes and keeps the store true.
//!
//! What is owed lives in the store and gets there in the transaction that caused it. The outbox
//! only remembers where each call stands; losing it loses nothing.

mod attempt;
#[cfg(test)]
mod bot;
mod client;
mod counters;
mod deliver;
mod dispatch;
mod endpoints;
mod holds;
mod lanes;
mod redirect;
mod schedule;
mod signature;

pub use client::{AddressGuard, Trust};
pub use counters::{AttemptOutcome, Counters};
pub(crate) use deliver::ANSWER_LIMIT;
pub use deliver::{DeliverSettings, Deliverer, Signer, WallClock};
pub use dispatch::{HoldGuard, Outbox, Settings};
pub use lanes::Limits;
pub use redirect::Redirects;
pub use schedule::Schedule;
pub use signature::{ConfigWebhookSecret, WebhookSecret, WebhookSecrets};

/// A door for the targets in `fuzz/`.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    /// How long a `Retry-After` asks to wait, at `now` (unix milliseconds).
    pub fn retry_after(value: &str, now: i64) -> Option<std::time::Duration> {
        super::schedule::retry_after(value, graphophone_store::UnixMillis(now))
    }
}
