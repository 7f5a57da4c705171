"""Reads AMQP 1.0 values from bytes nobody vouches for.

Every read is bounded: a child never reaches past its parent, nesting has a limit, and an announced
count is believed only as far as the bytes at hand allow. Work is therefore linear in the input.
"""

import struct
import uuid
from collections.abc import Iterator
from typing import Any

from scaler.devbroker.amqp_types import AmqpError, Described, Raw, Symbol

MAX_DEPTH = 32

_NUMBERS = {
    0x50: struct.Struct(">B"),
    0x51: struct.Struct(">b"),
    0x52: struct.Struct(">B"),
    0x53: struct.Struct(">B"),
    0x54: struct.Struct(">b"),
    0x55: struct.Struct(">b"),
    0x60: struct.Struct(">H"),
    0x61: struct.Struct(">h"),
    0x70: struct.Struct(">I"),
    0x71: struct.Struct(">i"),
    0x72: struct.Struct(">f"),
    0x80: struct.Struct(">Q"),
    0x81: struct.Struct(">q"),
    0x82: struct.Struct(">d"),
    0x83: struct.Struct(">q"),
}
_CONSTANTS: dict[int, Any] = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0}
_OPAQUE = {0x73: 4, 0x74: 4, 0x84: 8, 0x94: 16}  # char and decimals: carried, never computed with
_BINARY, _STRING, _SYMBOL = (0xA0, 0xB0), (0xA1, 0xB1), (0xA3, 0xB3)
_LISTS, _MAPS, _ARRAYS = (0xC0, 0xD0), (0xC1, 0xD1), (0xE0, 0xF0)
_EMPTY_LIST, _BOOLEAN, _UUID, _DESCRIBED = 0x45, 0x56, 0x98, 0x00


def decode(buf: bytes, pos: int = 0) -> tuple[Any, int]:
    """Read one value at `pos`.

    Returns:
        The value and the position after it. Described values stay wrapped in `Described`.

    Raises:
        AmqpError: The bytes are no AMQP value, are cut short or are nested too deeply.
    """
    return _value(buf, pos, len(buf), 0)


def _need(pos: int, size: int, end: int) -> int:
    if pos + size > end:
        raise AmqpError(f"value cut short: {size} bytes wanted, {max(end - pos, 0)} there")
    return pos + size


def _value(buf: bytes, pos: int, end: int, depth: int) -> tuple[Any, int]:
    if depth > MAX_DEPTH:
        raise AmqpError(f"values nested more than {MAX_DEPTH} deep")
    after = _need(pos, 1, end)
    code = buf[pos]
    if code != _DESCRIBED:
        return _body(code, buf, after, end, depth)
    descriptor, after = _value(buf, after, end, depth + 1)
    value, after = _value(buf, after, end, depth + 1)
    return Described(descriptor, value), after


def _body(code: int, buf: bytes, pos: int, end: int, depth: int) -> tuple[Any, int]:
    """Read what follows the type code `code`."""
    if code in _CONSTANTS:
        return _CONSTANTS[code], pos
    if code == _EMPTY_LIST:
        return [], pos
    if number := _NUMBERS.get(code):
        after = _need(pos, number.size, end)
        return number.unpack_from(buf, pos)[0], after
    if code == _BOOLEAN:
        after = _need(pos, 1, end)
        return buf[pos] == 1, after
    if code == _UUID:
        after = _need(pos, 16, end)
        return uuid.UUID(bytes=bytes(buf[pos:after])), after
    if size := _OPAQUE.get(code):
        after = _need(pos, size, end)
        return bytes(buf[pos:after]), after
    return _sized(code, buf, pos, end, depth)


def _length(code: int, buf: bytes, pos: int, end: int) -> tuple[int, int]:
    """Read a size or a count: one byte in short forms, four in long ones."""
    width = 4 if code & 0x10 else 1
    after = _need(pos, width, end)
    return int.from_bytes(buf[pos:after], "big"), after


def _sized(code: int, buf: bytes, pos: int, end: int, depth: int) -> tuple[Any, int]:
    size, start = _length(code, buf, pos, end)
    stop = _need(start, size, end)
    if code in _BINARY:
        return bytes(buf[start:stop]), stop
    if code in _STRING or code in _SYMBOL:
        return _text(code, bytes(buf[start:stop])), stop
    if code in _ARRAYS:
        return _array(code, buf, start, stop, depth), stop
    if code in _LISTS:
        return _items(code, buf, start, stop, depth), stop
    if code in _MAPS:
        return _pairs(_items(code, buf, start, stop, depth)), stop
    raise AmqpError(f"unknown type code 0x{code:02x}")


def _text(code: int, data: bytes) -> str:
    try:
        return data.decode() if code in _STRING else Symbol(data.decode("ascii"))
    except UnicodeDecodeError as exc:
        raise AmqpError(f"text is not {exc.encoding}") from exc


def _items(code: int, buf: bytes, pos: int, end: int, depth: int) -> list[Any]:
    count, pos = _length(code, buf, pos, end)
    out = []
    for _ in range(count):  # every item takes a byte at least, so a false count soon runs out
        item, pos = _value(buf, pos, end, depth + 1)
        out.append(item)
    return out


def _array(code: int, buf: bytes, pos: int, end: int, depth: int) -> list[Any]:
    count, pos = _length(code, buf, pos, end)
    after = _need(pos, 1, end)
    kind, pos = buf[pos], after
    if count > end - pos and (kind in _CONSTANTS or kind == _EMPTY_LIST):
        raise AmqpError(f"array announces {count} items in {end - pos} bytes")
    out = []
    for _ in range(count):
        item, pos = _body(kind, buf, pos, end, depth + 1)
        out.append(item)
    return out


def _pairs(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise AmqpError("map with a key that has no value")
    try:
        return dict(zip(items[::2], items[1::2], strict=True))
    except TypeError as exc:
        raise AmqpError("map with a key that is a list or a map") from exc


def raw_items(buf: bytes, pos: int = 0) -> list[Raw]:
    """Split an encoded list or map into its items without decoding them, so types survive an echo.

    Raises:
        AmqpError: `buf` holds no list or map at `pos`.
    """
    end = _need(pos, 1, len(buf))
    code = buf[pos]
    if code == _EMPTY_LIST:
        return []
    if code not in _LISTS and code not in _MAPS:
        raise AmqpError(f"list or map wanted, got type code 0x{code:02x}")
    size, start = _length(code, buf, end, len(buf))
    stop = _need(start, size, len(buf))
    count, pos = _length(code, buf, start, stop)
    out = []
    for _ in range(count):
        _, after = _value(buf, pos, stop, 0)
        out.append(Raw(buf[pos:after]))
        pos = after
    return out


def sections(buf: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Walk through the sections of a message.

    Yields:
        Descriptor code, the encoded value, the encoded section with its descriptor.

    Raises:
        AmqpError: Something in the message is not a section.
    """
    pos = 0
    while pos < len(buf):
        if buf[pos] != _DESCRIBED:
            raise AmqpError("message section wanted, got a plain value")
        code, start = decode(buf, pos + 1)
        if not isinstance(code, int):
            raise AmqpError(f"message section {code!r} is unknown")
        _, end = decode(buf, start)
        yield code, bytes(buf[start:end]), bytes(buf[pos:end])
        pos = end
