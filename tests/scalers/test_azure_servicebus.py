"""The scaler `azure-servicebus` against the development broker, and its parameters against their table."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import aiohttp
import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from scaler.devbroker import DevBroker
from scaler.engine.sessions import Sessions
from scaler.model.sample import Sample
from tests.infra.process import free_ports
from tests.scalers.azure_rules import ScriptedServer, all_text, fault_of, opened, silent_server

KIND = "azure-servicebus"
CANARY = "canarycanarycanary"
CONNECTION = f"Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=root;SharedAccessKey={CANARY}"
SUBSCRIPTION = {"topicName": "events", "subscriptionName": "audit"}


@pytest.fixture
async def pool() -> AsyncIterator[Sessions]:
    async with Sessions() as sessions:
        yield sessions


@pytest.fixture
async def broker() -> AsyncIterator[DevBroker]:
    async with DevBroker(key=CANARY) as running:
        running.add_queue("orders")
        running.add_topic("events", "audit", "billing")
        yield running


def emulator(port: int, key: str = CANARY) -> str:
    return (
        f"Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey={key};"
        "UseDevelopmentEmulator=true;"
    )


def rule(broker: DevBroker, **texts: str) -> dict[str, str]:
    return {**texts, "adminPort": str(broker.http_port)}


async def send(broker: DevBroker, entity: str, count: int) -> None:
    async with ServiceBusClient.from_connection_string(broker.connection_string) as client:
        sender = client.get_topic_sender(entity) if entity == "events" else client.get_queue_sender(entity)
        async with sender:
            await sender.send_messages([ServiceBusMessage(f"m{i}") for i in range(count)])


# -- the number


async def test_an_empty_queue_is_zero_and_inactive(broker: DevBroker, pool: Sessions) -> None:
    async with opened(KIND, pool, rule(broker, queueName="orders"), broker.connection_string) as scaler:
        assert await scaler.poll() == Sample(value=0, active=False, includes_taken=True, taken=None)


async def test_messages_of_a_queue_are_counted_with_the_locked_ones(
    broker: DevBroker, pool: Sessions
) -> None:
    await send(broker, "orders", 5)
    async with (
        opened(KIND, pool, rule(broker, queueName="orders"), broker.connection_string) as scaler,
        ServiceBusClient.from_connection_string(broker.connection_string) as client,
        client.get_queue_receiver("orders") as receiver,
    ):
        locked = await receiver.receive_messages(max_message_count=2, max_wait_time=5)
        assert await scaler.poll() == Sample(value=5, active=True, includes_taken=True, taken=None)
        for message in locked:
            await receiver.complete_message(message)
        assert (await scaler.poll()).value == 5 - len(locked) < 5


async def test_messages_of_a_subscription_are_counted(broker: DevBroker, pool: Sessions) -> None:
    await send(broker, "events", 3)
    async with opened(KIND, pool, rule(broker, **SUBSCRIPTION), broker.connection_string) as scaler:
        assert await scaler.poll() == Sample(value=3, active=True, includes_taken=True, taken=None)


@pytest.mark.parametrize(("activation", "is_active"), [("2", True), ("3", False)])
async def test_active_is_strictly_above_the_activation(
    broker: DevBroker, pool: Sessions, activation: str, is_active: bool
) -> None:
    await send(broker, "orders", 3)
    texts = rule(broker, queueName="orders", activationMessageCount=activation)
    async with opened(KIND, pool, texts, broker.connection_string) as scaler:
        assert await scaler.poll() == Sample(value=3, active=is_active)


async def test_a_pattern_counts_the_queues_whose_whole_name_it_matches(
    broker: DevBroker, pool: Sessions
) -> None:
    async with asyncio.TaskGroup() as group:
        for queue, count in (("in-1", 2), ("in-2", 4), ("out", 9)):
            broker.add_queue(queue)
            group.create_task(send(broker, queue, count))
    expected = {
        ("in-.*", "sum"): 6,
        ("in-.*", "max"): 4,
        ("in-.*", "avg"): 3,
        ("in-", "sum"): 0,
        ("IN-.*", "sum"): 0,
        ("in-1|in-2", "sum"): 6,
        ("nothing", "avg"): 0,
    }
    found = {}
    for pattern, operation in expected:
        texts = rule(broker, queueName=pattern, useRegex="true", operation=operation)
        async with opened(KIND, pool, texts, broker.connection_string) as scaler:
            found[pattern, operation] = (await scaler.poll()).value
    assert found == expected


async def test_a_pattern_of_subscriptions_stays_within_its_topic(broker: DevBroker, pool: Sessions) -> None:
    await send(broker, "events", 2)
    texts = rule(broker, topicName="events", subscriptionName="audit|bill.*", useRegex="true")
    async with opened(KIND, pool, texts, broker.connection_string) as scaler:
        assert (await scaler.poll()).value == 4


async def test_a_pattern_looks_at_all_pages_of_the_list(broker: DevBroker, pool: Sessions) -> None:
    for number in range(250):
        broker.add_queue(f"many-{number:03}")
    await send(broker, "many-249", 1)
    await send(broker, "many-000", 1)
    texts = rule(broker, queueName=r"many-\d+", useRegex="true")
    async with opened(KIND, pool, texts, broker.connection_string) as scaler:
        assert (await scaler.poll()).value == 2


async def test_a_pattern_in_a_namespace_without_queues_counts_zero(pool: Sessions) -> None:
    async with DevBroker() as empty:
        texts = rule(empty, queueName=".*", useRegex="true")
        async with opened(KIND, pool, texts, empty.connection_string) as scaler:
            assert (await scaler.poll()).value == 0


# -- faults


@pytest.mark.parametrize(
    "texts",
    [
        {"queueName": "missing"},
        {"topicName": "missing", "subscriptionName": "audit"},
        {"topicName": "events", "subscriptionName": "missing"},
    ],
)
async def test_a_missing_entity_is_an_error(broker: DevBroker, pool: Sessions, texts: dict[str, str]) -> None:
    async with opened(KIND, pool, rule(broker, **texts), broker.connection_string) as scaler:
        fault = await fault_of(scaler)
    assert (fault.reason, fault.transient) == ("EntityNotFound", False)
    assert "'missing'" in str(fault)
    assert f"at 127.0.0.1:{broker.http_port}: does not exist" in str(fault)


async def test_the_name_of_a_topic_in_place_of_a_queue_is_an_error(broker: DevBroker, pool: Sessions) -> None:
    async with opened(KIND, pool, rule(broker, queueName="events"), broker.connection_string) as scaler:
        fault = await fault_of(scaler)
    assert fault.reason == "CountMissing"
    assert "another kind of entity" in str(fault)


async def test_a_wrong_key_is_an_authentication_fault(broker: DevBroker, pool: Sessions) -> None:
    connection = emulator(broker.amqp_port, key="othersecret")
    async with opened(KIND, pool, rule(broker, queueName="orders"), connection) as scaler:
        fault = await fault_of(scaler)
    assert (fault.reason, fault.transient) == ("AuthenticationFailed", False)
    assert "othersecret" not in all_text(fault)


async def test_an_address_where_nobody_listens_is_unreachable(pool: Sessions) -> None:
    (port,) = free_ports(1)
    texts = {"queueName": "q", "adminPort": str(port)}
    async with opened(KIND, pool, texts, emulator(5672)) as scaler:
        fault = await fault_of(scaler)
    assert (fault.reason, fault.transient) == ("Unreachable", True)
    assert CANARY not in all_text(fault)


@pytest.mark.parametrize("texts", [{"queueName": "q"}, {"queueName": ".*", "useRegex": "true"}])
async def test_a_server_that_never_answers_is_a_timeout(pool: Sessions, texts: dict[str, str]) -> None:
    async with silent_server() as port:
        rule = {**texts, "adminPort": str(port)}
        async with opened(KIND, pool, rule, emulator(5672), timeout_s=0.5) as scaler:
            begin = time.monotonic()
            fault = await fault_of(scaler)
    assert (fault.reason, fault.transient) == ("Timeout", True)
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize(
    ("status", "reason", "transient"),
    [
        (429, "Throttled", True),
        (503, "Throttled", True),
        (500, "ServiceError", True),
        (401, "AuthenticationFailed", False),
        (403, "AuthenticationFailed", False),
        (404, "EntityNotFound", False),
        (400, "BadRequest", False),
    ],
)
async def test_each_kind_of_refusal_has_its_reason(
    pool: Sessions, status: int, reason: str, transient: bool
) -> None:
    body = f"<Error><Code>{status}</Code><Detail>{CANARY}</Detail></Error>"
    async with ScriptedServer(status, body).serving() as server:
        texts = {"queueName": "q", "adminPort": str(server.port)}
        async with opened(KIND, pool, texts, emulator(5672)) as scaler:
            fault = await fault_of(scaler)
    assert (fault.reason, fault.transient) == (reason, transient)
    assert CANARY not in str(fault)
    assert len(server.seen) == 1


ENTRY = (
    '<entry xmlns="http://www.w3.org/2005/Atom"><title>{name}</title><content type="application/xml">'
    '<QueueDescription xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect">'
    "<MessageCount>7</MessageCount></QueueDescription></content></entry>"
)


@pytest.mark.parametrize(
    ("texts", "body"),
    [
        ({"queueName": "q"}, ENTRY.format(name="q")),
        (
            {"queueName": ".*", "useRegex": "true"},
            f'<feed xmlns="http://www.w3.org/2005/Atom">{ENTRY.format(name="q")}</feed>',
        ),
    ],
)
async def test_an_answer_without_counts_is_never_read_as_zero(
    pool: Sessions, texts: dict[str, str], body: str
) -> None:
    async with ScriptedServer(200, body).serving() as server:
        rule = {**texts, "adminPort": str(server.port)}
        async with opened(KIND, pool, rule, emulator(5672)) as scaler:
            fault = await fault_of(scaler)
    assert (fault.reason, fault.transient) == ("CountMissing", True)


@pytest.mark.parametrize("body", ["hello", "<html><body>login</body></html>", ""])
@pytest.mark.parametrize("texts", [{"queueName": "q"}, {"queueName": ".*", "useRegex": "true"}])
async def test_the_page_of_another_server_is_never_read_as_zero(
    pool: Sessions, texts: dict[str, str], body: str
) -> None:
    async with ScriptedServer(200, body).serving() as server:
        rule = {**texts, "adminPort": str(server.port)}
        async with opened(KIND, pool, rule, emulator(5672)) as scaler:
            fault = await fault_of(scaler)
    assert (fault.reason, fault.transient) == ("BadAnswer", True)


async def test_a_broker_that_comes_back_is_read_again(pool: Sessions) -> None:
    ports = free_ports(2)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(DevBroker(amqp_port=ports[0], http_port=ports[1]))
        first.add_queue("orders")
        texts = rule(first, queueName="orders")
        scaler = await stack.enter_async_context(opened(KIND, pool, texts, first.connection_string))
        before = await scaler.poll()
        await first.stop()
        fault = await fault_of(scaler)
        second = await stack.enter_async_context(DevBroker(amqp_port=ports[0], http_port=ports[1]))
        second.add_queue("orders")
        assert await scaler.poll() == before
    assert fault.reason == "Unreachable"


# -- sessions and credentials


async def test_a_hundred_rules_share_one_session(
    broker: DevBroker, pool: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[aiohttp.ClientSession] = []
    original = aiohttp.ClientSession.__init__

    def record(self: aiohttp.ClientSession, *args: object, **options: object) -> None:
        made.append(self)
        original(self, *args, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", record)
    kinds: Sequence[dict[str, str]] = ({"queueName": "orders"}, SUBSCRIPTION)
    async with AsyncExitStack() as stack:
        rules = [
            await stack.enter_async_context(
                opened(KIND, pool, rule(broker, **kinds[number % 2]), broker.connection_string)
            )
            for number in range(100)
        ]
        async with asyncio.TaskGroup() as group:
            polls = [group.create_task(each.poll()) for each in rules]
        assert [poll.result().value for poll in polls] == [0] * 100
        assert [session.closed for session in made] == [False]
    await asyncio.sleep(0.1)
    assert [session.closed for session in made] == [True]


async def test_a_ready_sas_token_is_sent_as_the_service_wants_it(pool: Sessions) -> None:
    sas = "SharedAccessSignature sr=sb%3a%2f%2fns&sig=canary&se=4102444800&skn=listen"
    connection = f"Endpoint=sb://127.0.0.1;SharedAccessSignature={sas};UseDevelopmentEmulator=true"
    async with ScriptedServer(401).serving() as server:
        texts = {"queueName": "q", "adminPort": str(server.port)}
        async with opened(KIND, pool, texts, connection) as scaler:
            fault = await fault_of(scaler)
    assert server.seen[0][1]["Authorization"] == sas
    assert fault.reason == "AuthenticationFailed"
    assert "canary" not in all_text(fault)


async def test_an_identity_that_gets_no_token_is_an_authentication_fault(
    pool: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedServer(400, '{"error": "no such identity"}').serving() as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.port}/token")
        monkeypatch.setenv("IDENTITY_HEADER", "canary")
        async with opened(KIND, pool, {"queueName": "q", "namespace": "ns"}, identity="/id/me") as scaler:
            fault = await fault_of(scaler)
    assert (fault.reason, fault.transient) == ("AuthenticationFailed", False)
    assert str(fault).startswith("identity '/id/me': no token (")
    assert "resource=https://servicebus.azure.net" in server.seen[0][0]
    assert "canary" not in all_text(fault)
