"""Bench `history`: pages of a history of a million executions, beside the barest page of the same file.

The bare page is 100 rows of one table along its primary key: what SQLite itself takes to read a hundred executions. A
filter that had to look through the history would take thousands of times as long.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from scaler.bench.report import Figure, figure
from scaler.bench.stage import Options
from scaler.model.execution import Cause, Execution, ExecutionState, ExecutionStatus, Trigger
from scaler.model.history import ExecutionQuery
from scaler.model.job import Container, Template
from scaler.model.replica import Replica, ReplicaHandle, ReplicaStatus
from scaler.store import rows
from scaler.store.opening import load_migrations, load_queries
from scaler.store.sqlite import SqliteStore, open_store

EXECUTIONS, JOBS, PAGE, PAGES = 1_000_000, 10, 100, 20
SMALL = 10_000
GROWTH = 3.0
"""A page of a history a hundred times as long may take so many times as long: caches are colder, trees deeper."""

START = datetime(2026, 1, 1, tzinfo=UTC)
FAILED = frozenset({ExecutionStatus.FAILED})
OPEN = frozenset(ExecutionStatus) - {ExecutionStatus.SUCCEEDED}

QUERIES = {
    "all jobs": ExecutionQuery(),
    "one job": ExecutionQuery(job="job-3"),
    "failed": ExecutionQuery(statuses=FAILED),
    "failed of one job": ExecutionQuery(job="job-3", statuses=FAILED),
    "all but succeeded": ExecutionQuery(statuses=OPEN),
    "by hand": ExecutionQuery(cause=Cause.MANUAL),
    "by one person": ExecutionQuery(by="cli:ann"),
    "by one reason": ExecutionQuery(job="job-3", reason="OOMKilled"),
    "an hour and a half": ExecutionQuery(
        job="job-3", since=START + timedelta(hours=1), until=START + timedelta(hours=2.5)
    ),
    "person of one job": ExecutionQuery(job="job-3", by="cli:ann"),
}


async def run(options: Options) -> Sequence[Figure]:
    """Measure; needs a disk with 3 GB of room for a while."""
    total = options.size(EXECUTIONS)
    with tempfile.TemporaryDirectory(prefix="scaler-bench-", dir=Path.cwd()) as folder:
        path, small = Path(folder) / "history.db", Path(folder) / "small.db"
        filled_s = await asyncio.to_thread(_fill, path, total)
        await asyncio.to_thread(_fill, small, SMALL)
        options.say(f"history: {total} executions written in {filled_s:.0f} s, {_megabytes(path):.0f} MB")
        figures: list[Figure] = []
        async with open_store(path) as store, open_store(small) as short:
            ids = await asyncio.to_thread(_some_numbers, total)
            bare = await asyncio.to_thread(_bare, path, ids)
            for name, query in QUERIES.items():
                before, took = await _pages(short, query), await _pages(store, query)
                figures += _of_pages(name, before, took, bare, total)
                options.say(f"history: {name}: {_ms(took)}, {_ms(before)} of {SMALL}")
            fewer, counted = await _counts(short), await _counts(store)
        how = f"a job's executions by status of {total} / of {SMALL}"
        figures.append(figure("growth: counts", [counted / fewer], "x", how, goal=GROWTH))
    figures.append(figure("bare page", [bare], "s", f"{PAGE} rows along the primary key, bare sqlite3"))
    return figures


def _of_pages(
    name: str, before: Sequence[float], took: Sequence[float], bare: float, total: int
) -> list[Figure]:
    """Compare the times of full pages; a query that fills none tells nothing."""
    found: list[Figure] = []
    if before and took:
        how = f"full pages of {PAGE} of {total} executions / of {SMALL}"
        found.append(figure(f"growth: {name}", [median(took) / median(before)], "x", how, goal=GROWTH))
    if took:
        how = f"{PAGE} whole executions, replicas and templates included / bare page"
        found.append(figure(f"page: {name}", [t / bare for t in took], "x", how))
    return found


def _ms(took: Sequence[float]) -> str:
    return f"{median(took) * 1000:.2f} ms" if took else "no full page"


def _megabytes(path: Path) -> float:
    return path.stat().st_size / 1e6


def _fill(path: Path, total: int) -> float:
    """Write a history by the store's own statements, in a few large transactions."""
    sql = load_queries()
    began = time.perf_counter()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode = WAL", "synchronous = OFF"):
            connection.execute(f"PRAGMA {pragma}")
        for number, script in load_migrations():
            connection.executescript(f"BEGIN;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
        connection.execute("BEGIN")
        for state in _states(total):
            connection.execute(sql["insert_execution"], rows.execution_row(state.execution))
            connection.executemany(sql["upsert_replica"], rows.replica_rows(state))
        connection.execute("COMMIT")
    return time.perf_counter() - began


def _states(total: int) -> Iterator[ExecutionState]:
    """Give a history in which most succeed; one in 51 fails, one in 997 was started by a person."""
    execution = Execution(
        id="",
        job="",
        generation=1,
        cause=Cause.EVENT,
        template=Template(container=Container(name="main", image="image")),
        executor="docker",
        replica_timeout=timedelta(seconds=60),
        replica_retry_limit=0,
        parallelism=1,
        replica_completion_count=1,
        created_at=START,
    )
    handle = ReplicaHandle(executor="docker", token="0" * 64)
    for number in range(total):
        at = START + timedelta(seconds=number)
        is_failure, is_manual = number % 51 == 0, number % 997 == 1
        name = f"job-{number % JOBS}-{number:07}"
        status = ExecutionStatus.FAILED if is_failure else ExecutionStatus.SUCCEEDED
        cause = Cause.MANUAL if is_manual else Cause.EVENT
        replica = Replica(
            id=f"{name}-r", execution_id=name, ordinal=0, attempt=1, status=ReplicaStatus(status.value),
            handle=handle, started_at=at, ended_at=at, exit_code=int(is_failure), removed=True,
        )  # fmt: skip
        one = replace(
            execution, id=name, job=f"job-{number % JOBS}", cause=cause, created_at=at, started_at=at, ended_at=at,
            status=status, reason="OOMKilled" if is_failure else "Completed",
            trigger=Trigger(kind=cause, by="cli:ann" if is_manual else "orders"),
        )  # fmt: skip
        yield ExecutionState(execution=one, replicas=(replica,))


def _some_numbers(total: int) -> list[int]:
    return [total - page * (total // PAGES) for page in range(PAGES)]


def _bare(path: Path, numbers: list[int]) -> float:
    """Read pages along the primary key; give the median time of one, seconds."""
    took: list[float] = []
    with closing(sqlite3.connect(path)) as connection:
        for number in numbers:
            began = time.perf_counter()
            connection.execute(
                "SELECT * FROM executions WHERE seq <= ? ORDER BY seq DESC LIMIT ?", (number, PAGE)
            ).fetchall()
            took.append(time.perf_counter() - began)
    return median(took)


async def _pages(store: SqliteStore, query: ExecutionQuery) -> list[float]:
    """Read pages one behind the other; give the time of each that is full, seconds."""
    took: list[float] = []
    cursor: str | None = None
    for _ in range(PAGES):
        began = time.perf_counter()
        page = await store.find(query, limit=PAGE, cursor=cursor)
        if len(page.items) == PAGE:
            took.append(time.perf_counter() - began)
        cursor = page.cursor
        if cursor is None:
            break
    return took


async def _counts(store: SqliteStore) -> float:
    took: list[float] = []
    for _ in range(PAGES):
        began = time.perf_counter()
        await store.status_counts("job-3")
        took.append(time.perf_counter() - began)
    return median(took)
