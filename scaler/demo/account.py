"""The accounting at the end of the demo: whatever doesn't add up gets a sentence. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

SHOWN = 5
"""How many messages a sentence names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What was seen.

    Attributes:
        sent: the body of each message that the queue has taken.
        done: the body that a worker said it completed, once for each time it said so.
        statuses: number of executions by status.
        peak: most executions that were seen to be live at once.
        max_executions: how many may be.
        left: messages left in the queue, those in workers' hands included.
        dead: messages that the broker gave up.
        seconds: from the first message to the end.
        overdue: whether the time ran out before all was done.
    """

    sent: tuple[str, ...]
    done: tuple[str, ...]
    statuses: Mapping[str, int]
    peak: int
    max_executions: int
    left: int
    dead: int
    seconds: float
    overdue: bool = False

    @property
    def executions(self) -> int:
        """Give the number of executions, however they ended."""
        return sum(self.statuses.values())


def _named(bodies: Iterable[str]) -> str:
    names = list(bodies)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _message_faults(tally: Tally) -> Iterable[str]:
    sent, done = Counter(tally.sent), Counter(tally.done)
    if missing := list((sent - done).elements()):
        yield f"{len(missing)} of {len(tally.sent)} messages were not completed: {_named(missing)}"
    if twice := [body for body in done if done[body] > max(1, sent[body])]:
        yield f"done more than once: {_named(twice)}"
    if strange := [body for body in done if body not in sent]:
        yield f"done, but never sent: {_named(strange)}"
    if tally.left:
        yield f"{tally.left} left in the queue"
    if tally.dead:
        yield f"{tally.dead} given up by the broker (dead-lettered)"


def _execution_faults(tally: Tally) -> Iterable[str]:
    if tally.executions != len(tally.sent):
        yield f"{tally.executions} executions for {len(tally.sent)} messages"
    for status, number in tally.statuses.items():
        if number and status != "Succeeded":
            yield f"{number} of the executions {status}"
    if tally.peak > tally.max_executions:
        yield f"{tally.peak} executions at once, though at most {tally.max_executions} may be"


def find_faults(tally: Tally) -> tuple[str, ...]:
    """Say what doesn't add up, one sentence each; nothing means that every message was done exactly once."""
    late = [f"not finished after {tally.seconds:.0f} s"] if tally.overdue else []
    return (*late, *_message_faults(tally), *_execution_faults(tally))
