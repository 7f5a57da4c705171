"""The AMQP performatives a client sends, checked and typed.

Field numbers are those of OASIS AMQP 1.0, part 2 section 2.7. A missing or mistyped field is an
`AmqpError`, so nothing behind this module meets a value of the wrong type.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from scaler.devbroker.amqp_types import AmqpError, Described, Raw

MIN_FRAME_BYTES = 512
_WORD = 0xFFFFFFFF


class Code(IntEnum):
    """Descriptors of the performatives."""

    OPEN = 0x10
    BEGIN = 0x11
    ATTACH = 0x12
    FLOW = 0x13
    TRANSFER = 0x14
    DISPOSITION = 0x15
    DETACH = 0x16
    END = 0x17
    CLOSE = 0x18


class Outcome(IntEnum):
    """Descriptors of the delivery outcomes."""

    ACCEPTED = 0x24
    REJECTED = 0x25
    RELEASED = 0x26
    MODIFIED = 0x27


FIELD_COUNTS: Mapping[Code, int] = {
    Code.OPEN: 10,
    Code.BEGIN: 8,
    Code.ATTACH: 14,
    Code.FLOW: 11,
    Code.TRANSFER: 11,
    Code.DISPOSITION: 6,
    Code.DETACH: 3,
    Code.END: 1,
    Code.CLOSE: 1,
}


class Fields:
    """The fields of one performative; those left out read as null."""

    def __init__(self, values: list[Any]) -> None:
        """Wrap the decoded list."""
        self._values = values

    def get(self, index: int) -> Any:
        """Give a field as decoded, None when it is null or left out."""
        return self._values[index] if index < len(self._values) else None

    def maybe_number(self, index: int) -> int | None:
        """Give an unsigned number or None."""
        value = self.get(index)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _WORD:
            raise AmqpError(f"field {index}: unsigned number wanted, got {type(value).__name__}")
        return value

    def number(self, index: int, default: int | None = None) -> int:
        """Give an unsigned number; without a default the field is mandatory."""
        value = self.maybe_number(index)
        if value is None:
            value = default
        if value is None:
            raise AmqpError(f"field {index}: a number is mandatory")
        return value

    def flag(self, index: int) -> bool:
        """Give a boolean; null is false."""
        return self.get(index) is True

    def text(self, index: int) -> str:
        """Give a mandatory string."""
        value = self.get(index)
        if not isinstance(value, str):
            raise AmqpError(f"field {index}: string wanted, got {type(value).__name__}")
        return value

    def mapping(self, index: int) -> Mapping[Any, Any]:
        """Give a map; null is the empty one."""
        value = self.get(index)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise AmqpError(f"field {index}: map wanted, got {type(value).__name__}")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Open: the peer's limits. `idle_timeout_ms` is how long it waits for a sign of life from us."""

    max_frame_bytes: int
    idle_timeout_ms: int | None

    @classmethod
    def read(cls, fields: Fields) -> "Open":
        """Check and convert."""
        size = fields.number(2, _WORD)
        if size < MIN_FRAME_BYTES:
            raise AmqpError(f"max-frame-size {size} is below {MIN_FRAME_BYTES}")
        return cls(max_frame_bytes=size, idle_timeout_ms=fields.maybe_number(4))


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Begin: where the peer starts counting transfers and how many it takes."""

    next_outgoing_id: int
    incoming_window: int

    @classmethod
    def read(cls, fields: Fields) -> "Begin":
        """Check and convert."""
        return cls(next_outgoing_id=fields.number(1), incoming_window=fields.number(2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attach:
    """Attach: one link. `raw_source` and `raw_target` go back untouched."""

    name: str
    handle: int
    peer_receives: bool
    sender_settle_mode: int
    receiver_settle_mode: int
    address: str
    source_filter: Mapping[Any, Any]
    raw_source: Raw
    raw_target: Raw
    properties: Mapping[Any, Any]

    @classmethod
    def read(cls, fields: Fields, raw_source: Raw, raw_target: Raw) -> "Attach":
        """Check and convert; the raw forms come from the same frame."""
        peer_receives = fields.flag(2)
        source, target = _terminus(fields, 5), _terminus(fields, 6)
        address = (source if peer_receives else target).get(0)
        return cls(
            name=fields.text(0),
            handle=fields.number(1),
            peer_receives=peer_receives,
            sender_settle_mode=fields.number(3, 2),
            receiver_settle_mode=fields.number(4, 0),
            address=address if isinstance(address, str) else "",
            source_filter=source.mapping(7),
            raw_source=raw_source,
            raw_target=raw_target,
            properties=fields.mapping(13),
        )


def _terminus(fields: Fields, index: int) -> Fields:
    value = fields.get(index)
    if value is None:
        return Fields([])
    if not isinstance(value, Described) or not isinstance(value.value, list):
        raise AmqpError(f"field {index}: source or target wanted")
    return Fields(value.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Flow: window of the session, and credit of one link unless `handle` is None."""

    next_incoming_id: int | None
    incoming_window: int
    handle: int | None
    delivery_count: int
    credit: int
    drain: bool
    echo: bool

    @classmethod
    def read(cls, fields: Fields) -> "Flow":
        """Check and convert."""
        return cls(
            next_incoming_id=fields.maybe_number(0),
            incoming_window=fields.number(1),
            handle=fields.maybe_number(4),
            delivery_count=fields.number(5, 0),
            credit=fields.number(6, 0),
            drain=fields.flag(8),
            echo=fields.flag(9),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Transfer: one frame of a message; id and format come with its first frame only."""

    handle: int
    delivery_id: int | None
    message_format: int
    settled: bool
    more: bool
    aborted: bool

    @classmethod
    def read(cls, fields: Fields) -> "Transfer":
        """Check and convert."""
        return cls(
            handle=fields.number(0),
            delivery_id=fields.maybe_number(1),
            message_format=fields.number(3, 0),
            settled=fields.flag(4),
            more=fields.flag(5),
            aborted=fields.flag(9),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposition:
    """Disposition: what became of deliveries `first` to `last`, both included.

    `outcome` is None when no state came with it; `details` are the outcome's fields.
    """

    peer_receives: bool
    first: int
    last: int
    settled: bool
    outcome: int | None
    details: Fields

    @classmethod
    def read(cls, fields: Fields) -> "Disposition":
        """Check and convert."""
        first, state = fields.number(1), fields.get(4)
        described = state if isinstance(state, Described) else None
        return cls(
            peer_receives=fields.flag(0),
            first=first,
            last=fields.number(2, first),
            settled=fields.flag(3),
            outcome=described.code if described and isinstance(described.code, int) else None,
            details=Fields(described.value if described and isinstance(described.value, list) else []),
        )
