-- The tables of version 1, as Graphophone 0.1 made them before rows had checksums.
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
