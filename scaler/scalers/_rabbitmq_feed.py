"""Feed `rabbitmq`: persistent messages with confirms, reports by basic.get."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import aio_pika
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import AMQPError

from scaler.errors import map_errors
from scaler.ports.feed import Feed, FeedPlace, FeedType
from scaler.scalers._rabbitmq_address import parse_address

_CONNECT_S: Final = 30.0
_CALL_S: Final = 60.0
_AT_ONCE: Final = 300
_LOST: Final = (AMQPError, OSError, TimeoutError, RuntimeError)


class _RabbitFeed:
    def __init__(self, channel: AbstractChannel, place: FeedPlace) -> None:
        self._channel = channel
        self._place = place

    async def send(self, bodies: Sequence[str]) -> None:
        """Publish; each is confirmed."""
        exchange = self._channel.default_exchange
        with map_errors(transient=_LOST, where=f"rabbitmq queue '{self._place.queue}'"):
            async with asyncio.timeout(_CALL_S):
                for body in bodies:
                    message = aio_pika.Message(body.encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                    await exchange.publish(message, routing_key=self._place.queue)

    async def reports(self) -> list[str]:
        """Get what is there."""
        found: list[str] = []
        with map_errors(transient=_LOST, where=f"rabbitmq queue '{self._place.results}'"):
            async with asyncio.timeout(_CALL_S):
                queue = await self._channel.get_queue(self._place.results, ensure=False)
                while len(found) < _AT_ONCE:
                    message = await queue.get(no_ack=True, fail=False)
                    if message is None:
                        break
                    found.append(message.body.decode(errors="replace"))
        return found


@asynccontextmanager
async def open_feed(place: FeedPlace) -> AsyncIterator[Feed]:
    """Connect. Both queues must be there.

    Raises:
        PollError: they are not, or the broker does not answer.
    """
    url = place.connection.reveal()
    with map_errors(transient=_LOST, fatal=ValueError, where="rabbitmq"):
        if parse_address(url.partition("?")[0]).is_http:
            raise ValueError("not an amqp:// or amqps:// URL")
        async with asyncio.timeout(_CONNECT_S):
            connection = await aio_pika.connect(url)
    try:
        with map_errors(transient=_LOST, where="rabbitmq"):
            async with asyncio.timeout(_CONNECT_S):
                channel = await connection.channel()
                for name in (place.queue, place.results):
                    await channel.declare_queue(name, passive=True)
        yield _RabbitFeed(channel, place)
    finally:
        async with asyncio.timeout(_CONNECT_S):
            await connection.close()


FEED = FeedType(variable="RABBITMQ_URL", open=open_feed)
