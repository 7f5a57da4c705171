"""What the executor must remember of a replica of several containers and the engine cannot: small files.

That it was asked to stop, and how it was judged. Both are on the disk before they are acted on, so that a daemon
that takes over neither starts a further container nor tells another end.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from executors._docker_plan import Verdict
from scaler.errors import ExecutorUnavailable

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is remembered of one replica."""

    stopping: bool = False
    verdict: Verdict | None = None


class Notes:
    """The files of one executor: `<folder>/<replica id>.json`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def read(self, replica_id: str) -> Note:
        """Give what is remembered, which may be nothing."""
        return await self._call(lambda: self._read(replica_id))

    async def note_stop(self, replica_id: str) -> None:
        """Remember that a replica was asked to stop."""
        await self._call(lambda: self._change(replica_id, stopping=True))

    async def note_verdict(self, replica_id: str, verdict: Verdict) -> Verdict:
        """Remember a verdict, unless there is one already; give the one that stands."""
        note = await self._call(lambda: self._change(replica_id, verdict=verdict))
        return note.verdict or verdict

    async def forget(self, replica_id: str) -> None:
        """Remove what is remembered."""
        await self._call(lambda: self._path(replica_id).unlink(missing_ok=True))

    async def _call(self, work: Callable[[], R]) -> R:
        try:
            return await asyncio.to_thread(work)
        except OSError as exc:
            raise ExecutorUnavailable(f"docker: {self._folder}: {exc.strerror or exc}") from exc

    def _path(self, replica_id: str) -> Path:
        return self._folder / f"{replica_id}.json"

    def _read(self, replica_id: str) -> Note:
        with suppress(FileNotFoundError):
            told = json.loads(self._path(replica_id).read_text())
            verdict = told["verdict"]
            return Note(stopping=told["stopping"], verdict=Verdict(**verdict) if verdict else None)
        return Note()

    def _change(self, replica_id: str, *, stopping: bool = False, verdict: Verdict | None = None) -> Note:
        old = self._read(replica_id)
        note = Note(stopping=old.stopping or stopping, verdict=old.verdict or verdict)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(replica_id)
        partial = path.with_suffix(".part")
        with partial.open("w") as file:
            file.write(json.dumps(asdict(note)))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        return note
