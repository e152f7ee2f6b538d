//! Why a store cannot be opened, and why a write or a read was refused.

use std::{io, path::PathBuf};

use graphophone_call::{CallId, OperationId};

use crate::record::Sequence;

/// Why [`crate::Store::open`] refused. Every text names the file; the cause is the `source`.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made or read: a wrong `[store] path` or missing rights.
    #[error("config: store directory {} cannot be used", path.display())]
    ConfigDirectory {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Another process has this store open.
    #[error("config: store {} is in use by another process ({holder})", path.display())]
    ConfigInUse {
        /// The lock file.
        path: PathBuf,
        /// What the holder wrote into the lock file, normally `pid N`.
        holder: String,
    },
    /// The file is an SQLite database, but not one of ours.
    #[error("config: {} is not a Graphophone store (application id {found:#010x})", path.display())]
    ConfigForeignFile {
        /// The database file.
        path: PathBuf,
        /// The application id in its header.
        found: i32,
    },
    /// A later Graphophone wrote this store; an older one could misread it.
    #[error(
        "config: {} has schema version {found}, this program knows {known}: use a newer Graphophone",
        path.display()
    )]
    ConfigNewerSchema {
        /// The database file.
        path: PathBuf,
        /// The version found.
        found: i32,
        /// The newest version this program knows.
        known: i32,
    },
    /// The file failed SQLite's `integrity_check`, a row or the log does not agree with its checksum,
    /// or it is no database at all. Restore the directory from a backup, or move it away and start
    /// anew; what was owed in it is lost then.
    #[error(
        "store {} is damaged: {detail}: restore it from a backup, or move it away to start anew",
        path.display()
    )]
    StoreDamaged {
        /// The database file.
        path: PathBuf,
        /// What the check found first.
        detail: String,
    },
    /// SQLite refused for another reason.
    #[error("store {} cannot be opened", path.display())]
    StoreFailed {
        /// The database file.
        path: PathBuf,
        /// SQLite's error.
        #[source]
        source: rusqlite::Error,
    },
    /// A thread could not be started.
    #[error("store thread cannot be started")]
    SystemThread(#[source] io::Error),
}

impl OpenError {
    /// Whether a person has to change the configuration or the files before another start can
    /// succeed. False for what the system may lack for a while.
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::ConfigDirectory { .. }
            | Self::ConfigForeignFile { .. }
            | Self::ConfigNewerSchema { .. }
            | Self::StoreDamaged { .. } => true,
            Self::ConfigInUse { .. } | Self::StoreFailed { .. } | Self::SystemThread(_) => false,
        }
    }
}

/// Why a write or a read failed.
///
/// After [`StoreError::DiskFull`] and [`StoreError::DiskFailed`] the outcome of a write is
/// unknown until the next start: treat it as not done and tell nobody that it was.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// No space is left for the database; nothing was written.
    #[error("disk of the store is full")]
    DiskFull,
    /// Reading, writing or syncing failed.
    #[error("disk of the store failed: {0}")]
    DiskFailed(String),
    /// The database contradicts itself.
    #[error("store is damaged: {0}")]
    StoreDamaged(String),
    /// The store was closed, or its thread has died.
    #[error("store is closed")]
    StoreClosed,
    /// The writer tried to change the final status of an operation.
    #[error("operation {0} is final and cannot change its status")]
    CallerFinalOperation(OperationId),
    /// The writer tried to bring a terminated call back.
    #[error("call {0} is terminated and cannot change its state")]
    CallerTerminatedCall(CallId),
    /// The notification is not owed: unknown, delivered or given up.
    #[error("notification with sequence {0} is not owed")]
    CallerNotOwed(Sequence),
    /// The request of a commit was carried out before ([`crate::RequestRecord`]).
    #[error("the request was carried out before")]
    CallerKnownRequest,
    /// A statement was refused; a fault of this crate.
    #[error("store statement refused: {0}")]
    StoreStatement(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let text = error.to_string();
        if matches!(
            error,
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
        ) {
            // Every row is read as the type it was written as.
            return Self::StoreDamaged(text);
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::SystemIoFailure | ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
                Self::DiskFailed(text)
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::StoreDamaged(text),
            _ => Self::StoreStatement(text),
        }
    }
}
