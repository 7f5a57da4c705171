-- Statements about the audit, each under its name.

-- name: insert_audit
INSERT INTO audit (at, by, action, job, execution, detail)
VALUES (:at, :by, :action, :job, :execution, :detail);
