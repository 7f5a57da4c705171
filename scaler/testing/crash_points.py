"""Named moments at which an engine can be killed: around every write of the store and every call of an executor.

A dry run on wrapped ports lists the moments it passes; then the same story is told once for each, and the engine
dies there. Death is not an error that the engine could handle: from that moment no call of it reaches anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from scaler.ports.executor import Executor
from scaler.ports.store import Store, StoreReader

_STORE_READS = frozenset({"unfinished", "recall"})


def _methods(port: type) -> frozenset[str]:
    return frozenset(name for name in vars(port) if not name.startswith("_"))


WRITES = _methods(Store) - _methods(StoreReader) - _STORE_READS
"""Methods of the store that change what is recorded; the others only read, and reading leaves no trace."""

CALLS = _methods(Executor) - {"fingerprint", "logs"}
"""Methods of an executor that have effects, or tell the engine what to record."""

POINTS = tuple(sorted([f"store.{name}" for name in WRITES] + [f"executor.{name}" for name in CALLS]))
"""All crash points by name, also of methods that ports get later."""


class Phase(StrEnum):
    """When, of one call, the engine dies."""

    BEFORE = "before"
    """Nothing of the call happens."""
    DURING = "during"
    """The other side carries it out, and nobody is left to hear the answer."""
    AFTER = "after"
    """It is carried out and answered; nothing follows from it any more."""


class Killed(BaseException):
    """What a SIGKILL is to the code that runs: nothing after it happens."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The `number`-th call that passes the wrappers, from 1, which is one of `point`."""

    number: int
    point: str
    phase: Phase

    def __str__(self) -> str:
        return f"{self.phase} {self.point} (call {self.number})"


class CrashPoints:
    """Counts the calls of one engine's wrapped ports, and kills it at the chosen moment.

    Attributes:
        passed: names of the points passed so far, such as `store.begin`.
        died: set when the engine is killed.
    """

    def __init__(self, at: Moment | None = None) -> None:
        self.passed: list[str] = []
        self.died = asyncio.Event()
        self._at = at
        self._orphaned: list[asyncio.Task[Any]] = []

    @property
    def dead(self) -> bool:
        """Whether the engine was killed."""
        return self.died.is_set()

    def moments(self) -> tuple[Moment, ...]:
        """List every moment that this engine passed."""
        return tuple(
            Moment(number, point, phase)
            for number, point in enumerate(self.passed, start=1)
            for phase in Phase
        )

    def wrap(self, port: object, kind: str) -> Any:
        """Give the port (`store` or `executor`) with a crash point around each call of it."""
        return _Wrapped(port, self, kind, WRITES if kind == "store" else CALLS)

    def check(self) -> None:
        """End the code that runs, if its engine is dead."""
        if self.dead:
            raise Killed

    async def through(self, point: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """Make a call, unless this is where the engine dies.

        Raises:
            Killed: the engine is dead.
            AssertionError: another call than in the dry run; the story is not the same each time.
        """
        self.check()
        self.passed.append(point)
        at = self._at
        if at is None or at.number != len(self.passed):
            answer = await call()
            self.check()
            return answer
        if at.point != point:
            raise AssertionError(f"call {at.number} was {at.point} in the dry run, and is {point} now")
        return await self._die(at.phase, call)

    async def _die(self, phase: Phase, call: Callable[[], Awaitable[Any]]) -> Any:
        if phase is Phase.AFTER:
            try:
                return await call()
            finally:
                self.died.set()
        self.died.set()
        if phase is Phase.DURING:
            self._orphaned.append(asyncio.get_running_loop().create_task(_carry_out(call), name="orphaned"))
        raise Killed


async def _carry_out(call: Callable[[], Awaitable[Any]]) -> None:
    await call()


class _Wrapped:
    def __init__(self, port: object, points: CrashPoints, kind: str, named: frozenset[str]) -> None:
        self._port, self._points, self._kind, self._named = port, points, kind, named

    def __getattr__(self, name: str) -> Any:
        target = getattr(self._port, name)
        if not asyncio.iscoroutinefunction(target):
            return target

        async def call(*args: Any, **kwargs: Any) -> Any:
            if name not in self._named:
                self._points.check()
                return await target(*args, **kwargs)
            return await self._points.through(f"{self._kind}.{name}", lambda: target(*args, **kwargs))

        return call
