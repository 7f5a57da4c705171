"""Looking back: `scaler audit` and the filters of `scaler execution list`."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from scaler.model.audit import AuditAction, AuditEntry, AuditQuery
from scaler.model.execution import Cause, ExecutionStatus
from scaler.model.history import ExecutionQuery
from tests.api.fakes import NOW, make_state
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
    assert run("audit").stderr == "No entry fits.\n"
    wrong = run("audit", "--action", "explode")
    assert (wrong.exit_code, wrong.stderr.startswith("Error: action is 'explode'; one of ")) == (2, True)


def test_executions_are_listed_by_what_is_asked_over_all_jobs(run: Run, daemon: Daemon) -> None:
    daemon.store.states = [
        make_state("orders-a", status=ExecutionStatus.FAILED),
        make_state("billing-b", job="billing"),
    ]
    result = run("execution", "list", "--status", "failed", "--status", "Running", "--limit", "1")
    assert (result.exit_code, [line.split()[:2] for line in result.stdout.splitlines()]) == (
        0,
        [["NAME", "STATUS"], ["orders-a", "Failed"]],
    )
    asked = (
        "--trigger",
        "event",
        "--by",
        "q",
        "--reason",
        "Why",
        "--since",
        "2026-11-20",
        "--until",
        "2026-11-21",
    )
    assert run("execution", "list", "orders", *asked).stderr == "No execution fits.\n"
    assert daemon.store.query == ExecutionQuery(
        job="orders",
        cause=Cause.EVENT,
        by="q",
        reason="Why",
        since=datetime(2026, 11, 20, tzinfo=UTC),
        until=datetime(2026, 11, 21, tzinfo=UTC),
    )
    wrong = run("execution", "list", "--status", "dead")
    assert (wrong.exit_code, wrong.stderr.startswith("Error: status is 'dead'; one of Processing")) == (
        2,
        True,
    )


def test_logs_are_searched_within_an_execution_and_over_a_job(run: Run, daemon: Daemon) -> None:
    daemon.store.states = [make_state("orders-b"), make_state("orders-a")]
    found = run(
        "execution", "logs", "orders", "orders-a", "--search", "T[WH]", "--regex", "-i", "--replica", "r"
    )
    assert (found.exit_code, found.stdout, daemon.control.replicas) == (0, "two\nthree\n", ["r"])
    found = run(
        "job", "logs", "orders", "--search", "wo", "--since", "1d", "--status", "running", "--limit", "5"
    )
    assert (found.exit_code, found.stdout) == (0, "orders-b: two\norders-a: two\n")
    wrong = run("job", "logs", "orders", "--regex")
    assert (wrong.exit_code, "give --search TEXT" in wrong.stderr) == (2, True)
    assert run("job", "logs", "ordres").stderr.startswith("Error: no job 'ordres'; did you mean 'orders'?")


def test_a_stopped_execution_shows_when_it_ended(run: Run, daemon: Daemon) -> None:
    daemon.store.states = [make_state("orders-a", status=ExecutionStatus.STOPPED)]
    shown = run("execution", "show", "orders", "orders-a").stdout
    assert "Ended     2026-11-21 12:00:05Z\nDuration  5s\n" in shown
    row = run("execution", "list", "orders").stdout.splitlines()[1]
    assert row.split() == ["orders-a", "Stopped", "2026-11-21", "12:00:00Z", "5s", "-"]
