"""Moves a poison message of a RabbitMQ queue into another queue of the vhost.

It is published there first, and taken from its queue only once the broker has confirmed that. A reject without requeue
would be shorter, but nobody can see over AMQP whether a dead-letter exchange is set, by argument or by policy; without
one a reject destroys the message.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from aiormq import spec
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel
from aiormq.exceptions import AMQPError, ChannelNotFoundEntity, DeliveryError, PublishError

from scaler.errors import PollError
from scaler.ports.scaler import MoveOrder, Suspect
from scaler.scalers._rabbitmq_address import Address
from scaler.scalers._rabbitmq_amqp import close_connection, prepare_connection
from scaler.scalers._tls import tls_context

DELIVERIES: Final = "x-delivery-count"
"""Header by which quorum queues tell how often a message was delivered before; classic ones have none."""
MOVED_FROM: Final = "x-scaler-moved-from"


def refuse_move(address: Address, queue: str, to: str | None) -> str | None:
    """Say why poison messages cannot be moved; None if they can."""
    if address.is_http:
        return "messages are moved over AMQP; give the rule an amqp:// or amqps:// host, or remove it"
    if to is None:
        return (
            "to is missing; name the queue of the same vhost that poison messages are moved to, and create it"
        )
    if to == queue:
        return f"to is the queue itself ({to}); name another one"
    return None


async def move_poison(address: Address, queue: str, order: MoveOrder) -> Suspect | None:
    """Take the first message and move it, if it is the one; else put it back."""
    to = order.to or ""
    where = f"{address.origin}, vhost '{address.vhost}'"
    try:
        async with _channel(address) as channel:
            held = await channel.basic_get(queue, no_ack=False)
            if held.delivery_tag is None or isinstance(held.delivery, spec.Basic.GetEmpty):
                return None
            return await _move(channel, held, queue, to, order, where)
    except (PublishError, DeliveryError) as exc:
        text = f"{where}: no queue '{to}' to move messages to; create it or correct x-scaler.poison.to"
        raise PollError(text, transient=False, reason="EntityNotFound") from exc
    except ChannelNotFoundEntity as exc:
        text = f"{where}: no queue '{queue}'; create it or correct queueName"
        raise PollError(text, transient=False, reason="EntityNotFound") from exc
    except (AMQPError, OSError, RuntimeError) as exc:
        text = f"{where}: a message could not be moved ({type(exc).__name__}); may the user read and write there?"
        raise PollError(text, reason="Unreachable") from exc


async def _move(
    channel: Channel, held: DeliveredMessage, queue: str, to: str, order: MoveOrder, where: str
) -> Suspect | None:
    tag = cast(int, held.delivery_tag)
    headers: dict[str, Any] = dict(held.header.properties.headers or {})
    count, key = headers.get(DELIVERIES), _key(held)
    looks = order.looks(key)
    await order.hold(key)
    if count is None and held.redelivered:
        await channel.basic_nack(tag, requeue=True)
        text = f"{where}: queue '{queue}' does not count deliveries; make it a quorum queue, or remove x-scaler.poison"
        raise PollError(text, transient=False, reason="NoDeliveryCount")
    deliveries = (count if isinstance(count, int) else 0) - looks
    if deliveries < order.least:
        await channel.basic_nack(tag, requeue=True)
        return None
    suspect = Suspect(
        message_id=str(held.header.properties.message_id or f"without id, the first of queue {queue}"),
        deliveries=deliveries, to=f"queue '{to}'",
    )  # fmt: skip
    await order.before(suspect)
    properties = held.header.properties
    properties.headers = {key: value for key, value in headers.items() if key != DELIVERIES} | {
        MOVED_FROM: queue
    }
    await channel.basic_publish(held.body, routing_key=to, properties=properties, mandatory=True)
    await channel.basic_ack(tag)
    return suspect


def _key(held: DeliveredMessage) -> str:
    """Tell messages apart, of which many have no id, without keeping any of the text."""
    name = str(held.header.properties.message_id or "").encode()
    return hashlib.sha256(name + b"/" + held.body).hexdigest()[:16]


@asynccontextmanager
async def _channel(address: Address) -> AsyncIterator[Channel]:
    """Give a channel with confirms on a connection of its own; what is held when it closes goes back to its queue."""
    connection = prepare_connection(address, await tls_context(address.tls, address.origin))
    try:
        await connection.connect()
        yield cast(Channel, await connection.channel(publisher_confirms=True, on_return_raises=True))
    finally:
        await close_connection(connection)
