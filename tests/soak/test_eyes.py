"""Who lived at one moment is told by two looks; the workers of this machine are found by their mark."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaler.soak.eyes import Eyes, Worker, crowds
from scaler.soak.jobs import MARK, Ground
from scaler.soak.watch import disk, process


def worker(execution: str, number: int = 0, *, job: str = "fast", is_running: bool = True) -> Worker:
    return Worker(replica=f"{execution}-r{number}", job=job, is_running=is_running)


def look(*workers: Worker) -> dict[str, Worker]:
    return {one.replica: one for one in workers}


def counted(before: dict[str, Worker], now: dict[str, Worker]) -> list[tuple[str, int, int]]:
    return [(one.job, one.executions, one.replicas) for one in crowds(1.0, before, now, ["fast", "wide"])]


def test_only_who_is_in_both_looks_is_counted() -> None:
    before = look(worker("fast-a"), worker("fast-b"), worker("wide-a", 1, job="wide"))
    now = look(
        worker("fast-b"), worker("fast-c"), worker("wide-a", 1, job="wide"), worker("wide-a", 2, job="wide")
    )
    assert counted(before, now) == [("fast", 1, 1), ("wide", 1, 1)]
    assert counted(now, now) == [("fast", 2, 1), ("wide", 1, 2)]


def test_who_may_live_is_not_counted_and_nor_is_a_strange_job() -> None:
    both = look(worker("fast-a", is_running=False), worker("other-a", job="other"))
    assert counted(both, both) == [("fast", 0, 0), ("wide", 0, 0)]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    env = {
        **os.environ,
        MARK: "mine",
        "CONTAINER_APP_REPLICA_NAME": "fast-a-r0",
        "CONTAINER_APP_JOB_NAME": "fast",
    }
    with subprocess.Popen(["sleep", "60"], env=env) as process:
        yield process
        process.kill()


async def test_a_worker_is_found_by_its_mark_alone(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    mine = await Eyes(Ground(folder=tmp_path, mark="mine"), None).look()
    assert mine == {"fast-a-r0": Worker(replica="fast-a-r0", job="fast", pids=(sleeper.pid,))}
    assert await Eyes(Ground(folder=tmp_path, mark="other"), None).look() == {}


def test_a_process_and_a_folder_are_measured(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    found = process(sleeper.pid)
    assert found is not None
    assert (found.threads, found.rss > 0, found.fds > 2) == (1, True, True)
    assert process(None) is None
    (tmp_path / "logs").mkdir()
    for name in ("scaler.db", "scaler.db-wal", "logs/a.log", "instance"):
        (tmp_path / name).write_bytes(b"x" * 5000)
    parts = disk(tmp_path)
    assert all(size >= 5000 for size in (parts.db, parts.wal, parts.logs, parts.other))
