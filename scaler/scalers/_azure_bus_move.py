"""Moves a poison message of a Service Bus queue or subscription into its dead-letter queue."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver
from azure.servicebus.exceptions import ServiceBusError

from scaler.ports.scaler import MoveOrder, Suspect
from scaler.scalers._azure_bus_entity import Entity
from scaler.scalers._azure_bus_peek import explain, is_active
from scaler.scalers._azure_errors import Subject

REASON: Final = "PoisonMessage"
"""`DeadLetterReason` of the message."""
_SHOWN: Final = 32
_WAIT_S: Final = 2.0


async def move_poison(
    client: ServiceBusClient, entity: Entity, order: MoveOrder, subject: Subject, now: datetime
) -> Suspect | None:
    """Take the first message and dead-letter it, if it is the one."""
    if entity.topic is not None:
        receiver = client.get_subscription_receiver(entity.topic, entity.name)
    else:
        receiver = client.get_queue_receiver(entity.name)
    try:
        async with receiver:
            return await _move(receiver, order, now)
    except (ServiceBusError, TimeoutError) as exc:
        raise explain(exc, subject) from exc


async def _move(receiver: ServiceBusReceiver, order: MoveOrder, now: datetime) -> Suspect | None:
    seen = [item for item in await receiver.peek_messages(_SHOWN, timeout=_WAIT_S) if is_active(item, now)]
    suspects = [message for message in seen if _deliveries(message, order) >= order.least]
    if len(suspects) != 1 or suspects[0] is not seen[0]:
        return None
    for held in await receiver.receive_messages(max_message_count=1, max_wait_time=_WAIT_S):
        deliveries = _deliveries(held, order)
        await order.hold(_key(held))
        if held.sequence_number != suspects[0].sequence_number:  # the first one is in a worker's hands
            await receiver.abandon_message(held)
            continue
        message_id = str(held.message_id or held.sequence_number)
        suspect = Suspect(message_id=message_id, deliveries=deliveries, to="the dead-letter queue")
        await order.before(suspect)
        told = f"{deliveries} deliveries, each of them an execution that failed"
        await receiver.dead_letter_message(held, reason=REASON, error_description=told)
        return suspect
    return None


def _key(message: ServiceBusReceivedMessage) -> str:
    return str(message.sequence_number)


def _deliveries(message: ServiceBusReceivedMessage, order: MoveOrder) -> int:
    """Give how often it was delivered to somebody else before and not settled."""
    return int(message.delivery_count or 0) - order.looks(_key(message))
