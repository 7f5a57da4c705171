"""Bench `slow`: workers that look for their message long after they started: are more started than needed?"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Final

from scaler.bench.feed import first_look
from scaler.bench.report import Figure, figure, percentile, ratios
from scaler.bench.stage import Stage
from scaler.bench.yard import PATIENCE_S, Yard, check_done, open_yard
from scaler.rig.daemon import Daemon

MESSAGES: Final = 20
AT_ONCE: Final = 5
START_S: Final = 3
INTERVAL_S: Final = 1
STRATEGIES: Final = ("auto", "accurate", "default")
REST_S: Final = 1.5


def run(stage: Stage) -> Sequence[Figure]:
    """Measure; needs an engine."""
    options = stage.options
    total = options.size(MESSAGES, least=4)
    at_once = 2 if options.quick else AT_ONCE
    start_s = 1 if options.quick else START_S
    took: dict[str, list[float]] = {name: [] for name in STRATEGIES}
    used: dict[str, list[float]] = {name: [] for name in STRATEGIES}
    ideal: list[float] = []
    with open_yard(stage) as yard:
        daemon = Daemon(yard.plan(stage.folder / "daemon"), stage.connect)
        with daemon.running():
            yard.learn(daemon)
            for number in range(options.repeat):
                rounds = math.ceil(total / at_once)
                ideal.append(rounds * (start_s + _bare_life(yard, at_once)))
                for strategy in STRATEGIES:
                    seconds, executions = _drain(yard, daemon, strategy, total, at_once, start_s)
                    took[strategy].append(seconds)
                    used[strategy].append(executions / total)
                options.say(
                    f"slow {number + 1}/{options.repeat}: {used['auto'][-1]:.2f} executions a message"
                )
    return _figures(took, used, ideal, f"{total} messages, {at_once} at once, workers look after {start_s} s")


def _bare_life(yard: Yard, at_once: int) -> float:
    """Give the seconds from create to the end of a bare container among as many as are to run at once."""
    bout = yard.drained(2 * at_once, at_once=at_once)
    return percentile([life.ended - life.begun for life in bout.lives], 0.5)


def _drain(
    yard: Yard, daemon: Daemon, strategy: str, total: int, at_once: int, start_s: int
) -> tuple[float, int]:
    """Give the seconds from the first look at the queue to the last message done, and the executions in all."""
    spool = yard.spool(total)
    scale = {"pollingInterval": INTERVAL_S, "maxExecutions": at_once}
    job = yard.job(spool, scale, START=start_s)
    job["x-scaler"]["scalingStrategy"] = {"strategy": strategy}
    with yard.events(job) as events:
        daemon.write(job)
        daemon.until(lambda: spool.depth().done == total, timeout_s=PATIENCE_S, what=f"{total} messages")
        time.sleep(REST_S)
        daemon.until(lambda: events.are_gone(total), timeout_s=PATIENCE_S, what="the end of all executions")
        executions = len(events.moments("create"))
    check_done(spool, total)
    return max(spool.done_at().values()) - first_look(daemon, job["name"]), executions


def _figures(
    took: dict[str, list[float]], used: dict[str, list[float]], ideal: list[float], size: str
) -> list[Figure]:
    return [
        figure("executions a message", used["auto"], "x", f"strategy auto; {size}", goal=1.0),
        figure("executions a message, accurate", used["accurate"], "x", "KEDA's formula, the same daemon"),
        figure("executions a message, default", used["default"], "x", "KEDA's formula, the same daemon"),
        figure("drain to ideal", ratios(took["auto"], ideal), "x", "strategy auto"),
        figure("drain to ideal, accurate", ratios(took["accurate"], ideal), "x", "KEDA's formula"),
        figure("drain to ideal, default", ratios(took["default"], ideal), "x", "KEDA's formula"),
        figure("drain", took["auto"], "s", "first look at the queue to the last message done"),
        figure("ideal", ideal, "s", "rounds x (start + p50 of a bare container's life, so many at once)"),
    ]
