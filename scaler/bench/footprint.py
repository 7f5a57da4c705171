"""Bench `footprint`: what the daemon takes while it does nothing, and how long it takes to be there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from scaler.bench.report import Figure, figure, ratios
from scaler.bench.stage import Stage
from scaler.rig.daemon import Daemon, Plan, process_container, rss_bytes, spool_job
from scaler.rig.spool import Spool

JOBS: Final = 1000
SETTLE_S: Final = 3.0
_LIBRARIES: Final = (
    "asyncio, sqlite3, aiohttp.web, aiosqlite, click, cronsim, pydantic, ruamel.yaml, structlog"
)
BARE: Final = (sys.executable, "-c", f"import {_LIBRARIES}")
"""The interpreter with what the daemon is made of, and nothing to do."""


def run(stage: Stage) -> Sequence[Figure]:
    """Measure; needs nothing."""
    jobs = stage.options.size(JOBS)
    ready: list[float] = []
    bare: list[float] = []
    idle: list[float] = []
    each: list[float] = []
    for number in range(stage.options.repeat):
        bare.append(seconds_of(BARE))
        folder = stage.room(f"run-{number}")
        took, memory = _idle(stage, folder / "one", 1)
        _, grown = _idle(stage, folder / "many", jobs)
        ready.append(took)
        idle.append(memory / (1 << 20))
        each.append((grown - memory) / (jobs - 1) / 1024)
        stage.options.say(
            f"footprint {number + 1}/{stage.options.repeat}: {idle[-1]:.1f} MiB, ready in {took:.2f} s"
        )
    return [
        figure(
            "idle memory", idle, "MiB", "resident, one job of files and processes, extras installed", goal=80
        ),
        figure("memory a job", each, "KiB", f"{jobs} jobs polled every 30 s, less that of one", goal=64),
        figure(
            "ready to bare",
            ratios(ready, bare),
            "x",
            "until the API answers / python -c 'import LIBRARIES'",
            goal=3,
        ),
        figure("ready", ready, "s", "from starting the process to the first answer that knows the job"),
        figure("bare", bare, "s", f"{Path(sys.executable).name} -c 'import {_LIBRARIES}'"),
    ]


def seconds_of(command: Sequence[str]) -> float:
    """Run a command to its end."""
    began = time.perf_counter()
    subprocess.run(command, check=True, timeout=60, env=os.environ)  # noqa: S603 - our own words
    return time.perf_counter() - began


def _idle(stage: Stage, folder: Path, jobs: int) -> tuple[float, int]:
    """Start a daemon with so many jobs; give the seconds until it is ready, and its memory after a rest."""
    spool = Spool(folder / "spool")
    container, extension = process_container(spool.folder)
    daemon = Daemon(Plan(folder=folder / "daemon"), stage.connect)
    scale = {"pollingInterval": 30, "maxExecutions": 1}
    daemon.write(
        *(
            spool_job(f"job-{n}", spool.folder, scale=scale, container=container, extension=extension)
            for n in range(jobs)
        )
    )
    began = time.perf_counter()
    with daemon.running():
        took = time.perf_counter() - began
        time.sleep(SETTLE_S)
        return took, rss_bytes(daemon.pid)
