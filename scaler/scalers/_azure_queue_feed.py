"""Feed `azure-queue`: plain text messages of a storage queue; a report that was read is deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from azure.storage.queue.aio import QueueClient

from scaler.errors import map_errors
from scaler.ports.feed import Feed, FeedPlace, FeedType
from scaler.scalers._azure_errors import Subject, azure_errors

_CALL_S: Final = 120.0
_AT_ONCE: Final = 32  # the most that one request gives
_SENDERS: Final = 8
_MISSING: Final = "create it, or name another by --queue or --results"
_RIGHTS: Final = "check the key of the connection string"


class _StorageFeed:
    def __init__(self, queue: QueueClient, results: QueueClient) -> None:
        self._queue = queue
        self._results = results

    async def send(self, bodies: Sequence[str]) -> None:
        """Send, some at once: the service takes one a request."""
        with _faults(f"storage queue '{self._queue.queue_name}'"):
            async with asyncio.timeout(_CALL_S):
                for start in range(0, len(bodies), _SENDERS):
                    await _all_of([self._queue.send_message(one) for one in bodies[start : start + _SENDERS]])

    async def reports(self) -> list[str]:
        """Receive and delete what is there."""
        with _faults(f"storage queue '{self._results.queue_name}'"):
            async with asyncio.timeout(_CALL_S):
                pages = self._results.receive_messages(messages_per_page=_AT_ONCE, max_messages=_AT_ONCE)
                found = [message async for message in pages]
                await _all_of([self._results.delete_message(message) for message in found])
        return [str(message.content) for message in found]


async def _all_of(calls: Sequence[object]) -> None:
    """Await calls at once; the first failure is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(call)  # type: ignore[arg-type]  # the SDK's calls are untyped
    except ExceptionGroup as several:  # not `except*`, which would put what is raised here into a group again
        raise several.exceptions[0] from None


@contextmanager
def _faults(where: str) -> Iterator[None]:
    subject = Subject(name=where, missing=_MISSING, rights=_RIGHTS, timeout_s=_CALL_S)
    with map_errors(transient=(OSError, ValueError), where=where), azure_errors(subject):
        yield


@asynccontextmanager
async def open_feed(place: FeedPlace) -> AsyncIterator[Feed]:
    """Connect. Both queues must be there.

    Raises:
        PollError: they are not, or the account does not answer.
    """
    connection = place.connection.reveal()
    with _faults("storage account"):
        queue = QueueClient.from_connection_string(connection, place.queue, retry_total=2)
        results = QueueClient.from_connection_string(connection, place.results, retry_total=2)
    async with queue, results:
        for client in (queue, results):
            with _faults(f"storage queue '{client.queue_name}'"):
                async with asyncio.timeout(_CALL_S):
                    await client.get_queue_properties()
        yield _StorageFeed(queue, results)


FEED = FeedType(variable="AZURE_STORAGE_CONNECTION_STRING", open=open_feed)
