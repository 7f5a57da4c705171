"""The baseline of bench `rules`: clients that share nothing, one for each rule. Reads its orders as JSON from stdin."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from scaler.bench.timers import Ask, measured
from tests.scalers import kafka_kit


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
    """Ask as ordered, all in one moment of each interval."""
    client = {"rabbitmq": rabbitmq, "kafka": kafka}[asked["kind"]]
    async with AsyncExitStack() as stack:
        return await measured(
            [await client(asked["url"], name, stack) for name in asked["names"]],
            interval_s=asked["interval_s"],
            warm_up_s=asked["warm_up_s"],
            seconds=asked["seconds"],
        )


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
