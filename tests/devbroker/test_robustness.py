"""A client that misbehaves is closed, alone: the broker keeps serving the others, in bounded memory."""

import asyncio
import random
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.exceptions import ServiceBusAuthenticationError, ServiceBusError

from scaler.devbroker import DevBroker, QueueSettings
from scaler.devbroker.amqp_encode import encode_section
from scaler.devbroker.amqp_types import Described, UInt
from scaler.devbroker.connection import MAX_FRAME_BYTES
from scaler.devbroker.message import parse_message
from scaler.devbroker.performatives import Code

from .conftest import open_admin

HEADER = b"AMQP\x00\x01\x00\x00"


def frame(code: Code, fields: Sequence[Any], payload: bytes = b"") -> bytes:
    """Write one frame on channel 0."""
    body = encode_section(code, list(fields)) + payload
    return struct.pack(">IBBH", len(body) + 8, 2, 0, 0) + body


OPEN = HEADER + frame(Code.OPEN, ["test", None, UInt(65536)])
CLOSE = frame(Code.CLOSE, [])
BEGIN = frame(Code.BEGIN, [None, UInt(1), UInt(1000), UInt(1000)])


def attach(handle: int, *, receives: bool, address: str) -> bytes:
    """Write an attach to one entity."""
    source = Described(0x28, [address])
    target = Described(0x29, [address])
    return frame(Code.ATTACH, ["link", UInt(handle), receives, None, None, source, target])


async def send_and_read(broker: DevBroker, data: bytes) -> bytes:
    """Send bytes on a connection of their own; read until the broker closes it, for 1 s at most."""
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.amqp_port)
    out = b""
    try:
        async with asyncio.timeout(1):
            writer.write(data)
            while chunk := await reader.read(65536):
                out += chunk
    except (TimeoutError, ConnectionError):
        out += b"<open or reset>"
    writer.close()
    return out


async def serves(broker: DevBroker) -> bool:
    """Send and receive one message with the SDK."""
    async with ServiceBusClient.from_connection_string(broker.connection_string, retry_total=0) as client:
        async with client.get_queue_sender("jobs") as sender:
            await sender.send_messages(ServiceBusMessage("alive"))
        async with client.get_queue_receiver("jobs") as receiver:
            (message,) = await receiver.receive_messages(1, 5)
            await receiver.complete_message(message)
            return str(message) == "alive"


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"framing-error"),
        (HEADER + struct.pack(">IBBH", MAX_FRAME_BYTES + 1, 2, 0, 0), b"framing-error"),
        (HEADER + struct.pack(">IBBH", 7, 2, 0, 0), b"framing-error"),
        (HEADER + struct.pack(">IBBH", 12, 9, 0, 0) + b"abcd", b"framing-error"),
        (b"AMQP\x02\x01\x00\x00", b"AMQP\x03\x01\x00\x00"),
        (HEADER + BEGIN, b"BEGIN before open"),
        (HEADER + frame(Code.OPEN, ["test", None, UInt(100)]), b"max-frame-size 100 is below 512"),
        (OPEN + OPEN[8:], b"second open"),
        (OPEN + BEGIN + BEGIN, b"exists already"),
        (OPEN + BEGIN + frame(Code.ATTACH, [None]), b"string wanted"),
        (OPEN + BEGIN + 2 * attach(1, receives=True, address="jobs"), b"handle 1 is in use"),
        (OPEN + BEGIN + frame(Code.FLOW, ["x"]), b"unsigned number wanted"),
        (OPEN + BEGIN + frame(Code.DISPOSITION, [True]), b"a number is mandatory"),
    ],
)
async def test_a_connection_that_breaks_the_protocol_is_told_why_and_closed(
    broker: DevBroker, data: bytes, word: bytes
) -> None:
    broker.add_queue("jobs")
    answer = await send_and_read(broker, data)
    assert word in answer
    assert not answer.endswith(b"<open or reset>")
    await asyncio.sleep(0)
    assert broker.connection_count == 0


async def test_a_disposition_over_the_whole_number_range_costs_nothing(broker: DevBroker) -> None:
    broker.add_queue("jobs")
    everything = frame(Code.DISPOSITION, [True, UInt(0), UInt(2**32 - 1), True, Described(0x24, [])])
    answer = await send_and_read(broker, OPEN + BEGIN + everything + CLOSE)
    assert not answer.endswith(b"<open or reset>")


async def test_a_message_above_the_limit_ends_its_link_and_is_not_kept(broker: DevBroker) -> None:
    queue = broker.add_queue("jobs")
    chunk = b"x" * 60000
    part = frame(Code.TRANSFER, [UInt(0), UInt(1), b"tag", UInt(0), False, True], chunk)
    answer = await send_and_read(
        broker, OPEN + BEGIN + attach(0, receives=False, address="jobs") + 20 * part + CLOSE
    )
    assert b"amqp:link:message-size-exceeded" in answer
    assert queue.total_count == 0


