"""The history: both stores under one suite, and that no question looks through all of it."""

from __future__ import annotations

import sqlite3
from itertools import product
from pathlib import Path

from scaler.model.execution import Cause, ExecutionStatus
from scaler.model.history import ExecutionQuery
from scaler.store import open_store
from scaler.store.listing import keys_statement, page_statement
from scaler.store.opening import load_queries
from scaler.store.rows import cursor_behind, time_text
from scaler.testing.history_contract import FAILED, PROCESSING, SUCCEEDED, HistoryContract, fill
from scaler.testing.retention_contract import RetentionContract
from scaler.testing.store_contract import START
from tests.store.both import BothStores

ONE, SEVERAL = frozenset({FAILED}), frozenset({FAILED, PROCESSING, SUCCEEDED})


class TestBothStores(BothStores, HistoryContract, RetentionContract):
    pass


def steps(file: sqlite3.Connection, statement: tuple[str, dict[str, object]]) -> list[str]:
    return [row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {statement[0]}", statement[1])]


async def test_every_combination_of_filters_goes_along_an_index_in_the_order_of_the_page(
    tmp_path: Path,
) -> None:
    async with open_store(tmp_path / "scaler.db"):
        pass
    by_what = product(
        ("j", None), (ONE, SEVERAL, None), (Cause.EVENT, Cause.MANUAL, None), ("rule", "cli:ann", None),
        ("Completed", "OOMKilled", None), (START, None), (START, None),
    )  # fmt: skip
    cursor = cursor_behind(time_text(START) or "", 5)
    seen = 0
    with sqlite3.connect(tmp_path / "scaler.db") as file:
        for (job, statuses, cause, by, reason, since, until), after in product(by_what, (None, cursor)):
            query = ExecutionQuery(
                job=job, statuses=statuses, cause=cause, by=by, reason=reason, since=since, until=until
            )
            found = steps(file, keys_statement(query, after, 100))
            reads = [step for step in found if " executions" in step]
            assert reads, found
            assert all("INDEX executions_" in step for step in reads), found
            is_open = query == ExecutionQuery() and after is None
            assert all(step.startswith("SCAN" if is_open else "SEARCH") for step in reads), found
            assert [step for step in found if "TEMP B-TREE" in step] == [], found
            whole = steps(file, page_statement(query, after, 100))
            assert "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)" in whole, whole
            seen += 1
    assert seen == 2 * 3 * 3 * 3 * 3 * 2 * 2 * 2


async def test_counts_by_status_are_kept_without_counting(tmp_path: Path) -> None:
    path = tmp_path / "scaler.db"
    async with open_store(path) as store:
        await fill(store)
        expected = {ExecutionStatus.SUCCEEDED: 1, ExecutionStatus.FAILED: 1, ExecutionStatus.PROCESSING: 1}
        assert await store.status_counts("invoices") == expected
        await store.prune(("a",), decisions=1, entries=1)
        assert await store.status_counts("invoices") == {
            ExecutionStatus.FAILED: 1,
            ExecutionStatus.PROCESSING: 1,
        }
    with sqlite3.connect(path) as file:
        kept = file.execute(
            "SELECT job, status, number FROM execution_counts WHERE number > 0 ORDER BY 1, 2"
        ).fetchall()
        counted = file.execute(
            "SELECT job, status, count(*) FROM executions GROUP BY 1, 2 ORDER BY 1, 2"
        ).fetchall()
    assert kept == counted


async def test_what_is_dropped_is_found_along_indexes(tmp_path: Path) -> None:
    async with open_store(tmp_path / "scaler.db"):
        pass
    asked = {
        "job": "j",
        "surplus": 5,
        "limit": 5,
        "before": "2026",
        "executions": "[]",
        "entries": 5,
        "keep": 5,
    }
    names = ("count_ended", "surplus_executions", "old_executions", "replicas_of", "delete_executions",
             "delete_audit_of_executions", "delete_audit", "delete_decisions")  # fmt: skip
    small = ("execution_counts", "json_each", "jobs", "e")
    with sqlite3.connect(tmp_path / "scaler.db") as file:
        for name in names:
            found = steps(file, (load_queries()[name], asked))
            walks = [step for step in found if step.startswith("SCAN") and step.split()[1] not in small]
            scans = [step for step in walks if "audit_of_no_execution" not in step]  # as many as are kept
            assert scans == [], (name, found)
