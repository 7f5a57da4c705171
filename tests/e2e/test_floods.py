"""Floods: as many messages as in the promise, eight containers at a time, each message exactly once."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.conftest import Source
from tests.e2e.daemon import Daemon
from tests.e2e.proof import assert_each_once, settled, watched
from tests.e2e.work import Work, size
from tests.infra.engine import Engine


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["amqp", "http", "azure"])
async def test_300_messages_make_exactly_300_executions_eight_at_a_time(
    kind: str, source: Source, docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    work = Work(queue=source(kind), image=worker_image)
    await work.create()
    await work.send(300)
    daemon.write(work.document())

    async with watched(docker_engine, work) as sampler:
        await daemon.start()
        account = await settled(daemon, work, docker_engine, timeout_s=300)

    assert_each_once(account, work)
    assert sampler.peak == 8
    assert sampler.samples > 100


@pytest.mark.timeout(400)
async def test_slow_starters_are_not_started_twice_however_often_the_queue_is_asked(
    source: Source, docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    """16 messages each (300 with SCALER_FLOOD=full); they are taken only 5 s after their worker's start."""
    works = [
        Work(queue=source(kind), image=worker_image, interval_s=1, env={"START_DELAY": "5"})
        for kind in ("amqp", "http", "azure")
    ]
    for work in works:
        await work.create()
        await work.send(size(16, 300))
        daemon.write(work.document())

    async with watched(docker_engine, works[0]) as a, watched(docker_engine, works[1]) as b:
        async with watched(docker_engine, works[2]) as c:
            await daemon.start()
            accounts = [await settled(daemon, work, docker_engine, timeout_s=300) for work in works]

    for account, work in zip(accounts, works, strict=True):
        assert_each_once(account, work)
    assert (a.peak, b.peak, c.peak) == (8, 8, 8)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("take", ["consume", "ack-first"])
async def test_slots_are_refilled_although_executions_end_between_two_polls(
    take: str, source: Source, docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    work = Work(queue=source("amqp"), image=worker_image, interval_s=60, most=4, env={"WORKER_TAKE": take})
    await work.create()
    await work.send(24)
    daemon.write(work.document())

    async with watched(docker_engine, work) as sampler:
        await daemon.start()
        account = await settled(daemon, work, docker_engine, timeout_s=45)

    assert_each_once(account, work)
    assert sampler.peak <= 4


@pytest.mark.timeout(400)
async def test_no_execution_of_ten_floods_in_a_row_finds_the_queue_empty(
    source: Source, docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    """12 messages a flood (30 with SCALER_FLOOD=full), the next one as soon as the queue is empty."""
    work = Work(queue=source("http"), image=worker_image, interval_s=1)
    await work.create()
    daemon.write(work.document())

    async with watched(docker_engine, work) as sampler:
        await daemon.start()
        for _ in range(10):
            await work.send(size(12, 30))
            while await work.queue.left(work.source):
                await asyncio.sleep(0.05)
        account = await settled(daemon, work, docker_engine, timeout_s=60)

    assert_each_once(account, work)
    assert sampler.peak <= 8


@pytest.mark.timeout(300)
async def test_a_message_every_300_ms_for_a_minute_beside_a_flood_is_worked_on_once(
    source: Source, docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    """The flood beside it: 24 messages (300 with SCALER_FLOOD=full)."""
    steady = Work(queue=source("amqp"), image=worker_image, interval_s=5)
    flood = Work(queue=source("azure"), image=worker_image, interval_s=5)
    for work in (steady, flood):
        await work.create()
        daemon.write(work.document())
    await flood.send(size(24, 300))

    async with watched(docker_engine, steady) as a, watched(docker_engine, flood) as b:
        await daemon.start()
        async with asyncio.timeout(120):
            for _ in range(200):
                await steady.send(1)
                await asyncio.sleep(0.27)
        accounts = [await settled(daemon, work, docker_engine, timeout_s=150) for work in (steady, flood)]

    assert_each_once(accounts[0], steady)
    assert_each_once(accounts[1], flood)
    assert a.peak <= 8
    assert b.peak == 8