async def test_a_client_with_the_smallest_frames_gets_a_message_in_pieces(broker: DevBroker) -> None:
    queue = broker.add_queue("jobs")
    queue.put(parse_message(encode_section(0x75, b"y" * 2000)))
    small = HEADER + frame(Code.OPEN, ["test", None, UInt(512)])
    credit = frame(Code.FLOW, [UInt(1), UInt(1000), UInt(1), UInt(1000), UInt(0), UInt(0), UInt(1)])
    answer = await send_and_read(
        broker, small + BEGIN + attach(0, receives=True, address="jobs") + credit + CLOSE
    )
    assert answer.count(b"\x00\x53\x14") >= 5
    assert answer.count(b"y") >= 2000


async def test_a_client_that_never_reads_is_given_no_more_than_a_buffer(broker: DevBroker) -> None:
    queue = broker.add_queue("jobs", QueueSettings(lock_duration_s=60))
    for _ in range(200):
        queue.put(parse_message(encode_section(0x75, b"z" * 100_000)))
    credit = frame(Code.FLOW, [UInt(1), UInt(2**31), UInt(1), UInt(1000), UInt(0), UInt(0), UInt(10**6)])
    _, writer = await asyncio.open_connection("127.0.0.1", broker.amqp_port, limit=1024)
    writer.write(OPEN + BEGIN + attach(0, receives=True, address="jobs") + credit)
    await asyncio.sleep(0.5)
    assert 0 < len(queue.locked) < 150
    writer.transport.abort()


async def test_garbage_connections_leave_the_broker_serving(broker: DevBroker) -> None:
    broker.add_queue("jobs")
    source = random.Random(7)
    starts = [b"", b"AMQP\x03\x01\x00\x00", HEADER, OPEN, OPEN + BEGIN]
    for number in range(300):
        size = source.randint(0, 200)
        junk = source.randbytes(size)
        if number % 2:
            junk = struct.pack(">IBBH", size + 8, 2, 0, 0) + junk
        _, writer = await asyncio.open_connection("127.0.0.1", broker.amqp_port)
        writer.write(starts[number % len(starts)] + junk)
        await writer.drain()
        writer.close()
    assert await serves(broker)
    assert broker.connection_count == 0


async def test_only_the_right_key_gets_in() -> None:
    async with DevBroker(key="secret") as broker:
        broker.add_queue("jobs")
        async with (
            ServiceBusClient.from_connection_string(broker.connection_string, retry_total=0) as client,
            client.get_queue_sender("jobs") as sender,
        ):
            await sender.send_messages(ServiceBusMessage("x"))
        wrong = broker.connection_string.replace("=secret;", "=wrong;")
        async with ServiceBusClient.from_connection_string(wrong, retry_total=0) as client:
            sender = client.get_queue_sender("jobs")
            with pytest.raises(ServiceBusAuthenticationError):
                await sender.send_messages(ServiceBusMessage("x"))
            await sender.close()
        async with open_admin(broker.admin_connection_string.replace("=secret;", "=wrong;")) as admin:
            with pytest.raises(Exception, match="InvalidSignature"):
                await admin.get_queue("jobs")
        async with open_admin(broker.admin_connection_string) as admin:
            assert (await admin.get_queue("jobs")).name == "jobs"
        assert "secret" not in repr(broker)


async def test_deleting_a_queue_ends_its_receivers(broker: DevBroker) -> None:
    broker.add_queue("jobs")
    async with (
        open_admin(broker.admin_connection_string) as admin,
        ServiceBusClient.from_connection_string(broker.connection_string, retry_total=0) as client,
        client.get_queue_receiver("jobs") as receiver,
    ):
        assert await receiver.receive_messages(1, 0.2) == []
        await admin.delete_queue("jobs")
        with pytest.raises(ServiceBusError):
            await receiver.receive_messages(1, 3)


async def test_stopping_leaves_no_task_timer_or_connection() -> None:
    before = asyncio.all_tasks()
    broker = DevBroker()
    await broker.start()
    queue = broker.add_queue("jobs")
    queue.put(parse_message(encode_section(0x75, b"held")))
    credit = frame(Code.FLOW, [UInt(1), UInt(1000), UInt(1), UInt(1000), UInt(0), UInt(0), UInt(5)])
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.amqp_port)
    writer.write(OPEN + BEGIN + attach(0, receives=True, address="jobs") + credit)
    await reader.readuntil(b"held")
    assert (len(queue.locked), broker.connection_count) == (1, 1)
    await broker.stop()
    await broker.stop()
    assert (broker.clock.pending, broker.connection_count, asyncio.all_tasks()) == (0, 0, before)
    writer.transport.abort()
