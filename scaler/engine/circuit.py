"""Keeps a dead source from being stormed: after failures, one rule asks for all until it answers again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

from scaler.model.sample import PollFailure

OPENING = frozenset({"Unreachable", "Timeout", "TlsFailed", "Throttled", "ServiceError"})
"""Reasons that speak of the source itself and not of one rule's queue or credentials."""

FAILURES_TO_OPEN = 3
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0
"""No pause is longer, so that no job waits much beyond its interval once the source is back."""

_FREELY = nullcontext()


@dataclass(slots=True)
class _Trouble:
    failures: int = 0
    pause_s: float = FIRST_PAUSE_S
    retry_at: float = 0.0
    last: PollFailure | None = None
    settled: asyncio.Event | None = None


@dataclass(slots=True)
class Circuits:
    """One circuit per source address, on the monotonic clock. `jitter` gives factors around 1."""

    jitter: Callable[[], float] = field(default=lambda: random.uniform(0.8, 1.2))  # noqa: S311 - no secret
    _troubles: dict[str, _Trouble] = field(default_factory=dict)

    def is_calm(self, address: str) -> bool:
        """Whether nothing speaks against asking: the source failed nobody lately."""
        return address not in self._troubles

    def refusal(self, address: str, now: float) -> PollFailure | None:
        """Give the known failure if the source is not to be asked now; None lets the caller ask.

        While a source is in trouble the one who is let through is the only one until the next pause ends.
        It asks within `asking`; others may wait for its answer by `verdict` instead of taking the refusal.
        """
        trouble = self._troubles.get(address)
        if trouble is None or trouble.failures < FAILURES_TO_OPEN or trouble.last is None:
            return None
        if now >= trouble.retry_at:
            trouble.retry_at = now + trouble.pause_s * self.jitter()
            return None
        last = trouble.last
        message = f"{last.message} (the source is asked again in {trouble.retry_at - now:.1f} s)"
        return PollFailure(reason=last.reason, message=message, transient=last.transient)

    def asking(self, address: str) -> AbstractContextManager[None]:
        """Let others wait for what comes of this request, if the source is in trouble."""
        trouble = self._troubles.get(address)
        if trouble is None or trouble.failures < FAILURES_TO_OPEN or trouble.settled is not None:
            return _FREELY
        return self._settling(trouble)

    @contextmanager
    def _settling(self, trouble: _Trouble) -> Iterator[None]:
        settled = trouble.settled = asyncio.Event()
        try:
            yield
        finally:
            trouble.settled = None
            settled.set()

    async def verdict(self, address: str) -> None:
        """Wait for the one that asks now; return at once if nobody does."""
        trouble = self._troubles.get(address)
        if trouble is not None and trouble.settled is not None:
            await trouble.settled.wait()

    def failed(self, address: str, failure: PollFailure, now: float) -> None:
        """Note an answer that was none; only reasons that speak of the source count."""
        if failure.reason not in OPENING:
            self._troubles.pop(address, None)
            return
        trouble = self._troubles.setdefault(address, _Trouble())
        trouble.failures += 1
        trouble.last = failure
        if trouble.failures >= FAILURES_TO_OPEN:
            trouble.retry_at = now + trouble.pause_s * self.jitter()
            trouble.pause_s = min(trouble.pause_s * 2, LONGEST_PAUSE_S)

    def well(self, address: str) -> None:
        """Note an answer: everybody may ask again."""
        self._troubles.pop(address, None)
