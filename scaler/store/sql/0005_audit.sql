-- Who or what did something, written with what it did. Holds no secrets.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    by TEXT NOT NULL,
    action TEXT NOT NULL,
    job TEXT,
    execution TEXT,
    detail TEXT NOT NULL
);

CREATE INDEX audit_newest ON audit (at, id);
CREATE INDEX audit_of_job ON audit (job, at, id);
CREATE INDEX audit_of_execution ON audit (execution, at, id) WHERE execution IS NOT NULL;
CREATE INDEX audit_of_no_execution ON audit (id) WHERE execution IS NULL;
CREATE INDEX audit_of_caller ON audit (by, at, id);
CREATE INDEX audit_of_action ON audit (action, at, id);
