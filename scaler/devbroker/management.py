"""The operations of an entity's `$management` address: peek, renew, settle, schedule, defer, sessions.

Operation and field names are the wire's, spelling included.
"""

import uuid
from collections.abc import Callable
from typing import Any

from scaler.devbroker.amqp_types import AmqpError, LongArray, Timestamp, TimestampArray
from scaler.devbroker.entities import Queue, Settlement
from scaler.devbroker.message import parse_message
from scaler.devbroker.namespace import Entity
from scaler.devbroker.receiver import VENDOR
from scaler.devbroker.requests import BadRequest, Reply, Request

_LOST = Reply(status=410, description="The lock supplied is invalid.", condition=VENDOR + "message-lock-lost")
_NOT_FOUND = Reply(status=404, description="Message not found.", condition=VENDOR + "message-not-found")
_SESSION_LOST = Reply(
    status=410, description="The session lock was lost.", condition=VENDOR + "session-lock-lost"
)


def manage(entity: Entity, request: Request) -> Reply:
    """Do what one `$management` request asks.

    Raises:
        BadRequest: A field is missing or has the wrong type.
    """
    operation = str(request.properties.get("operation", "")).removeprefix(VENDOR)
    if on_entity := _ENTITY_OPERATIONS.get(operation):
        return on_entity(entity, request)
    on_queue = _QUEUE_OPERATIONS.get(operation)
    if on_queue is None or not isinstance(entity, Queue):
        text = f"the development broker has no operation '{operation}' for '{entity.name}'"
        return Reply(status=501, description=text, condition="amqp:not-implemented")
    return on_queue(entity, request)


def _schedule(entity: Entity, request: Request) -> Reply:
    try:
        messages = [parse_message(item["message"]) for item in request.items("messages", dict)]
    except (KeyError, TypeError, AmqpError) as exc:
        raise BadRequest("messages: each needs a 'message' that is an AMQP message") from exc
    numbers = tuple(entity.put(message) for message in messages)
    return Reply(body={"sequence-numbers": LongArray(numbers)})


def _cancel_scheduled(entity: Entity, request: Request) -> Reply:
    for number in request.items("sequence-numbers", int):
        entity.cancel_scheduled(number)
    return Reply()


def _peek(queue: Queue, request: Request) -> Reply:
    start, count = request.number("from-sequence-number"), request.number("message-count")
    found = queue.peek(start, max(count, 0))
    if not found:
        return Reply(status=204, description="No Content")
    return Reply(body={"messages": [{"message": message.encode()} for message in found]})


def _renew_lock(queue: Queue, request: Request) -> Reply:
    ends = [queue.renew(token) for token in request.items("lock-tokens", uuid.UUID)]
    known = [end for end in ends if end is not None]
    if len(known) < len(ends):
        return _LOST
    return Reply(body={"expirations": TimestampArray(tuple(int(end * 1000) for end in known))})


def _update_disposition(queue: Queue, request: Request) -> Reply:
    status = request.text("disposition-status")
    try:
        how = Settlement(status)
    except ValueError as exc:
        raise BadRequest(f"disposition-status: '{status}' is unknown") from exc
    reason, description = (
        request.maybe_text("deadletter-reason"),
        request.maybe_text("deadletter-description"),
    )
    tokens = request.items("lock-tokens", uuid.UUID)
    done = [queue.settle(token, how, reason=reason, description=description) for token in tokens]
    return Reply() if all(done) else _LOST


def _receive_by_number(queue: Queue, request: Request) -> Reply:
    keeps_lock = bool(request.number("receiver-settle-mode"))
    found: list[dict[str, Any]] = []
    for number in request.items("sequence-numbers", int):
        message = queue.deferred.pop(number, None)
        if message is None:
            continue
        token = uuid.uuid4()
        if keeps_lock:
            queue.lock(message, token, was_deferred=True)
        found.append({"message": message.encode(), "lock-token": token})
    return Reply(body={"messages": found}) if found else _NOT_FOUND


def _renew_session_lock(queue: Queue, request: Request) -> Reply:
    if not queue.sessions.is_locked(request.text("session-id")):
        return _SESSION_LOST
    end = queue.clock.now() + queue.settings.lock_duration_s
    return Reply(body={"expiration": Timestamp(end * 1000)})


def _get_session_state(queue: Queue, request: Request) -> Reply:
    return Reply(body={"session-state": queue.sessions.state(request.text("session-id"))})


def _set_session_state(queue: Queue, request: Request) -> Reply:
    queue.sessions.set_state(request.text("session-id"), request.maybe_bytes("session-state"))
    return Reply()


_ENTITY_OPERATIONS: dict[str, Callable[[Entity, Request], Reply]] = {
    "schedule-message": _schedule,
    "cancel-scheduled-message": _cancel_scheduled,
}
_QUEUE_OPERATIONS: dict[str, Callable[[Queue, Request], Reply]] = {
    "peek-message": _peek,
    "renew-lock": _renew_lock,
    "update-disposition": _update_disposition,
    "receive-by-sequence-number": _receive_by_number,
    "renew-session-lock": _renew_session_lock,
    "get-session-state": _get_session_state,
    "set-session-state": _set_session_state,
}
