//! The only place that drives `call::Call`: one task for each call, the map of all of them, and the
//! door in front of it.

mod admission;
mod audio;
mod backlog;
mod bridge;
mod call_task;
mod conference;
mod dial;
mod door;
mod handover;
mod ledger;
mod participants;
mod playouts;
mod quota;
mod record;
mod recorder;
mod recovery;
mod registry;
mod request;
mod speech;
#[cfg(test)]
mod testing;

pub use admission::{AdmissionLimits, LoadSample, Reason, Standing};
pub use conference::{ConferenceAudio, ConferenceRules, JoinError, MeetingKey, NamedConference};
pub use dial::{DialError, DialRules, Route, Target};
pub use door::{Door, LoadReport};
pub use handover::HandOverError;
pub(crate) use ledger::unix_millis;
pub use participants::GroupView;
pub use quota::{DialLimits, QuotaError};
pub use recovery::recover;
pub use registry::{Calls, CallsParts, CreateError};
pub use request::{CommandError, Once, View};
