//! What the map of calls is made of, and why a call is not made.

use std::time::Duration;

use graphophone_call::Settings;
use graphophone_media::ear::Ears;

use crate::{
    engine::{
        admission::Reason,
        conference::{ConferenceAudio, ConferenceRules},
        dial::{DialError, DialRules},
        door::Door,
        quota::{DialLimits, QuotaError},
        request::CommandError,
    },
    outbox::Outbox,
    prompts::Prompts,
    recordings::Recordings,
};

/// What a [`Calls`](super::Calls) is made of.
pub struct CallsParts {
    /// Where facts become durable.
    pub store: graphophone_store::Store,
    /// Where notifications go.
    pub outbox: Outbox,
    /// Where audio comes from.
    pub prompts: Prompts,
    /// Who listens to far ends.
    pub ears: Ears,
    /// Where what was heard is kept.
    pub recordings: Recordings,
    /// Times and limits of every call.
    pub settings: Settings,
    /// What may be dialled.
    pub dial: DialRules,
    /// How much one application may dial.
    pub dial_limits: DialLimits,
    /// Most calls at one time.
    pub max_calls: usize,
    /// Whether the load leaves room for new ones.
    pub door: Door,
    /// What conferences and bridges are heard by.
    pub audio: ConferenceAudio,
    /// What there is to know of conferences.
    pub conferences: ConferenceRules,
    /// Whether far ends are asked to transfer calls themselves (REFER).
    pub refers: bool,
}

/// Why a call is not made. Nothing was dialled or stored.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The target is refused.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The application dials too much.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// The server has as many calls as it is allowed.
    #[error("The server is at its limit of calls (limits.calls): try again later")]
    TooManyCalls,
    /// The server is at its limit of load.
    #[error("The server takes no more calls for now: {reason}")]
    Overloaded {
        /// What is at its limit.
        reason: Reason,
        /// When it may be tried again, in whole seconds.
        retry_after: Duration,
    },
    /// The call could not be made durable.
    #[error(transparent)]
    Command(#[from] CommandError),
}
