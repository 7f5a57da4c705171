"""Many rules on one source, through the engine in virtual time: its budget of requests, and how it comes back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scaler.engine.limits import Limits
from scaler.errors import PollError
from scaler.model.sample import Sample
from scaler.ports.scaler import Scaler, ScalerContext, ScalerType
from scaler.testing.fake_queue import FakeMetadata
from tests.engine.world import World, event_job, in_virtual_time


class Broker:
    """Answers rules that ask each for itself, or all by one request; counts the requests, and when they came."""

    def __init__(self, clock, *, requests: int = 1) -> None:
        self.clock, self.requests = clock, requests
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.at: list[float] = []
        self.connections = 0
        self.is_down = False
        self.type = ScalerType(
            metadata=FakeMetadata,
            target=lambda _meta: 1.0,
            open=self._open,
            source=lambda _meta: "fake://broker",
            summary="",
        )

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[object]:
        self.connections += 1
        yield object()

    @asynccontextmanager
    async def _open(self, _meta: FakeMetadata, context: ScalerContext) -> AsyncIterator[Scaler]:
        async with context.sessions.lease("broker", self._connection):
            yield Asker(self, context)


class Asker:
    def __init__(self, broker: Broker, context: ScalerContext) -> None:
        self._broker, self._context = broker, context

    async def poll(self) -> Sample:
        broker, name = self._broker, self._context.job
        for _ in range(broker.requests):
            await self._context.note_request()
            broker.asked[name] += 1
            broker.at.append(broker.clock.monotonic())
            await asyncio.sleep(0.005)
            if broker.is_down:
                raise PollError("refused", reason="Unreachable")
        broker.answered[name] += 1
        return Sample(value=0, active=False)


def tell(world: World, broker: Broker) -> None:
    world.resolve = lambda _job, _rule: (broker.type, FakeMetadata(queue="q"))


def busiest_second(times: list[float]) -> int:
    return max(sum(1 for other in times if at <= other < at + 1) for at in times)


def test_a_hundred_rules_share_ten_requests_a_second_equally() -> None:
    async def story() -> None:
        world = World()
        world.limits = Limits(source_requests=10)
        broker = Broker(world.clock)
        tell(world, broker)
        jobs = [event_job(f"job-{number}", interval_s=5) for number in range(100)]
        async with world.engine(*jobs) as engine:
            await asyncio.sleep(200)
            failed = {
                verdict.error_reason
                for job in jobs
                for decision in await world.store.decisions(job.name, limit=1000)
                for verdict in decision.rules
            }
            message = next(
                verdict.error
                for decision in await world.store.decisions("job-99", limit=1000)
                for verdict in decision.rules
                if verdict.error
            )
            assert engine.job("job-0").last_decision is not None
        assert len(broker.asked) == 100
        assert max(broker.asked.values()) - min(broker.asked.values()) <= 3, "of some 15 each"
        assert sum(broker.asked.values()) >= 0.7 * 10 * 200
        assert busiest_second(broker.at) <= 12
        assert failed == {None, "BudgetExhausted"}
        assert message.startswith("fake://broker: no turn within 3.")
        assert "for only 10 requests a second are allowed" in message

    in_virtual_time(story)


def test_answers_of_several_requests_come_about_under_a_budget_too() -> None:
    async def story() -> None:
        world = World()
        world.limits = Limits(source_requests=10)
        broker = Broker(world.clock, requests=3)
        tell(world, broker)
        jobs = [event_job(f"job-{number}", interval_s=10) for number in range(40)]
        async with world.engine(*jobs):
            await asyncio.sleep(200)
        assert len(broker.answered) == 40
        assert min(broker.answered.values()) >= max(broker.answered.values()) / 3, "nobody starves"
        assert sum(broker.answered.values()) * 3 >= 0.8 * sum(broker.asked.values())

    in_virtual_time(story)


def test_a_source_without_a_budget_is_asked_by_all_at_their_pace() -> None:
    async def story() -> None:
        world = World()
        broker = Broker(world.clock)
        tell(world, broker)
        async with world.engine(*[event_job(f"job-{n}", interval_s=5) for n in range(100)]):
            await asyncio.sleep(51)
        assert set(broker.answered.values()) == {11}

    in_virtual_time(story)


def test_a_thousand_rules_do_not_storm_a_broker_that_is_dead_nor_when_it_returns() -> None:
    async def story() -> None:
        world = World()
        broker = Broker(world.clock)
        tell(world, broker)
        jobs = [event_job(f"job-{number}", interval_s=10) for number in range(1000)]
        async with world.engine(*jobs):
            await asyncio.sleep(8)
            broker.is_down = True
            await asyncio.sleep(16)
            broker.at.clear()
            broker.connections = 0
            await asyncio.sleep(30)
            while_dead, connected = len(broker.at), broker.connections
            broker.is_down = False
            broker.at.clear()
            broker.connections = 0
            began = world.clock.monotonic()
            await asyncio.sleep(14)
        assert 2 <= while_dead <= 10, "one rule asks for all, some seconds apart"
        assert connected <= while_dead
        returned = [at - began for at in broker.at]
        assert busiest_second(broker.at) <= 1000, "no second sees more than a tick of all rules"
        assert len(returned) <= 1000 * 3 + 10
        assert broker.connections == 1
        assert min(broker.asked.values()) > 0

    in_virtual_time(story)
