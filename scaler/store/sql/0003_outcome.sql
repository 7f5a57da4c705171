-- What is known of an outcome: whose fault, when each phase came, what was used, who started it. Null: not known.
ALTER TABLE executions ADD COLUMN trigger_by TEXT;
ALTER TABLE executions ADD COLUMN trigger_reading REAL;
ALTER TABLE executions ADD COLUMN template_hash TEXT;

ALTER TABLE replicas ADD COLUMN created_at TEXT;
ALTER TABLE replicas ADD COLUMN not_before TEXT;
ALTER TABLE replicas ADD COLUMN launched_at TEXT;
ALTER TABLE replicas ADD COLUMN removed_at TEXT;
ALTER TABLE replicas ADD COLUMN fault TEXT;
ALTER TABLE replicas ADD COLUMN cpu_seconds REAL;
ALTER TABLE replicas ADD COLUMN peak_memory_bytes INTEGER;
ALTER TABLE replicas ADD COLUMN image_digest TEXT;

DROP INDEX executions_open;                 -- Unknown is final from here on
CREATE INDEX executions_open ON executions (seq)
WHERE status NOT IN ('Succeeded', 'Failed', 'Stopped', 'Unknown');

DROP VIEW replica_rows;
CREATE VIEW replica_rows AS                 -- for joins: names that no column of executions has
SELECT id AS r_id, execution_id AS r_execution_id, position AS r_position, ordinal AS r_ordinal,
    attempt AS r_attempt, status AS r_status, handle_executor AS r_handle_executor,
    handle_token AS r_handle_token, created_at AS r_created_at, not_before AS r_not_before,
    launched_at AS r_launched_at, started_at AS r_started_at, ended_at AS r_ended_at,
    removed_at AS r_removed_at, exit_code AS r_exit_code, reason AS r_reason, message AS r_message,
    timed_out AS r_timed_out, removed AS r_removed, fault AS r_fault, cpu_seconds AS r_cpu_seconds,
    peak_memory_bytes AS r_peak_memory_bytes, image_digest AS r_image_digest
FROM replicas;
