"""Remembers what a job's rules count, so that executions begun for another queue are not set against this one.

An edit may point a job at another queue while executions of the old one run. They keep their slots, but none
of the new queue's messages is theirs.
"""

from __future__ import annotations

import json

from scaler.engine.sources import Resolve
from scaler.errors import ConfigError
from scaler.model.job import EventTrigger, Job
from scaler.ports.store import Store


class Origins:
    """Keeps in the store, per job, what is counted and since which generation."""

    def __init__(self, store: Store, resolve: Resolve) -> None:
        self._store = store
        self._resolve = resolve

    async def since(self, job: Job, trigger: EventTrigger) -> int:
        """Give the first generation whose executions may hold messages of what the rules count now.

        It moves only if nothing that was counted before is counted now; where that cannot be told, all are
        taken to hold such messages: at worst the job is slower.
        """
        key, now = f"origin/{job.name}", self._entities(job, trigger)
        kept = json.loads(await self._store.recall(key) or "{}")
        before, since = frozenset(kept.get("entities", ())), int(kept.get("since", 0))
        if before and now and before.isdisjoint(now):
            since = job.generation
        found = {"entities": sorted(now), "since": since}
        if found != kept:
            await self._store.remember(key, json.dumps(found))
        return since

    def _entities(self, job: Job, trigger: EventTrigger) -> frozenset[str]:
        """Name all that is counted; empty if one of the rules cannot tell."""
        found: set[str] = set()
        for rule in trigger.rules:
            try:
                scaler, metadata = self._resolve(job, rule)
            except ConfigError:
                return frozenset()
            names = scaler.entities(metadata)
            if not names:
                return frozenset()
            found |= {f"{rule.type}/{name}" for name in names}
        return frozenset(found)
