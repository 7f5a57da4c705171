"""Many receivers, worker processes, and workers that are killed: nothing is lost, nothing done twice."""

import asyncio
import sys
import time

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from .conftest import Bus, Counts

pytestmark = pytest.mark.asyncio(loop_scope="session")
EMPTY = Counts(active=0, dead=0, scheduled=0)

ONE_SHOT = """
import asyncio, sys
from azure.servicebus.aio import ServiceBusClient
async def main(connection_string, queue):
    async with ServiceBusClient.from_connection_string(connection_string) as client:
        async with client.get_queue_receiver(queue) as receiver:
            for message in await receiver.receive_messages(max_message_count=1, max_wait_time=10):
                print("locked", flush=True)
                await asyncio.sleep(float(sys.argv[3]))
                await receiver.complete_message(message)
                return 0
    return 3
sys.exit(asyncio.run(main(*sys.argv[1:3])))
"""

DRAIN = """
import asyncio, sys
from azure.servicebus.aio import ServiceBusClient
async def main(connection_string, queue, wait_s):
    async with ServiceBusClient.from_connection_string(connection_string) as client:
        async with client.get_queue_receiver(queue) as receiver:
            while messages := await receiver.receive_messages(max_message_count=20, max_wait_time=float(wait_s)):
                await asyncio.gather(*(receiver.complete_message(message) for message in messages))
                print(*[str(message) for message in messages], flush=True)
asyncio.run(main(*sys.argv[1:]))
"""


async def start(code: str, *arguments: str) -> asyncio.subprocess.Process:
    """Start a worker process."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def test_five_worker_processes_take_one_of_fifty_messages_each(bus: Bus) -> None:
    await bus.fill(*[f"job {n}" for n in range(25)])
    await bus.send([ServiceBusMessage(f"job {n}") for n in range(25, 50)])
    assert await bus.counts() == Counts(active=50, dead=0, scheduled=0)
    workers = [await start(ONE_SHOT, bus.connection_string, bus.queue, "0") for _ in range(5)]
    ended = await asyncio.gather(*(worker.communicate() for worker in workers))
    assert [worker.returncode for worker in workers] == [0] * 5
    assert [out for out, _ in ended] == [b"locked\n"] * 5
    assert await bus.counts() == Counts(active=45, dead=0, scheduled=0)


async def test_the_message_of_a_killed_worker_returns_when_its_lock_ends(bus: Bus) -> None:
    await bus.fill("x")
    worker = await start(ONE_SHOT, bus.connection_string, bus.queue, "60")
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"locked\n"
    locked = time.monotonic()
    worker.kill()
    await worker.wait()
    assert await bus.counts() == Counts(active=1, dead=0, scheduled=0)
    async with bus.receiver() as receiver:
        (message,) = await receiver.receive_messages(1, bus.short_lock_s + 8)
        waited_s = time.monotonic() - locked
        assert message.delivery_count == 1
        assert waited_s > bus.short_lock_s * 0.6
        await receiver.complete_message(message)
    assert await bus.counts() == EMPTY


async def test_twenty_competing_receivers_see_each_message_once(bus: Bus) -> None:
    await bus.send([ServiceBusMessage(str(n)) for n in range(200)])
    seen: list[int] = []
    # locks of 1 s end under twenty clients on a small machine; this test is about competing
    queue = await bus.admin.get_queue(bus.queue)
    await bus.admin.update_queue(queue, lock_duration="PT30S")

    async def compete() -> None:
        async with (
            ServiceBusClient.from_connection_string(bus.connection_string) as client,
            client.get_queue_receiver(bus.queue) as receiver,
        ):
            while messages := await receiver.receive_messages(5, 1):
                for message in messages:
                    seen.append(int(str(message)))
                    await receiver.complete_message(message)

    async with asyncio.TaskGroup() as group:
        for _ in range(20 if bus.is_ours else 8):  # the official emulator takes ten connections
            group.create_task(compete())
    assert sorted(seen) == list(range(200))
    assert await bus.counts() == EMPTY


async def test_no_message_is_lost_when_workers_are_killed_while_they_drain(bus: Bus) -> None:
    total, lock_s = 1000, 2 * bus.short_lock_s  # workers wait longer than a lost lock lasts
    await bus.send([ServiceBusMessage(str(n)) for n in range(total)])
    queue = await bus.admin.get_queue(bus.queue)
    await bus.admin.update_queue(queue, lock_duration=f"PT{lock_s:g}S", max_delivery_count=10)
    done: set[int] = set()

    async def work(*, is_killed: bool) -> None:
        worker = await start(DRAIN, bus.connection_string, bus.queue, str(lock_s + 0.3))
        assert worker.stdout is not None
        async for line in worker.stdout:
            done.update(int(word) for word in line.split())
            if is_killed:
                worker.kill()
                break
        await worker.wait()

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(work(is_killed=number % 2 == 0))
    counts = await bus.counts()
    # what a killed worker completed without saying so is gone too, so the queue is the judge
    assert counts == EMPTY
    assert len(done) > total * 0.9
