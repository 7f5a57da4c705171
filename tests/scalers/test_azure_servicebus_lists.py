"""`azure-servicebus`: many rules of one namespace share the pages of its lists; one rule asks for itself alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from scaler.devbroker import DevBroker
from scaler.devbroker.admin import AdminApi
from scaler.devbroker.sas import Keys
from scaler.engine.sessions import Sessions
from scaler.errors import PollError
from scaler.model.sample import Sample
from scaler.ports.scaler import Scaler
from tests.scalers.azure_rules import opened

KIND = "azure-servicebus"


@dataclass(slots=True)
class CountedApi:
    """A development broker whose management API counts its requests, and may refuse lists with a status."""

    broker: DevBroker
    port: int = 0
    refuse_lists: int = 0
    seen: list[str] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        @web.middleware
        async def note(request: web.Request, handler: web.RequestHandler) -> web.StreamResponse:
            self.seen.append(request.path)
            await asyncio.sleep(0.05)  # a service is never as near as a test's
            if self.refuse_lists and self.is_list(request.path):
                return web.Response(status=self.refuse_lists)
            return await handler(request)

        app = AdminApi(self.broker.namespace, Keys()).application()
        app.middlewares.append(note)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    @staticmethod
    def is_list(path: str) -> bool:
        return path.lower() == "/$resources/queues" or path.lower().endswith("/subscriptions")

    def taken(self) -> Counter[str]:
        """Give how many lists and single requests came, and forget them."""
        kinds = Counter("list" if self.is_list(path) else "one" for path in self.seen)
        self.seen.clear()
        return kinds


@pytest.fixture
async def api() -> AsyncIterator[CountedApi]:
    async with DevBroker() as broker:
        counted = CountedApi(broker)
        await counted.start()
        yield counted
        await counted.stop()


@pytest.fixture
async def pool() -> AsyncIterator[Sessions]:
    async with Sessions() as sessions:
        yield sessions


@asynccontextmanager
async def rules(
    api: CountedApi, pool: Sessions, metadata: Sequence[Mapping[str, str]]
) -> AsyncIterator[list[Scaler]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                opened(KIND, pool, {**texts, "adminPort": str(api.port)}, api.broker.connection_string)
            )
            for texts in metadata
        ]


async def tick(scalers: Sequence[Scaler]) -> list[float | str]:
    """Poll all at once; give values, or a fault's reason."""

    async def one(scaler: Scaler) -> float | str:
        try:
            return (await scaler.poll()).value
        except PollError as exc:
            return exc.reason

    async with asyncio.TaskGroup() as group:
        polls = [group.create_task(one(scaler)) for scaler in scalers]
    return [poll.result() for poll in polls]


async def fill(api: CountedApi, counts: Mapping[str, int]) -> None:
    async with ServiceBusClient.from_connection_string(api.broker.connection_string) as client:
        for name, count in counts.items():
            async with client.get_queue_sender(name) as sender:
                await sender.send_messages([ServiceBusMessage("m") for _ in range(count)])


def queues(api: CountedApi, count: int) -> list[str]:
    names = [f"q{number:03}" for number in range(count)]
    for name in names:
        api.broker.add_queue(name)
    return names


async def test_one_rule_alone_asks_for_its_own_entity_only(api: CountedApi, pool: Sessions) -> None:
    names = queues(api, 100)
    async with rules(api, pool, [{"queueName": names[7]}]) as (scaler,):
        for _ in range(3):
            assert await scaler.poll() == Sample(value=0, active=False)
    assert api.taken() == {"one": 3}


async def test_a_hundred_rules_take_a_few_requests_a_tick_and_read_what_each_alone_would(
    api: CountedApi, pool: Sessions
) -> None:
    names = queues(api, 100)
    await fill(api, {names[0]: 1, names[42]: 2, names[99]: 3})
    async with rules(api, pool, [{"queueName": name} for name in names]) as scalers:
        for _ in range(3):
            together = await tick(scalers)
            kinds = api.taken()
            assert kinds.total() <= 3
            assert kinds["list"] == 1
        alone = [(await scaler.poll()).value for scaler in scalers]
    assert together == alone
    assert {i: v for i, v in enumerate(together) if v} == {0: 1, 42: 2, 99: 3}
    assert api.taken() == {"one": 100}


async def test_a_list_of_many_pages_is_read_only_by_more_rules_than_it_has_pages(
    api: CountedApi, pool: Sessions
) -> None:
    names = queues(api, 450)
    async with rules(api, pool, [{"queueName": name} for name in names[::3]]) as many:
        await tick(many)  # 150 rules, five pages
        assert api.taken()["list"] == 5
        await tick(many)
        kinds = api.taken()
        assert kinds["list"] == 5
        assert kinds["one"] <= 5
        await tick(many[:3])
        assert api.taken() == {"one": 3}


