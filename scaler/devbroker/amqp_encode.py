"""Writes AMQP 1.0 values.

Two habits of the official SDK decide how: it only understands descriptors in their one-byte form
(`00 53 xx`), and versions before 7.15 expect every field of a performative, trailing nulls included.
"""

import struct
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from scaler.devbroker.amqp_types import (
    Described,
    Int,
    LongArray,
    Raw,
    Symbol,
    SymbolArray,
    Timestamp,
    TimestampArray,
    UByte,
    UInt,
    ULong,
    UShort,
)

_MAP = 0xD1
_LIST = 0xD0


def _variable(code: int, data: bytes) -> bytes:
    """Write a string-like value; `code` is the short form, the long form is 0x10 above it."""
    if len(data) < 256:
        return struct.pack(">BB", code, len(data)) + data
    return struct.pack(">BI", code + 0x10, len(data)) + data


def _compound(code: int, parts: Sequence[bytes]) -> bytes:
    body = b"".join(parts)
    return struct.pack(">BII", code, len(body) + 4, len(parts)) + body


def _array(code: int, parts: Sequence[bytes]) -> bytes:
    body = b"".join(parts)
    return struct.pack(">BIIB", 0xF0, len(body) + 5, len(parts), code) + body


def encode_map_items(items: Sequence[bytes]) -> bytes:
    """Write a map from keys and values that are encoded already: key, value, key, value, ..."""
    return _compound(_MAP, items)


def encode_section(code: int, value: Any) -> bytes:
    """Write one described value: a message section or a performative."""
    return b"\x00\x53" + bytes([code]) + encode(value)


def _fixed(layout: str, code: int) -> Callable[[Any], bytes]:
    packer = struct.Struct(layout)
    return lambda value: packer.pack(code, value)


def _longs(code: int) -> Callable[[Any], bytes]:
    return lambda array: _array(code, [struct.pack(">q", item) for item in array.items])


def _symbols(array: SymbolArray) -> bytes:
    return _array(0xB3, [struct.pack(">I", len(item)) + item.encode("ascii") for item in array.items])


# The exact type decides; bool and the number classes are all ints, so no isinstance chain.
_WRITERS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"\x40",
    bool: lambda value: b"\x41" if value else b"\x42",
    Raw: bytes,
    UByte: _fixed(">BB", 0x50),
    UShort: _fixed(">BH", 0x60),
    UInt: _fixed(">BI", 0x70),
    ULong: _fixed(">BQ", 0x80),
    Int: _fixed(">Bi", 0x71),
    Timestamp: _fixed(">Bq", 0x83),
    int: _fixed(">Bq", 0x81),
    float: _fixed(">Bd", 0x82),
    uuid.UUID: lambda value: b"\x98" + value.bytes,
    Symbol: lambda value: _variable(0xA3, value.encode("ascii")),
    str: lambda value: _variable(0xA1, value.encode()),
    bytes: lambda value: _variable(0xA0, value),
    Described: lambda value: encode_section(value.code, value.value),
    dict: lambda value: _compound(_MAP, [encode(item) for pair in value.items() for item in pair]),
    list: lambda value: _compound(_LIST, [encode(item) for item in value]),
    LongArray: _longs(0x81),
    TimestampArray: _longs(0x83),
    SymbolArray: _symbols,
}


def encode(value: Any) -> bytes:
    """Write one value.

    Raises:
        TypeError: The type has no AMQP counterpart here; always a fault of this package.
    """
    writer = _WRITERS.get(type(value))
    if writer is None:
        raise TypeError(f"cannot write a {type(value).__name__} as AMQP")
    return writer(value)
