"""Bench `recovery`: the daemon is killed in the middle of a burst. How soon does it go on, and is all of it kept?"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from scaler.bench.footprint import BARE, seconds_of
from scaler.bench.report import Figure, figure, ratios
from scaler.bench.stage import Stage
from scaler.bench.workers import check_once, end_workers
from scaler.bench.yard import check_done, names, open_yard
from scaler.rig.daemon import Daemon, Plan, RigError, process_container, spool_job
from scaler.rig.spool import Spool

MESSAGES: Final = 120
CONTAINERS: Final = 24
WORK_S: Final = 0.5
INTERVAL_S: Final = 30
ROUNDS: Final = 3
REST_S: Final = 1.5
PATIENCE_S: Final = 180.0
LOOK_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Seconds from the new start: until it answers and knows the job, until it starts something; executions in all."""

    ready_s: float
    first_s: float
    executions: int


def run(stage: Stage) -> Sequence[Figure]:
    """Measure; needs nothing, and measures containers too where there is an engine."""
    rounds = stage.options.repeat * (1 if stage.options.quick else ROUNDS)
    total, at_once = stage.options.size(MESSAGES, least=24), 2 * (os.cpu_count() or 1)
    ours: list[Recovery] = []
    bare: list[float] = []
    empty: list[float] = []
    for number in range(rounds):
        bare.append(seconds_of(BARE))
        empty.append(_on_nothing(stage, number))
        ours.append(_processes(stage, number, total, at_once))
        stage.options.say(
            f"recovery {number + 1}/{rounds}: ready after {ours[-1].ready_s:.2f} s, on nothing after {empty[-1]:.2f} s"
        )
    how = f"kill -9 at a third of {total} messages of {WORK_S:g} s, {at_once} processes at once"
    return [
        figure("ready to empty", ratios([one.ready_s for one in ours], empty), "x", f"to a start on no records; {how}"),
        figure("ready to bare", ratios([one.ready_s for one in ours], bare), "x", "to python -c 'import LIBRARIES'"),
        figure("ready", [one.ready_s for one in ours], "s", "from the new start until it answers and knows its job"),
        figure("ready, empty", empty, "s", "the same on a state directory without records"),
        figure("first new execution", [one.first_s for one in ours], "s", "from the new start to the first launch"),
        figure("first to bare", ratios([one.first_s for one in ours], bare), "x", "to python -c 'import LIBRARIES'"),
        figure(
            "executions a message", [one.executions / total for one in ours], "x",
            "each message was taken once and done once, by its workers' notes, and all promises held",
        ),
        *_containers(stage),
    ]  # fmt: skip


def _containers(stage: Stage) -> Sequence[Figure]:
    total, at_once = stage.options.size(CONTAINERS, least=12), 2
    found: list[Recovery] = []
    with ExitStack() as stack:
        try:
            yard = stack.enter_context(open_yard(stage))
        except RigError as exc:
            if stage.options.image:
                raise
            stage.options.say(f"recovery: processes only: {exc}")
            return []
        for number in range(stage.options.repeat):
            spool = yard.spool(total, think_s=WORK_S)
            job = yard.job(spool, _scale(at_once), JOURNAL=1)
            daemon = Daemon(yard.plan(stage.folder / f"containers-{number}"), stage.connect)
            found.append(_recovered(daemon, job, spool, total))
    how = f"kill -9 at a third of {total} messages of {WORK_S:g} s, {at_once} containers at once"
    return [
        figure("containers: ready", [one.ready_s for one in found], "s", how),
        figure("containers: first new execution", [one.first_s for one in found], "s", "nothing lost or done twice"),
    ]  # fmt: skip


def _scale(at_once: int) -> Mapping[str, Any]:
    return {"pollingInterval": INTERVAL_S, "maxExecutions": at_once}


def _on_nothing(stage: Stage, number: int) -> float:
    """Give the seconds until a daemon without records is ready."""
    spool = Spool(stage.folder / f"nothing-{number}" / "spool")
    daemon = Daemon(Plan(folder=stage.folder / f"nothing-{number}" / "daemon"), stage.connect)
    daemon.write(_job(spool, 1))
    with _ended(daemon, spool):
        return _ready_s(daemon)


def _processes(stage: Stage, number: int, total: int, at_once: int) -> Recovery:
    spool = Spool(stage.folder / f"burst-{number}" / "spool")
    spool.put(names(total), think_s=WORK_S)
    daemon = Daemon(Plan(folder=stage.folder / f"burst-{number}" / "daemon"), stage.connect)
    return _recovered(daemon, _job(spool, at_once), spool, total)


def _job(spool: Spool, at_once: int) -> dict[str, Any]:
    container, extension = process_container(spool.folder, JOURNAL=1)
    return spool_job("burst", spool.folder, scale=_scale(at_once), container=container, extension=extension)


def _recovered(daemon: Daemon, job: Mapping[str, Any], spool: Spool, total: int) -> Recovery:
    """Kill it at a third, start it again, and see that all is done once and every promise holds."""
    daemon.write(job)
    with _ended(daemon, spool):
        daemon.start()
        _until(daemon, lambda: spool.depth().done >= total // 3, f"a third of {total} messages")
        daemon.kill()
        began = time.time()
        ready_s = _ready_s(daemon)

        def launches() -> list[float]:
            return [one["at"] for one in daemon.events("job.launch") if one["at"] >= began]

        _until(daemon, launches, "a new execution")
        first_s = launches()[0] - began
        _until(daemon, lambda: spool.depth().done >= total, f"{total} messages")
        time.sleep(REST_S)
        counts = {name: count for name, count in daemon.api.counts(job["name"])["counts"].items() if count}
        broken = daemon.api.inspection()["violations"]
    check_done(spool, total)
    check_once(spool.journal(), names(total))
    if broken or counts.keys() != {"Succeeded"}:
        raise RigError(f"after the kill executions ended as {counts}; broken promises: {broken}")
    return Recovery(ready_s=ready_s, first_s=first_s, executions=counts["Succeeded"])


@contextmanager
def _ended(daemon: Daemon, spool: Spool) -> Iterator[None]:
    """End the daemon, then its workers, however this is left."""
    try:
        yield
    finally:
        daemon.stop()
        end_workers(spool.folder.parent)


def _ready_s(daemon: Daemon) -> float:
    began = time.perf_counter()
    daemon.start()
    daemon.ready()
    return time.perf_counter() - began


def _until(daemon: Daemon, look: Any, what: str) -> None:
    daemon.until(look, timeout_s=PATIENCE_S, what=what, every_s=LOOK_S)
