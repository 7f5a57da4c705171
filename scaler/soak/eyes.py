"""Sees from outside who works: by the processes of this machine and the engine's list, never by the daemon's word."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scaler.model.names import LABEL_JOB, LABEL_REPLICA
from scaler.rig.bare_engine import BareEngine
from scaler.rig.daemon import RigError
from scaler.soak.account import execution_of
from scaler.soak.jobs import MARK, Ground
from scaler.soak.notes import Crowd

_PROC: Final = Path("/proc")
_ENDED: Final = ("exited", "dead")
_SHIM: Final = b"_process_shim.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One replica that lives: its processes, or its container."""

    replica: str
    job: str
    pids: tuple[int, ...] = ()
    container: str = ""
    is_running: bool = True
    """Whether it is known to run. A container that is being started may run before the engine's list says so."""


class Eyes:
    """Looks at workers of one soak."""

    def __init__(self, ground: Ground, engine: BareEngine | None) -> None:
        self._ground = ground
        self._engine = engine

    async def look(self) -> dict[str, Worker] | None:
        """Give who lives or may live, by replica; None if the engine does not say."""
        found = await asyncio.to_thread(self.processes)
        try:
            for one in await self.containers():
                if one["State"] not in _ENDED:
                    replica = one["Labels"].get(LABEL_REPLICA, "")
                    found[replica] = Worker(
                        replica=replica,
                        job=one["Labels"].get(LABEL_JOB, ""),
                        container=one["Id"],
                        is_running=one["State"] == "running",
                    )
        except RigError:
            return None
        return found

    def processes(self) -> dict[str, Worker]:
        """Give replicas that are processes of this machine. Blocks."""
        mark = f"{MARK}={self._ground.mark}".encode()
        pids: dict[tuple[str, str], list[int]] = defaultdict(list)
        for name in filter(str.isdigit, os.listdir(_PROC)):
            with suppress(OSError):
                words = (_PROC / name / "environ").read_bytes().split(b"\0")
                if mark in words:
                    told = dict(word.decode(errors="replace").partition("=")[::2] for word in words)
                    pids[told["CONTAINER_APP_REPLICA_NAME"], told["CONTAINER_APP_JOB_NAME"]].append(int(name))
        return {
            replica: Worker(replica=replica, job=job, pids=tuple(found))
            for (replica, job), found in pids.items()
        }

    async def containers(self) -> list[Any]:
        """List containers that have a folder of this soak mounted.

        Raises:
            RigError: the engine does not answer.
        """
        if self._engine is None:
            return []
        filters = f'{{"label":["{LABEL_REPLICA}"]}}'
        listed = await self._engine.call("GET", "/containers/json", all="true", filters=filters)
        own = str(self._ground.folder)
        return [one for one in listed if any(str(m.get("Source", "")).startswith(own) for m in one["Mounts"])]

    @staticmethod
    def shim(worker: Worker) -> int | None:
        """Find the process that stands between the daemon and a process replica."""
        for name in filter(str.isdigit, os.listdir(_PROC)):
            with suppress(OSError):
                words = (_PROC / name / "cmdline").read_bytes().split(b"\0")
                if any(word.endswith(_SHIM) for word in words) and any(
                    word.endswith(f"/{worker.replica}".encode()) for word in words
                ):
                    return int(name)
        return None


def crowds(
    at_s: float, before: Mapping[str, Worker], now: Mapping[str, Worker], jobs: Iterable[str]
) -> list[Crowd]:
    """Count by job who lived at one and the same moment: those whom two looks in a row have seen.

    A single look takes a while, in which one worker may end and its successor begin. Whoever is in both lived at the
    moment between them.
    """
    replicas: dict[str, Counter[str]] = {job: Counter() for job in jobs}
    for replica in before.keys() & now.keys():
        if now[replica].job in replicas and before[replica].is_running and now[replica].is_running:
            replicas[now[replica].job][execution_of(replica)] += 1
    return [
        Crowd(at_s=at_s, job=job, executions=len(found), replicas=max(found.values(), default=0))
        for job, found in replicas.items()
    ]
