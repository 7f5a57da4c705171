"""Each feed on its real broker: what it sends arrives once, what workers report is taken once, and faults are told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from scaler.errors import PollError
from scaler.model.secret import Secret
from scaler.plugins import FEEDS
from scaler.ports.feed import Feed, FeedPlace

KINDS = ("azure-queue", "azure-servicebus", "kafka", "rabbitmq")
BODIES = [f'{{"id": "run/{number}", "pad": "ü"}}' for number in range(130)]
MakePlace = Callable[[str, str], Awaitable[FeedPlace]]


@pytest.fixture
def make_place(request: pytest.FixtureRequest) -> MakePlace:
    """Make a queue on the real broker of a kind, of which only the test knows; it stands for both places."""

    async def make(kind: str, name: str) -> FeedPlace:
        if kind == "rabbitmq":
            rabbitmq = request.getfixturevalue("rabbitmq")
            await rabbitmq.declare(name)
            return FeedPlace(connection=Secret(rabbitmq.amqp_url), queue=name, results=name)
        if kind == "azure-queue":
            azurite = request.getfixturevalue("azurite")
            await azurite.create(name)
            return FeedPlace(connection=Secret(azurite.connection_string), queue=name, results=name)
        if kind == "kafka":
            kafka = request.getfixturevalue("kafka")
            await kafka.create(name, partitions=3)
            return FeedPlace(connection=Secret(kafka.bootstrap), queue=name, results=name)
        bus = request.getfixturevalue("service_bus")
        await bus.create(name)
        return FeedPlace(connection=Secret(bus.connection_string), queue=name, results=name)

    return make


async def taken(feed: Feed, count: int) -> list[str]:
    """Take reports until there are so many."""
    found: list[str] = []
    async with asyncio.timeout(90):
        while len(found) < count:
            found += await feed.reports()
    return found


def test_there_is_a_feed_for_each_broker() -> None:
    assert tuple(FEEDS.known()) == KINDS


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_sent_arrives_and_is_taken_once(
    kind: str, make_place: MakePlace, queue_name: str
) -> None:
    place = await make_place(kind, queue_name)
    async with FEEDS.load(kind).open(place) as feed:
        assert await feed.reports() == []
        await feed.send(BODIES)
        assert sorted(await taken(feed, len(BODIES))) == sorted(BODIES)
        assert await feed.reports() == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_queue_that_is_not_there_is_told(kind: str, make_place: MakePlace, queue_name: str) -> None:
    place = await make_place(kind, queue_name)
    missing = FeedPlace(connection=place.connection, queue=f"{queue_name}-none", results=place.results)
    with pytest.raises(PollError) as caught:
        async with FEEDS.load(kind).open(missing) as feed:
            await feed.send(["x"])
    assert place.connection.reveal() not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["azure-queue", "azure-servicebus"])
async def test_a_message_that_the_broker_refuses_is_told(
    kind: str, make_place: MakePlace, queue_name: str
) -> None:
    place = await make_place(kind, queue_name)
    async with FEEDS.load(kind).open(place) as feed:
        with pytest.raises(PollError) as caught:
            await feed.send(["x" * 2_000_000] * 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["secret", "http://me:secret@localhost/", "amqp://me:secret/x@localhost/", "amqp://me:p:secret@[/"]
)
async def test_what_is_no_address_of_rabbitmq_is_told_without_repeating_it(url: str) -> None:
    place = FeedPlace(connection=Secret(url), queue="jobs", results="results")
    with pytest.raises(PollError) as caught:
        async with FEEDS.load("rabbitmq").open(place):
            pass
    assert "secret" not in str(caught.value)
