"""How a flood goes, in virtual time: it follows until all is done, and ends early when it must."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import looptime
import pytest

from scaler.errors import DaemonUnreachable, PollError, ScalerError
from scaler.load.account import Notes, account
from scaler.load.flood import STOPPING_S, Stage, Target, flood_all
from scaler.load.plan import Plan
from scaler.model.secret import Secret
from scaler.ports.feed import Feed, FeedPlace, FeedType
from scaler.testing.loop_clock import LoopClock

T = TypeVar("T")
PLACE = FeedPlace(connection=Secret("amqp://x"), queue="jobs", results="results")


class World:
    """A broker whose messages are done a while after they came, and a daemon that tells of it."""

    def __init__(self, *, after_s: float = 2.0, trigger: str = "Event") -> None:
        self.clock = LoopClock()
        self.after_s = after_s
        self.trigger = trigger
        self.waiting: list[tuple[float, str]] = []
        self.former = ['{"id": "former/1", "startedAt": 1, "reportedAt": 2}']
        self.broken_after: int | None = None
        self.broken_by: Exception = PollError("the broker went away")
        self.silent = False
        self.unreachable = False
        self.taken = 0

    async def send(self, bodies: Sequence[str]) -> None:
        if self.broken_after is not None and self.taken + len(bodies) > self.broken_after:
            raise self.broken_by
        self.taken += len(bodies)
        self.waiting += [(self.clock.monotonic() + self.after_s, body) for body in bodies]

    async def reports(self) -> list[str]:
        former, self.former = self.former, []
        now = self.clock.monotonic()
        due = [body for at, body in self.waiting if at <= now]
        self.waiting = [(at, body) for at, body in self.waiting if at > now]
        return former + [self._report(json.loads(body)) for body in due]

    def _report(self, facts: dict[str, Any]) -> str:
        now = self.clock.now().timestamp()
        said = {"id": facts["id"], "startedAt": now - 1, "reportedAt": now}
        return json.dumps(said | ({"poison": True} if facts["poison"] else {}))

    def live_job(self, _job: str) -> Any:
        if self.unreachable:
            raise DaemonUnreachable("no daemon answers")
        rules = [{"value": len(self.waiting)}]
        return {
            "triggerType": self.trigger,
            "trigger": {"maxExecutions": 3},
            "running": min(3, len(self.waiting)),
            "lastDecision": {"rules": rules},
        }

    def executions(self, _job: str, *, limit: int | None = None) -> list[Any]:
        assert limit is not None
        end = self.clock.now()
        row = {"status": "Succeeded", "startTime": end.isoformat(), "endTime": end.isoformat()}
        old = {**row, "startTime": "2020-01-01T00:00:00+00:00"}
        return [{"properties": row}] * self.taken + [{"properties": old}]

    def target(self, job: str = "orders") -> Target:
        @asynccontextmanager
        async def open_feed(_place: FeedPlace) -> AsyncIterator[Feed]:
            if self.silent:
                await self.clock.sleep(1e6)
            yield self

        return Target(kind="fake", job=job, feed=FeedType(variable="FAKE", open=open_feed), place=PLACE)

    def stage(self, show: Callable[[Notes], None] = lambda _: None) -> Stage:
        return Stage(daemon=Direct(self), clock=self.clock, show=show)


class Direct:
    """The daemon of a world; threads of `to_thread` read its loop's clock, so answers are made beforehand."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._loop: asyncio.AbstractEventLoop | None = None

    def _on_loop(self, call: Callable[[], T]) -> T:
        async def there() -> T:
            return call()

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(there(), self._loop).result(30)

    def bind(self) -> None:
        self._loop = asyncio.get_running_loop()

    def live_job(self, job: str) -> Any:
        return self._on_loop(lambda: self._world.live_job(job))

    def executions(self, job: str, *, limit: int | None = None) -> list[Any]:
        return self._on_loop(lambda: self._world.executions(job, limit=limit))


def play(story: Coroutine[Any, Any, T]) -> T:
    """Run in virtual time."""
    loop = looptime.new_event_loop(start=0)
    try:
        return loop.run_until_complete(story)
    finally:
        loop.close()


async def flood(world: World, plan: Plan, stage: Stage | None = None) -> Notes:
    stage = stage or world.stage()
    assert isinstance(stage.daemon, Direct)
    stage.daemon.bind()
    (notes,) = await flood_all([world.target()], plan, stage)
    return notes


