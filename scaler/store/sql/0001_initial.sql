-- Times are UTC text of one width (2026-11-21T14:00:00.000000+00:00), so that they sort as text.
-- Rows hold no secrets: templates name them, and only the running daemon knows what they are.

CREATE TABLE executions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of arrival; parts executions of the same moment
    id TEXT NOT NULL UNIQUE,
    job TEXT NOT NULL,
    generation INTEGER NOT NULL,
    cause TEXT NOT NULL,
    template TEXT NOT NULL,                 -- JSON
    executor TEXT NOT NULL,
    replica_timeout_us INTEGER NOT NULL,
    replica_retry_limit INTEGER NOT NULL,
    parallelism INTEGER NOT NULL,
    replica_completion_count INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT,
    verdict TEXT,                           -- JSON
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    decision_id INTEGER                     -- may name a decision that is no longer kept
);

CREATE INDEX executions_newest ON executions (job, created_at, seq);
CREATE INDEX executions_by_status ON executions (job, status);
CREATE INDEX executions_open ON executions (seq) WHERE status NOT IN ('Succeeded', 'Failed', 'Stopped');

CREATE TABLE replicas (
    id TEXT PRIMARY KEY,
    execution_id TEXT NOT NULL REFERENCES executions (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,              -- order within the execution, oldest first
    ordinal INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    status TEXT NOT NULL,
    handle_executor TEXT,
    handle_token TEXT,
    started_at TEXT,
    ended_at TEXT,
    exit_code INTEGER,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    timed_out INTEGER NOT NULL,
    removed INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX replicas_of_execution ON replicas (execution_id, position);
CREATE INDEX replicas_not_removed ON replicas (execution_id) WHERE removed = 0;

CREATE VIEW replica_rows AS                 -- for joins: names that no column of executions has
SELECT id AS r_id, execution_id AS r_execution_id, position AS r_position, ordinal AS r_ordinal,
    attempt AS r_attempt, status AS r_status, handle_executor AS r_handle_executor,
    handle_token AS r_handle_token, started_at AS r_started_at, ended_at AS r_ended_at,
    exit_code AS r_exit_code, reason AS r_reason, message AS r_message, timed_out AS r_timed_out,
    removed AS r_removed
FROM replicas;

CREATE TABLE decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- never given twice, also after old ones are dropped
    job TEXT NOT NULL,
    at TEXT NOT NULL,
    body TEXT NOT NULL                      -- JSON
);

CREATE INDEX decisions_newest ON decisions (job, id);

CREATE TABLE notes (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
