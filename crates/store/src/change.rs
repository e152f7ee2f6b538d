//! The writing statements, each inside a transaction that `writer` holds open.

use std::sync::Arc;

use rusqlite::{Connection, named_params};

use crate::{
    error::StoreError,
    query::{self, Id},
    record::{
        CallRecord, Commit, Committed, Cutoff, DeliveryFilter, NewNotification, NotificationRecord,
        NotificationState, OperationRecord, Pruned, RequestRecord, Sequence, UnixMillis,
    },
    writer::Tally,
};

/// Rows of one kind removed by one pruning write; bounds how long others wait.
const PRUNE_CHUNK: u32 = 500;

/// The outcome of one delivery attempt.
pub(crate) struct Settle {
    pub(crate) sequence: Sequence,
    pub(crate) state: NotificationState,
    pub(crate) error: Option<String>,
    /// The next attempt if still owed, else the time of settlement.
    pub(crate) at: UnixMillis,
}

pub(crate) fn commit(
    connection: &Connection,
    tally: &mut Tally,
    commit: &Commit,
) -> Result<Committed, StoreError> {
    if let Some(request) = &commit.request {
        add_request(connection, request)?;
    }
    if let Some(call) = &commit.call {
        put_call(connection, call)?;
    }
    for operation in &commit.operations {
        put_operation(connection, operation)?;
    }
    let notifications = commit
        .notifications
        .iter()
        .map(|notification| add_notification(connection, notification))
        .collect::<Result<Vec<_>, _>>()?;
    tally.created += i64::try_from(notifications.len()).expect("a Vec has at most i64::MAX items");
    Ok(Committed { notifications })
}

fn add_request(connection: &Connection, request: &RequestRecord) -> Result<(), StoreError> {
    let added = connection
        .prepare_cached(
            "INSERT INTO request (key, digest, call_id, operation, created_at)
             VALUES (:key, :digest, :call, :operation, :created)
             ON CONFLICT (key) DO NOTHING",
        )?
        .execute(named_params! {
            ":key": request.key, ":digest": request.digest, ":call": Id(request.call_id.uuid()),
            ":operation": request.operation.map(|id| Id(id.uuid())),
            ":created": request.created_at,
        })?;
    if added == 0 { Err(StoreError::CallerKnownRequest) } else { Ok(()) }
}

fn put_call(connection: &Connection, call: &CallRecord) -> Result<(), StoreError> {
    let changed = connection.prepare_cached("INSERT INTO call (id, tenant, app, state, is_terminated, callback_uri, details_json,
                           dialog, created_at, updated_at)
         VALUES (:id, :tenant, :app, :state, :terminated, :callback, :details, :dialog,
                 :created, :updated)
         ON CONFLICT (id) DO UPDATE SET
             state = excluded.state, is_terminated = excluded.is_terminated,
             callback_uri = excluded.callback_uri, details_json = excluded.details_json,
             dialog = excluded.dialog, updated_at = excluded.updated_at
         WHERE call.is_terminated = 0
            OR (excluded.is_terminated = 1 AND call.state = excluded.state)")?.execute(named_params! {
        ":id": Id(call.id.uuid()), ":tenant": Id(call.tenant.uuid()), ":app": Id(call.app.uuid()),
        ":state": call.state, ":terminated": call.is_terminated,
        ":callback": call.callback_uri, ":details": call.details_json,
        ":dialog": call.dialog,
        ":created": call.created_at, ":updated": call.updated_at,
    })?;
    if changed == 0 { Err(StoreError::CallerTerminatedCall(call.id)) } else { Ok(()) }
}

fn put_operation(connection: &Connection, operation: &OperationRecord) -> Result<(), StoreError> {
    let changed = connection
        .prepare_cached(
            "INSERT INTO operation (id, call_id, tenant, app, kind, status, is_final, body_json,
                                created_at, updated_at)
         VALUES (:id, :call, :tenant, :app, :kind, :status, :final, :body, :created, :updated)
         ON CONFLICT (id) DO UPDATE SET
             status = excluded.status, is_final = excluded.is_final,
             body_json = excluded.body_json, updated_at = excluded.updated_at
         WHERE operation.is_final = 0
            OR (excluded.is_final = 1 AND operation.status = excluded.status)",
        )?
        .execute(named_params! {
            ":id": Id(operation.id.uuid()), ":call": Id(operation.call_id.uuid()),
            ":tenant": Id(operation.tenant.uuid()), ":app": Id(operation.app.uuid()),
            ":kind": operation.kind, ":status": operation.status, ":final": operation.is_final,
            ":body": operation.body_json, ":created": operation.created_at,
            ":updated": operation.updated_at,
        })?;
    if changed == 0 { Err(StoreError::CallerFinalOperation(operation.id)) } else { Ok(()) }
}

