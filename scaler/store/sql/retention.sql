-- Statements that drop the past. An execution may go if it has ended and nothing of it is left outside.

-- name: count_ended
SELECT job, sum(number) AS number FROM execution_counts
WHERE status IN ('Succeeded', 'Failed', 'Stopped', 'Unknown') AND number > 0
GROUP BY job;

-- name: surplus_executions
SELECT id FROM (
    SELECT id FROM executions INDEXED BY executions_newest
    WHERE job = :job AND status IN ('Succeeded', 'Failed', 'Stopped', 'Unknown')
    ORDER BY created_at, seq
    LIMIT :surplus
) AS e
WHERE NOT EXISTS (SELECT 1 FROM replicas AS r WHERE r.execution_id = e.id AND r.removed = 0)
LIMIT :limit;

-- name: old_executions
SELECT id FROM executions AS e INDEXED BY executions_all
WHERE created_at < :before AND coalesce(ended_at, created_at) < :before
    AND status IN ('Succeeded', 'Failed', 'Stopped', 'Unknown')
    AND NOT EXISTS (SELECT 1 FROM replicas AS r WHERE r.execution_id = e.id AND r.removed = 0)
ORDER BY created_at, seq
LIMIT :limit;

-- name: replicas_of
SELECT id, execution_id FROM replicas WHERE execution_id IN (SELECT value FROM json_each(:executions))
ORDER BY execution_id, position;

-- name: delete_executions
DELETE FROM executions
WHERE id IN (SELECT value FROM json_each(:executions))
    AND status IN ('Succeeded', 'Failed', 'Stopped', 'Unknown')
    AND NOT EXISTS (SELECT 1 FROM replicas AS r WHERE r.execution_id = executions.id AND r.removed = 0);

-- name: delete_audit_of_executions
DELETE FROM audit
WHERE execution IN (SELECT value FROM json_each(:executions))
    AND NOT EXISTS (SELECT 1 FROM executions AS e WHERE e.id = audit.execution);

-- name: delete_audit
DELETE FROM audit WHERE execution IS NULL AND id < (
    SELECT id FROM audit WHERE execution IS NULL ORDER BY id DESC LIMIT 1 OFFSET :entries
) + 1;

-- name: delete_decisions
WITH RECURSIVE jobs (job) AS (                -- from one job to the next along the index, not over all decisions
    SELECT min(job) FROM decisions
    UNION ALL
    SELECT (SELECT min(d.job) FROM decisions AS d WHERE d.job > jobs.job) FROM jobs WHERE jobs.job IS NOT NULL
)
DELETE FROM decisions WHERE id IN (
    SELECT d.id FROM jobs CROSS JOIN decisions AS d ON d.job = jobs.job AND d.id <= (
        SELECT id FROM decisions AS kept WHERE kept.job = jobs.job ORDER BY id DESC LIMIT 1 OFFSET :keep
    )
);
