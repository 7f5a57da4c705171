"""What the workers reported: drained from a result queue and counted, so that tests can assert exactly once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aio_pika
from azure.servicebus import ServiceBusReceiveMode
from azure.servicebus.aio import ServiceBusClient
from azure.storage.queue.aio import QueueClient

Drain = Callable[[], Awaitable[list[str]]]


@dataclass(slots=True, kw_only=True)
class Results:
    """A running summary of worker reports."""

    consumed: Counter[str] = field(default_factory=Counter)
    """How often each message body was worked on; all ones means exactly once."""
    empty: int = 0
    """Workers that found no message."""
    by_execution: dict[str, list[str]] = field(default_factory=dict)
    """Bodies by execution name; an execution that found nothing has an empty list."""

    def add(self, line: str) -> None:
        """Count one report of a worker."""
        facts = json.loads(line)
        bodies = self.by_execution.setdefault(facts["execution"], [])
        if facts.get("empty"):
            self.empty += 1
        else:
            self.consumed[facts["body"]] += 1
            bodies.append(facts["body"])


async def drain_rabbitmq(amqp_url: str, queue: str) -> list[str]:
    """Take every waiting report from a RabbitMQ queue."""
    lines: list[str] = []
    async with await aio_pika.connect(amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        source = await channel.get_queue(queue, ensure=False)
        while (message := await source.get(fail=False, timeout=10)) is not None:
            lines.append(message.body.decode())
            await message.ack()
    return lines


async def drain_azure_queue(connection_string: str, queue: str) -> list[str]:
    """Take every waiting report from an Azure storage queue."""
    lines: list[str] = []
    async with QueueClient.from_connection_string(connection_string, queue) as source:
        async for message in source.receive_messages(messages_per_page=32, visibility_timeout=300):
            lines.append(message.content)
            await source.delete_message(message)
    return lines


async def drain_service_bus(connection_string: str, queue: str) -> list[str]:
    """Take every waiting report from a Service Bus queue."""
    mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
    lines: list[str] = []
    async with ServiceBusClient.from_connection_string(connection_string) as client:
        async with client.get_queue_receiver(queue, receive_mode=mode) as source:
            while found := await source.receive_messages(max_message_count=250, max_wait_time=1):
                lines += [str(message) for message in found]
    return lines


async def collect(drain: Drain, *, reports: int, timeout_s: float) -> Results:
    """Drain until so many reports came in, or the time is up; never fewer drains than one.

    Args:
        drain: One drain, for example `partial(drain_rabbitmq, url, queue)`.
        reports: Reports expected, empty ones included. Later duplicates are not waited for: drain once more.
        timeout_s: Seconds after which what there is comes back; the caller's assertion tells the rest.
    """
    results = Results()
    seen = 0
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        for line in await drain():
            results.add(line)
            seen += 1
        if seen >= reports or asyncio.get_running_loop().time() >= deadline:
            return results
        await asyncio.sleep(0.1)
