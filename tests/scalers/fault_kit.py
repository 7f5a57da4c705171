"""What the matrix of brokers and faults is made of: the real engine in real time, and rules behind relays.

A victim is a rule whose broker gets a fault; neighbours are rules that reach the same brokers directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from scaler.engine.clock import SystemClock
from scaler.engine.crew import Crew
from scaler.engine.limits import Limits
from scaler.engine.sessions import Sessions
from scaler.engine.supervisor import EnginePorts, Supervisor
from scaler.model.decision import RuleVerdict
from scaler.model.job import AuthRef, Container, EventTrigger, Job, ScaleRule, Template
from scaler.model.secret import Secret
from scaler.ports.scaler import AnyScalerType, Scaler, ScalerContext
from scaler.store.sqlite import SqliteStore, open_store
from scaler.testing.fake_queue import FakeQueue
from scaler.testing.mock_executor import MockExecutor
from scaler.wire.rules import resolve_rule

INTERVAL_S: Final = 0.5
POLL_S: Final = 1.5
"""Limit of one poll: short, so that silence is told soon."""
NEVER: Final = "1000"
"""An activation that no queue here reaches: nothing is to be launched."""

Step = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """A rule, how its fault begins and ends, and the value that it reads without and after the fault."""

    name: str
    type: str
    metadata: Mapping[str, str]
    auth: Mapping[str, str]
    begin: Step
    end: Step
    value: float = 2.0
    value_after: float = 2.0


def job_of(name: str, kind: str, metadata: Mapping[str, str], auth: Mapping[str, str]) -> Job:
    """Make a job of one rule that never starts anything."""
    rule = ScaleRule(
        name="queue",
        type=kind,
        metadata=metadata,
        auth=tuple(AuthRef(secret=key.lower(), parameter=key) for key in auth),
    )
    return Job(
        name=name,
        trigger=EventTrigger(rules=(rule,), polling_interval=timedelta(seconds=INTERVAL_S)),
        template=Template(container=Container(name="main", image="x")),
        executor="mock",
        replica_timeout=timedelta(seconds=60),
        secrets={key.lower(): Secret(text) for key, text in auth.items()},
    )


@dataclass(slots=True)
class Asked:
    """When each job's rule was asked, by the loop's time."""

    at: dict[str, list[float]] = field(default_factory=dict)

    def resolve(self, job: Job, rule: ScaleRule) -> tuple[AnyScalerType, Any]:
        """Resolve as the daemon does, and stand between rule and plugin."""
        kind, metadata = resolve_rule(job, rule)
        times = self.at.setdefault(job.name, [])

        @asynccontextmanager
        async def open_noted(meta: Any, context: ScalerContext) -> AsyncIterator[Scaler]:
            async with kind.open(meta, context) as scaler:
                yield _Noted(scaler, times)

        return replace(kind, open=open_noted), metadata

    def lateness(self, names: list[str], since: float) -> list[float]:
        """Give how late each poll of these jobs was, seconds; the earliest of a job tells its cadence."""
        found: list[float] = []
        for name in names:
            phases = [at % INTERVAL_S for at in self.at[name] if at >= since]
            middle = phases[0]
            turned = [(phase - middle + INTERVAL_S / 2) % INTERVAL_S - INTERVAL_S / 2 for phase in phases]
            found += [phase - min(turned) for phase in turned]
        return found


class _Noted:
    def __init__(self, scaler: Scaler, times: list[float]) -> None:
        self._scaler, self._times = scaler, times

    async def poll(self) -> Any:
        self._times.append(asyncio.get_running_loop().time())
        return await self._scaler.poll()


class Scene:
    """An engine on a database, with real clock and scalers; nothing is ever launched."""

    def __init__(self, engine: Supervisor, store: SqliteStore, asked: Asked, clock: SystemClock) -> None:
        self.engine, self.store, self.asked, self.clock = engine, store, asked, clock

    async def verdicts(self, job: str, since: Any) -> list[RuleVerdict]:
        """Give what a job's rule said in polls that ended after a moment, oldest first."""
        found = await self.store.decisions(job, limit=500)
        return [each.rules[0] for each in reversed(found) if each.at > since]

    def error_of(self, job: str) -> str | None:
        """Give what is wrong with a job's rule by its latest poll."""
        decision = self.engine.job(job).last_decision
        assert decision is not None
        return decision.rules[0].error

    async def until_well(self, victim: Victim, value: float, *, within_s: float) -> None:
        """Wait until the victim reads that value."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within_s
        while loop.time() < end:
            decision = self.engine.job(victim.name).last_decision
            if decision and decision.rules[0].value == value:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{victim.name}: not {value:g} within {within_s:g} s, but {decision}")


@asynccontextmanager
async def scene(folder: Path, *jobs: Job) -> AsyncIterator[Scene]:
    """Run the engine with these jobs."""
    clock, asked = SystemClock(), Asked()

    @asynccontextmanager
    async def open_executor(_name: str) -> AsyncIterator[MockExecutor]:
        yield MockExecutor(FakeQueue().worker())

    async with open_store(folder / "scaler.db") as store, Sessions() as sessions:
        async with Crew(open_executor, sessions) as crew, asyncio.TaskGroup() as tasks:
            engine = Supervisor(
                EnginePorts(
                    clock=clock,
                    store=store,
                    crew=crew,
                    sessions=sessions,
                    resolve=asked.resolve,
                    instance="test",
                    limits=Limits(poll_s=POLL_S, poll_least_s=POLL_S),
                )
            )
            tasks.create_task(engine.serve())
            await engine.ready()
            for job in jobs:
                await engine.put(job)
            engine.take_up()
            try:
                yield Scene(engine, store, asked, clock)
            finally:
                engine.close()
