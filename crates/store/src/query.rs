//! The reading statements and the way from rows to records.

use std::sync::Arc;

use graphophone_call::{AppId, CallId, OperationId, TenantId};
use rusqlite::{
    Connection, OptionalExtension, Row, ToSql, named_params,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Value, ValueRef},
};
use uuid::Uuid;

use crate::{
    record::{
        CallRecord, Counts, DeliveryFilter, NotificationId, NotificationRecord, NotificationState,
        OperationRecord, Owed, RequestRecord, Sequence, Unfinished, UnixMillis,
    },
    row_sum,
};

/// The columns of the tables in the order in which they are read and summed.
pub(crate) const CALL: &str = "id, tenant, app, state, is_terminated, callback_uri, details_json, \
                               dialog, created_at, updated_at";
pub(crate) const OPERATION: &str = "id, call_id, tenant, app, kind, status, is_final, body_json, \
                                    created_at, updated_at";
pub(crate) const NOTIFICATION: &str = "sequence, id, call_id, tenant, app, url, body, \
                                       scenario_id, created_at, attempts, next_attempt_at, state, \
                                       last_error, settled_at";
pub(crate) const REQUEST: &str = "key, digest, call_id, operation, created_at";
pub(crate) const TALLY: &str = "created, delivered, given_up";

/// Reads whole rows, their sums last.
fn select(columns: &str, table: &str) -> String {
    format!("SELECT {columns}, {} FROM {table}", row_sum::COLUMN)
}

/// An id as a column.
pub(crate) struct Id(pub(crate) Uuid);

impl ToSql for Id {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.0.as_bytes())))
    }
}

impl FromSql for Id {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        Uuid::from_slice(bytes).map(Self).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

impl ToSql for UnixMillis {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for UnixMillis {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}

impl ToSql for Sequence {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        // A sequence behind the largest one SQLite can give exists as little as that one.
        Ok(ToSqlOutput::Owned(Value::Integer(i64::try_from(self.0).unwrap_or(i64::MAX))))
    }
}

impl FromSql for Sequence {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        u64::try_from(number).map(Self).map_err(|_| FromSqlError::OutOfRange(number))
    }
}

impl ToSql for NotificationState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Integer(match self {
            Self::Owed => 0,
            Self::Delivered => 1,
            Self::GivenUp => 2,
        })))
    }
}

impl FromSql for NotificationState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self::Owed),
            1 => Ok(Self::Delivered),
            2 => Ok(Self::GivenUp),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}

pub(crate) fn call(connection: &Connection, id: CallId) -> rusqlite::Result<Option<CallRecord>> {
    connection
        .prepare_cached(&format!("{} WHERE id = ?1", select(CALL, "call")))?
        .query_row([Id(id.uuid())], call_row)
        .optional()
}

pub(crate) fn operation(
    connection: &Connection,
    id: OperationId,
) -> rusqlite::Result<Option<OperationRecord>> {
    connection
        .prepare_cached(&format!("{} WHERE id = ?1", select(OPERATION, "operation")))?
        .query_row([Id(id.uuid())], operation_row)
        .optional()
}

pub(crate) fn operations_of_call(
    connection: &Connection,
    call_id: CallId,
) -> rusqlite::Result<Vec<OperationRecord>> {
    connection
        .prepare_cached(&format!(
            "{} WHERE call_id = ?1 ORDER BY rowid",
            select(OPERATION, "operation")
        ))?
        .query_map([Id(call_id.uuid())], operation_row)?
        .collect()
}

pub(crate) fn unfinished(connection: &Connection) -> rusqlite::Result<Unfinished> {
    let calls = connection
        .prepare_cached(&format!(
            "{} WHERE is_terminated = 0 ORDER BY created_at, rowid",
            select(CALL, "call")
        ))?
        .query_map([], call_row)?
        .collect::<rusqlite::Result<_>>()?;
    let operations = connection
        .prepare_cached(&format!(
            "{} WHERE is_final = 0 ORDER BY created_at, rowid",
            select(OPERATION, "operation")
        ))?
        .query_map([], operation_row)?
        .collect::<rusqlite::Result<_>>()?;
    let dialogs = connection
        .prepare_cached(&format!(
            "{} WHERE is_terminated = 1 AND dialog IS NOT NULL ORDER BY created_at, rowid",
            select(CALL, "call")
        ))?
        .query_map([], call_row)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Unfinished { calls, operations, dialogs })
}

