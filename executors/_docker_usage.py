"""Samples what containers use while they run, because an engine forgets it when they end.

What is told is what was seen at the latest look, so a container has used at least that; one that ended before any
look is not known to have used anything.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiodocker import Docker, DockerError

from executors._docker_errors import engine_call
from executors._docker_settings import Limits
from scaler.errors import ExecutorUnavailable
from scaler.model.replica import Usage

ROUND_S = 1.0
LOOKS_A_ROUND = 5
"""Containers looked at in a round, those not looked at for longest first: an engine bears that beside its work."""
LEAST_AGE_S = 5.0
_NANO = 1e-9


class UsageSampler:
    """Keeps the latest sample of each container that is followed. `run` must be running meanwhile."""

    def __init__(self, client: Docker, limits: Limits) -> None:
        self._client = client
        self._limits = limits
        self._looked: dict[str, float] = {}
        self._seen: dict[str, Usage] = {}

    def follow(self, container: str) -> None:
        """Look at a container from now on."""
        self._looked.setdefault(container, float("-inf"))

    def seen(self, container: str) -> Usage:
        """Give what was seen so far."""
        return self._seen.get(container, Usage())

    def end(self, container: str) -> Usage:
        """Look at it no more, and give what was seen."""
        self._looked.pop(container, None)
        return self._seen.pop(container, Usage())

    async def run(self) -> None:
        """Look around until cancelled."""
        while True:
            await asyncio.sleep(ROUND_S)
            now = asyncio.get_running_loop().time()
            for container in due(self._looked, now):
                self._looked[container] = now
                await self._look(container)

    async def _look(self, container: str) -> None:
        query = f"containers/{container}/stats"
        try:
            async with engine_call(f"use of {container}", self._limits.inspect_s):
                found = await self._client._query_json(query, params={"stream": "0", "one-shot": "1"})
        except (DockerError, ExecutorUnavailable):
            return  # gone, or an engine in trouble, which others tell
        if container in self._looked:
            self._seen[container] = larger(self.seen(container), usage_of(found))


def due(looked: dict[str, float], now: float) -> list[str]:
    """Choose whom to look at now."""
    old = [name for name, at in looked.items() if now - at >= LEAST_AGE_S]
    return sorted(old, key=lambda name: looked[name])[:LOOKS_A_ROUND]


def usage_of(stats: Any) -> Usage:
    """Read a sample. Zeros are what an engine tells of a container that has ended, or does not count.

    An engine that is asked for a container in the moment of its removal was seen to answer `null`.

    Memory is what is held without the cache of files that can be dropped at once, as `docker stats` has it; the
    engine's own peak counts that cache, so it is not taken.
    """
    if not isinstance(stats, dict):
        return Usage()
    cpu = (stats.get("cpu_stats") or {}).get("cpu_usage") or {}
    memory = stats.get("memory_stats") or {}
    parts = memory.get("stats") or {}
    cache = parts.get("total_inactive_file", parts.get("inactive_file", 0))  # cgroups version 1, 2
    held = int(memory.get("usage") or 0)
    held = held - cache if held > cache else held
    seconds = int(cpu.get("total_usage") or 0) * _NANO
    return Usage(cpu_seconds=seconds or None, peak_memory_bytes=held or None)


def larger(one: Usage, other: Usage) -> Usage:
    """Take the larger of each number; one that is not known counts for nothing."""
    seconds = [n for n in (one.cpu_seconds, other.cpu_seconds) if n is not None]
    peaks = [n for n in (one.peak_memory_bytes, other.peak_memory_bytes) if n is not None]
    return Usage(cpu_seconds=max(seconds, default=None), peak_memory_bytes=max(peaks, default=None))
