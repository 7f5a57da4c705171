"""What every store must do when it is asked for a part of the history: subclass and give it a `store`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from scaler.errors import StoreError
from scaler.model.execution import Cause, ExecutionState, ExecutionStatus, Trigger
from scaler.model.history import ExecutionQuery
from scaler.ports.store import Store
from scaler.testing.store_contract import START, ended, make_state

FAILED, SUCCEEDED, PROCESSING = ExecutionStatus.FAILED, ExecutionStatus.SUCCEEDED, ExecutionStatus.PROCESSING


def make_past(
    name: str,
    at: int,
    status: ExecutionStatus,
    *,
    job: str = "invoices",
    by: str = "orders",
    reason: str = "Why",
) -> tuple[ExecutionState, ExecutionState]:
    """Build the first and the last state of an execution, or twice the first if it goes on."""
    cause = Cause.MANUAL if ":" in by else Cause.EVENT
    new = make_state(name, job=job, at=at)
    new = replace(new, execution=replace(new.execution, cause=cause, trigger=Trigger(kind=cause, by=by)))
    if status is PROCESSING:
        return new, new
    last = ended(new, status)
    return new, replace(last, execution=replace(last.execution, reason=reason))


async def fill(store: Store) -> None:
    """Record six executions, `a` to `f`, a second after each other."""
    past = (
        make_past("a", 0, SUCCEEDED),
        make_past("b", 1, FAILED, reason="OOMKilled"),
        make_past("c", 2, SUCCEEDED, job="orders"),
        make_past("d", 3, FAILED, job="orders", by="cli:ann"),
        make_past("e", 4, PROCESSING, by="cli:ann"),
        make_past("f", 5, PROCESSING, job="orders"),
    )
    await store.begin(tuple(first for first, _last in past))
    for first, last in past:
        if last is not first:
            await store.apply(last)


class HistoryContract:
    """The suite. `store` is a fixture of the subclass."""

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            (ExecutionQuery(), "fedcba"),
            (ExecutionQuery(job="orders"), "fdc"),
            (ExecutionQuery(statuses=frozenset({FAILED})), "db"),
            (ExecutionQuery(statuses=frozenset({FAILED, PROCESSING})), "fedb"),
            (ExecutionQuery(statuses=frozenset({FAILED, PROCESSING}), job="orders"), "fd"),
            (ExecutionQuery(statuses=frozenset()), ""),
            (ExecutionQuery(cause=Cause.MANUAL), "ed"),
            (ExecutionQuery(cause=Cause.EVENT, job="invoices"), "ba"),
            (ExecutionQuery(by="cli:ann"), "ed"),
            (ExecutionQuery(by="cli:ann", statuses=frozenset({FAILED, SUCCEEDED})), "d"),
            (ExecutionQuery(by="orders", statuses=frozenset({SUCCEEDED}), job="orders"), "c"),
            (ExecutionQuery(reason="OOMKilled"), "b"),
            (ExecutionQuery(reason="OOMKilled", job="orders"), ""),
            (ExecutionQuery(since=START + timedelta(seconds=2), until=START + timedelta(seconds=4)), "dc"),
            (ExecutionQuery(job="orders", since=START + timedelta(seconds=3)), "fd"),
            (ExecutionQuery(by="cli:ann", cause=Cause.EVENT), ""),
        ],
    )
    async def test_executions_are_found_by_what_is_asked(
        self, store: Store, query: ExecutionQuery, expected: str
    ) -> None:
        await fill(store)
        page = await store.find(query)
        assert ("".join(state.execution.id for state in page.items), page.cursor) == (expected, None)

    @pytest.mark.parametrize(
        "query",
        [
            ExecutionQuery(),
            ExecutionQuery(statuses=frozenset({FAILED, PROCESSING, SUCCEEDED})),
            ExecutionQuery(job="invoices", statuses=frozenset({PROCESSING})),
            ExecutionQuery(by="orders"),
        ],
    )
    async def test_pages_give_each_execution_once_while_new_ones_come(
        self, store: Store, query: ExecutionQuery
    ) -> None:
        past = [make_past(f"old-{n}", n // 3, PROCESSING) for n in range(10)]
        await store.begin(tuple(first for first, _last in past))
        seen: list[str] = []
        cursor: str | None = None
        while True:
            page = await store.find(query, limit=4, cursor=cursor)
            seen += [state.execution.id for state in page.items]
            await store.begin((make_past(f"new-{len(seen)}", 100, PROCESSING)[0],))
            cursor = page.cursor
            if cursor is None:
                break
        assert seen == [f"old-{n}" for n in reversed(range(10))]

    async def test_a_page_of_none_and_a_foreign_cursor_are_refused(self, store: Store) -> None:
        with pytest.raises(StoreError, match="at least 1"):
            await store.find(ExecutionQuery(), limit=0)
        with pytest.raises(ValueError, match="not one of ours"):
            await store.find(ExecutionQuery(), cursor="nonsense")