async def test_two_rules_of_a_large_namespace_do_not_read_all_of_it(api: CountedApi, pool: Sessions) -> None:
    names = queues(api, 950)
    async with rules(api, pool, [{"queueName": names[0]}, {"queueName": names[-1]}]) as scalers:
        assert await tick(scalers) == [0, 0]
        assert api.taken() == {"list": 1, "one": 2}
        assert await tick(scalers) == [0, 0]
        assert api.taken() == {"one": 2}  # that there is a second page is known now


async def test_subscriptions_of_one_topic_share_their_list_and_topics_stay_apart(
    api: CountedApi, pool: Sessions
) -> None:
    subscriptions = [f"s{number}" for number in range(40)]
    for topic in ("events", "alarms"):
        api.broker.add_topic(topic, *subscriptions)
    async with ServiceBusClient.from_connection_string(api.broker.connection_string) as client:
        async with client.get_topic_sender("events") as sender:
            await sender.send_messages([ServiceBusMessage("a"), ServiceBusMessage("b")])
    metadata = [
        {"topicName": topic, "subscriptionName": name}
        for topic in ("events", "alarms")
        for name in subscriptions
    ]
    async with rules(api, pool, metadata) as scalers:
        assert await tick(scalers) == [2] * 40 + [0] * 40
        kinds = api.taken()
    assert kinds["list"] == 2
    assert kinds.total() <= 6


async def test_a_missing_entity_spoils_no_other_rule(api: CountedApi, pool: Sessions) -> None:
    names = queues(api, 30)
    texts = [{"queueName": name} for name in [*names, "missing"]]
    async with rules(api, pool, texts) as scalers:
        for _ in range(2):
            assert await tick(scalers) == [0] * 30 + ["EntityNotFound"]
            assert api.taken().total() <= 4


async def test_upper_and_lower_case_are_one_name_in_a_list_as_in_a_request(
    api: CountedApi, pool: Sessions
) -> None:
    names = queues(api, 10)
    await fill(api, {names[3]: 4})
    async with rules(api, pool, [{"queueName": name.upper()} for name in names]) as scalers:
        assert await tick(scalers) == [0, 0, 0, 4, 0, 0, 0, 0, 0, 0]
        assert api.taken().total() <= 3


async def test_where_lists_are_refused_each_rule_asks_for_itself(api: CountedApi, pool: Sessions) -> None:
    names = queues(api, 10)
    api.refuse_lists = 403
    async with rules(api, pool, [{"queueName": name} for name in names]) as scalers:
        assert await tick(scalers) == [0] * 10
    assert api.taken()["one"] == 10


async def test_a_throttled_list_is_everybodys_fault_and_no_storm(api: CountedApi, pool: Sessions) -> None:
    names = queues(api, 50)
    api.refuse_lists = 429
    async with rules(api, pool, [{"queueName": name} for name in names]) as scalers:
        found = Counter(await tick(scalers))
    assert found == {"Throttled": 49, 0: 1}
    assert api.taken() == {"one": 1, "list": 1}


async def test_patterns_of_one_namespace_share_their_list(api: CountedApi, pool: Sessions) -> None:
    names = queues(api, 250)
    await fill(api, {names[0]: 1, names[249]: 2})
    texts = [{"queueName": pattern, "useRegex": "true"} for pattern in ("q.*", "q0.*", "q24.", "none")]
    async with rules(api, pool, texts) as scalers:
        assert await tick(scalers) == [3, 1, 2, 0]
    assert api.taken() == {"list": 3}


async def test_a_reading_from_a_shared_list_is_dated_by_the_request_that_told_it(
    api: CountedApi, pool: Sessions
) -> None:
    names = queues(api, 20)
    async with rules(api, pool, [{"queueName": name} for name in names]) as scalers:
        async with asyncio.TaskGroup() as group:
            polls = [group.create_task(scaler.poll()) for scaler in scalers]
    moments = {poll.result().as_of for poll in polls}
    assert len(moments) == 2  # of the one that asked for itself there is none: the poll's own start holds
    assert None in moments


async def test_a_rule_that_is_cancelled_leaves_the_list_to_the_others(
    api: CountedApi, pool: Sessions
) -> None:
    names = queues(api, 20)
    async with rules(api, pool, [{"queueName": name} for name in names]) as scalers:
        async with asyncio.TaskGroup() as group:
            polls = [group.create_task(scaler.poll()) for scaler in scalers]
            await asyncio.sleep(0.02)
            polls[1].cancel()  # the one that began the list
            polls[5].cancel()
    assert [poll.cancelled() for poll in polls] == [number in (1, 5) for number in range(20)]
    assert [poll.result().value for poll in polls if not poll.cancelled()] == [0] * 18
