"""Lets callers share one operation in flight, so that a hundred rules polling together ask once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Final, Generic, TypeVar

from scaler.errors import PollError

T = TypeVar("T")


GATHER_S: Final = 0.1
"""How long an operation waits for others to join, seconds."""


class Gathering:
    """A pause before asking for all, if the last answer was for several.

    Rules of one cadence come spread over the interval. To wait a little lets one answer serve more of them; who asks
    alone never waits.
    """

    def __init__(self) -> None:
        self._is_shared = False

    async def wait(self) -> None:
        """Let others join."""
        if self._is_shared:
            try:
                async with asyncio.timeout(GATHER_S):
                    await asyncio.get_running_loop().create_future()
            except TimeoutError:
                pass

    def learn(self, sharers: int) -> None:
        """Take note of how many the answer was for."""
        self._is_shared = sharers > 1


class _Flight(Generic[T]):
    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task
        self.callers = 0


class SingleFlight(Generic[T]):
    """Runs at most one operation per key at a time; who comes meanwhile gets its result or its error.

    A caller who is cancelled leaves the operation to the others; when the last one leaves, it is cancelled
    too. Nothing is kept once it is done.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}
        self._tasks: set[asyncio.Task[T]] = set()

    async def join(self, key: Hashable, start: Callable[[], Coroutine[None, None, T]]) -> T:
        """Wait for the operation of `key`, starting it if there is none.

        Raises:
            PollError: `Unreachable`, when the operation was cancelled and not the caller: all is closing.
        """
        flight = self._flights.get(key)
        if flight is None or flight.task.done():
            flight = self._flights[key] = self._begin(start)
        flight.callers += 1
        try:
            return await asyncio.shield(flight.task)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if flight.task.cancelled() and caller is not None and not caller.cancelling():
                raise PollError("the connection was closed meanwhile", reason="Unreachable") from None
            raise
        finally:
            flight.callers -= 1
            if flight.callers == 0:
                flight.task.cancel()
                if self._flights.get(key) is flight:
                    del self._flights[key]

    def sharers(self, key: Hashable) -> int:
        """Tell how many wait for the operation of `key` now."""
        flight = self._flights.get(key)
        return flight.callers if flight is not None else 0

    def _begin(self, start: Callable[[], Coroutine[None, None, T]]) -> _Flight[T]:
        task = asyncio.get_running_loop().create_task(start(), name="single-flight")
        self._tasks.add(task)
        task.add_done_callback(self._landed)
        return _Flight(task)

    def _landed(self, task: asyncio.Task[T]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, even when every caller has gone

    async def aclose(self) -> None:
        """Cancel what is in flight and wait until it has ended, for two seconds at most."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2.0)
