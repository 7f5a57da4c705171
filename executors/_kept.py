"""Keeps a task in the background going: what it did not foresee costs a pause, never all that wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

_log = structlog.get_logger(__name__)
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0


async def kept(work: Callable[[], Awaitable[None]], what: str, *, pause_s: float = FIRST_PAUSE_S) -> None:
    """Do the work until it ends by itself or is cancelled; begin anew, after a growing pause, whenever it fails.

    Each failure is logged with its traceback: it is a fault of ours.
    """
    longest = pause_s
    while True:
        began = asyncio.get_running_loop().time()
        try:
            await work()
            return
        except Exception:  # noqa: BLE001 - what goes wrong must not end the watch over everything else
            _log.exception("docker.task_failed", task=what, consequence="it begins anew")
        if asyncio.get_running_loop().time() - began > LONGEST_PAUSE_S:
            longest = pause_s
        await asyncio.sleep(longest)
        longest = min(longest * 2, LONGEST_PAUSE_S)
