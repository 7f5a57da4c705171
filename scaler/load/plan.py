"""What is sent and when: decided before the first message leaves, so that shares and bursts are exact. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

POISON_S = 120.0
"""How long a poison message fails whenever it is tried; later it is done, so that nothing poisonous stays behind."""

AT_ONCE = 100
"""Messages handed to the broker in one go when nothing says how fast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked for.

    Attributes:
        count: messages.
        rate: messages a second on average, or None for as fast as the broker takes them.
        burst: messages that are sent at a time; the pause between two bursts follows from the rate.
        size: bytes that a message has at least.
        poison: share of messages that fail, 0 to 1; so many to the message, spread evenly.
        think_s: seconds of work in a message.
        timeout_s: seconds after which the run ends whatever is missing.
    """

    count: int
    rate: float | None = None
    burst: int = 1
    size: int = 0
    poison: float = 0.0
    think_s: float = 0.0
    timeout_s: float = 600.0

    @property
    def poisoned(self) -> int:
        """How many messages are poison."""
        return round(self.poison * self.count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message before it is sent."""

    id: str
    is_poison: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Messages that are due together, `at_s` seconds after the begin."""

    at_s: float
    messages: tuple[Message, ...]


def bursts(plan: Plan, run: str) -> Iterator[Burst]:
    """Give the bursts in the order in which they are due."""
    step = plan.burst if plan.rate is not None else AT_ONCE
    for number, start in enumerate(range(0, plan.count, step)):
        at_s = 0.0 if plan.rate is None else number * plan.burst / plan.rate
        stop = min(start + step, plan.count)
        yield Burst(at_s=at_s, messages=tuple(_message(plan, run, index) for index in range(start, stop)))


def body(message: Message, plan: Plan, *, poison_until: float) -> str:
    """Write a message: its id, the work in it, until when it fails (seconds since 1970), and padding."""
    facts = {"id": message.id, "think": plan.think_s, "poison": poison_until if message.is_poison else 0}
    text = json.dumps(facts)
    if len(text) >= plan.size:
        return text
    padding = "x" * (plan.size - len(text) - len(', "pad": ""'))
    return json.dumps({**facts, "pad": padding})


def _message(plan: Plan, run: str, index: int) -> Message:
    before, after = (math.floor(number * plan.poisoned / plan.count) for number in (index, index + 1))
    return Message(id=f"{run}/{index}", is_poison=after > before)
