//! The only place that drives `call::Call`: one task for each call, and the map of all of them.

mod call_task;
mod dial;
mod ledger;
mod playouts;
mod record;
mod recovery;
mod registry;

pub use call_task::{CommandError, View};
pub use dial::{DialError, DialRules, Route, Target};
pub(crate) use ledger::unix_millis;
pub use recovery::recover;
pub use registry::{Calls, CallsParts, CreateError};
