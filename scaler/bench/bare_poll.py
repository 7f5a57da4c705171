"""The loop without us: the same timers on the same folders, which are listed and nothing more.

Runs as a process of its own, `python -m scaler.bench.bare_poll`: what to do comes as JSON on standard input, what was
measured goes to standard output.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from collections.abc import Sequence
from typing import Any

from scaler.bench.report import percentile


class _Lister:
    """What is listed, and how late."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.polls = 0

    async def serve(self, folders: Sequence[str], due: float, interval_s: float) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(max(0.0, due - clock()))
            lateness = max(0.0, clock() - due)
            self.late.append(lateness)
            due += (int(lateness // interval_s) + 1) * interval_s
            for folder in folders:
                os.listdir(folder)  # noqa: PTH208 - as the scaler does
            self.polls += 1

    def forget(self) -> None:
        self.late.clear()
        self.polls = 0


async def main(asked: dict[str, Any]) -> dict[str, float]:
    """List as ordered, the jobs spread evenly over the interval; give what `poll.Polling` holds."""
    lister, loop, interval_s = _Lister(), asyncio.get_running_loop(), asked["interval_s"]
    jobs, start = asked["jobs"], loop.time() + 0.5
    tasks = [
        asyncio.create_task(lister.serve(folders, start + interval_s * number / len(jobs), interval_s))
        for number, folders in enumerate(jobs)
    ]
    await asyncio.sleep(asked["warm_up_s"])
    lister.forget()
    began, cpu = loop.time(), _cpu_s()
    await asyncio.sleep(asked["seconds"])
    seconds, cpu = loop.time() - began, _cpu_s() - cpu
    found = {
        "cpu_s": cpu / lister.polls,
        "share": lister.polls * interval_s / len(jobs) / seconds,
        "late_p50_s": percentile(lister.late, 0.5),
        "late_p99_s": percentile(lister.late, 0.99),
    }
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return found


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
