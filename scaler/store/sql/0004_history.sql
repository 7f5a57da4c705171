-- Each filter of the history has an index in the order of its pages, within a job and over all of them.
DROP INDEX executions_by_status;
CREATE INDEX executions_all ON executions (created_at, seq);
CREATE INDEX executions_status ON executions (status, created_at, seq);
CREATE INDEX executions_status_of_job ON executions (job, status, created_at, seq);
CREATE INDEX executions_cause ON executions (cause, created_at, seq);
CREATE INDEX executions_cause_of_job ON executions (job, cause, created_at, seq);
CREATE INDEX executions_by ON executions (trigger_by, created_at, seq);
CREATE INDEX executions_by_of_job ON executions (job, trigger_by, created_at, seq);
CREATE INDEX executions_reason ON executions (reason, created_at, seq);
CREATE INDEX executions_reason_of_job ON executions (job, reason, created_at, seq);

-- How many executions of a job have a status: kept up to date, because counting a million takes as many steps.
CREATE TABLE execution_counts (
    job TEXT NOT NULL,
    status TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (job, status)
) WITHOUT ROWID;

INSERT INTO execution_counts SELECT job, status, count(*) FROM executions GROUP BY job, status;

CREATE TRIGGER execution_counted AFTER INSERT ON executions BEGIN
    INSERT INTO execution_counts VALUES (new.job, new.status, 1)
    ON CONFLICT (job, status) DO UPDATE SET number = number + 1;
END;

CREATE TRIGGER execution_recounted AFTER UPDATE OF status ON executions WHEN old.status <> new.status BEGIN
    UPDATE execution_counts SET number = number - 1 WHERE job = old.job AND status = old.status;
    INSERT INTO execution_counts VALUES (new.job, new.status, 1)
    ON CONFLICT (job, status) DO UPDATE SET number = number + 1;
END;

CREATE TRIGGER execution_discounted AFTER DELETE ON executions BEGIN
    UPDATE execution_counts SET number = number - 1 WHERE job = old.job AND status = old.status;
    DELETE FROM execution_counts WHERE job = old.job AND status = old.status AND number = 0;
END;
