"""Draining: nothing starts any more, what runs goes on to its end, then the engine closes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from scaler.engine.fleet import Fleet
from scaler.engine.loops import Loops
from scaler.ports.clock import Clock
from scaler.ports.control import Draining

log = structlog.get_logger("scaler")

LOOK_S = 0.2
"""How often it is looked whether anything is left."""


@dataclass(slots=True)
class Drain:
    """Ends an engine without cutting its work short. `close` closes it."""

    clock: Clock
    loops: Loops
    fleet: Fleet
    close: Callable[[], None]
    _state: Draining | None = None

    def state(self) -> Draining | None:
        """Say how far it is; None while the engine is not drained."""
        state = self._state
        if state is None:
            return None
        return Draining(by=state.by, at=state.at, unfinished=self.fleet.unfinished())

    def begin(self, by: str) -> bool:
        """Let nothing start from now on; False if that was so already."""
        if self._state is not None:
            return False
        self._state = Draining(by=by, at=self.clock.now(), unfinished=self.fleet.unfinished())
        log.info("daemon.draining", by=by, unfinished=self._state.unfinished)
        return True

    async def finish(self, timeout_s: float | None) -> None:
        """Wait until nothing is left, or for so long, then close; replicas that are left run on."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._until_empty()
        except TimeoutError:
            log.warning("daemon.drain_timed_out", after_s=timeout_s, unfinished=self.fleet.unfinished())
        else:
            log.info("daemon.drained")
        self.close()

    async def _until_empty(self) -> None:
        await self.loops.hold()
        told = self.fleet.unfinished()
        while left := self.fleet.unfinished():
            if left != told:
                log.info("daemon.draining", unfinished=left)
            told = left
            await self.clock.sleep(LOOK_S)