fn add_notification(
    connection: &Connection,
    new: &NewNotification,
) -> Result<NotificationRecord, StoreError> {
    connection.prepare_cached("INSERT INTO notification (id, call_id, tenant, app, url, body, scenario_id, created_at,
                                   attempts, next_attempt_at, state)
         VALUES (:id, :call, :tenant, :app, :url, :body, :scenario, :created, 0, :created, 0)")?.execute(named_params! {
        ":id": Id(new.id.0), ":call": Id(new.call_id.uuid()), ":tenant": Id(new.tenant.uuid()),
        ":app": Id(new.app.uuid()), ":url": new.url, ":body": &new.body[..],
        ":scenario": Id(new.scenario_id), ":created": new.created_at,
    })?;
    let sequence = u64::try_from(connection.last_insert_rowid())
        .map_err(|_| StoreError::StoreDamaged("negative sequence".into()))?;
    Ok(NotificationRecord {
        id: new.id,
        sequence: Sequence(sequence),
        call_id: new.call_id,
        tenant: new.tenant,
        app: new.app,
        url: new.url.clone(),
        body: Arc::clone(&new.body),
        scenario_id: new.scenario_id,
        created_at: new.created_at,
        attempts: 0,
        next_attempt_at: new.created_at,
        state: NotificationState::Owed,
        last_error: None,
        settled_at: None,
    })
}

pub(crate) fn settle(
    connection: &Connection,
    tally: &mut Tally,
    settle: &Settle,
) -> Result<(), StoreError> {
    // The error of an earlier attempt stays readable on a notification delivered later.
    let changed = connection
        .prepare_cached(
            "UPDATE notification SET
             attempts = attempts + 1, state = :state,
             last_error = coalesce(:error, last_error),
             next_attempt_at = CASE WHEN :state = 0 THEN :at ELSE next_attempt_at END,
             settled_at = CASE WHEN :state = 0 THEN NULL ELSE :at END
         WHERE sequence = :sequence AND state = 0",
        )?
        .execute(named_params! {
            ":state": settle.state, ":error": settle.error, ":at": settle.at,
            ":sequence": settle.sequence,
        })?;
    if changed == 0 {
        return Err(StoreError::CallerNotOwed(settle.sequence));
    }
    match settle.state {
        NotificationState::Owed => {}
        NotificationState::Delivered => tally.delivered += 1,
        NotificationState::GivenUp => tally.given_up += 1,
    }
    Ok(())
}

/// Makes settled notifications owed again, one page of those that the filter names. They keep their
/// place in the order, their id and body, and what their attempts came to.
pub(crate) fn replay(
    connection: &Connection,
    tally: &mut Tally,
    filter: &DeliveryFilter,
    now: UnixMillis,
) -> Result<Vec<NotificationRecord>, StoreError> {
    let mut replayed = query::settled(connection, filter)?;
    for record in &mut replayed {
        connection
            .prepare_cached(
                "UPDATE notification SET state = 0, next_attempt_at = :now, settled_at = NULL
                 WHERE sequence = :sequence",
            )?
            .execute(named_params! {":now": now, ":sequence": record.sequence})?;
        match record.state {
            NotificationState::Owed => {}
            NotificationState::Delivered => tally.delivered -= 1,
            NotificationState::GivenUp => tally.given_up -= 1,
        }
        record.state = NotificationState::Owed;
        record.next_attempt_at = now;
        record.settled_at = None;
    }
    Ok(replayed)
}

/// Removes one chunk. A call that owes something, has an unfinished operation or legs that have
/// outlived it (a bridge, a conference without a bot) stays.
pub(crate) fn prune(connection: &Connection, before: Cutoff) -> Result<Pruned, StoreError> {
    let remove = |sql: &str, before: UnixMillis| {
        let removed = connection
            .prepare_cached(sql)?
            .execute(named_params! {":before": before, ":limit": PRUNE_CHUNK})?;
        Ok::<_, StoreError>(removed as u64)
    };
    let operations = remove(
        "DELETE FROM operation WHERE rowid IN (
             SELECT rowid FROM operation INDEXED BY operation_ended
             WHERE is_final = 1 AND updated_at < :before
             ORDER BY updated_at LIMIT :limit)",
        before.ended,
    )?;
    let calls = remove(
        "DELETE FROM call WHERE rowid IN (
             SELECT rowid FROM call INDEXED BY call_ended
             WHERE is_terminated = 1 AND updated_at < :before AND dialog IS NULL
               AND NOT EXISTS (SELECT 1 FROM operation
                               WHERE operation.call_id = call.id AND is_final = 0)
               AND NOT EXISTS (SELECT 1 FROM notification INDEXED BY notification_of_call
                               WHERE notification.call_id = call.id
                                 AND notification.state = 0)
             ORDER BY updated_at LIMIT :limit)",
        before.ended,
    )?;
    let delivered = remove(
        "DELETE FROM notification WHERE sequence IN (
             SELECT sequence FROM notification INDEXED BY notification_delivered
             WHERE state = 1 AND settled_at < :before ORDER BY settled_at LIMIT :limit)",
        before.ended,
    )?;
    let given_up = remove(
        "DELETE FROM notification WHERE sequence IN (
             SELECT sequence FROM notification INDEXED BY notification_given_up_at
             WHERE state = 2 AND settled_at < :before ORDER BY settled_at LIMIT :limit)",
        before.given_up,
    )?;
    let requests = remove(
        "DELETE FROM request WHERE rowid IN (
             SELECT rowid FROM request INDEXED BY request_made
             WHERE created_at < :before ORDER BY created_at LIMIT :limit)",
        before.requests,
    )?;
    Ok(Pruned { calls, operations, notifications: delivered + given_up, requests })
}
