"""`azure-servicebus` without the management API: a look over AMQP in its place, said to be a lower bound."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusMessageState, ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient

from scaler.devbroker import DevBroker, QueueSettings
from scaler.engine.sessions import Sessions
from scaler.model.sample import Sample
from scaler.scalers._azure_bus_peek import MOST, MOST_LINKS, MOST_SEEN, amqp_host, is_active
from scaler.scalers._azure_strings import read_bus
from tests.infra.process import free_ports
from tests.scalers.azure_rules import ScriptedServer, all_text, fault_of, noting, opened, silent_server

KIND = "azure-servicebus"
KEY, LISTEN = "managecanary", "listencanary"
SUBSCRIPTION = {"topicName": "events", "subscriptionName": "audit"}
NO_RIGHT = (
    "the connection string's key lacks the right Manage, so messages were looked at over AMQP, "
    f"at most {MOST} of them"
)


@pytest.fixture
async def pool() -> AsyncIterator[Sessions]:
    async with Sessions() as sessions:
        yield sessions


@pytest.fixture
async def broker() -> AsyncIterator[DevBroker]:
    async with DevBroker(key=KEY, listen_key=LISTEN) as running:
        running.add_queue("orders", QueueSettings(lock_duration_s=30))
        running.add_topic("events", "audit", "billing")
        yield running


def rule(broker: DevBroker, **texts: str) -> dict[str, str]:
    return {**texts, "adminPort": str(broker.http_port)}


def open_client(broker: DevBroker) -> ServiceBusClient:
    return ServiceBusClient.from_connection_string(broker.connection_string)


async def send(broker: DevBroker, entity: str, count: int) -> None:
    async with open_client(broker) as client:
        sender = client.get_topic_sender(entity) if entity == "events" else client.get_queue_sender(entity)
        async with sender:
            await sender.send_messages([ServiceBusMessage(f"m{i}") for i in range(count)])


def figures(sample: Sample) -> Sample:
    """Give the sample without its moment."""
    return dataclasses.replace(sample, as_of=None)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.moment = datetime.now(UTC)

    def now(self) -> datetime:
        return self.moment


# -- the number


async def test_without_the_right_manage_the_messages_are_counted_and_said_to_be_a_lower_bound(
    broker: DevBroker, pool: Sessions
) -> None:
    await send(broker, "orders", 7)
    before = datetime.now(UTC)
    async with opened(
        KIND, pool, rule(broker, queueName="orders"), broker.listen_connection_string
    ) as scaler:
        sample = await scaler.poll()
    assert figures(sample) == Sample(value=7, active=True, includes_taken=True, lower_bound=NO_RIGHT)
    assert sample.as_of is not None
    assert before <= sample.as_of <= datetime.now(UTC)


async def test_an_empty_entity_is_zero_and_inactive(broker: DevBroker, pool: Sessions) -> None:
    async with opened(KIND, pool, rule(broker, **SUBSCRIPTION), broker.listen_connection_string) as scaler:
        assert figures(await scaler.poll()) == Sample(value=0, active=False, lower_bound=NO_RIGHT)


async def test_the_subscription_is_counted_and_not_its_neighbour(broker: DevBroker, pool: Sessions) -> None:
    await send(broker, "events", 3)
    async with open_client(broker) as client:
        async with client.get_subscription_receiver("events", "audit") as receiver:
            (taken,) = await receiver.receive_messages(max_message_count=1, max_wait_time=5)
            await receiver.complete_message(taken)
    async with opened(KIND, pool, rule(broker, **SUBSCRIPTION), broker.listen_connection_string) as scaler:
        assert (await scaler.poll()).value == 2


async def test_locked_messages_count_and_deferred_scheduled_and_dead_ones_do_not(
    broker: DevBroker, pool: Sessions
) -> None:
    await send(broker, "orders", 6)
    async with open_client(broker) as client, client.get_queue_receiver("orders") as receiver:
        first, second, third, *_locked = await receiver.receive_messages(max_message_count=4, max_wait_time=5)
        await receiver.defer_message(first)
        await receiver.dead_letter_message(second)
        await receiver.abandon_message(third)
        async with client.get_queue_sender("orders") as sender:
            due = datetime.now(UTC) + timedelta(hours=1)
            await sender.schedule_messages(ServiceBusMessage("later"), due)
        async with opened(
            KIND, pool, rule(broker, queueName="orders"), broker.listen_connection_string
        ) as scaler:
            sample = await scaler.poll()
    assert sample.value == 6 - 1 - 1


@pytest.mark.parametrize(
    ("state", "expires_s", "expected"),
    [
        (ServiceBusMessageState.ACTIVE, None, True),
        (ServiceBusMessageState.ACTIVE, 1, True),
        (ServiceBusMessageState.ACTIVE, -1, False),
        (ServiceBusMessageState.DEFERRED, None, False),
        (ServiceBusMessageState.SCHEDULED, None, False),
    ],
)
def test_an_expired_message_that_is_still_shown_does_not_count(
    state: ServiceBusMessageState, expires_s: float | None, expected: bool
) -> None:
    now = datetime.now(UTC)

    class Shown(ServiceBusReceivedMessage):
        def __init__(self) -> None: ...

        @property
        def state(self) -> ServiceBusMessageState:
            return state

        @property
        def expires_at_utc(self) -> datetime | None:
            return None if expires_s is None else now + timedelta(seconds=expires_s)

    assert is_active(Shown(), now) is expected


async def test_no_more_is_looked_at_than_is_asked_for(broker: DevBroker, pool: Sessions) -> None:
    await send(broker, "orders", MOST + 50)
    requests: list[None] = []
    async with opened(
        KIND,
        pool,
        rule(broker, queueName="orders"),
        broker.listen_connection_string,
        note=noting(requests, None),
    ) as scaler:
        assert (await scaler.poll()).value == MOST
        refused_and_looked, requests[:] = len(requests), []
        assert (await scaler.poll()).value == MOST
    assert refused_and_looked <= 4
    assert len(requests) <= 3


async def test_many_messages_none_of_them_active_are_not_taken_for_zero(
    broker: DevBroker, pool: Sessions
) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    async with open_client(broker) as client, client.get_queue_sender("orders") as sender:
        for _ in range(2):
            later = [ServiceBusMessage("later") for _ in range(MOST_SEEN // 2 + 1)]
            await sender.schedule_messages(later, due)
    async with opened(
        KIND, pool, rule(broker, queueName="orders"), broker.listen_connection_string
    ) as scaler:
        fault = await fault_of(scaler)
    assert (fault.reason, fault.transient) == ("CountMissing", True)
    assert f"none of the first {MOST_SEEN} messages is active" in str(fault)


# -- when


async def test_an_emulator_without_management_api_is_looked_into(pool: Sessions) -> None:
    (nobody,) = free_ports(1)
    async with DevBroker(has_admin=False) as broker:
        broker.add_queue("orders")
        await send(broker, "orders", 2)
        texts = {"queueName": "orders", "adminPort": str(nobody)}
        async with opened(KIND, pool, texts, broker.connection_string) as scaler:
            sample = await scaler.poll()
    assert (sample.value, sample.active) == (2, True)
    assert sample.lower_bound is not None
    assert sample.lower_bound.startswith(f"the emulator has no management API at 127.0.0.1:{nobody}, so")


@pytest.mark.parametrize("body", ["", "<html>not found</html>"])
async def test_a_page_that_is_not_found_is_no_management_api_and_no_missing_entity(
    pool: Sessions, body: str
) -> None:
    async with DevBroker(has_admin=False) as broker, ScriptedServer(404, body).serving() as server:
        broker.add_queue("orders")
        await send(broker, "orders", 2)
        texts = {"queueName": "orders", "adminPort": str(server.port)}
        async with opened(KIND, pool, texts, broker.connection_string) as scaler:
            sample = await scaler.poll()
    assert (sample.value, sample.lower_bound is not None) == (2, True)


async def test_the_management_api_is_asked_again_after_a_minute_and_then_is_exact(pool: Sessions) -> None:
    ports, clock, requests = free_ports(2), Clock(), list[None]()
    async with AsyncExitStack() as stack:
        bare = DevBroker(amqp_port=ports[0], has_admin=False)
        await stack.enter_async_context(bare)
        bare.add_queue("orders")
        await send(bare, "orders", 3)
        texts = {"queueName": "orders", "adminPort": str(ports[1])}
        scaler = await stack.enter_async_context(
            opened(
                KIND,
                pool,
                texts,
                bare.connection_string,
                note=noting(requests, None),
                now=clock.now,
            )
        )
        bounds = [(await scaler.poll()).lower_bound is None]
        await bare.stop()
        full = await stack.enter_async_context(DevBroker(amqp_port=ports[0], http_port=ports[1]))
        full.add_queue("orders")
        await send(full, "orders", 3)
        clock.moment += timedelta(seconds=59)
        bounds.append((await scaler.poll()).lower_bound is None)
        clock.moment += timedelta(seconds=2)
        requests.clear()
        last = await scaler.poll()
    assert bounds == [False, False]
    assert last == Sample(value=3, active=True)
    assert len(requests) == 1


async def test_a_missing_entity_does_not_have_the_others_ask_the_management_api_again(
    broker: DevBroker, pool: Sessions
) -> None:
    requests: list[str] = []
    async with AsyncExitStack() as stack:
        good, missing = [
            await stack.enter_async_context(
                opened(
                    KIND,
                    pool,
                    rule(broker, queueName=name),
                    broker.listen_connection_string,
                    note=noting(requests, name),
                )
            )
            for name in ("orders", "nope")
        ]
        await good.poll()
        requests.clear()
        for _ in range(2):
            assert (await fault_of(missing)).reason == "EntityNotFound"
            assert (await good.poll()).value == 0
    assert requests == ["nope", "orders"] * 2  # a look each, and no refusal


async def test_other_failures_of_the_management_api_are_no_reason_to_look(pool: Sessions) -> None:
    async with DevBroker(has_admin=False) as broker, ScriptedServer(429).serving() as server:
        broker.add_queue("orders")
        texts = {"queueName": "orders", "adminPort": str(server.port)}
        async with opened(KIND, pool, texts, broker.connection_string) as scaler:
            fault = await fault_of(scaler)
        assert broker.connection_count == 0
    assert fault.reason == "Throttled"


# -- faults


async def test_what_is_wrong_over_amqp_has_its_reason(pool: Sessions) -> None:
    async with DevBroker(key=KEY, listen_key=LISTEN) as broker:
        broker.add_queue("orders")
        broker.add_topic("events", "audit")
        broker.add_queue("chats", QueueSettings(requires_session=True))
        wrong = broker.listen_connection_string.replace(LISTEN, "othercanary")
        table: list[tuple[dict[str, str], str, str, str]] = [
            ({"queueName": "nope"}, broker.listen_connection_string, "EntityNotFound", "does not exist"),
            ({"queueName": "events"}, broker.listen_connection_string, "EntityNotFound", "does not exist"),
            (
                {"topicName": "events", "subscriptionName": "nope"},
                broker.listen_connection_string,
                "EntityNotFound",
                "does not exist",
            ),
            ({"queueName": "chats"}, broker.listen_connection_string, "AuthorizationFailed", "with sessions"),
            ({"queueName": "orders"}, wrong, "AuthenticationFailed", "access refused (HTTP 401)"),
            (
                {"queueName": ".*", "useRegex": "true"},
                broker.listen_connection_string,
                "AuthenticationFailed",
                "the right Manage",
            ),
        ]
        for texts, connection, reason, words in table:
            async with opened(KIND, pool, rule(broker, **texts), connection) as scaler:
                fault = await fault_of(scaler)
            assert (texts, fault.reason, fault.transient) == (texts, reason, False)
            assert words in str(fault)
            assert "canary" not in all_text(fault)


async def test_without_amqp_as_well_the_refusal_is_told(pool: Sessions) -> None:
    (nobody,) = free_ports(1)
    connection = f"Endpoint=sb://127.0.0.1:{nobody};SharedAccessKeyName=a;SharedAccessKey=canary;UseDevelopmentEmulator=true"
    async with ScriptedServer(403).serving() as server:
        texts = {"queueName": "q", "adminPort": str(server.port)}
        async with opened(KIND, pool, texts, connection) as scaler:
            fault = await fault_of(scaler)
    assert (fault.reason, fault.transient) == ("AuthenticationFailed", False)
    assert "access refused (HTTP 403)" in str(fault)
    assert str(fault).endswith("(looking over AMQP instead failed too: Unreachable)")
    assert "canary" not in all_text(fault)


async def test_amqp_that_never_answers_leaves_the_refusal_told_in_time(pool: Sessions) -> None:
    async with silent_server() as silent, ScriptedServer(401).serving() as server:
        connection = f"Endpoint=sb://127.0.0.1:{silent};SharedAccessKeyName=a;SharedAccessKey=canary;UseDevelopmentEmulator=true"
        texts = {"queueName": "q", "adminPort": str(server.port)}
        async with opened(KIND, pool, texts, connection, timeout_s=2) as scaler:
            began = asyncio.get_running_loop().time()
            fault = await fault_of(scaler)
            took_s = asyncio.get_running_loop().time() - began
    assert fault.reason == "AuthenticationFailed"
    assert str(fault).endswith("failed too: Timeout)")
    assert took_s < 3


async def test_a_broker_that_restarts_is_looked_into_again(pool: Sessions) -> None:
    amqp, nobody = free_ports(2)
    async with AsyncExitStack() as stack:
        for count in (2, 4):
            broker = await stack.enter_async_context(DevBroker(amqp_port=amqp, has_admin=False))
            broker.add_queue("orders")
            await send(broker, "orders", count)
            texts = {"queueName": "orders", "adminPort": str(nobody)}
            if count == 2:
                scaler = await stack.enter_async_context(opened(KIND, pool, texts, broker.connection_string))
            assert (await scaler.poll()).value == count
            if count == 2:
                await broker.stop()
                assert (await fault_of(scaler)).reason == "Unreachable"


# -- connections


async def test_many_entities_share_few_connections_and_all_are_closed(broker: DevBroker) -> None:
    names = [f"many-{number}" for number in range(MOST_LINKS + 4)]
    for name in names:
        broker.add_queue(name)
    await send(broker, names[-1], 1)
    async with Sessions() as pool, AsyncExitStack() as stack:
        scalers = [
            await stack.enter_async_context(
                opened(KIND, pool, rule(broker, queueName=name), broker.listen_connection_string)
            )
            for name in names
        ]
        for _ in range(2):
            async with asyncio.TaskGroup() as group:
                polls = [group.create_task(each.poll()) for each in scalers]
            assert [poll.result().value for poll in polls] == [0] * (len(names) - 1) + [1]
        async with asyncio.timeout(10):
            while broker.connection_count > MOST_LINKS:
                await asyncio.sleep(0.05)
    async with asyncio.timeout(10):
        while broker.connection_count:
            await asyncio.sleep(0.05)


async def test_rules_of_one_entity_look_once(broker: DevBroker, pool: Sessions) -> None:
    await send(broker, "orders", 3)
    requests: list[None] = []
    async with AsyncExitStack() as stack:
        scalers = [
            await stack.enter_async_context(
                opened(
                    KIND,
                    pool,
                    rule(broker, queueName="orders"),
                    broker.listen_connection_string,
                    note=noting(requests, None),
                )
            )
            for _ in range(20)
        ]
        await scalers[0].poll()
        requests.clear()
        async with asyncio.TaskGroup() as group:
            polls = [group.create_task(each.poll()) for each in scalers]
    assert [poll.result().value for poll in polls] == [3] * 20
    assert len(requests) == 2  # three messages, and that there are no more


@pytest.mark.parametrize(
    ("endpoint", "admin_port", "expected"),
    [
        ("sb://localhost", None, "localhost:5672"),
        ("sb://localhost:5672", None, "localhost:5672"),
        ("sb://localhost:5300", None, "localhost:5672"),
        ("sb://localhost:15672", 15300, "localhost:15672"),
        ("sb://localhost:15300", 15300, "localhost:5672"),
        ("sb://[::1]:5672", None, "[::1]:5672"),
    ],
)
def test_both_connection_strings_of_an_emulator_lead_to_its_amqp_port(
    endpoint: str, admin_port: int | None, expected: str
) -> None:
    text = f"Endpoint={endpoint};SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true"
    assert amqp_host(read_bus(text), admin_port) == expected


def test_a_namespace_of_azure_is_reached_on_the_port_of_amqps() -> None:
    text = "Endpoint=sb://ns.servicebus.windows.net:443/;SharedAccessKeyName=a;SharedAccessKey=b"
    assert amqp_host(read_bus(text), None) == "ns.servicebus.windows.net"
