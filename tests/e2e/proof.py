"""What every flood must come to: each message worked on once, one execution each, nothing left, nothing lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.e2e.daemon import Daemon
from tests.e2e.work import FINAL, JOB_LABEL, Work, containers, remove_containers
from tests.infra.engine import Engine
from tests.infra.results import Results, collect
from tests.infra.sampler import ContainerSampler

_UNFINISHED = ("Processing", "Running", "Degraded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """All that is known after a flood."""

    executions: list[dict[str, Any]]
    results: Results
    left: int
    containers: list[str]

    @property
    def statuses(self) -> Counter[str]:
        """Number of executions by status."""
        return Counter(map(status_of, self.executions))

    @property
    def reasons(self) -> Counter[str]:
        """Number of executions by reason; one without a reason counts under an empty text."""
        return Counter(str(one["properties"].get("reason", "")) for one in self.executions)


def ended(daemon: Daemon, work: Work) -> int:
    """Count executions that have ended."""
    counts = daemon.client.counts(work.name)["counts"]
    return sum(counts[status] for status in FINAL)


def _is_quiet(daemon: Daemon, work: Work, least: int) -> bool:
    counts = daemon.client.counts(work.name)["counts"]
    return sum(counts[s] for s in FINAL) >= least and not any(counts[s] for s in _UNFINISHED)


@asynccontextmanager
async def watched(engine: Engine, work: Work) -> AsyncIterator[ContainerSampler]:
    """Sample the job's containers meanwhile, and remove what a failure leaves behind."""
    try:
        with ContainerSampler(engine, f"{JOB_LABEL}={work.name}", interval_s=0.1) as sampler:
            yield sampler
    finally:
        await asyncio.to_thread(remove_containers, engine, work.name)


async def settled(
    daemon: Daemon, work: Work, engine: Engine, *, timeout_s: float, executions: int | None = None
) -> Account:
    """Wait until every message has been worked on and all is quiet, then look whether it stays so.

    So many executions end at least, one a message if not told. Fewer may where an engine is lost: the replica that
    makes up for one that had done its message, which nobody could know, takes another.
    """
    least = len(work.sent) if executions is None else executions
    await daemon.until(
        lambda: _is_quiet(daemon, work, least), what=f"{least} executions end", timeout_s=timeout_s
    )
    while await work.queue.left(work.source):
        timeout_s -= 0.5
        assert timeout_s > 0, f"messages are left without an execution\n{daemon.tail()}"
        await asyncio.sleep(0.5)
    await asyncio.sleep(min(work.interval_s, 5) + 1.5)  # a needless execution would start now
    await daemon.until(lambda: _is_quiet(daemon, work, least), what="all executions end", timeout_s=30)
    await daemon.until(
        lambda: containers(engine, work.name) == [], what="ended containers are removed", timeout_s=15
    )
    return Account(
        executions=await daemon.ask(lambda client: client.executions(work.name)),
        results=await collect(work.queue.drain(work.reports), reports=len(work.sent), timeout_s=5),
        left=await work.queue.left(work.source),
        containers=await asyncio.to_thread(containers, engine, work.name),
    )


def assert_each_once(account: Account, work: Work) -> None:
    """Hold a flood without faults to its sums."""
    assert account.results.consumed == work.sent
    assert account.results.empty == 0, "executions that found no message"
    assert account.statuses == {"Succeeded": len(work.sent)}
    assert account.reasons == {"Completed": len(work.sent)}
    assert {len(bodies) for bodies in account.results.by_execution.values()} == {1}
    assert set(account.results.by_execution) == {one["name"] for one in account.executions}
    assert account.left == 0
    assert account.containers == []


def assert_nothing_lost(account: Account, work: Work, *, forgotten: int = 0) -> None:
    """Hold a flood through an outage to its sums: a message may be worked on twice, none is lost.

    What ended a worker between its report and its end makes its execution fail, or begin another replica, although the
    message is gone. An engine that is killed while it starts a container does not know afterwards that it ran, and
    runs it again when it is asked to: `forgotten` says how many runs more than replicas an execution may have had.
    """
    replicas = {e["name"]: len(e["properties"]["detailedStatus"]["replicas"]) for e in account.executions}
    names = {status: {e["name"] for e in account.executions if status_of(e) == status} for status in FINAL}
    assert account.results.consumed.keys() == work.sent.keys()
    assert account.left == 0
    assert account.containers == []
    assert account.statuses.keys() <= FINAL
    assert "" not in account.reasons
    assert account.results.by_execution.keys() <= names["Succeeded"] | names["Failed"] | names["Unknown"]
    assert names["Succeeded"] <= account.results.by_execution.keys()
    taken = {name: len(bodies) for name, bodies in account.results.by_execution.items()}
    assert {name: n for name, n in taken.items() if n > replicas[name] + forgotten} == {}


def status_of(execution: dict[str, Any]) -> str:
    """Give the status of an execution."""
    return str(execution["properties"]["status"])
