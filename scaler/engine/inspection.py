"""Looks at records and executors from within the running engine and tells which promises are broken.

Reads only. Executors are asked before the records, and both change meanwhile, so what moves is told only if a
second look shows it again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from scaler.engine.crew import Crew
from scaler.engine.limits import Limits
from scaler.errors import ExecutorUnavailable
from scaler.model.decision import Decision
from scaler.model.replica import OwnedReplica
from scaler.planning.invariants import LIVE_PROMISES, Look, agreed, broken
from scaler.ports.clock import Clock
from scaler.ports.control import Inspection
from scaler.ports.store import Store

NEWEST = 500
"""Executions and decisions looked at, per job, beside all that have not ended: so a long history costs no more."""

IN_ALL = 10_000
"""Where many jobs are, fewer of each: about so many in all, or a look would hold up what the daemon is for."""

LEAST = 20

LIST_S = 15.0
"""How long one executor may take to list what it holds: somebody waits for the answer."""

AGAIN_S = 1.0
"""Pause before the second look: a step that was under way is recorded by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionPorts:
    """What is looked at. `jobs` are the names of those whose history is read."""

    store: Store
    crew: Crew
    clock: Clock
    limits: Limits
    jobs: tuple[str, ...]


async def inspect(ports: InspectionPorts) -> Inspection:
    """Look once, and again if something that moves seems to be broken."""
    look, silent = await _look(ports)
    found = broken(look)
    if any(one.promise in LIVE_PROMISES for one in found):
        await ports.clock.sleep(AGAIN_S)
        look, silent = await _look(ports)
        found = agreed(found, broken(look))
    return Inspection(
        violations=found, executions=len(look.states), decisions=len(look.decisions), silent=silent
    )


async def _look(ports: InspectionPorts) -> tuple[Look, tuple[str, ...]]:
    owned = await _owned(ports)
    unfinished = await ports.store.unfinished()
    states = {state.execution.id: state for state in unfinished}
    decisions: list[Decision] = []
    jobs = sorted({*ports.jobs, *(state.execution.job for state in unfinished)})
    limit = max(LEAST, min(NEWEST, IN_ALL // max(1, len(jobs))))
    for job in jobs:
        decisions += await ports.store.decisions(job, limit=limit)
        page = await ports.store.executions(job, limit=limit)
        states |= {state.execution.id: state for state in page.items}
    look = Look(
        now=ports.clock.now(),
        states=tuple(states.values()),
        decisions=tuple(decisions),
        owned=owned,
        grace=timedelta(seconds=ports.limits.orphan_grace_s + 2 * ports.limits.sweep_s),
    )
    return look, tuple(sorted(set(ports.crew.names()) - owned.keys()))


async def _owned(ports: InspectionPorts) -> dict[str, tuple[OwnedReplica, ...]]:
    """Ask each executor in use; one that does not answer is left out."""
    found: dict[str, tuple[OwnedReplica, ...]] = {}
    for name in ports.crew.names():
        executor = await ports.crew.get(name)
        try:
            async with asyncio.timeout(LIST_S):
                found[name] = await executor.owned()
        except (ExecutorUnavailable, TimeoutError):
            continue
    return found
