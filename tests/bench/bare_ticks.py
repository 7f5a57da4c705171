"""The baseline of bench `ticks`: timers and passive declares, nothing else. Reads its orders as JSON from stdin."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import aiormq
from aiormq.abc import AbstractChannel

from scaler.bench.timers import measured

_CHANNELS = 8


class _Asker:
    """One connection, a few channels, each with one question at a time."""

    def __init__(self, channels: Sequence[AbstractChannel]) -> None:
        self._idle: asyncio.LifoQueue[AbstractChannel] = asyncio.LifoQueue()
        for channel in channels:
            self._idle.put_nowait(channel)

    async def ask(self, queue: str) -> None:
        channel = await self._idle.get()
        await channel.queue_declare(queue, passive=True)
        self._idle.put_nowait(channel)


async def main(asked: dict[str, Any]) -> dict[str, float]:
    """Ask as ordered, all in one moment of each interval."""
    async with await aiormq.connect(asked["url"]) as connection:
        asker = _Asker([await connection.channel() for _ in range(_CHANNELS)])
        return await measured(
            [partial(asker.ask, queue) for queue in asked["queues"]],
            interval_s=asked["interval_s"],
            warm_up_s=asked["warm_up_s"],
            seconds=asked["seconds"],
        )


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
