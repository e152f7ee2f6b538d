//! The reading statements and the way from rows to records.

use std::sync::Arc;

use graphophone_call::{AppId, CallId, OperationId, TenantId};
use rusqlite::{
    Connection, OptionalExtension, Row, ToSql, named_params,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Value, ValueRef},
};
use uuid::Uuid;

use crate::record::{
    CallRecord, Counts, DeliveryFilter, NotificationId, NotificationRecord, NotificationState,
    OperationRecord, Owed, Sequence, Unfinished, UnixMillis,
};

const CALL: &str = "SELECT id, tenant, app, state, is_terminated, callback_uri, details_json, \
                    created_at, updated_at FROM call";
const OPERATION: &str = "SELECT id, call_id, tenant, app, kind, status, is_final, body_json, \
                         created_at, updated_at FROM operation";
const NOTIFICATION: &str = "SELECT sequence, id, call_id, tenant, app, url, body, scenario_id, \
                            created_at, attempts, next_attempt_at, state, last_error, settled_at \
                            FROM notification";

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
        .prepare_cached(&format!("{CALL} WHERE id = ?1"))?
        .query_row([Id(id.uuid())], call_row)
        .optional()
}

pub(crate) fn operation(
    connection: &Connection,
    id: OperationId,
) -> rusqlite::Result<Option<OperationRecord>> {
    connection
        .prepare_cached(&format!("{OPERATION} WHERE id = ?1"))?
        .query_row([Id(id.uuid())], operation_row)
        .optional()
}

pub(crate) fn operations_of_call(
    connection: &Connection,
    call_id: CallId,
) -> rusqlite::Result<Vec<OperationRecord>> {
    connection
        .prepare_cached(&format!("{OPERATION} WHERE call_id = ?1 ORDER BY rowid"))?
        .query_map([Id(call_id.uuid())], operation_row)?
        .collect()
}

pub(crate) fn unfinished(connection: &Connection) -> rusqlite::Result<Unfinished> {
    let calls = connection
        .prepare_cached(&format!("{CALL} WHERE is_terminated = 0 ORDER BY created_at, rowid"))?
        .query_map([], call_row)?
        .collect::<rusqlite::Result<_>>()?;
    let operations = connection
        .prepare_cached(&format!("{OPERATION} WHERE is_final = 0 ORDER BY created_at, rowid"))?
        .query_map([], operation_row)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Unfinished { calls, operations })
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
            "{NOTIFICATION} INDEXED BY notification_of_call \
             WHERE state = 0 AND call_id = :call AND sequence > :after \
             ORDER BY sequence LIMIT :limit"
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
        .prepare_cached(&format!("{NOTIFICATION} WHERE sequence = ?1"))?
        .query_row([sequence], notification_row)
        .optional()
}

pub(crate) fn deliveries(
    connection: &Connection,
    filter: &DeliveryFilter,
) -> rusqlite::Result<Vec<NotificationRecord>> {
    let (conditions, values) = conditions(filter);
    connection
        .prepare_cached(&format!("{NOTIFICATION} WHERE {conditions}"))?
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
        .prepare_cached(&format!("{NOTIFICATION} WHERE state <> 0 AND {conditions}"))?
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

pub(crate) fn counts(connection: &Connection) -> rusqlite::Result<Counts> {
    // One statement, so that the four numbers are of one moment.
    connection
        .prepare_cached(
            "SELECT created, delivered, given_up,
                    (SELECT count(*) FROM notification INDEXED BY notification_owed
                     WHERE state = 0)
             FROM tally",
        )?
        .query_row([], |row| {
            Ok(Counts {
                created: number(row, 0)?,
                delivered: number(row, 1)?,
                given_up: number(row, 2)?,
                pending: number(row, 3)?,
            })
        })
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

fn call_row(row: &Row<'_>) -> rusqlite::Result<CallRecord> {
    Ok(CallRecord {
        id: CallId::new(row.get::<_, Id>(0)?.0),
        tenant: TenantId::new(row.get::<_, Id>(1)?.0),
        app: AppId::new(row.get::<_, Id>(2)?.0),
        state: row.get(3)?,
        is_terminated: row.get(4)?,
        callback_uri: row.get(5)?,
        details_json: row.get(6)?,
        created_at: row.get(7)?,
        updated_at: row.get(8)?,
    })
}

fn operation_row(row: &Row<'_>) -> rusqlite::Result<OperationRecord> {
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
