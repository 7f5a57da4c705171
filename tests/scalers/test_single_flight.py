"""Sharing one operation among callers."""

from __future__ import annotations

import asyncio

import pytest

from scaler.scalers._single_flight import GATHER_S, Gathering, SingleFlight
from tests.scalers.rabbitmq_kit import failing


class _Work:
    def __init__(self) -> None:
        self.started = 0
        self.cancelled = 0
        self.go = asyncio.Event()

    async def __call__(self) -> int:
        self.started += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.started


async def test_callers_at_the_same_time_share_and_later_ones_do_not() -> None:
    work, flights = _Work(), SingleFlight[int]()
    callers = [asyncio.create_task(flights.join("key", work)) for _ in range(3)]
    other = asyncio.create_task(flights.join("other", work))
    await asyncio.sleep(0.01)
    work.go.set()
    assert [await caller for caller in callers] == [2, 2, 2]
    assert await other == 2
    assert await flights.join("key", work) == 3


async def test_an_error_reaches_every_caller_and_is_not_kept() -> None:
    flights = SingleFlight[int]()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise ValueError("no")

    results = await asyncio.gather(*[flights.join("key", fail) for _ in range(2)], return_exceptions=True)
    assert [str(result) for result in results] == ["no", "no"]
    work = _Work()
    work.go.set()
    assert await flights.join("key", work) == 1


async def test_the_last_caller_who_leaves_ends_it_and_the_next_one_begins_anew() -> None:
    work, flights = _Work(), SingleFlight[int]()
    callers = [asyncio.create_task(flights.join("key", work)) for _ in range(2)]
    await asyncio.sleep(0)
    callers[0].cancel()
    await asyncio.sleep(0)
    assert work.cancelled == 0
    callers[1].cancel()
    await asyncio.wait(callers)
    await asyncio.sleep(0)
    assert work.cancelled == 1
    work.go.set()
    assert await flights.join("key", work) == 2


async def test_closing_ends_what_is_in_flight_with_an_error_and_cancels_no_caller() -> None:
    work, flights = _Work(), SingleFlight[int]()
    caller = asyncio.create_task(flights.join("key", work))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await flights.aclose()
    with failing("Unreachable"):
        await caller
    assert work.cancelled == 1


async def test_a_cancelled_caller_stays_cancelled() -> None:
    work, flights = _Work(), SingleFlight[int]()
    caller = asyncio.create_task(flights.join("key", work))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert work.started <= 1


async def test_who_asked_alone_waits_for_nobody_and_who_shared_waits_a_moment() -> None:
    gathering, clock = Gathering(), asyncio.get_running_loop().time
    for sharers, least, most in ((1, 0.0, 0.05), (2, GATHER_S, 2.0), (1, 0.0, 0.05)):
        gathering.learn(sharers)
        began = clock()
        await gathering.wait()
        assert least - 0.01 <= clock() - began < most


async def test_it_tells_how_many_wait() -> None:
    work, flights = _Work(), SingleFlight[int]()
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(flights.join("a", work))
        await asyncio.sleep(0.01)
        assert (flights.sharers("a"), flights.sharers("b")) == (3, 0)
        work.go.set()
    assert flights.sharers("a") == 0
