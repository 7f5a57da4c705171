"""The end of the load: what was broken on purpose is mended, poison is healed, and all that waits is worked off."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from scaler.errors import ScalerError
from scaler.rig.spool import Spool
from scaler.soak.hands import Stage
from scaler.soak.jobs import event_job

DRAIN_S: Final = 180.0
RESET_S: Final = 5.0
STEP_S: Final = 0.5
QUIET_S: Final = 3.0
"""How long nothing may be under way until it counts as over: a needless execution would have begun by then."""
UNFINISHED: Final = ("Processing", "Running", "Degraded")


class Finish:
    """Brings a soak to rest."""

    def __init__(self, stage: Stage, stop: asyncio.Event, say: Callable[[str], None]) -> None:
        self._on = stage
        self._stop = stop
        self._say = say

    async def drain(self) -> None:
        """Mend, then wait until every message is done and nothing runs, `DRAIN_S` at most, or until it is ended."""
        self._say("the load is over: what was broken is mended, what waits is worked off")
        self._mend()
        deadline, reset, quiet = self._on.now() + DRAIN_S, 0.0, None
        while self._on.now() < deadline:
            if self._on.now() >= reset:
                await asyncio.to_thread(self._release)
                reset = self._on.now() + RESET_S
            self._heal()
            if not await asyncio.to_thread(self._is_quiet):
                quiet = None
            elif quiet is None:
                quiet = self._on.now()
            elif self._on.now() - quiet > QUIET_S:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(STEP_S):
                    await self._stop.wait()
                self._on.notes.interrupted = True
                return

    def _mend(self) -> None:
        """Write every job's file as it was in the beginning."""
        for job, kind in self._on.notes.plan.jobs.items():
            self._on.notes.maxima.append((self._on.now(), job, kind.most))
            self._on.daemon.write(event_job(job, kind, self._on.ground))

    def _release(self) -> None:
        """Let jobs start again that are suspended or held back."""
        for job in self._on.notes.plan.jobs:
            with suppress(ScalerError):
                self._on.api.resume(job)
                self._on.api.reset(job)

    def _heal(self) -> None:
        """Turn poison that waits into good messages."""
        poison = {name for send in self._on.notes.sent if send.poison for name in send.names}
        for job in {send.job for send in self._on.notes.sent if send.poison}:
            heal(self._on.spools[job], poison)

    def _is_quiet(self) -> bool:
        plan = self._on.notes.plan
        for job in plan.jobs:
            depth = self._on.spools[job].depth()
            if depth.ready or depth.taken:
                return False
        try:
            counts = [
                self._on.api.counts(job)["counts"] for job in (*plan.jobs, *plan.manual, *plan.scheduled)
            ]
        except ScalerError:
            return False
        return not any(count[status] for count in counts for status in UNFINISHED)


def heal(spool: Spool, poison: set[str]) -> None:
    """Rewrite messages that wait. Each is taken out for that, so that no worker reads one half written."""
    for entry in os.listdir(spool.folder / "ready"):
        if entry.lstrip("~") in poison:
            aside = spool.folder / "new" / entry
            with suppress(FileNotFoundError):  # a worker was faster
                (spool.folder / "ready" / entry).rename(aside)
                aside.write_text("0 0 0 0\n", encoding="ascii")
                aside.rename(spool.folder / "ready" / entry)
