"""Sends, follows, and notes; ends when all is done, when the time is over, or when it is told to."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from scaler.errors import DaemonUnreachable, ScalerError
from scaler.load.account import Notes, Sample, read_report
from scaler.load.plan import POISON_S, Plan, body, bursts
from scaler.ports.clock import Clock
from scaler.ports.feed import Feed, FeedPlace, FeedType

LOOK_S = 0.4
"""How often the daemon and the results are looked at."""
SETTLE_S = 10.0
"""How long executions that still run are waited for when every message is done: they may report a second time."""
FORMER_S = 15.0
"""How long reports of former runs are taken away at the begin."""
STOPPING_S = 3.0
"""How long a run that is told to stop may still wait for a broker: one that hangs holds it no longer."""
_START_SLACK_S = 1.0
_LIVE = frozenset({"Processing", "Running", "Unknown"})


class Daemon(Protocol):
    """What is asked of the daemon; every method blocks, and raises `ScalerError`."""

    def live_job(self, job: str) -> Any:
        """Give a job as it lives now."""
        ...

    def executions(self, job: str, *, limit: int | None = None) -> list[Any]:
        """List a job's executions, newest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One job to flood: the kind of its source, how that is fed, and where it is."""

    kind: str
    job: str
    feed: FeedType
    place: FeedPlace


@dataclass(slots=True, kw_only=True)
class Stage:
    """What a run stands on. `stop` is set by whoever wants it to end; `show` is called after each look."""

    daemon: Daemon
    clock: Clock
    show: Callable[[Notes], None]
    stop: asyncio.Event = field(default_factory=asyncio.Event)


async def flood_all(targets: Iterable[Target], plan: Plan, stage: Stage) -> list[Notes]:
    """Flood several jobs at once; what fails at one leaves the others alone.

    Raises:
        ScalerError: the daemon does not know one of the jobs; then nothing is sent at all.
    """
    notes = [await _begin(target, stage) for target in targets]
    floods = [_Flood(target, plan, stage, note) for target, note in zip(targets, notes, strict=True)]
    async with asyncio.TaskGroup() as group:
        for flood in floods:
            group.create_task(flood.run(), name=f"load/{flood.name}")
    return notes


async def _begin(target: Target, stage: Stage) -> Notes:
    job = await asyncio.to_thread(stage.daemon.live_job, target.job)
    if job["triggerType"] != "Event":
        raise ScalerError(
            f"job '{target.job}' is not started by messages, but has the trigger {job['triggerType']}"
        )
    return Notes(job=target.job, kind=target.kind, max_executions=job["trigger"]["maxExecutions"])


