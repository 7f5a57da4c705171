"""Feed `azure-servicebus`: batches into a queue; reports are received and deleted at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from azure.core.exceptions import AzureError
from azure.servicebus import ServiceBusMessage, ServiceBusReceiveMode
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender

from scaler.errors import map_errors
from scaler.ports.feed import Feed, FeedPlace, FeedType

_CALL_S: Final = 120.0
_BATCH: Final = 50
_AT_ONCE: Final = 100
_WAIT_S: Final = 0.5
_LOST: Final = (AzureError, OSError, TimeoutError, ValueError)


class _BusFeed:
    def __init__(self, sender: ServiceBusSender, receiver: ServiceBusReceiver) -> None:
        self._sender = sender
        self._receiver = receiver

    async def send(self, bodies: Sequence[str]) -> None:
        """Send in batches; a single large message goes alone."""
        with map_errors(transient=_LOST, where=f"service bus queue '{self._sender.entity_name}'"):
            async with asyncio.timeout(_CALL_S):
                for start in range(0, len(bodies), _BATCH):
                    await self._send_batch(bodies[start : start + _BATCH])

    async def _send_batch(self, bodies: Sequence[str]) -> None:
        batch = await self._sender.create_message_batch()
        for body in bodies:
            try:
                batch.add_message(ServiceBusMessage(body))
            except ValueError:  # full
                if len(batch):
                    await self._sender.send_messages(batch)
                batch = await self._sender.create_message_batch()
                batch.add_message(ServiceBusMessage(body))
        await self._sender.send_messages(batch)

    async def reports(self) -> list[str]:
        """Receive what is there, or comes within half a second."""
        with map_errors(transient=_LOST, where="service bus results"):
            async with asyncio.timeout(_CALL_S):
                found = await self._receiver.receive_messages(
                    max_message_count=_AT_ONCE, max_wait_time=_WAIT_S
                )
        return [str(message) for message in found]


@asynccontextmanager
async def open_feed(place: FeedPlace) -> AsyncIterator[Feed]:
    """Connect. Both queues must be there.

    Raises:
        PollError: they are not, or the namespace does not answer.
    """
    mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
    with map_errors(transient=_LOST, where="service bus"):
        client = ServiceBusClient.from_connection_string(place.connection.reveal(), retry_total=2)
        async with (
            client,
            client.get_queue_sender(place.queue) as sender,
            client.get_queue_receiver(place.results, receive_mode=mode) as receiver,
        ):
            yield _BusFeed(sender, receiver)


FEED = FeedType(variable="SERVICEBUS_CONNECTION_STRING", open=open_feed)
