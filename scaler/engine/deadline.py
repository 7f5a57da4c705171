"""A time limit that is set again and again, for one that has thousands of them a second.

It does what `asyncio.timeout` does. That one sets a timer each time, which costs more than a short poll; the timer of
this one is left alone, and looks when it rings whether the latest limit has passed.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self


class Deadline:
    """Ends what is done within it by a TimeoutError once the time is up. One task at a time, and not within itself."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._until: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False
        self._cancels = 0

    def begin(self, limit_s: float) -> Self:
        """Set the limit, seconds from now, of the context that comes next."""
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._until = loop.time() + limit_s
        if self._timer is None or self._timer.when() > self._until:
            self.close()
            self._timer = loop.call_at(self._until, self._look)
        return self

    def __enter__(self) -> None:
        self._is_over = False
        self._cancels = self._task.cancelling() if self._task else 0

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._until = None
        if not self._is_over or self._task is None:
            return
        is_ours = self._task.uncancel() <= self._cancels
        if is_ours and kind is asyncio.CancelledError:
            raise TimeoutError from exc

    def _look(self) -> None:
        self._timer = None
        if self._until is None or self._task is None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= self._until:
            self._until, self._is_over = None, True
            self._task.cancel()
        else:
            self._timer = loop.call_at(self._until, self._look)

    def close(self) -> None:
        """Set no timer any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
