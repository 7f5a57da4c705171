"""The time limit that is used again for every poll of a source."""

from __future__ import annotations

import asyncio

import pytest

from scaler.engine.deadline import Deadline


async def test_it_ends_what_takes_too_long_and_serves_again() -> None:
    deadline = Deadline()
    for _ in range(3):
        with pytest.raises(TimeoutError), deadline.begin(0.02):
            await asyncio.sleep(30)
        with deadline.begin(0.02):
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.04)  # no limit holds outside
    deadline.close()


async def test_a_shorter_limit_holds_though_the_timer_was_set_for_a_longer_one() -> None:
    deadline, clock = Deadline(), asyncio.get_running_loop().time
    with deadline.begin(30):
        pass
    began = clock()
    with pytest.raises(TimeoutError), deadline.begin(0.02):
        await asyncio.sleep(30)
    assert clock() - began < 10
    deadline.close()


async def test_a_longer_limit_is_not_cut_short_by_the_timer_of_the_one_before() -> None:
    deadline, clock = Deadline(), asyncio.get_running_loop().time
    with deadline.begin(0.01):
        pass
    began = clock()
    with deadline.begin(30):
        await asyncio.sleep(0.05)
    assert clock() - began >= 0.04
    deadline.close()


async def test_cancelling_from_outside_is_no_timeout() -> None:
    deadline = Deadline()

    async def work() -> None:
        with deadline.begin(30):
            await asyncio.sleep(30)

    task = asyncio.get_running_loop().create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    deadline.close()


async def test_an_error_within_it_is_what_comes_out() -> None:
    deadline = Deadline()
    with pytest.raises(ValueError, match="mine"), deadline.begin(30):
        raise ValueError("mine")
    deadline.close()


async def test_it_ends_what_another_task_does_with_it_later() -> None:
    deadline = Deadline()

    async def work() -> None:
        with pytest.raises(TimeoutError), deadline.begin(0.02):
            await asyncio.sleep(30)

    for _ in range(2):
        async with asyncio.timeout(5) as patience:
            await asyncio.get_running_loop().create_task(work())
        assert not patience.expired()
    deadline.close()
