"""A stored message.

The bare message (properties, application properties, body) stays as the sender encoded it; only the
header and the annotations, which belong to the broker, are built anew for each delivery.
"""

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from scaler.devbroker.amqp_decode import decode, raw_items, sections
from scaler.devbroker.amqp_encode import encode, encode_map_items, encode_section
from scaler.devbroker.amqp_types import NULL, AmqpError, Int, Raw, Symbol, Timestamp, UInt

BATCH_FORMAT = 0x80013700
HEADER, ANNOTATIONS, PROPERTIES, APPLICATION, DATA = 0x70, 0x72, 0x73, 0x74, 0x75
_DELIVERY_ANNOTATIONS = 0x71
_TTL_FIELD, _GROUP_ID_FIELD = 2, 10
_SCHEDULED = "x-opt-scheduled-enqueue-time"


class MessageState(IntEnum):
    """Annotation `x-opt-message-state`, values of the service."""

    ACTIVE = 0
    DEFERRED = 1
    SCHEDULED = 2


@dataclass(slots=True, kw_only=True)
class Message:
    """One message in one queue.

    Attributes:
        header: Encoded fields durable, priority, ttl, first-acquirer; the delivery count is ours.
        annotations: Annotation name to encoded value, as sent.
        properties: Encoded fields of the properties section.
        application: Encoded keys and values of the application properties.
        body: Encoded body sections.
        ttl_s: Seconds to live from the moment of enqueueing; None means no limit of its own.
        due: Seconds since 1970 at which a scheduled message becomes active; 0 means at once.
        session_id: Session it belongs to, None for none.
        sequence_number: Position in its queue, from 1; 0 until it is stored.
        delivery_count: Deliveries that failed so far.
        enqueued: Seconds since 1970.
        locked_until: Seconds since 1970; 0 when nobody holds it.
    """

    header: list[Raw]
    annotations: dict[str, Raw]
    properties: list[Raw]
    application: list[Raw]
    body: bytes
    ttl_s: float | None = None
    due: float = 0.0
    session_id: str | None = None
    sequence_number: int = 0
    delivery_count: int = 0
    state: MessageState = MessageState.ACTIVE
    enqueued: float = 0.0
    locked_until: float = 0.0

    def copy(self) -> "Message":
        """Give a second message with the same bare content, for another subscription."""
        return replace(self, annotations=dict(self.annotations), application=list(self.application))

    def add_application_property(self, name: str, value: str) -> None:
        """Append a text property; used for the reason of a dead letter."""
        self.application = [*self.application, Raw(encode(name)), Raw(encode(value))]

    def encode(self) -> bytes:
        """Write the message with its present header and annotations."""
        out = encode_section(HEADER, [*self.header, UInt(self.delivery_count)])
        out += encode_section(ANNOTATIONS, self._annotations())
        if self.properties:
            out += encode_section(PROPERTIES, list(self.properties))
        if self.application:
            out += encode_section(APPLICATION, Raw(encode_map_items(self.application)))
        return out + self.body

    def _annotations(self) -> dict[Symbol, Any]:
        out: dict[Symbol, Any] = {Symbol(name): value for name, value in self.annotations.items()}
        if self.state is not MessageState.SCHEDULED:
            out.pop(Symbol(_SCHEDULED), None)
        out[Symbol("x-opt-sequence-number")] = self.sequence_number
        out[Symbol("x-opt-enqueued-time")] = Timestamp(self.enqueued * 1000)
        out[Symbol("x-opt-message-state")] = Int(self.state)
        if self.locked_until:
            out[Symbol("x-opt-locked-until")] = Timestamp(self.locked_until * 1000)
        return out


@dataclass(slots=True)
class _Parts:
    header: list[Raw] = field(default_factory=list)
    annotations: dict[str, Raw] = field(default_factory=dict)
    properties: list[Raw] = field(default_factory=list)
    application: list[Raw] = field(default_factory=list)
    body: bytes = b""


def parse_message(payload: bytes) -> Message:
    """Read one message as a sender encoded it.

    Raises:
        AmqpError: The bytes are no AMQP message, or a field has the wrong type.
    """
    parts = _split(payload)
    header = (parts.header + [NULL] * 4)[:4]
    ttl_ms = _number(header[_TTL_FIELD], "header.ttl")
    due_ms = _number(parts.annotations.get(_SCHEDULED, NULL), _SCHEDULED)
    group = parts.properties[_GROUP_ID_FIELD] if len(parts.properties) > _GROUP_ID_FIELD else NULL
    session_id = decode(group)[0]
    if session_id is not None and not isinstance(session_id, str):
        raise AmqpError("properties.group-id is not a string")
    return Message(
        header=header,
        annotations=parts.annotations,
        properties=parts.properties,
        application=parts.application,
        body=parts.body,
        ttl_s=ttl_ms / 1000 if ttl_ms else None,
        due=due_ms / 1000,
        session_id=session_id,
    )


def _split(payload: bytes) -> _Parts:
    parts = _Parts()
    for code, value, section in sections(payload):
        if code == HEADER:
            parts.header = raw_items(value)
        elif code == ANNOTATIONS:
            items = raw_items(value)
            parts.annotations = {str(decode(k)[0]): v for k, v in zip(items[::2], items[1::2], strict=True)}
        elif code == PROPERTIES:
            parts.properties = raw_items(value)
        elif code == APPLICATION:
            parts.application = raw_items(value)
        elif code != _DELIVERY_ANNOTATIONS:
            parts.body += section
    return parts


def _number(raw: Raw, name: str) -> int:
    value = decode(raw)[0]
    if value is None:
        return 0
    if not isinstance(value, int) or value < 0:
        raise AmqpError(f"{name} is not a positive number")
    return value


def split_batch(payload: bytes) -> list[bytes]:
    """Give the encoded messages of a batch: one complete message in each data section.

    Raises:
        AmqpError: A data section holds something other than bytes.
    """
    out = []
    for code, value, _ in sections(payload):
        if code != DATA:
            continue
        data = decode(value)[0]
        if not isinstance(data, bytes):
            raise AmqpError("data section without binary")
        out.append(data)
    return out
