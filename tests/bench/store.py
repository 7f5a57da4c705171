"""Bench `store`: changes of executions recorded a second by the store, beside the same statements in bare SQLite.

A change is durable when its call returns. Bare SQLite that commits each one shows what grouping gains; bare SQLite
that commits once shows what is left to gain.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from scaler.bench.report import Figure, figure, ratios
from scaler.bench.stage import Options
from scaler.model.execution import Cause, Execution, ExecutionState
from scaler.model.job import Container, Template
from scaler.model.replica import ReplicaExit, ReplicaHandle
from scaler.planning.advance import Begun, Exited, Launched, advance
from scaler.store import rows
from scaler.store.opening import load_migrations, load_queries
from scaler.store.sqlite import open_store

EXECUTIONS, AT_ONCE = 1000, 100


async def run(options: Options) -> Sequence[Figure]:
    """Measure; needs nothing but a disk."""
    total = options.size(EXECUTIONS, least=AT_ONCE)
    ours: list[float] = []
    alone: list[float] = []
    each: list[float] = []
    once: list[float] = []
    for number in range(options.repeat):
        lives = [_life(f"bench-{number}-{index}") for index in range(total)]
        changes = sum(len(life) for life in lives)
        with tempfile.TemporaryDirectory(prefix="scaler-bench-", dir=Path.cwd()) as folder:
            place = Path(folder)
            part = lives[: max(10, total // 10)]
            each.append(_bare(place / "each.db", part, commit_each=True))
            ours.append(await _store(place / "ours.db", lives, at_once=AT_ONCE))
            once.append(_bare(place / "once.db", lives, commit_each=False))
            alone.append(await _store(place / "alone.db", part, at_once=1))
        options.say(f"store {number + 1}/{options.repeat}: ours {ours[-1]:.0f}/s, each {each[-1]:.0f}/s")
    how = f"{changes} changes of {total} executions, {AT_ONCE} executions at once"
    return [
        figure("gain to a commit each", ratios(ours, each), "x", f"more is better; {how}"),
        figure("cost to one commit", ratios(once, ours), "x", "bare, the same statements in one transaction"),
        figure(
            "cost alone", ratios(each, alone), "x", "one execution at a time: bare, a commit each / store"
        ),
        figure("store", ours, "1/s", "changes, each durable when its call returns (WAL, synchronous FULL)"),
        figure("a commit each", each, "1/s", "bare sqlite3, same statements and pragmas, one thread"),
        figure("one commit", once, "1/s", "the same, a single transaction"),
    ]


def _life(name: str) -> list[ExecutionState]:
    """Give the three states that a plain execution is recorded in."""
    at = datetime.now(UTC)
    execution = Execution(
        id=name,
        job="bench",
        generation=1,
        cause=Cause.EVENT,
        template=Template(container=Container(name="main", image="image")),
        executor="docker",
        replica_timeout=timedelta(seconds=60),
        replica_retry_limit=0,
        parallelism=1,
        replica_completion_count=1,
        created_at=at,
    )
    replica = f"{name}-r"
    states = [advance(ExecutionState(execution=execution), Begun(), at, lambda: replica).state]
    handle = ReplicaHandle(executor="docker", token="0" * 64)
    for event in (
        Launched(replica_id=replica, handle=handle),
        Exited(replica_id=replica, exit=ReplicaExit(code=0, reason="Completed", message="")),
    ):
        states.append(advance(states[-1], event, at, lambda: replica).state)
    return states


async def _store(path: Path, lives: Sequence[list[ExecutionState]], *, at_once: int) -> float:
    """Record lives, each change after the one before it is durable; give changes a second."""
    waiting = iter(lives)
    async with open_store(path) as store:

        async def worker(mine: Iterator[list[ExecutionState]]) -> None:
            for first, *rest in mine:
                await store.begin((first,))
                for state in rest:
                    await store.apply(state)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker(waiting))
        return sum(map(len, lives)) / (time.perf_counter() - began)


def _bare(path: Path, lives: Sequence[list[ExecutionState]], *, commit_each: bool) -> float:
    """Run the store's own statements by hand; give changes a second."""
    sql = load_queries()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")
        for _number, script in load_migrations():
            connection.executescript(script)
        began = time.perf_counter()
        connection.execute("BEGIN")
        for step in range(3):
            for life in lives:
                state = life[step]
                key = {"job": state.execution.job, "id": state.execution.id}
                if step:
                    connection.execute(sql["find_status"], key).fetchall()
                statement = "update_execution" if step else "insert_execution"
                connection.execute(sql[statement], rows.execution_row(state.execution))
                connection.executemany(sql["upsert_replica"], rows.replica_rows(state))
                if commit_each:
                    connection.execute("COMMIT")
                    connection.execute("BEGIN")
        connection.execute("COMMIT")
        return sum(map(len, lives)) / (time.perf_counter() - began)
