"""Sets apart from the garbage collector what stays, so that thousands of jobs do not hold the daemon up.

A full collection looks at every object there is: with 5,000 jobs it takes the better part of a second, in which no
job is polled. What jobs are made of stays until their files change, so it is set apart (`gc.freeze`) once they have
been taken up and have opened their sources. Collections then see only what came since.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Final

from scaler.ports.clock import Clock

SETTLE_S: Final = 2.0
"""How long after a change jobs have opened their sources, seconds."""
LEAST_CHANGES: Final = 100
"""Changes that are worth a full collection: each may leave behind what one job was made of, some 64 KiB."""


class Memory:
    """Collects after many changes of jobs, and sets apart what is left."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._news = asyncio.Event()
        self._changes = LEAST_CHANGES  # the start leaves garbage too

    def changed(self, jobs: int) -> None:
        """Note that so many jobs were added, replaced or removed."""
        self._changes += jobs
        self._news.set()

    async def run(self) -> None:
        """Wait for changes until cancelled."""
        while True:
            await self._news.wait()
            await self._clock.sleep(SETTLE_S)
            self._news.clear()
            if self._changes >= LEAST_CHANGES:
                self._changes = 0
                gc.unfreeze()
                gc.collect()
            gc.freeze()
