"""Keeps where each job's breaker stands, so that a restart of the daemon does not try every poison message anew."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from scaler.model.job import Job
from scaler.planning.breaker import CLOSED, Breaker
from scaler.ports.store import Store

_MOMENTS = ("until", "since", "latest")


class BreakerNotes:
    """Notes in the store, one small text a job; nothing is written for a job that never failed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, tuple[int, Breaker]] = {}

    async def recall(self, job: Job) -> Breaker:
        """Give where a job's breaker stood; closed if its definition has changed since: that may be the cure."""
        text = await self._store.recall(_key(job)) or ""
        found = json.loads(text) if text else {"generation": job.generation}
        generation = int(found.pop("generation"))
        breaker = _read(found) if found else CLOSED
        self._kept[job.name] = (generation, breaker)
        return breaker if generation == job.generation else CLOSED

    async def keep(self, job: Job, breaker: Breaker) -> None:
        """Note where a job's breaker stands, if that is news."""
        known = self._kept.get(job.name)
        if known is not None and known[1] == breaker and (breaker == CLOSED or known[0] == job.generation):
            return
        text = "" if breaker == CLOSED else json.dumps({"generation": job.generation, **_written(breaker)})
        await self._store.remember(_key(job), text)
        self._kept[job.name] = (job.generation, breaker)


def _key(job: Job) -> str:
    return f"breaker/{job.name}"


def _written(breaker: Breaker) -> dict[str, Any]:
    found = asdict(breaker)
    found["slowest"] = breaker.slowest.total_seconds()
    for name in _MOMENTS:
        found[name] = found[name].isoformat() if found[name] is not None else None
    return found


def _read(found: dict[str, Any]) -> Breaker:
    moments = {name: datetime.fromisoformat(found[name]) if found[name] else None for name in _MOMENTS}
    return Breaker(**{**found, **moments, "slowest": timedelta(seconds=found["slowest"])})
