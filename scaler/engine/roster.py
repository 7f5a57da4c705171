"""Which jobs the files have declared so far: numbers their definitions and records who changed them.

It outlives the process, so that a file that was edited or removed while no daemon ran is noticed too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from scaler.model.audit import BY_FILE, AuditAction, AuditEntry
from scaler.model.job import Job
from scaler.ports.clock import Clock
from scaler.ports.store import Store

_NAMES = "jobs"


@dataclass(slots=True)
class Roster:
    """The jobs of the files, as they are recorded."""

    store: Store
    clock: Clock
    _names: set[str] | None = field(default=None)

    async def number(self, job: Job, place: str) -> Job:
        """Give the job its generation: one more than before if its definition differs from the last one.

        What is new or changed is audited; `place` tells where it stands.
        """
        digest = hashlib.sha256(job.document.encode()).hexdigest()
        generation, last, was_there = await self._recall(job.name)
        if last != digest or not was_there:
            generation += last != digest
            action = AuditAction.JOB_CHANGED if was_there else AuditAction.JOB_CREATED
            detail = f"{place}; generation {generation}"
            await self._remember(job.name, generation, digest, action, detail)
        return replace(job, generation=generation)

    async def settle(self, names: Iterable[str], *, is_whole: bool) -> None:
        """Take note of all jobs that the files declare now; those that are gone are audited as deleted.

        Args:
            names: of the jobs.
            is_whole: whether that is all; a file that cannot be read may declare jobs that are not named here.
        """
        before, now = await self._recorded(), set(names)
        gone = before - now if is_whole else set()
        for name in sorted(gone):
            generation, digest, was_there = await self._recall(name)
            if was_there:
                await self._remember(name, generation, digest, AuditAction.JOB_DELETED, "")
        if (kept := (before | now) - gone) != before:
            await self.store.remember(_NAMES, json.dumps(sorted(kept)))
        self._names = kept

    async def _recorded(self) -> set[str]:
        if self._names is None:
            self._names = set(json.loads(await self.store.recall(_NAMES) or "[]"))
        return self._names

    async def _recall(self, name: str) -> tuple[int, str, bool]:
        kept = await self.store.recall(f"job:{name}")
        generation, digest, *there = json.loads(kept) if kept else (0, "", False)
        return generation, digest, bool(there[0]) if there else True

    async def _remember(
        self, name: str, generation: int, digest: str, action: AuditAction, detail: str
    ) -> None:
        is_there = action is not AuditAction.JOB_DELETED
        entry = AuditEntry(at=self.clock.now(), by=BY_FILE, action=action, job=name, detail=detail)
        await self.store.remember(f"job:{name}", json.dumps([generation, digest, is_there]), by=(entry,))
