"""The hands of the policy, on a real folder of logs: what goes, what stays, and in which order."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from scaler.engine.retention import BATCH, Keeper
from scaler.model.execution import ExecutionStatus
from scaler.model.history import ExecutionQuery
from scaler.model.retention import Retention
from scaler.ports.store import Store
from scaler.store import open_store
from scaler.store.log_shelf import PARTS, FolderOfLogs
from scaler.testing.loop_clock import LoopClock
from scaler.testing.memory_store import MemoryStore
from scaler.testing.store_contract import START, ended, make_state


class Late(LoopClock):
    """A day and a half after the records of the tests."""

    def now(self):  # type: ignore[no-untyped-def]
        return START + timedelta(days=1, hours=12)


def keeper(store: Store, folder: Path, policy: Retention) -> Keeper:
    return Keeper(store=store, clock=Late(), shelf=FolderOfLogs(folder), policy=policy)


def write_log(folder: Path, replica: str, *, kilobytes: int = 4, at: int = 0, part: str = "") -> None:
    path = folder / f"{replica}.log{part}"
    path.write_bytes(os.urandom(kilobytes << 10))
    os.utime(path, (at, at))


async def fill(store: Store, folder: Path, number: int) -> None:
    """Record ended executions `e0`, `e1` …, each with a replica and its log."""
    await store.begin(tuple(make_state(f"e{n}", at=n) for n in range(number)))
    for n in range(number):
        await store.apply(ended(make_state(f"e{n}", at=n), ExecutionStatus.SUCCEEDED))
        write_log(folder, f"e{n}-0", at=n)


async def left(store: Store) -> list[str]:
    return [state.execution.id for state in (await store.find(ExecutionQuery(), limit=1000)).items]


async def test_old_executions_go_with_all_files_of_their_logs(tmp_path: Path) -> None:
    async with open_store(tmp_path / "scaler.db") as store:
        folder = tmp_path / "logs"
        folder.mkdir()
        await fill(store, folder, 4)
        for part in PARTS:
            write_log(folder, "e0-0", part=part)
        (folder / "e0-01.log").write_text("of another replica")
        assert await keeper(store, folder, Retention(executions=2)).drop_executions() == 2
        assert await left(store) == ["e3", "e2"]
        assert sorted(path.name for path in folder.iterdir()) == ["e0-01.log", "e2-0.log", "e3-0.log"]
        assert await keeper(store, folder, Retention(executions=2)).drop_executions() == 0


async def test_age_counts_from_the_end_and_what_runs_is_never_too_old(tmp_path: Path) -> None:
    async with open_store(tmp_path / "scaler.db") as store:
        await store.begin((make_state("runs"), make_state("old"), make_state("new", at=86400)))
        for name, at in (("old", 0), ("new", 86400)):
            await store.apply(ended(make_state(name, at=at), ExecutionStatus.FAILED))
        policy = Retention(executions=None, age=timedelta(days=1))
        assert await keeper(store, tmp_path / "none", policy).drop_executions() == 1
        assert await left(store) == ["new", "runs"]


async def test_what_the_store_does_not_drop_is_not_asked_for_without_end(tmp_path: Path) -> None:
    class Stubborn(MemoryStore):
        async def prune(self, executions, **_bounds):  # type: ignore[no-untyped-def]
            pass

    store = Stubborn()
    await store.begin((make_state("a"),))
    await store.apply(ended(make_state("a"), ExecutionStatus.SUCCEEDED))
    policy = Retention(executions=None, age=timedelta(hours=1))
    async with asyncio.timeout(60):
        assert await keeper(store, tmp_path, policy).drop_executions() == 1


async def test_more_than_a_batch_goes_in_several_transactions(tmp_path: Path) -> None:
    async with open_store(tmp_path / "scaler.db") as store:
        states = [make_state(f"e{n:03}", at=n, replicas=0) for n in range(BATCH + 5)]
        await store.begin(tuple(states))
        for state in states:
            await store.apply(ended(state, ExecutionStatus.SUCCEEDED))
        assert await keeper(store, tmp_path, Retention(executions=1)).drop_executions() == BATCH + 4
        assert await left(store) == [f"e{BATCH + 4:03}"]


async def test_a_crash_between_log_and_record_is_made_good_the_next_time(tmp_path: Path) -> None:
    """Logs go first: what is left of a crash is a record, which the next round drops."""
    async with open_store(tmp_path / "scaler.db") as store:
        folder = tmp_path / "logs"
        folder.mkdir()
        await fill(store, folder, 2)

        class Dying(FolderOfLogs):
            def drop(self, replicas):  # type: ignore[no-untyped-def]
                super().drop(replicas)
                raise InterruptedError

        first = replace(keeper(store, folder, Retention(executions=1)), shelf=Dying(folder))
        with pytest.raises(InterruptedError):
            await first.drop_executions()
        assert (await left(store), [path.name for path in folder.iterdir()]) == (["e1", "e0"], ["e1-0.log"])
        assert await keeper(store, folder, Retention(executions=1)).drop_executions() == 1
        assert await left(store) == ["e1"]


async def test_the_oldest_logs_go_beyond_the_bound_but_never_a_live_ones(tmp_path: Path) -> None:
    async with open_store(tmp_path / "scaler.db") as store:
        folder = tmp_path / "logs"
        folder.mkdir()
        await store.begin((make_state("live"),))
        write_log(folder, "live-0", kilobytes=64, at=0)
        await fill(store, folder, 4)
        write_log(folder, "e1-0", kilobytes=64, at=1, part=".1")
        policy = Retention(log_bytes=80 << 10)
        assert await keeper(store, folder, policy).drop_logs() == 2
        assert sorted(path.name for path in folder.iterdir()) == ["e2-0.log", "e3-0.log", "live-0.log"]
        assert len(await left(store)) == 5
        assert await keeper(store, folder, Retention(log_bytes=None)).drop_logs() == 0
