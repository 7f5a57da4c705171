-- Every statement of the store, each under its name. Parameters are named as the columns are.

-- name: insert_execution
INSERT INTO executions (
    id, job, generation, cause, template, executor, replica_timeout_us, replica_retry_limit, parallelism,
    replica_completion_count, created_at, status, started_at, ended_at, verdict, reason, message, decision_id,
    share, trigger_by, trigger_reading, template_hash
) VALUES (
    :id, :job, :generation, :cause, :template, :executor, :replica_timeout_us, :replica_retry_limit,
    :parallelism, :replica_completion_count, :created_at, :status, :started_at, :ended_at, :verdict, :reason,
    :message, :decision_id, :share, :trigger_by, :trigger_reading, :template_hash
);

-- name: update_execution
UPDATE executions
SET status = :status, started_at = :started_at, ended_at = :ended_at, verdict = :verdict, reason = :reason,
    message = :message, decision_id = :decision_id
WHERE id = :id;

-- name: upsert_replica
INSERT INTO replicas (
    id, execution_id, position, ordinal, attempt, status, handle_executor, handle_token, created_at, not_before,
    launched_at, started_at, ended_at, removed_at, exit_code, reason, message, timed_out, removed, fault,
    cpu_seconds, peak_memory_bytes, image_digest
) VALUES (
    :id, :execution_id, :position, :ordinal, :attempt, :status, :handle_executor, :handle_token, :created_at,
    :not_before, :launched_at, :started_at, :ended_at, :removed_at, :exit_code, :reason, :message, :timed_out,
    :removed, :fault, :cpu_seconds, :peak_memory_bytes, :image_digest
)
ON CONFLICT (id) DO UPDATE
SET position = excluded.position, ordinal = excluded.ordinal, attempt = excluded.attempt,
    status = excluded.status, handle_executor = excluded.handle_executor, handle_token = excluded.handle_token,
    created_at = excluded.created_at, not_before = excluded.not_before, launched_at = excluded.launched_at,
    started_at = excluded.started_at, ended_at = excluded.ended_at, removed_at = excluded.removed_at,
    exit_code = excluded.exit_code, reason = excluded.reason, message = excluded.message,
    timed_out = excluded.timed_out, removed = excluded.removed, fault = excluded.fault,
    cpu_seconds = excluded.cpu_seconds, peak_memory_bytes = excluded.peak_memory_bytes,
    image_digest = excluded.image_digest;

-- name: find_status
SELECT status FROM executions WHERE id = :id AND job = :job;

-- name: find_execution
SELECT * FROM executions AS e LEFT JOIN replica_rows AS r ON r.r_execution_id = e.id
WHERE e.id = :id AND e.job = :job
ORDER BY r.r_position;

-- name: list_unfinished
SELECT * FROM (
    SELECT * FROM executions
    WHERE id IN (
        SELECT id FROM executions WHERE status NOT IN ('Succeeded', 'Failed', 'Stopped', 'Unknown')
        UNION SELECT execution_id FROM replicas WHERE removed = 0
    )
) AS e LEFT JOIN replica_rows AS r ON r.r_execution_id = e.id
ORDER BY e.created_at, e.seq, r.r_position;

-- name: count_statuses
SELECT status, number FROM execution_counts WHERE job = :job AND number > 0;

-- name: insert_decision
INSERT INTO decisions (job, at, body) VALUES (:job, :at, :body);

-- name: list_decisions
SELECT id, body FROM decisions WHERE job = :job ORDER BY id DESC LIMIT :limit;

-- name: set_note
INSERT INTO notes (key, value) VALUES (:key, :value)
ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: get_note
SELECT value FROM notes WHERE key = :key;
