"""Bare processes: the worker of the spool spawned and awaited, nothing else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass

from scaler.rig.daemon import RigError
from scaler.rig.spool import WORKER, Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned:
    """Seconds in all, and for each process the seconds until it was there."""

    seconds: float
    starts_s: Sequence[float]

    @property
    def rate(self) -> float:
        """Processes a second."""
        return len(self.starts_s) / self.seconds


async def spawn(spool: Spool, total: int, *, at_once: int) -> Spawned:
    """Spawn and await `total` workers, `at_once` at any time; each takes a message."""
    command = ("/bin/sh", str(spool.folder / WORKER))
    env = {**os.environ, "SPOOL": str(spool.folder)}
    clock = asyncio.get_running_loop().time
    numbers, starts, codes = iter(range(total)), [], set()

    async def lane() -> None:
        for _ in numbers:
            begun = clock()
            process = await asyncio.create_subprocess_exec(
                *command, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
            )
            starts.append(clock() - begun)
            codes.add(await process.wait())

    began = clock()
    async with asyncio.TaskGroup() as lanes:
        for number in range(at_once):
            lanes.create_task(lane(), name=f"lane-{number}")
    if codes != {0}:
        raise RigError(f"workers ended with {sorted(codes)}")
    return Spawned(seconds=clock() - began, starts_s=starts)
