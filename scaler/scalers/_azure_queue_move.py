"""Moves a poison message of an Azure queue into another queue, as Azure Functions does: `<queue>-poison`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.queue.aio import QueueClient

from scaler.ports.scaler import MoveOrder, NoteRequest, Suspect
from scaler.scalers._azure_storage import StorageSession

SUFFIX: Final = "-poison"
_SHOWN: Final = 32
_HIDE_S: Final = 60
"""How long the message is hidden while it is moved; it comes back by itself if that fails."""


async def move_poison(
    session: StorageSession, queue_name: str, order: MoveOrder, note: NoteRequest
) -> Suspect | None:
    """Copy the message, then delete it: whatever happens, it is in one of the queues, at worst in both."""
    queue, to = session.queue(queue_name), order.to or queue_name + SUFFIX
    seen: Any = await session.ask(lambda: queue.peek_messages(max_messages=_SHOWN), note)
    suspects = [message for message in seen if _deliveries(message, order) >= order.least]
    if len(suspects) != 1 or suspects[0] is not seen[0]:
        return None
    held: Any = await session.ask(lambda: queue.receive_message(visibility_timeout=_HIDE_S), note)
    if held is None:
        return None
    deliveries = _deliveries(suspects[0], order)
    await order.hold(held.id)
    if held.id != suspects[0].id:  # another one came first in between
        await session.ask(lambda: queue.update_message(held.id, held.pop_receipt, visibility_timeout=0), note)
        return None
    suspect = Suspect(message_id=held.id, deliveries=deliveries, to=f"queue '{to}'")
    await order.before(suspect)
    await _put(session, session.queue(to), held.content, note)
    await session.ask(lambda: queue.delete_message(held.id, held.pop_receipt), note)
    return suspect


def _deliveries(message: Any, order: MoveOrder) -> int:
    """Give how often it was handed to somebody else."""
    return int(message.dequeue_count or 0) - order.looks(message.id)


async def _put(session: StorageSession, target: QueueClient, content: str, note: NoteRequest) -> None:
    """Send it on, to stay until somebody takes it; the queue is made if it is not there."""
    try:
        await session.ask(lambda: target.send_message(content, time_to_live=-1), note)
    except ResourceNotFoundError:
        with suppress(ResourceExistsError):
            await session.ask(target.create_queue, note)
        await session.ask(lambda: target.send_message(content, time_to_live=-1), note)
