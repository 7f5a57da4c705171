"""A source in memory: messages wait, are taken, come back or are done, and each knows how long it takes.

A source whose scaler hands out shares has parts; every other one has a single part.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Message:
    """One message.

    Attributes:
        number: its place in the order of arrival.
        poison: whether each execution that takes it fails.
        deliveries: how often it was taken.
        is_out: whether a worker has it and it is out of sight.
    """

    number: int
    arrived_s: float
    part: int = 0
    poison: bool = False
    deliveries: int = 0
    first_taken_s: float | None = None
    is_out: bool = False
    done: bool = False
    back: asyncio.TimerHandle | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How the broker behaves.

    Attributes:
        visibility_s: a taken message comes back after this time, done or not; None: when its worker lets go of it.
        max_deliveries: taken so often it is dead-lettered instead of given back; 0: never.
        parts: how many shares there are.
    """

    visibility_s: float | None = None
    max_deliveries: int = 0
    parts: int = 1


@dataclass(slots=True)
class SimulatedQueue:
    """One source. `waits`: how long messages waited until they were first taken, seconds."""

    name: str
    habits: Habits
    loop: asyncio.AbstractEventLoop
    is_poison: Callable[[int], bool]
    arrived: int = 0
    done: int = 0
    dead: int = 0
    twice: int = 0
    taken: int = 0
    last_arrival_s: float = 0.0
    last_settled_s: float | None = None
    waits: list[float] = field(default_factory=list)
    _waiting: list[deque[Message]] = field(default_factory=list)
    _sleepers: list[list[asyncio.Future[None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the parts."""
        self._waiting = [deque() for _ in range(self.habits.parts)]
        self._sleepers = [[] for _ in range(self.habits.parts)]

    @property
    def ready(self) -> int:
        """Messages that wait."""
        return sum(map(len, self._waiting))

    @property
    def left(self) -> int:
        """Messages neither done nor dead."""
        return self.arrived - self.done - self.dead

    def waiting_in(self, part: int) -> int:
        """Messages that wait in one part."""
        return len(self._waiting[part])

    def publish(self, count: int) -> None:
        """Let messages come in."""
        now = self.loop.time()
        self.last_arrival_s = now
        for _ in range(count):
            number = self.arrived
            self.arrived += 1
            part = number % self.habits.parts
            self._offer(
                Message(number=number, arrived_s=now, part=part, poison=self.is_poison(number)), last=True
            )

    def _offer(self, message: Message, *, last: bool) -> None:
        waiting = self._waiting[message.part]
        if last:
            waiting.append(message)
        else:
            waiting.appendleft(message)
        for sleeper in self._sleepers[message.part]:
            if not sleeper.done():
                sleeper.set_result(None)
                break

    def take(self, part: int) -> Message | None:
        """Hand out the oldest message of a part, if there is one."""
        waiting = self._waiting[part]
        if not waiting:
            return None
        message, now = waiting.popleft(), self.loop.time()
        message.deliveries += 1
        message.is_out = True
        self.taken += 1
        if message.first_taken_s is None:
            message.first_taken_s = now
            self.waits.append(now - message.arrived_s)
        if self.habits.visibility_s is not None:
            message.back = self.loop.call_later(self.habits.visibility_s, self._come_back, message)
        return message

    async def wait_for(self, part: int, seconds: float) -> Message | None:
        """Hand out a message as soon as there is one, for so long."""
        until = self.loop.time() + seconds
        while True:
            message = self.take(part)
            left = until - self.loop.time()
            if message is not None or left <= 0:
                return message
            sleeper = self.loop.create_future()
            self._sleepers[part].append(sleeper)
            try:
                async with asyncio.timeout(left):
                    await sleeper
            except TimeoutError:
                return self.take(part)
            finally:
                self._sleepers[part].remove(sleeper)

    def settle(self, message: Message) -> None:
        """Note that a worker is done with a message."""
        if message.done:
            self.twice += 1
            return
        message.done = True
        was_out = message.is_out
        self._leave(message)
        if not was_out and message in self._waiting[message.part]:
            self._waiting[message.part].remove(message)
        self.done += 1
        self.last_settled_s = self.loop.time()

    def let_go(self, message: Message) -> None:
        """Note that a worker ended without being done: now, or when its time is up, the message comes back."""
        if not message.done and self.habits.visibility_s is None:
            self._come_back(message)

    def _come_back(self, message: Message) -> None:
        self._leave(message)
        if self.habits.max_deliveries and message.deliveries >= self.habits.max_deliveries:
            message.done = True
            self.dead += 1
            self.last_settled_s = self.loop.time()
            return
        self._offer(message, last=False)

    def _leave(self, message: Message) -> None:
        """Take a message off those that are out of sight."""
        if message.back is not None:
            message.back.cancel()
            message.back = None
        self.taken -= message.is_out
        message.is_out = False
