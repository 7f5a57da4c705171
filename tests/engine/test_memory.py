"""What stays is set apart from the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from scaler.engine.clock import SystemClock
from scaler.engine.memory import JOBS_A_CHANGE, Memory


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


async def _changed(memory: Memory, changes: int, *, jobs: int = 1) -> None:
    memory.changed(changes, jobs=jobs)
    for _ in range(5):
        await asyncio.sleep(0)


async def test_after_the_start_garbage_is_gone_and_the_rest_is_set_apart(memory: Memory) -> None:
    Ring()
    await _changed(memory, 1)
    assert Ring.alive == 0
    assert gc.get_freeze_count() > 1000


async def test_with_few_jobs_each_edit_is_followed_by_a_collection(memory: Memory) -> None:
    await _changed(memory, 1)
    Ring()
    await _changed(memory, 1, jobs=JOBS_A_CHANGE)
    assert Ring.alive == 0


async def test_with_many_jobs_garbage_is_collected_once_as_large_a_part_of_them_has_changed(
    memory: Memory,
) -> None:
    await _changed(memory, 1000, jobs=1000)
    Ring()
    await _changed(memory, 1, jobs=3 * JOBS_A_CHANGE)
    assert Ring.alive == 1, "one edit is not worth a pause"
    gc.collect()
    assert Ring.alive == 0, "what is garbage is not set apart"
    Ring()
    await _changed(memory, 2, jobs=3 * JOBS_A_CHANGE)
    assert Ring.alive == 0
