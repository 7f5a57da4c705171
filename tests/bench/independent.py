"""The baseline of bench `rules`: clients that share nothing, one for each rule. Reads its orders as JSON from stdin."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from tests.scalers import kafka_kit

Ask = Callable[[], Awaitable[object]]


async def rabbitmq(url: str, queue: str, stack: AsyncExitStack) -> Ask:
    """Give a client of one queue, which asks for that queue alone."""
    parts = urlsplit(url)
    headers = {"Authorization": aiohttp.encode_basic_auth(parts.username or "", parts.password or "")}
    http = await stack.enter_async_context(aiohttp.ClientSession(headers=headers))
    where = URL(f"http://{parts.hostname}:{parts.port}/api/queues/%2F/{quote(queue)}", encoded=True)

    async def ask() -> object:
        async with http.get(where) as response:
            return (await response.json()).get("messages")

    return ask


async def kafka(bootstrap: str, group: str, stack: AsyncExitStack) -> Ask:
    """Give a client of one group: the scaler itself, with connections that nobody shares."""
    topic = group.rpartition("-")[0]
    metadata = {"bootstrapServers": bootstrap, "consumerGroup": group, "topic": topic}
    scaler = await stack.enter_async_context(kafka_kit.opened(metadata))
    return scaler.poll


async def main(asked: dict[str, Any]) -> dict[str, float]:
    """Ask as ordered; give CPU seconds a poll, and polls."""
    interval_s, polls = asked["interval_s"], 0
    clock = asyncio.get_running_loop().time

    async def serve(ask: Ask, due: float) -> None:
        nonlocal polls
        while True:
            await asyncio.sleep(max(0.0, due - clock()))
            due += (int(max(0.0, clock() - due) // interval_s) + 1) * interval_s
            await ask()
            polls += 1

    client = {"rabbitmq": rabbitmq, "kafka": kafka}[asked["kind"]]
    async with AsyncExitStack() as stack:
        asks = [await client(asked["url"], name, stack) for name in asked["names"]]
        start = clock()
        tasks = [asyncio.create_task(serve(ask, start)) for ask in asks]
        await asyncio.sleep(asked["warm_up_s"])
        polls, cpu = 0, _cpu_s()
        await asyncio.sleep(asked["seconds"])
        found = {"cpu_s": (_cpu_s() - cpu) / polls, "polls": float(polls)}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return found


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
