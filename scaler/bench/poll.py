"""Bench `poll`: how many rules one core can keep polling, beside a bare loop with the same timers and folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scaler.bench.report import Figure, figure, ratios
from scaler.bench.stage import Options, Stage
from scaler.rig.daemon import Daemon, Plan, RigError, cpu_s, process_container, spool_job
from scaler.rig.spool import PLACES

RULES: Final = (100, 1000, 5000)
INTERVAL_S: Final = 1
WARM_UP_S: Final = 5.0
SECONDS: Final = 60.0
"""The daemon records once a minute that a job is idle, so it is watched for a minute."""
BARE_SECONDS: Final = 20.0
GOAL_MS: Final = 100
A_FILE: Final = 500
"""Jobs in one file, which may have a MiB."""
LOAD_S: Final = 300.0
_LISTED: Final = PLACES[1:3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """What one side did: CPU seconds a poll, share of ticks served, lateness in seconds; to load all, seconds.

    `in_time` is the share of ticks that were no later than the goal.
    """

    cpu_s: float
    share: float
    late_p50_s: float
    late_p99_s: float
    in_time: float = 1.0
    ticks: int = 0
    load_s: float = 0.0


def run(stage: Stage) -> Sequence[Figure]:
    """Measure; needs nothing."""
    found: list[Figure] = []
    for rules in RULES:
        found += _sized(stage, stage.options.size(rules))
    return found


def _sized(stage: Stage, rules: int) -> Sequence[Figure]:
    options, core = stage.options, min(os.sched_getaffinity(0))
    folders = [_queue(stage.folder / f"{rules}" / f"queue-{number}") for number in range(rules)]
    ours: list[Polling] = []
    bare: list[Polling] = []
    for number in range(options.repeat):
        bare.append(_bare(folders, core, options))
        plan = Plan(folder=stage.folder / f"{rules}" / f"daemon-{number}", core=core)
        ours.append(_daemon(Daemon(plan, stage.connect), folders, options))
        options.say(
            f"poll {number + 1}/{options.repeat}, {rules} rules: {ours[-1].cpu_s * 1e6:.0f} us a poll, bare "
            f"{bare[-1].cpu_s * 1e6:.0f} us; p99 {ours[-1].late_p99_s * 1e3:.1f} ms late"
        )
    return _figures(rules, ours, bare, _seconds(options))


def _figures(
    rules: int, ours: Sequence[Polling], bare: Sequence[Polling], seconds: float
) -> Sequence[Figure]:
    how = f"{rules} jobs polled every {INTERVAL_S} s on one core, {seconds:g} s (bare {min(seconds, BARE_SECONDS):g} s)"
    goal = GOAL_MS if rules == max(RULES) else None
    late = "due to served, all ticks, within the bounds of the daemon's own counts"
    return [
        figure(f"{rules}: lateness p99", [o.late_p99_s * 1e3 for o in ours], "ms", late, goal=goal),
        figure(f"{rules}: in time", [o.in_time * 100 for o in ours], "%", f"ticks no later than {GOAL_MS} ms"),
        figure(f"{rules}: lateness p99, bare", [b.late_p99_s * 1e3 for b in bare], "ms", "all ticks of the bare loop"),
        figure(
            f"{rules}: lateness p99 to bare",
            ratios([o.late_p99_s for o in ours], [b.late_p99_s for b in bare]), "x", how,
        ),
        figure(f"{rules}: lateness p50", [o.late_p50_s * 1e3 for o in ours], "ms", "the daemon"),
        figure(f"{rules}: ticks served", [o.share * 100 for o in ours], "%", "of those that were due"),
        figure(f"{rules}: CPU per poll", [o.cpu_s * 1e6 for o in ours], "us", "the daemon: list, decide, record"),
        figure(f"{rules}: CPU per poll, bare", [b.cpu_s * 1e6 for b in bare], "us", "timer and list"),
        figure(f"{rules}: CPU per poll to bare", ratios([o.cpu_s for o in ours], [b.cpu_s for b in bare]), "x", how),
        figure(f"{rules}: load", [o.load_s for o in ours], "s", "from the start until all jobs are taken up"),
    ]  # fmt: skip


def _warm_up_s(options: Options) -> float:
    return WARM_UP_S / 5 if options.quick else WARM_UP_S


def _seconds(options: Options) -> float:
    return SECONDS / 30 if options.quick else SECONDS


def _queue(folder: Path) -> Path:
    """Make an empty queue, without what only a worker needs."""
    for place in _LISTED:
        (folder / place).mkdir(parents=True)
    return folder


# --- the daemon -------------------------------------------------------------------------------------------


def _daemon(daemon: Daemon, folders: Sequence[Path], options: Options) -> Polling:
    jobs = [_job(number, folder) for number, folder in enumerate(folders)]
    for first in range(0, len(jobs), A_FILE):
        daemon.write_together(f"jobs-{first}", jobs[first : first + A_FILE])
    began = time.monotonic()
    daemon.start()
    try:
        daemon.loaded(len(folders), LOAD_S)
        load_s = time.monotonic() - began
        time.sleep(_warm_up_s(options))
        return _watched(daemon, len(folders), load_s, _seconds(options))
    finally:
        daemon.stop()


def _watched(daemon: Daemon, rules: int, load_s: float, seconds: float) -> Polling:
    before, cpu = daemon.api.health(), cpu_s(daemon.pid)
    time.sleep(seconds)
    after, used = daemon.api.health(), cpu_s(daemon.pid) - cpu
    ticks = after["ticks"] - before["ticks"]
    if ticks < 1:
        raise RigError(f"the daemon served no tick:\n{daemon.tail()}")
    counts = counted(before["latenessSeconds"]["atMost"], after["latenessSeconds"]["atMost"])
    return Polling(
        cpu_s=used / ticks,
        share=ticks * INTERVAL_S / rules / (after["uptimeSeconds"] - before["uptimeSeconds"]),
        late_p50_s=share_at(counts, ticks, 0.5),
        late_p99_s=share_at(counts, ticks, 0.99),
        in_time=dict(counts)[GOAL_MS / 1e3] / ticks,
        ticks=ticks,
        load_s=load_s,
    )


def counted(before: Mapping[str, int], after: Mapping[str, int]) -> Sequence[tuple[float, int]]:
    """Give for each bound (seconds) the ticks in between that were no later. Pure."""
    return sorted((float(bound), ticks - before[bound]) for bound, ticks in after.items())


def share_at(counts: Sequence[tuple[float, int]], ticks: int, share: float) -> float:
    """Give the lateness (seconds) that so large a share did not exceed, on a line between two bounds. Pure.

    What lies beyond the last bound is given as that bound, which is the least that it can be.
    """
    low, below = 0.0, 0
    for bound, up_to in counts:
        if up_to >= share * ticks:
            return low + (bound - low) * (share * ticks - below) / (up_to - below)
        low, below = bound, up_to
    return low


def _job(number: int, folder: Path) -> dict[str, Any]:
    container, extension = process_container(folder)
    scale = {"pollingInterval": INTERVAL_S, "maxExecutions": 1}
    return spool_job(f"job-{number}", folder, scale=scale, container=container, extension=extension)


# --- the bare loop ----------------------------------------------------------------------------------------


def _bare(folders: Sequence[Path], core: int, options: Options) -> Polling:
    asked = {
        "jobs": [[str(folder / place) for place in _LISTED] for folder in folders],
        "interval_s": INTERVAL_S,
        "warm_up_s": _warm_up_s(options),
        "seconds": min(BARE_SECONDS, _seconds(options)),
    }
    command = [sys.executable, "-m", "scaler.bench.bare_poll"]
    process = subprocess.Popen(  # noqa: S603 - a program of our own
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        os.sched_setaffinity(process.pid, {core})
        out, _ = process.communicate(json.dumps(asked).encode(), LOAD_S)
    except subprocess.TimeoutExpired as exc:
        raise RigError(f"the bare loop did not end within {LOAD_S:g} s") from exc
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        raise RigError(f"the bare loop ended with code {process.returncode}")
    return Polling(**json.loads(out))