class _Flood:
    def __init__(self, target: Target, plan: Plan, stage: Stage, notes: Notes) -> None:
        self.name = target.job
        self._target = target
        self._plan = plan
        self._stage = stage
        self._notes = notes
        self._run = secrets.token_hex(4)
        self._began = stage.clock.monotonic()
        self._began_at = stage.clock.now()
        self._all_sent = False

    async def run(self) -> None:
        """Flood, follow, and note the executions; what goes wrong is noted too, beside what was seen until then."""
        with self._noting_faults():
            async with asyncio.TaskGroup() as group:
                flood = group.create_task(self._flood(), name=f"load/{self.name}/flood")
                watch = group.create_task(self._end(flood), name=f"load/{self.name}/stop")
                flood.add_done_callback(lambda _: watch.cancel())
        if self._notes.sent or self._notes.poison:
            with self._noting_faults():
                await self._note_executions()
        self._notes.interrupted = self._stage.stop.is_set()

    @contextmanager
    def _noting_faults(self) -> Iterator[None]:
        try:
            yield
        except* ScalerError as several:
            self._notes.faults.extend(str(one) for one in _leaves(several))
        except* Exception as several:  # noqa: BLE001 - fence: whatever a client library raises costs no other job its report
            kinds = sorted({type(one).__name__ for one in _leaves(several)})
            self._notes.faults.append(
                f"unexpected {', '.join(kinds)}, a fault of ours or of the broker's client"
            )

    async def _end(self, flood: asyncio.Task[None]) -> None:
        """Give up a flood that does not end by itself when it is told to."""
        await self._stage.stop.wait()
        await self._stage.clock.sleep(STOPPING_S)
        flood.cancel()

    async def _flood(self) -> None:
        async with self._target.feed.open(self._target.place) as feed:
            await self._forget_former(feed)
            self._began, self._began_at = self._stage.clock.monotonic(), self._stage.clock.now()
            async with asyncio.TaskGroup() as group:
                sender = group.create_task(self._send(feed), name=f"load/{self.name}/send")
                await self._follow(feed)
                sender.cancel()

    async def _forget_former(self, feed: Feed) -> None:
        deadline = self._stage.clock.monotonic() + FORMER_S
        while await feed.reports() and self._stage.clock.monotonic() < deadline:
            if self._stage.stop.is_set():
                return

    async def _send(self, feed: Feed) -> None:
        for burst in bursts(self._plan, self._run):
            await self._stage.clock.sleep(self._began + burst.at_s - self._stage.clock.monotonic())
            now = self._stage.clock.now().timestamp()
            bodies = [body(one, self._plan, poison_until=now + POISON_S) for one in burst.messages]
            await feed.send(bodies)
            self._notes.sent.update((one.id, now) for one in burst.messages if not one.is_poison)
            self._notes.poison.update(one.id for one in burst.messages if one.is_poison)
        self._all_sent = True

    async def _follow(self, feed: Feed) -> None:
        quiet_since: float | None = None
        while True:
            found = [read_report(text, run=self._run) for text in await feed.reports()]
            self._notes.reports.extend(one for one in found if one is not None)
            sample = await self._look()
            self._notes.samples.append(sample)
            self._stage.show(self._notes)
            now = self._stage.clock.monotonic()
            is_done = self._all_sent and self._notes.is_drained()
            quiet_since = (quiet_since if quiet_since is not None else now) if is_done else None
            settled = is_done and (sample.running == 0 or now - (quiet_since or now) > SETTLE_S)
            if settled or now - self._began > self._plan.timeout_s or await self._told_to_stop():
                return

    async def _told_to_stop(self) -> bool:
        """Wait until the next look; say whether the run shall end."""
        try:
            async with asyncio.timeout(LOOK_S):
                await self._stage.stop.wait()
        except TimeoutError:
            return False
        return True

    async def _look(self) -> Sample:
        depth = running = None
        try:
            job = await asyncio.to_thread(self._stage.daemon.live_job, self._target.job)
        except DaemonUnreachable:
            pass  # it may be about to start again: unknown, not zero
        else:
            running = job["running"]
            rules = (job["lastDecision"] or {}).get("rules") or ()
            known = [rule["value"] for rule in rules if rule["value"] is not None]
            depth = int(sum(known)) if known else None
        return Sample(
            at_s=self._stage.clock.monotonic() - self._began,
            sent=len(self._notes.sent),
            done=self._notes.done(),
            depth=depth,
            running=running,
        )

    async def _note_executions(self) -> None:
        """Note how the executions of this run ended and how long they took."""
        most = 2 * self._plan.count + 1000
        rows = await asyncio.to_thread(self._stage.daemon.executions, self._target.job, limit=most)
        earliest = self._began_at.timestamp() - _START_SLACK_S
        for row in rows:
            facts = row.get("properties", row)
            start, end = (
                _moment(facts.get("startTime")),
                _moment(facts.get("endTime") or facts.get("endedAt")),
            )
            if start is None or start < earliest:
                continue
            self._notes.statuses[facts["status"]] += 1
            if end is not None and facts["status"] not in _LIVE:
                self._notes.executions.append(max(0.0, end - start))


def _moment(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()


def _leaves(several: BaseExceptionGroup[Exception]) -> Iterable[BaseException]:
    for one in several.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _leaves(one)
        else:
            yield one