def test_it_follows_until_every_message_is_done() -> None:
    plan = Plan(count=20, rate=4, burst=2, poison=0.1)
    notes = play(flood(World(), plan))
    found = account(notes, think_s=0.0)
    assert (found.sent, found.poison, found.done, found.lost, found.poison_tries) == (18, 2, 18, 0, 2)
    assert (found.executions, found.wasted, found.peak) == (20, 2, 3)
    assert (found.sums_up, notes.samples[-1].done) == (True, 18)
    depths = [sample.depth for sample in notes.samples]
    assert depths[-1] == 0
    assert max(depth for depth in depths if depth is not None) > 0


def test_reports_of_a_former_run_are_taken_away_first() -> None:
    assert all(report.id != "former/1" for report in play(flood(World(), Plan(count=2))).reports)


def test_a_stop_ends_it_early_and_keeps_what_was_seen() -> None:
    world = World(after_s=1.0)

    async def story() -> Notes:
        def show(notes: Notes) -> None:
            if notes.done() >= 3:
                stage.stop.set()

        stage = world.stage(show)
        return await flood(world, Plan(count=50, rate=1), stage)

    notes = play(story())
    assert notes.interrupted
    assert 3 <= notes.done() <= len(notes.sent) < 50
    assert notes.statuses["Succeeded"] == world.taken


def test_the_time_that_was_given_ends_it_and_what_is_missing_counts_as_lost() -> None:
    found = account(play(flood(World(after_s=1e6), Plan(count=5, timeout_s=30))), think_s=0.0)
    assert (found.sent, found.done, found.lost, found.interrupted) == (5, 0, 5, False)


@pytest.mark.parametrize(
    ("broken_by", "told"),
    [
        (PollError("the broker went away"), "the broker went away"),
        (KeyError("secret"), "unexpected KeyError, a fault of ours or of the broker's client"),
    ],
    ids=("foreseen", "not foreseen"),
)
def test_a_broker_that_goes_away_is_a_fault_of_its_job_and_no_other(broken_by: Exception, told: str) -> None:
    good, bad = World(), World()
    bad.broken_after, bad.broken_by = 3, broken_by

    async def story() -> list[Notes]:
        stage = good.stage()
        assert isinstance(stage.daemon, Direct)
        stage.daemon.bind()
        return await flood_all([good.target(), bad.target("other")], Plan(count=6, rate=2), stage)

    first, second = play(story())
    assert (first.faults, first.done()) == ([], 6)
    assert (second.faults, len(second.sent)) == ([told], 3)
    assert second.statuses["Succeeded"] > 0  # what ran until then is noted all the same


def test_a_stop_does_not_wait_for_a_broker_that_never_answers() -> None:
    world = World()
    world.silent = True

    async def story() -> tuple[Notes, float]:
        stage = world.stage()
        asyncio.get_running_loop().call_later(5, stage.stop.set)
        return await flood(world, Plan(count=1), stage), world.clock.monotonic()

    notes, ended_at = play(story())
    assert (notes.interrupted, notes.samples, notes.statuses) == (True, [], {})
    assert ended_at == pytest.approx(5 + STOPPING_S, abs=1)


def test_poison_alone_is_followed_until_each_was_tried() -> None:
    found = account(play(flood(World(), Plan(count=4, poison=1))), think_s=0.0)
    assert (found.sent, found.poison, found.poison_tries, found.executions) == (0, 4, 4, 4)


def test_a_daemon_that_is_away_for_a_while_leaves_gaps() -> None:
    world = World()

    async def story() -> Notes:
        def show(notes: Notes) -> None:
            world.unreachable = 3 <= len(notes.samples) < 6

        return await flood(world, Plan(count=10, rate=2), world.stage(show))

    notes = play(story())
    gaps = [sample for sample in notes.samples if sample.running is None]
    assert (len(gaps), {sample.depth for sample in gaps}) == (3, {None})
    assert notes.done() == 10


def test_a_job_that_takes_no_messages_is_refused_before_anything_is_sent() -> None:
    world = World(trigger="Manual")
    with pytest.raises(ScalerError, match="not started by messages"):
        play(flood(world, Plan(count=1)))
    assert world.taken == 0
