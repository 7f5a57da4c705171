"""What stays is set apart from the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from scaler.engine.clock import SystemClock
from scaler.engine.memory import LEAST_CHANGES, Memory


class Ring:
    """Garbage that only a collection finds."""

    alive = 0

    def __init__(self) -> None:
        self.me = self
        Ring.alive += 1

    def __del__(self) -> None:
        Ring.alive -= 1


class Hasty(SystemClock):
    """A clock whose rests are over at once."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@pytest.fixture
async def memory() -> AsyncIterator[Memory]:
    memory = Memory(Hasty())
    running = asyncio.get_running_loop().create_task(memory.run())
    yield memory
    running.cancel()
    await asyncio.wait([running])
    gc.unfreeze()


async def _changed(memory: Memory, jobs: int) -> None:
    memory.changed(jobs)
    for _ in range(5):
        await asyncio.sleep(0)


async def test_after_the_start_garbage_is_gone_and_the_rest_is_set_apart(memory: Memory) -> None:
    Ring()
    await _changed(memory, 1)
    assert Ring.alive == 0
    assert gc.get_freeze_count() > 1000


async def test_later_garbage_is_collected_once_many_jobs_have_changed(memory: Memory) -> None:
    await _changed(memory, 1)
    Ring()
    await _changed(memory, 1)
    assert Ring.alive == 1, "one edit is not worth a pause"
    await _changed(memory, LEAST_CHANGES)
    assert Ring.alive == 0