pub(crate) fn owed(connection: &Connection) -> rusqlite::Result<Vec<Owed>> {
    connection
        .prepare_cached(
            "SELECT head.call_id, head.sequence, span.last, head.url
             FROM (SELECT min(sequence) AS first, max(sequence) AS last
                   FROM notification INDEXED BY notification_owed
                   WHERE state = 0 GROUP BY call_id) AS span
             JOIN notification AS head ON head.sequence = span.first
             ORDER BY head.sequence",
        )?
        .query_map([], |row| {
            Ok(Owed {
                call_id: CallId::new(row.get::<_, Id>(0)?.0),
                first: row.get(1)?,
                last: row.get(2)?,
                url: row.get(3)?,
            })
        })?
        .collect()
}

pub(crate) fn owed_of_call(
    connection: &Connection,
    call_id: CallId,
    after: Sequence,
    limit: u32,
) -> rusqlite::Result<Vec<NotificationRecord>> {
    connection
        .prepare_cached(&format!(
            "{} INDEXED BY notification_of_call \
             WHERE state = 0 AND call_id = :call AND sequence > :after \
             ORDER BY sequence LIMIT :limit",
            select(NOTIFICATION, "notification")
        ))?
        .query_map(
            named_params! {":call": Id(call_id.uuid()), ":after": after, ":limit": limit},
            notification_row,
        )?
        .collect()
}

pub(crate) fn notification(
    connection: &Connection,
    sequence: Sequence,
) -> rusqlite::Result<Option<NotificationRecord>> {
    connection
        .prepare_cached(&format!("{} WHERE sequence = ?1", select(NOTIFICATION, "notification")))?
        .query_row([sequence], notification_row)
        .optional()
}

pub(crate) fn deliveries(
    connection: &Connection,
    filter: &DeliveryFilter,
) -> rusqlite::Result<Vec<NotificationRecord>> {
    let (conditions, values) = conditions(filter);
    connection
        .prepare_cached(&format!("{} WHERE {conditions}", select(NOTIFICATION, "notification")))?
        .query_map(rusqlite::params_from_iter(values), notification_row)?
        .collect()
}

/// The same without those that are owed.
pub(crate) fn settled(
    connection: &Connection,
    filter: &DeliveryFilter,
) -> rusqlite::Result<Vec<NotificationRecord>> {
    let (conditions, values) = conditions(filter);
    connection
        .prepare_cached(&format!(
            "{} WHERE state <> 0 AND {conditions}",
            select(NOTIFICATION, "notification")
        ))?
        .query_map(rusqlite::params_from_iter(values), notification_row)?
        .collect()
}

pub(crate) fn last(connection: &Connection) -> rusqlite::Result<Sequence> {
    connection
        .prepare_cached("SELECT coalesce(max(sequence), 0) FROM notification")?
        .query_row([], |row| row.get(0))
}

/// What stands behind WHERE for a filter, with its values; ends in the page's limit.
fn conditions(filter: &DeliveryFilter) -> (String, Vec<Box<dyn ToSql>>) {
    let mut sql = "sequence > ? AND sequence <= ?".to_owned();
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(filter.after), Box::new(filter.up_to)];
    match filter.state {
        // The constant makes the partial index usable.
        Some(NotificationState::Owed) => sql.push_str(" AND state = 0"),
        Some(NotificationState::Delivered) => sql.push_str(" AND state = 1"),
        Some(NotificationState::GivenUp) => sql.push_str(" AND state = 2"),
        None => {}
    }
    let owners = [
        (" AND call_id = ?", filter.call_id.map(CallId::uuid)),
        (" AND app = ?", filter.app.map(AppId::uuid)),
        (" AND tenant = ?", filter.tenant.map(TenantId::uuid)),
    ];
    for (condition, id) in owners {
        if let Some(id) = id {
            sql.push_str(condition);
            values.push(Box::new(Id(id)));
        }
    }
    sql.push_str(" ORDER BY sequence LIMIT ?");
    values.push(Box::new(filter.limit.min(1_000)));
    (sql, values)
}

