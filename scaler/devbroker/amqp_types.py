"""The AMQP 1.0 values Python has no type for.

A plain `int` says nothing about its wire type, and Service Bus clients check types, so every number
that goes out is wrapped in the class that names its AMQP type. Source: OASIS AMQP 1.0, part 1.
"""

from dataclasses import dataclass
from typing import Any


class AmqpError(ValueError):
    """Raise for bytes that are not valid AMQP: the connection they came from is closed, alone."""


class Symbol(str):
    """A symbol: ASCII text, written with its own type code."""

    __slots__ = ()


class UByte(int):
    """An unsigned byte, 0 to 255."""

    __slots__ = ()


class UShort(int):
    """An unsigned 16 bit number."""

    __slots__ = ()


class UInt(int):
    """An unsigned 32 bit number."""

    __slots__ = ()


class ULong(int):
    """An unsigned 64 bit number."""

    __slots__ = ()


class Int(int):
    """A signed 32 bit number; a plain Python int is written as a 64 bit long."""

    __slots__ = ()


class Timestamp(int):
    """Milliseconds since 1970, UTC."""

    __slots__ = ()


class Raw(bytes):
    """A value that is encoded already; written as it is, so that its types survive an echo."""

    __slots__ = ()


NULL = Raw(b"\x40")


@dataclass(frozen=True, slots=True)
class Described:
    """A value with a descriptor, e.g. a performative or a message section.

    Attributes:
        code: Numeric descriptor, below 256; decoded symbolic descriptors are kept as they came.
        value: Usually the list of fields.
    """

    code: Any
    value: Any


@dataclass(frozen=True, slots=True)
class LongArray:
    """An array of signed 64 bit numbers."""

    items: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TimestampArray:
    """An array of timestamps, milliseconds since 1970."""

    items: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SymbolArray:
    """An array of ASCII symbols."""

    items: tuple[str, ...]
