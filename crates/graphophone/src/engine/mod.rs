//! The only place that drives `call::Call`: one task for each call, and the map of all of them.

mod audio;
mod backlog;
mod call_task;
mod dial;
mod ledger;
mod playouts;
mod record;
mod recovery;
mod registry;
mod request;
#[cfg(test)]
mod testing;

pub use dial::{DialError, DialRules, Route, Target};
pub(crate) use ledger::unix_millis;
pub use recovery::recover;
pub use registry::{Calls, CallsParts, CreateError};
pub use request::{CommandError, View};
