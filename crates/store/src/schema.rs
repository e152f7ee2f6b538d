//! The tables, their version, and opening a database that is certainly ours, whole and durable.

use std::{fs::File, path::Path};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::OpenError;

/// "GPhn" in the database header says whose file it is.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"GPhn");
const VERSION: i32 = 1;

/// Ids are 16-byte blobs, times milliseconds since the epoch, notification states 0 owed,
/// 1 delivered, 2 given up. AUTOINCREMENT: a sequence is never given twice, even after pruning.
/// Each index on a random id costs a page per row in the log, so there are few of them, and none
/// on the id of a notification, which is found by its sequence or its call.
/// `tally` outlives pruned rows, so that nothing can vanish from the sums unnoticed.
const TABLES: &str = "
CREATE TABLE call (
    id BLOB PRIMARY KEY NOT NULL,
    tenant BLOB NOT NULL,
    app BLOB NOT NULL,
    state TEXT NOT NULL,
    is_terminated INTEGER NOT NULL,
    callback_uri TEXT,
    details_json TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX call_unfinished ON call (created_at) WHERE is_terminated = 0;
CREATE INDEX call_ended ON call (updated_at) WHERE is_terminated = 1;

CREATE TABLE operation (
    id BLOB PRIMARY KEY NOT NULL,
    call_id BLOB NOT NULL,
    tenant BLOB NOT NULL,
    app BLOB NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    is_final INTEGER NOT NULL,
    body_json TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX operation_of_call ON operation (call_id);
CREATE INDEX operation_unfinished ON operation (created_at) WHERE is_final = 0;
CREATE INDEX operation_ended ON operation (updated_at) WHERE is_final = 1;

CREATE TABLE notification (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL,
    call_id BLOB NOT NULL,
    tenant BLOB NOT NULL,
    app BLOB NOT NULL,
    url TEXT NOT NULL,
    body BLOB NOT NULL,
    scenario_id BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    state INTEGER NOT NULL,
    last_error TEXT,
    settled_at INTEGER
) STRICT;
CREATE INDEX notification_of_call ON notification (call_id, sequence);
CREATE INDEX notification_owed ON notification (sequence) WHERE state = 0;
CREATE INDEX notification_given_up ON notification (sequence) WHERE state = 2;
CREATE INDEX notification_delivered ON notification (settled_at) WHERE state = 1;
CREATE INDEX notification_given_up_at ON notification (settled_at) WHERE state = 2;

CREATE TABLE tally (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    created INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    given_up INTEGER NOT NULL
) STRICT;
INSERT INTO tally VALUES (1, 0, 0, 0);
";

/// Opens the writer's connection: makes or checks the schema and the file's health.
pub(crate) fn open_for_writing(path: &Path) -> Result<Connection, OpenError> {
    let failed = |source| failed(path, source);
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    check_owner(&connection, path)?;
    // FULL syncs the log at every commit; without it WAL may lose acknowledged commits at a
    // power cut. 64 MiB is what a log keeps on disk after a
    // burst, 32 MiB (in KiB, negative) what the page cache may take. The writer folds the log into
    // the database itself, behind the answers: here it would be inside every few hundredth commit.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 0;
             PRAGMA journal_size_limit = 67108864;
             PRAGMA cache_size = -32768;
             PRAGMA temp_store = MEMORY;
             PRAGMA trusted_schema = OFF;",
        )
        .map_err(failed)?;
    let mode: String = pragma(&connection, path, "journal_mode")?;
    if mode != "wal" {
        return Err(OpenError::StoreDamaged {
            path: path.to_owned(),
            detail: format!("write-ahead logging is not possible here (journal mode {mode})"),
        });
    }
    let finding: String = pragma(&connection, path, "quick_check(1)")?;
    if finding != "ok" {
        return Err(OpenError::StoreDamaged { path: path.to_owned(), detail: finding });
    }
    create_tables(&mut connection).map_err(failed)?;
    sync_directory(path)?;
    Ok(connection)
}

/// Opens the reader's connection to a database that [`open_for_writing`] has prepared.
pub(crate) fn open_for_reading(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|source| failed(path, source))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn check_owner(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let found: i32 = pragma(connection, path, "application_id")?;
    let version: i32 = pragma(connection, path, "user_version")?;
    let pages: i64 = pragma(connection, path, "page_count")?;
    if pages == 0 {
        // First of all, so that a crash from here on leaves a file that is known as ours.
        connection
            .pragma_update(None, "application_id", APPLICATION_ID)
            .map_err(|source| failed(path, source))?;
    } else if found != APPLICATION_ID {
        return Err(OpenError::ConfigForeignFile { path: path.to_owned(), found });
    }
    if version > VERSION {
        return Err(OpenError::ConfigNewerSchema {
            path: path.to_owned(),
            found: version,
            known: VERSION,
        });
    }
    Ok(())
}

/// Tables and version come in one transaction: a crash in between leaves version 0, for which
/// the next start makes the tables.
fn create_tables(connection: &mut Connection) -> rusqlite::Result<()> {
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == VERSION {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// A new file is only durable when its directory entry is.
fn sync_directory(path: &Path) -> Result<(), OpenError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| OpenError::ConfigDirectory { path: directory.to_owned(), source })
}

fn pragma<T: rusqlite::types::FromSql>(
    connection: &Connection,
    path: &Path,
    name: &str,
) -> Result<T, OpenError> {
    connection
        .query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
        .map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: rusqlite::Error) -> OpenError {
    let damaged = matches!(
        source.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    );
    if damaged {
        OpenError::StoreDamaged { path: path.to_owned(), detail: source.to_string() }
    } else {
        OpenError::StoreFailed { path: path.to_owned(), source }
    }
}
