"""An event loop whose time jumps to whatever is due next, and the clock that follows it.

No task waits for the machine here, so time need not pass: when nothing is ready the loop would sleep until its next
timer, and instead its clock is set to it. Days go by in seconds, and the same seed gives the same day.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

_SELECTS_A_TELL = 500


class StandsStill(Exception):
    """Everybody waits, and nothing is due: a fault of the simulation."""


class _Jumps(selectors.SelectSelector):
    """Instead of waiting for files, lets the loop's time pass."""

    def __init__(self, passed: Callable[[float], None]) -> None:
        super().__init__()
        self._passed = passed

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Let time pass; no file is ever ready."""
        if timeout is None:
            raise StandsStill("every task waits, and no timer is set")
        if timeout > 0:
            self._passed(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at 0 s. `tell` hears of its time now and then."""

    def __init__(self, tell: Callable[[float], None] = lambda _seconds: None) -> None:
        self._virtual_s = 0.0
        self._tell = tell
        self._selects = 0
        super().__init__(_Jumps(self._pass))

    def time(self) -> float:
        """Seconds since the beginning, as they pass here."""
        return self._virtual_s

    def _pass(self, seconds: float) -> None:
        self._virtual_s += seconds
        self._selects += 1
        if self._selects % _SELECTS_A_TELL == 0:
            self._tell(self._virtual_s)


class VirtualClock:
    """The engine's clock on a virtual loop. Implements `Clock`."""

    def __init__(self, start: datetime, loop: asyncio.AbstractEventLoop) -> None:
        self._start = start
        self._loop = loop

    def now(self) -> datetime:
        """Aware UTC time."""
        return self._start + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        """The loop's time, seconds."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Wait in the loop's time."""
        await asyncio.sleep(max(0.0, seconds))


def run_virtually(
    story: Callable[[asyncio.AbstractEventLoop], Coroutine[Any, Any, T]], tell: Callable[[float], None]
) -> T:
    """Run a story to its end on a loop of its own; tasks that it leaves are ended, also after Ctrl-C.

    Must not be called where a loop runs.
    """
    with asyncio.Runner(loop_factory=partial(VirtualLoop, tell)) as runner:
        return runner.run(story(runner.get_loop()))
