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
JOBS_A_CHANGE: Final = 50
"""One change is worth a full collection while there are no more jobs than this, two with twice as many, and so on.

A collection takes as long as there are jobs, and each change may leave behind what a job was made of, some 64 KiB: so
what is left behind stays a small part of the whole, and so does the time.
"""


class Memory:
    """Collects after many changes of jobs, and sets apart what is left."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._news = asyncio.Event()
        self._changes = 0
        self._jobs = 0

    def changed(self, changes: int, *, jobs: int) -> None:
        """Note that so many jobs were added, replaced or removed, and how many there are now."""
        self._changes += changes
        self._jobs = jobs
        self._news.set()

    async def run(self) -> None:
        """Wait for changes until cancelled."""
        while True:
            await self._news.wait()
            await self._clock.sleep(SETTLE_S)
            self._news.clear()
            if self._changes and self._changes * JOBS_A_CHANGE >= self._jobs:
                self._changes = 0
                gc.unfreeze()
                gc.collect()
                gc.freeze()  # never without a collection: what is garbage then would stay for good
