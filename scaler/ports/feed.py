"""What a feed is: the way in which `scaler load` sends to a broker and takes back what workers report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from scaler.model.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPlace:
    """Where to send and where to listen: what connects to the broker, and two of its queues or topics."""

    connection: Secret
    queue: str
    results: str


class Feed(Protocol):
    """An opened broker."""

    async def send(self, bodies: Sequence[str]) -> None:
        """Send messages; returns when the broker has all of them.

        Raises:
            PollError: it has not, or nobody knows.
        """
        ...

    async def reports(self) -> list[str]:
        """Take reports that are there, some hundred at most; waits no longer than a second for the first.

        Raises:
            PollError: they cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedType:
    """A kind of feed.

    Attributes:
        variable: the environment variable that connects; with `_FILE` behind its name it names a file.
        open: opens it; reports of former runs may still come.
    """

    variable: str
    open: Callable[[FeedPlace], AbstractAsyncContextManager[Feed]]
