"""The loop without us: timers that ask on the daemon's cadence and do nothing with the answers."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from scaler.bench.report import percentile

Ask = Callable[[], Awaitable[object]]
_BEFORE_S: Final = 0.5
"""Time to make the tasks, so that the first ticks are not late for that."""


class _Timers:
    """What was asked, and how late (seconds)."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self.late: list[float] = []

    async def serve(self, ask: Ask, due: float) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(max(0.0, due - clock()))
            lateness = max(0.0, clock() - due)
            self.late.append(lateness)
            due += (int(lateness // self._interval_s) + 1) * self._interval_s
            await ask()


async def measured(
    asks: Sequence[Ask], *, interval_s: float, warm_up_s: float, seconds: float, is_spread: bool = False
) -> dict[str, float]:
    """Ask each once an interval; give CPU seconds a question, how many, share of those due, and lateness in seconds.

    `is_spread`: due evenly over the interval; otherwise all in one moment.
    """
    loop, timers = asyncio.get_running_loop(), _Timers(interval_s)
    start, step = loop.time() + _BEFORE_S, interval_s / len(asks) if is_spread else 0.0
    tasks = [asyncio.create_task(timers.serve(ask, start + step * number)) for number, ask in enumerate(asks)]
    await asyncio.sleep(warm_up_s)
    timers.late.clear()
    began, cpu = loop.time(), _cpu_s()
    await asyncio.sleep(seconds)
    took, cpu = loop.time() - began, _cpu_s() - cpu
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    asked = len(timers.late)
    return {
        "cpu_s": cpu / asked,
        "ticks": asked,
        "share": asked * interval_s / len(asks) / took,
        "late_p50_s": percentile(timers.late, 0.5),
        "late_p99_s": percentile(timers.late, 0.99),
    }


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
