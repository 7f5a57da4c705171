"""Bench `poison`: a share of the messages always fails. What do they cost, and what do the good ones lose by them?"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from scaler.bench.report import Figure, figure, ratios
from scaler.bench.stage import Options, Stage
from scaler.bench.workers import check_once, end_workers
from scaler.bench.yard import names
from scaler.rig.daemon import Daemon, Plan, RigError, process_container, spool_job
from scaler.rig.spool import Spool

GOOD: Final = 200
EVERY: Final = 20
"""One message in so many, beside the good ones, is poison."""
WORK_S: Final = 0.1
INTERVAL_S: Final = 1
AFTER_S: Final = 30.0
"""How long it is watched on when only poison is left."""
PATIENCE_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """One run.

    Attributes:
        good_s: from the first launch until the last good message is done.
        failed: executions that failed, in all.
        watched_s: from the first launch to the end of watching.
    """

    good_s: float
    failed: int
    watched_s: float


def run(stage: Stage) -> Sequence[Figure]:
    """Measure; needs nothing."""
    options, at_once = stage.options, 2 * (os.cpu_count() or 1)
    good = options.size(GOOD)
    bad = max(at_once, good // EVERY)
    clean: list[Drained] = []
    mixed: list[Drained] = []
    for number in range(options.repeat):
        clean.append(_drained(stage, f"clean-{number}", good, 0, at_once))
        mixed.append(_drained(stage, f"mixed-{number}", good, bad, at_once))
        options.say(
            f"poison {number + 1}/{options.repeat}: good ones done in {mixed[-1].good_s:.1f} s, "
            f"without poison in {clean[-1].good_s:.1f} s; {mixed[-1].failed} executions failed"
        )
    how = f"{good} good and {bad} poison of {WORK_S:g} s, {at_once} processes at once"
    return _figures(clean, mixed, good=good, at_once=at_once, after_s=_after_s(options), how=how)


def strict_rate(at_once: int, interval_s: float) -> float:
    """Give the executions a second that a bare polling interval starts for messages that always fail. Pure.

    Each tick finds them waiting and fills the slots with them; those of the tick before have ended.
    """
    return at_once / interval_s


def _figures(
    clean: Sequence[Drained], mixed: Sequence[Drained], *, good: int, at_once: int, after_s: float, how: str
) -> Sequence[Figure]:
    rates = [one.failed / one.watched_s for one in mixed]
    strict = [strict_rate(at_once, INTERVAL_S) for _ in mixed]
    refill = [good / one.good_s for one in clean]
    return [
        figure("good messages, to none poison", ratios([m.good_s for m in mixed], [c.good_s for c in clean]), "x", how),
        figure("good messages", [one.good_s for one in mixed], "s", "first launch to last good one done, each once"),
        figure("good messages, none poison", [one.good_s for one in clean], "s", "the same without poison"),
        figure("spent on poison", rates, "1/s", f"failed executions a second, until {after_s:g} s after the drain"),
        figure("spent on poison, strict", strict, "1/s", f"computed: {at_once} slots filled anew every {INTERVAL_S} s"),
        figure("to strict", ratios(rates, strict), "x", "spent on poison to what a strict interval would start"),
        figure("spent on poison, refill", refill, "1/s", "computed: as fast as the daemon starts good ones"),
        figure("to refill", ratios(rates, refill), "x", "spent on poison to what filling slots at once would start"),
        figure("executions failed", [one.failed for one in mixed], "", "in all"),
    ]  # fmt: skip


def _after_s(options: Options) -> float:
    return AFTER_S / 10 if options.quick else AFTER_S


def _drained(stage: Stage, name: str, good: int, bad: int, at_once: int) -> Drained:
    folder = stage.room(name)
    spool = Spool(folder / "spool")
    _fill(spool, good, bad)
    daemon = Daemon(Plan(folder=folder / "daemon"), stage.connect)
    daemon.write(_job(spool, at_once))
    try:
        with daemon.running():
            daemon.until(
                lambda: spool.depth().done >= good, timeout_s=PATIENCE_S, what=f"{good} good messages"
            )
            if bad:
                time.sleep(_after_s(stage.options))
            until, failed = time.time(), _failed(daemon)
            broken = daemon.api.inspection()["violations"]
    finally:
        end_workers(folder)
    if broken:
        raise RigError(f"broken promises: {broken}")
    check_once(spool.journal(), names(good))
    began = daemon.events("job.launch")[0]["at"]
    return Drained(
        good_s=max(spool.done_at().values()) - began,
        failed=failed,
        watched_s=until - began,
    )


def _fill(spool: Spool, good: int, bad: int) -> None:
    """Put poison evenly between the good messages."""
    spool.put(names(good), think_s=WORK_S)
    spool.put(
        (f"message-{number * good // bad:05}-poison" for number in range(bad)), think_s=WORK_S, poison=True
    )


def _job(spool: Spool, at_once: int) -> dict[str, Any]:
    container, extension = process_container(spool.folder, JOURNAL=1)
    scale = {"pollingInterval": INTERVAL_S, "maxExecutions": at_once}
    return spool_job("mixed", spool.folder, scale=scale, container=container, extension=extension)


def _failed(daemon: Daemon) -> int:
    counts: Mapping[str, int] = daemon.api.counts("mixed")["counts"]
    return counts.get("Failed", 0)
