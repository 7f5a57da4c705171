"""The baseline of bench `ticks`: timers and passive declares, nothing else. Reads its orders as JSON from stdin."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections.abc import Sequence
from typing import Any

import aiormq
from aiormq.abc import AbstractChannel

from scaler.bench.report import percentile

_CHANNELS = 8


class _Asker:
    """One connection, a few channels, each with one question at a time."""

    def __init__(self, channels: Sequence[AbstractChannel]) -> None:
        self._idle: asyncio.LifoQueue[AbstractChannel] = asyncio.LifoQueue()
        for channel in channels:
            self._idle.put_nowait(channel)
        self.late: list[float] = []
        self.polls = 0

    async def ask(self, queue: str) -> None:
        channel = await self._idle.get()
        await channel.queue_declare(queue, passive=True)
        self._idle.put_nowait(channel)
        self.polls += 1

    async def serve(self, queue: str, start: float, interval_s: float) -> None:
        clock = asyncio.get_running_loop().time
        due = start
        while True:
            await asyncio.sleep(max(0.0, due - clock()))
            lateness = clock() - due
            self.late.append(lateness)
            due += (int(lateness // interval_s) + 1) * interval_s
            await self.ask(queue)

    def forget(self) -> None:
        self.late.clear()
        self.polls = 0


async def main(asked: dict[str, Any]) -> dict[str, float]:
    """Ask as ordered; give CPU seconds a poll, share of ticks served and lateness."""
    connection = await aiormq.connect(asked["url"])
    asker = _Asker([await connection.channel() for _ in range(_CHANNELS)])
    loop = asyncio.get_running_loop()
    interval_s = asked["interval_s"]
    start = loop.time()
    tasks = [asyncio.create_task(asker.serve(queue, start, interval_s)) for queue in asked["queues"]]
    await asyncio.sleep(asked["warm_up_s"])
    asker.forget()
    began, cpu = loop.time(), _cpu_s()
    await asyncio.sleep(asked["seconds"])
    seconds, cpu = loop.time() - began, _cpu_s() - cpu
    found = {
        "cpu_s": cpu / asker.polls,
        "share": asker.polls * interval_s / len(tasks) / seconds,
        "late_p50_s": percentile(asker.late, 0.5),
        "late_p99_s": percentile(asker.late, 0.99),
    }
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await connection.close()
    return found


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