pub(crate) fn request(
    connection: &Connection,
    key: [u8; 16],
) -> rusqlite::Result<Option<RequestRecord>> {
    connection
        .prepare_cached(&format!("{} WHERE key = ?1", select(REQUEST, "request")))?
        .query_row([key], |row| {
            row_sum::check(row, 5)?;
            let id = |column| row.get::<_, Option<Id>>(column).map(|id| id.map(|id| id.0));
            Ok(RequestRecord {
                key: row.get(0)?,
                digest: row.get(1)?,
                call_id: CallId::new(row.get::<_, Id>(2)?.0),
                operation: id(3)?.map(OperationId::new),
                created_at: row.get(4)?,
            })
        })
        .optional()
}

pub(crate) fn counts(connection: &Connection) -> rusqlite::Result<Counts> {
    // One statement, so that the four numbers are of one moment.
    connection
        .prepare_cached(
            "SELECT created, delivered, given_up, row_sum,
                    (SELECT count(*) FROM notification INDEXED BY notification_owed
                     WHERE state = 0)
             FROM tally",
        )?
        .query_row([], |row| {
            row_sum::check(row, 3)?;
            Ok(Counts {
                created: number(row, 0)?,
                delivered: number(row, 1)?,
                given_up: number(row, 2)?,
                pending: number(row, 4)?,
            })
        })
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

fn call_row(row: &Row<'_>) -> rusqlite::Result<CallRecord> {
    row_sum::check(row, 10)?;
    Ok(CallRecord {
        id: CallId::new(row.get::<_, Id>(0)?.0),
        tenant: TenantId::new(row.get::<_, Id>(1)?.0),
        app: AppId::new(row.get::<_, Id>(2)?.0),
        state: row.get(3)?,
        is_terminated: row.get(4)?,
        callback_uri: row.get(5)?,
        details_json: row.get(6)?,
        dialog: row.get(7)?,
        created_at: row.get(8)?,
        updated_at: row.get(9)?,
    })
}

fn operation_row(row: &Row<'_>) -> rusqlite::Result<OperationRecord> {
    row_sum::check(row, 10)?;
    Ok(OperationRecord {
        id: OperationId::new(row.get::<_, Id>(0)?.0),
        call_id: CallId::new(row.get::<_, Id>(1)?.0),
        tenant: TenantId::new(row.get::<_, Id>(2)?.0),
        app: AppId::new(row.get::<_, Id>(3)?.0),
        kind: row.get(4)?,
        status: row.get(5)?,
        is_final: row.get(6)?,
        body_json: row.get(7)?,
        created_at: row.get(8)?,
        updated_at: row.get(9)?,
    })
}

fn notification_row(row: &Row<'_>) -> rusqlite::Result<NotificationRecord> {
    row_sum::check(row, 14)?;
    Ok(NotificationRecord {
        sequence: row.get(0)?,
        id: NotificationId(row.get::<_, Id>(1)?.0),
        call_id: CallId::new(row.get::<_, Id>(2)?.0),
        tenant: TenantId::new(row.get::<_, Id>(3)?.0),
        app: AppId::new(row.get::<_, Id>(4)?.0),
        url: row.get(5)?,
        body: Arc::from(row.get_ref(6)?.as_blob()?),
        scenario_id: row.get::<_, Id>(7)?.0,
        created_at: row.get(8)?,
        attempts: row.get(9)?,
        next_attempt_at: row.get(10)?,
        state: row.get(11)?,
        last_error: row.get(12)?,
        settled_at: row.get(13)?,
    })
}
