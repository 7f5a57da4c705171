"""Bench `adopt`: running replicas that a new daemon takes up, beside bare SQLite that only reads their records."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from scaler.bench.report import Figure, figure, ratios
from scaler.bench.stage import Options
from scaler.observability.logs import configure_logs
from scaler.store.opening import load_queries
from tests.faults.adoption import Counting, adopted, leave_running

REPLICAS = 1000


async def run(options: Options) -> Sequence[Figure]:
    """Measure; needs nothing but a disk."""
    configure_logs(level="error", form="console")
    number = options.size(REPLICAS)
    found: dict[bool, list[float]] = {True: [], False: []}
    bare: list[float] = []
    for turn in range(options.repeat):
        for recorded, times in found.items():
            with tempfile.TemporaryDirectory(prefix="scaler-bench-", dir=Path.cwd()) as folder:
                path, executor = Path(folder) / "scaler.db", Counting(number)
                await leave_running(path, executor, number, recorded=recorded)
                if recorded:
                    bare.append(_read(path, number))
                times.append((await adopted(path, executor)).seconds)
                await executor.close()
        options.say(f"adopt {turn + 1}/{options.repeat}: {found[True][-1]:.2f} s, {found[False][-1]:.2f} s")
    how = f"{number} running replicas, from opening the records until each is waited for"
    return [
        figure("adopted", found[True], "s", how, goal=2.0),
        figure("adopted, starts not recorded", found[False], "s", "each start is recorded first", goal=2.0),
        figure("to bare reading", ratios(found[True], bare), "x", "bare: open, check, fetch the same rows"),
        figure("bare reading", bare, "s", "sqlite3, the store's own statement"),
    ]


def _read(path: Path, number: int) -> float:
    began = time.perf_counter()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA quick_check(1)").fetchall()
        rows = connection.execute(load_queries()["list_unfinished"]).fetchall()
    assert len(rows) == number
    return time.perf_counter() - began
