//! The durable store of one node: calls, operations and the notifications still owed to bots.
//!
//! One directory, one SQLite database in WAL mode with `synchronous = FULL`. All writes go to one
//! OS thread which puts everything that is queued into one transaction and syncs once (group
//! commit): an answered [`Store::commit`] survives a crash of the process and of the machine.
//! Reads go to another thread with a connection of its own and never wait for writes.
//!
//! Every row carries a checksum (`row_sum`), and what was answered of the log is noted beside it
//! (`log_mark`): what is read is what was written, or an error. 10 MiB of the disk are kept for the
//! ends of what has begun (`reserve`).
//!
//! What this crate leaves out: it knows neither the wire form nor the domain form of what it
//! keeps (JSON stays text, bodies stay bytes), it makes no ids, and it reads no clock: times are
//! arguments ([`UnixMillis`]).

mod change;
mod error;
mod lock;
mod log_mark;
mod query;
mod reader;
mod record;
mod reserve;
mod row_sum;
mod schema;
mod store;
mod writer;

pub use error::{OpenError, StoreError};
pub use record::{
    CallRecord, Commit, Committed, Counts, Cutoff, DeliveryFilter, NewNotification, NotificationId,
    NotificationRecord, NotificationState, OperationRecord, Owed, Pruned, RequestRecord, Sequence,
    Unfinished, UnixMillis,
};
pub use reserve::RESERVE;
pub use store::Store;
pub use writer::Written;
