//! The tables, their version, and opening a database that is certainly ours, whole and durable.

use std::{fs::File, path::Path};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use crate::{error::OpenError, query, row_sum};

/// "GPhn" in the database header says whose file it is.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"GPhn");
/// 1 had no checksums, no dialogs and no requests.
const VERSION: i32 = 2;

/// Ids are 16-byte blobs, times milliseconds since the epoch, notification states 0 owed,
/// 1 delivered, 2 given up. AUTOINCREMENT: a sequence is never given twice, even after pruning.
/// Each index on a random id costs a page per row in the log, so there are few of them, and none
/// on the id of a notification, which is found by its sequence or its call.
/// `tally` outlives pruned rows, so that nothing can vanish from the sums unnoticed. The last column
/// of each table is its row's checksum.
fn tables() -> String {
    let sum = row_sum::declared;
    format!(
        "
CREATE TABLE call (
    id BLOB PRIMARY KEY NOT NULL,
    tenant BLOB NOT NULL,
    app BLOB NOT NULL,
    state TEXT NOT NULL,
    is_terminated INTEGER NOT NULL,
    callback_uri TEXT,
    details_json TEXT NOT NULL,
    dialog TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    {call_sum}
) STRICT;
CREATE INDEX call_unfinished ON call (created_at) WHERE is_terminated = 0;
CREATE INDEX call_on_the_line ON call (created_at)
    WHERE is_terminated = 1 AND dialog IS NOT NULL;
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
    updated_at INTEGER NOT NULL,
    {operation_sum}
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
    settled_at INTEGER,
    {notification_sum}
) STRICT;
CREATE INDEX notification_of_call ON notification (call_id, sequence);
CREATE INDEX notification_owed ON notification (sequence) WHERE state = 0;
CREATE INDEX notification_given_up ON notification (sequence) WHERE state = 2;
CREATE INDEX notification_delivered ON notification (settled_at) WHERE state = 1;
CREATE INDEX notification_given_up_at ON notification (settled_at) WHERE state = 2;

CREATE TABLE request (
    key BLOB PRIMARY KEY NOT NULL,
    digest BLOB NOT NULL,
    call_id BLOB NOT NULL,
    operation BLOB,
    created_at INTEGER NOT NULL,
    {request_sum}
) STRICT;
CREATE INDEX request_made ON request (created_at);

CREATE TABLE tally (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    created INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    given_up INTEGER NOT NULL,
    {tally_sum}
) STRICT;
",
        call_sum = sum(query::CALL),
        operation_sum = sum(query::OPERATION),
        notification_sum = sum(query::NOTIFICATION),
        request_sum = sum(query::REQUEST),
        tally_sum = sum(query::TALLY),
    )
}

/// The tables with what is summed in each.
const SUMMED: [(&str, &str); 5] = [
    ("call", query::CALL),
    ("operation", query::OPERATION),
    ("notification", query::NOTIFICATION),
    ("request", query::REQUEST),
    ("tally", query::TALLY),
];

/// From version 1: the rows move into tables with checksums.
const FROM_VERSION_1: [(&str, &str); 4] = [
    (
        "call",
        "id, tenant, app, state, is_terminated, callback_uri, details_json, created_at, updated_at",
    ),
    ("operation", query::OPERATION),
    ("notification", query::NOTIFICATION),
    ("tally", "only, created, delivered, given_up"),
];

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
    row_sum::register(&connection).map_err(failed)?;
    create_tables(&mut connection).map_err(failed)?;
    check_health(&connection, path)?;
    sync_directory(path)?;
    Ok(connection)
}

/// Reads every row and every index, so that what is answered later is what was written.
fn check_health(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let damaged = |detail: String| OpenError::StoreDamaged { path: path.to_owned(), detail };
    let failed = |source| failed(path, source);
    let finding: String = pragma(connection, path, "integrity_check(1)")?;
    if finding != "ok" {
        return Err(damaged(finding));
    }
    for (table, columns) in SUMMED {
        let first: Option<i64> = connection
            .query_row(
                &format!(
                    "SELECT rowid FROM {table} WHERE {} IS NOT crc_of({columns}) LIMIT 1",
                    row_sum::COLUMN
                ),
                [],
                |row| row.get(0),
            )
            .optional()
            .map_err(failed)?;
        if let Some(row) = first {
            let text = format!("row {row} of table {table} does not agree with its checksum");
            return Err(damaged(text));
        }
    }
    // What the tables are is data as well.
    let expected = Connection::open_in_memory().map_err(failed)?;
    row_sum::register(&expected).map_err(failed)?;
    expected.execute_batch(&tables()).map_err(failed)?;
    if declarations(connection).map_err(failed)? != declarations(&expected).map_err(failed)? {
        return Err(damaged("its tables are not those of a Graphophone store".into()));
    }
    Ok(())
}

fn declarations(connection: &Connection) -> rusqlite::Result<Vec<(String, Option<String>)>> {
    connection
        .prepare("SELECT name, sql FROM sqlite_schema ORDER BY name")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Opens the reader's connection to a database that [`open_for_writing`] has prepared.
pub(crate) fn open_for_reading(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|source| failed(path, source))?;
    connection.set_prepared_statement_cache_capacity(64);
    row_sum::register(&connection).map_err(|source| failed(path, source))?;
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
    if version == 1 {
        for (table, _) in FROM_VERSION_1 {
            transaction.execute_batch(&format!("ALTER TABLE {table} RENAME TO old_{table}"))?;
        }
        // Indexes keep their names when their table gets another one.
        let old: Vec<String> = transaction
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for index in old {
            transaction.execute_batch(&format!("DROP INDEX {index}"))?;
        }
    }
    transaction.execute_batch(&tables())?;
    if version == 1 {
        for (table, columns) in FROM_VERSION_1 {
            transaction.execute_batch(&format!(
                "INSERT INTO {table} ({columns}) SELECT {columns} FROM old_{table}"
            ))?;
        }
        // The sequence of a pruned row is not given again either.
        transaction.execute_batch(
            "DELETE FROM sqlite_sequence WHERE name = 'notification';
             INSERT INTO sqlite_sequence (name, seq)
                 SELECT 'notification', seq FROM sqlite_sequence WHERE name = 'old_notification'",
        )?;
        for (table, _) in FROM_VERSION_1 {
            transaction.execute_batch(&format!("DROP TABLE old_{table}"))?;
        }
    } else {
        transaction.execute_batch(
            "INSERT INTO tally (only, created, delivered, given_up) VALUES (1, 0, 0, 0)",
        )?;
    }
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
