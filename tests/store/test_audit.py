"""The audit: both stores under one suite, and that each question is answered through an index."""

from __future__ import annotations

import sqlite3
from itertools import product
from pathlib import Path

from scaler.model.audit import AuditAction, AuditQuery
from scaler.store import open_store
from scaler.store.audit import page_statement
from scaler.store.rows import cursor_behind, time_text
from scaler.testing.audit_contract import AuditContract
from scaler.testing.store_contract import START
from tests.store.both import BothStores


class TestBothStores(BothStores, AuditContract):
    pass


async def test_every_question_is_answered_along_an_index_without_sorting(tmp_path: Path) -> None:
    async with open_store(tmp_path / "scaler.db"):
        pass
    choices = product(("j", None), ("e", None), ("b", None), (AuditAction.JOB_RESET, None), (START, None))
    cursor = cursor_behind(time_text(START) or "", 5)
    with sqlite3.connect(tmp_path / "scaler.db") as file:
        for (job, execution, by, action, since), after in product(choices, (None, cursor)):
            query = AuditQuery(job=job, execution=execution, by=by, action=action, since=since)
            sql, asked = page_statement(query, after, 100)
            plan = " / ".join(row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {sql}", asked))
            assert "USING INDEX audit_" in plan, plan
            assert "TEMP B-TREE" not in plan, plan
            is_open = query == AuditQuery() and after is None
            assert plan.startswith("SCAN" if is_open else "SEARCH"), plan
