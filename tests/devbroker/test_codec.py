"""The AMQP codec: what is written is read back, and no bytes at all upset the reader."""

import random
import struct
import time
import uuid

import pytest

from scaler.devbroker.amqp_decode import decode, raw_items, sections
from scaler.devbroker.amqp_encode import encode, encode_section
from scaler.devbroker.amqp_types import (
    AmqpError,
    Described,
    Int,
    LongArray,
    Raw,
    Symbol,
    SymbolArray,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
)
from scaler.devbroker.message import parse_message, split_batch


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        -(2**63),
        1.5,
        "",
        "ü" * 200,
        b"\x00" * 300,
        uuid.UUID(int=7),
        UByte(255),
        UShort(65535),
        UInt(2**32 - 1),
        ULong(2**64 - 1),
        Int(-5),
        Timestamp(1),
        Symbol("a:b"),
        [1, [2, None], {"k": [True]}],
        {Symbol("a"): "b"},
        Described(0x24, []),
    ],
)
def test_a_value_is_read_back_as_it_was_written(value: object) -> None:
    data = encode(value)
    assert decode(data) == (value, len(data))


def test_arrays_are_read_back_as_lists() -> None:
    assert decode(encode(LongArray((1, -2))))[0] == [1, -2]
    assert decode(encode(SymbolArray(("a", "b"))))[0] == ["a", "b"]


def test_a_type_amqp_lacks_is_an_error() -> None:
    with pytest.raises(TypeError, match="cannot write a set as AMQP"):
        encode({1})


def test_raw_items_keep_their_bytes() -> None:
    assert raw_items(encode([1, "a"])) == [Raw(encode(1)), Raw(encode("a"))]
    assert raw_items(b"\x45") == []


def test_sections_come_with_code_value_and_bytes() -> None:
    section = encode_section(0x75, b"body")
    assert list(sections(section)) == [(0x75, encode(b"body"), section)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x3f",
        b"\x71\x00",
        b"\xa1\x02\xff\xff",
        b"\xb0\xff\xff\xff\xff",
        b"\xc1\x02\x01\x40",
        b"\xc1\x04\x02\xc0\x01\x00\x40"[:5],
        b"\x00" * 100,
        b"\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x40",  # an array of 4 thousand million nulls
        b"\xc0\x01\xc8" * 200,  # lists that claim to reach past their own end
    ],
)
def test_malformed_bytes_are_an_error_at_once(data: bytes) -> None:
    started = time.monotonic()
    with pytest.raises(AmqpError):
        decode(data)
    assert time.monotonic() - started < 0.5


def test_random_bytes_give_a_value_or_an_amqp_error() -> None:
    source = random.Random(20261121)
    outcomes = set()
    for _ in range(5000):
        data = source.randbytes(source.randint(1, 60))
        try:
            decode(data)
            parse_message(data)
        except AmqpError:
            outcomes.add("error")
        else:
            outcomes.add("value")
    assert "error" in outcomes


@pytest.mark.parametrize(
    "payload",
    [
        encode_section(0x70, [None, None, "soon"]),
        encode_section(0x72, ["no", "map"])[:-1],
        encode_section(0x73, [None] * 10 + [5]),
        encode("no section"),
        encode_section(0x72, {Symbol("x-opt-scheduled-enqueue-time"): "later"}),
    ],
)
def test_a_message_with_fields_of_a_wrong_type_is_refused(payload: bytes) -> None:
    with pytest.raises(AmqpError):
        parse_message(payload)


def test_a_batch_whose_section_holds_a_number_is_refused() -> None:
    with pytest.raises(AmqpError, match="data section without binary"):
        split_batch(b"\x00\x53\x75" + struct.pack(">BI", 0x70, 1 << 31))
