"""Keeps the past within the policy: drops old executions and what belongs to them, and logs beyond their bound.

Logs are deleted before the record of their execution, so that a crash between the two leaves no file that nobody
knows of; the record goes the next time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from scaler.model.retention import Expired, Retention
from scaler.planning.retention import plan_logs, plan_pruning
from scaler.ports.clock import Clock
from scaler.ports.logs import LogShelf
from scaler.ports.store import Store

log = structlog.get_logger("scaler")

EVERY_S = 30.0
BATCH = 200
"""Executions dropped in one transaction: others that write wait no longer than that takes."""
PAUSE_S = 0.05
LOGS_EVERY = 10
"""Rounds from one look at all kept logs to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """The hands of the policy."""

    store: Store
    clock: Clock
    shelf: LogShelf
    policy: Retention

    async def run(self) -> None:
        """Keep to the policy until cancelled.

        Raises:
            StoreError: records cannot be dropped.
        """
        rounds = 0
        while True:
            await self.clock.sleep(EVERY_S)
            await self.drop_executions()
            if rounds % LOGS_EVERY == 0:
                await self.drop_logs()
            rounds += 1

    async def drop_executions(self) -> int:
        """Drop what has to go, a batch at a time; give how many executions that were."""
        dropped = 0
        before: tuple[Expired, ...] = ()
        while True:
            plan = plan_pruning(self.policy, await self.store.ended_counts(), self.clock.now())
            expired = await self.store.expired(plan, limit=BATCH)
            if not expired or expired == before:  # what cannot be dropped now stays
                break
            gone = [replica for one in expired for replica in one.replicas]
            await asyncio.to_thread(self.shelf.drop, gone)
            await self.store.prune(tuple(one.execution for one in expired))
            dropped, before = dropped + len(expired), expired
            await self.clock.sleep(PAUSE_S)
        await self.store.prune((), decisions=self.policy.decisions, entries=self.policy.entries)
        if dropped:
            log.info("history.pruned", executions=dropped)
        return dropped

    async def drop_logs(self) -> int:
        """Drop the oldest logs beyond the bound; give how many that were."""
        if self.policy.log_bytes is None:
            return 0
        kept = await asyncio.to_thread(self.shelf.kept)
        live = {replica.id for state in await self.store.unfinished() for replica in state.replicas}
        doomed = plan_logs(kept, most_bytes=self.policy.log_bytes, live=live)
        if doomed:
            await asyncio.to_thread(self.shelf.drop, doomed)
            log.warning(
                "logs.dropped",
                replicas=len(doomed),
                most_bytes=self.policy.log_bytes,
                hint="raise history.logBytes to keep more",
            )
        return len(doomed)
