"""One look at every source without a daemon: what would start (`plan_once`), what each rule reads (`probe_once`).

A composition root like the daemon, for commands that poll once, store nothing and launch nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scaler.config.load import load_paths
from scaler.engine.circuit import Circuits
from scaler.engine.clock import SystemClock
from scaler.engine.limits import Limits
from scaler.engine.sessions import Sessions
from scaler.engine.sources import RuleSource, SourcePorts
from scaler.errors import ConfigError
from scaler.model.decision import Decision, Occasion
from scaler.model.job import EventTrigger, Job, ScaleRule
from scaler.model.sample import Reading, Sample
from scaler.observability.logs import configure_logs
from scaler.planning.counts import Counts
from scaler.planning.plan import plan
from scaler.ports.clock import Clock
from scaler.ports.scaler import AnyScalerType, Scaler, ScalerContext
from scaler.wire.rules import resolve_rule

Opener = Callable[[Any, ScalerContext], AbstractAsyncContextManager[Scaler]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedJob:
    """What would happen to one job."""

    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedRule:
    """What one rule's source answered, and what asking it took.

    Attributes:
        job, rule, type: names.
        source: its address without secrets; None if the parameters could not be read.
        target: messages one execution is expected to take; None if nothing told it.
        reading: the sample, or why there is none.
        open_s: how long opening took, seconds; None if it did not come to that.
        poll_s: how long the poll took, seconds, with whatever it connects to first; None likewise.
        requests: round trips sent for this rule; those of a round that rules share count for the first.
    """

    job: str
    rule: str
    type: str
    source: str | None
    target: float | None
    reading: Reading
    open_s: float | None
    poll_s: float | None
    requests: int


async def plan_once(paths: Sequence[Path], env: Mapping[str, str]) -> tuple[PlannedJob, ...]:
    """Poll every event job of the files once and decide, as if no execution ran. Launches nothing.

    Raises:
        ConfigError: a file is faulty; all faults, one a line.
    """
    jobs, limits = await _event_jobs(paths, env), Limits()
    async with _ports(limits) as ports, asyncio.TaskGroup() as tasks:
        found = [tasks.create_task(_plan_job(job, trigger, ports, limits)) for job, trigger in jobs]
    return tuple(PlannedJob(decision=task.result()) for task in found)


async def probe_once(
    paths: Sequence[Path], env: Mapping[str, str], *, rule: str | None = None
) -> tuple[ProbedRule, ...]:
    """Ask every rule of the files once, or those named `rule`; all at the same time, in the files' order.

    Raises:
        ConfigError: a file is faulty; all faults, one a line. Or no rule has that name.
    """
    jobs, limits = await _event_jobs(paths, env), Limits()
    pairs = [(job, each) for job, trigger in jobs for each in trigger.rules]
    chosen = [(job, each) for job, each in pairs if rule in (None, each.name)]
    if rule is not None and not chosen:
        known = ", ".join(sorted({each.name for _job, each in pairs})) or "none"
        raise ConfigError(f"no rule '{rule}' in the files; known: {known}")
    async with _ports(limits) as ports, asyncio.TaskGroup() as tasks:
        found = [
            tasks.create_task(_probe_rule(job, each, ports, limits), name=f"probe:{job.name}/{each.name}")
            for job, each in chosen
        ]
    return tuple(task.result() for task in found)


async def _event_jobs(paths: Sequence[Path], env: Mapping[str, str]) -> list[tuple[Job, EventTrigger]]:
    configure_logs(level="error", form="console")
    result = await asyncio.to_thread(load_paths, paths, env=env)
    if result.faults:
        raise ConfigError("\n".join(str(fault) for fault in result.faults))
    jobs = [loaded.job for loaded in result.jobs]
    return [(job, job.trigger) for job in jobs if isinstance(job.trigger, EventTrigger)]


@asynccontextmanager
async def _ports(limits: Limits) -> AsyncIterator[SourcePorts]:
    async with Sessions() as sessions:
        yield SourcePorts(
            clock=SystemClock(), sessions=sessions, resolve=resolve_rule, close_s=limits.close_s
        )


async def _plan_job(job: Job, trigger: EventTrigger, ports: SourcePorts, limits: Limits) -> Decision:
    timeout_s = limits.poll_timeout(trigger.polling_interval.total_seconds())
    sources = [RuleSource(job, rule, ports, timeout_s=timeout_s) for rule in trigger.rules]
    async with _serving(sources), asyncio.TaskGroup() as polls:
        readings = [polls.create_task(source.poll()) for source in sources]
    counts, now = Counts(running=0, pending=0), ports.clock.now()
    planned = plan(trigger, tuple(r.result() for r in readings), counts, now)
    return planned.decision(job=job.name, trigger=trigger, counts=counts, at=now, occasion=Occasion.PLAN)


async def _probe_rule(job: Job, rule: ScaleRule, ports: SourcePorts, limits: Limits) -> ProbedRule:
    """Ask one rule. It has circuits of its own: that another rule failed at its address spares it nothing."""
    witness = _Witness(ports.clock)
    own = replace(ports, resolve=witness.resolve, circuits=Circuits())
    source = RuleSource(job, rule, own, timeout_s=limits.poll_s)
    async with _serving([source]):
        read = await source.poll()
    return ProbedRule(
        job=job.name,
        rule=rule.name,
        type=rule.type,
        source=witness.source,
        target=read.target or None,
        reading=read.reading,
        open_s=sum(witness.opening) if witness.opening else None,
        poll_s=sum(witness.polling) if witness.polling else None,
        requests=witness.requests,
    )


@asynccontextmanager
async def _serving(sources: Sequence[RuleSource]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        serving = [tasks.create_task(source.run(), name=f"rule:{source.rule.name}") for source in sources]
        try:
            yield
        finally:
            for task in serving:
                task.cancel()


class _Witness:
    """Stands between a source and its plugin, and writes down what passes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.source: str | None = None
        self.opening: list[float] = []
        self.polling: list[float] = []
        self.requests = 0

    def resolve(self, job: Job, rule: ScaleRule) -> tuple[AnyScalerType, Any]:
        scaler_type, metadata = resolve_rule(job, rule)
        self.source = scaler_type.source(metadata)
        return replace(scaler_type, open=self._opener(scaler_type)), metadata

    async def _note_request(self) -> None:
        self.requests += 1

    def _opener(self, scaler_type: AnyScalerType) -> Opener:
        @asynccontextmanager
        async def open_watched(metadata: Any, context: ScalerContext) -> AsyncIterator[Scaler]:
            async with AsyncExitStack() as stack:
                opening = scaler_type.open(metadata, replace(context, note_request=self._note_request))
                with _timed(self.opening, self._clock):
                    scaler = await stack.enter_async_context(opening)
                yield _Watched(scaler, self.polling, self._clock)

        return open_watched


class _Watched:
    """A scaler whose polls are timed."""

    def __init__(self, scaler: Scaler, polling: list[float], clock: Clock) -> None:
        self._scaler = scaler
        self._clock = clock
        self._polling = polling

    async def poll(self) -> Sample:
        with _timed(self._polling, self._clock):
            return await self._scaler.poll()


@contextmanager
def _timed(spans: list[float], clock: Clock) -> Iterator[None]:
    """Add how long the block took, in seconds, however it ends."""
    began = clock.monotonic()
    try:
        yield
    finally:
        spans.append(clock.monotonic() - began)
