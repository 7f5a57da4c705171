"""The command `scaler audit`."""

from __future__ import annotations

import json

from scaler.model.audit import AuditAction, AuditEntry, AuditQuery
from tests.api.fakes import NOW
from tests.cli.conftest import Daemon, Run


def test_the_audit_is_a_table_and_a_list(run: Run, daemon: Daemon) -> None:
    daemon.store.entries = [
        AuditEntry(
            id=2, at=NOW, by="file", action=AuditAction.JOB_CHANGED, job="orders", detail="generation 2"
        ),
        AuditEntry(
            id=1, at=NOW, by="rule q", action=AuditAction.EXECUTION_STARTED, job="orders", execution="o-1"
        ),
    ]
    result = run("audit", "--job", "orders", "--by", "file", "--action", "job.changed", "--limit", "2")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == (
        "TIME                  BY      ACTION             JOB     EXECUTION  MORE\n"
        "2026-11-21 12:00:00Z  file    job.changed        orders  -          generation 2\n"
        "2026-11-21 12:00:00Z  rule q  execution.started  orders  o-1        -\n"
    )
    assert daemon.store.asked == AuditQuery(job="orders", by="file", action=AuditAction.JOB_CHANGED)
    found = json.loads(run("audit", "-o", "json", "--limit", "1").stdout)
    assert [(entry["id"], entry["action"]) for entry in found] == [(2, "job.changed")]


def test_an_empty_audit_says_so_and_a_wrong_action_is_wrong_use(run: Run) -> None:
    assert run("audit").stderr == "Nothing was done so far.\n"
    wrong = run("audit", "--action", "explode")
    assert (wrong.exit_code, wrong.stderr.startswith("Error: action is 'explode'; one of ")) == (2, True)
