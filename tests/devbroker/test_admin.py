"""The management API: create, read, change, list, delete, and clear refusals."""

import datetime as dt
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.exceptions import MessagingEntityNotFoundError, ServiceBusAuthorizationError

from scaler.devbroker import DevBroker

from .conftest import Bus, open_admin

on_the_bus = pytest.mark.asyncio(loop_scope="session")


@on_the_bus
async def test_a_missing_queue_and_a_second_one_of_the_same_name_are_errors(bus: Bus) -> None:
    with pytest.raises(ResourceNotFoundError):
        await bus.admin.get_queue_runtime_properties("nope")
    with pytest.raises(ResourceExistsError):
        await bus.admin.create_queue(bus.queue)


@on_the_bus
async def test_lock_duration_and_max_delivery_count_are_set_and_changed(bus: Bus) -> None:
    found = await bus.admin.get_queue(bus.queue)
    assert (found.lock_duration, found.max_delivery_count) == (dt.timedelta(seconds=bus.short_lock_s), 3)
    found.max_delivery_count, found.lock_duration = 7, dt.timedelta(minutes=2)
    await bus.admin.update_queue(found)
    changed = await bus.admin.get_queue(bus.queue)
    assert (changed.lock_duration, changed.max_delivery_count) == (dt.timedelta(minutes=2), 7)


@on_the_bus
async def test_paging_finds_every_queue_once(bus: Bus) -> None:
    names = [f"{bus.queue}/sub{n}" for n in range(3)]
    for name in names:
        await bus.admin.create_queue(name)
    static = [one.name async for one in bus.admin.list_queues()]
    paged = [one.name async for one in bus.admin.list_queues_runtime_properties(max_page_size=2)]
    assert static == paged
    assert set(static) >= {bus.queue, *names}
    for name in names:
        await bus.admin.delete_queue(name)
    with pytest.raises(ResourceNotFoundError):
        await bus.admin.get_queue(names[0])


@on_the_bus
async def test_the_namespace_has_a_name(bus: Bus) -> None:
    assert (await bus.admin.get_namespace_properties()).name


@on_the_bus
async def test_receiving_from_a_missing_queue_is_an_error(bus: Bus) -> None:
    receiver = bus.client.get_queue_receiver("ghost")
    with pytest.raises(MessagingEntityNotFoundError):
        await receiver.receive_messages(1, 3)
    await receiver.close()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"lock_duration": dt.timedelta(minutes=6)}, "LockDuration: 360 s; use more than 0 s, at most PT5M"),
        ({"max_delivery_count": 0}, "MaxDeliveryCount: 0; use 1 to 2000"),
    ],
)
async def test_a_setting_out_of_range_is_refused_with_its_range(
    broker: DevBroker, options: dict[str, Any], text: str
) -> None:
    async with open_admin(broker.admin_connection_string) as admin:
        with pytest.raises(HttpResponseError) as caught:
            await admin.create_queue("q", **options)
    assert caught.value.status_code == 400
    assert text in str(caught.value)
    assert broker.namespace.queues == {}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/health", b"", 200),
        ("PUT", "/q", b"no xml", 400),
        ("PUT", "/q", b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]><x>&a;</x>", 400),
        ("PUT", "/q", b"<entry xmlns='http://www.w3.org/2005/Atom'/>", 400),
        ("GET", "/$Resources/queues?$skip=-1", b"", 400),
        ("GET", "/$Resources/queues?$top=x", b"", 400),
        ("GET", "/%FF%00", b"", 404),
        ("POST", "/jobs", b"", 405),
        ("GET", "/t/subscriptions/s1/rules", b"", 501),
        ("PUT", "/q", b"x" * 2_000_000, 413),
    ],
)
async def test_a_strange_request_gets_a_clear_status(
    broker: DevBroker, method: str, path: str, body: bytes, status: int
) -> None:
    broker.add_queue("jobs")
    broker.add_topic("t", "s1")
    url = f"http://127.0.0.1:{broker.http_port}{path}"
    async with (
        aiohttp.ClientSession(headers={"Authorization": "SharedAccessSignature x"}) as session,
        session.request(method, url, data=body) as answer,
    ):
        assert answer.status == status


async def test_a_request_without_authorization_is_refused(broker: DevBroker) -> None:
    url = f"http://127.0.0.1:{broker.http_port}/$Resources/queues"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert (answer.status, "Missing authorization header" in await answer.text()) == (401, True)


async def test_a_policy_that_may_only_listen_receives_but_neither_sends_nor_manages() -> None:
    async with DevBroker(key="manage", listen_key="listen") as broker:
        broker.add_queue("jobs")
        async with ServiceBusClient.from_connection_string(broker.connection_string, retry_total=0) as client:
            async with client.get_queue_sender("jobs") as sender:
                await sender.send_messages(ServiceBusMessage("x"))
        listening = ServiceBusClient.from_connection_string(broker.listen_connection_string, retry_total=0)
        async with listening as client:
            async with client.get_queue_receiver("jobs") as receiver:
                (peeked,) = await receiver.peek_messages(timeout=5)
                (taken,) = await receiver.receive_messages(max_message_count=1, max_wait_time=5)
                await receiver.complete_message(taken)
            with pytest.raises(ServiceBusAuthorizationError, match="Send"):
                async with client.get_queue_sender("jobs"):
                    pass
        admin_string = broker.listen_connection_string.replace(
            f":{broker.amqp_port};", f":{broker.http_port};"
        )
        async with open_admin(admin_string) as admin:
            with pytest.raises(HttpResponseError) as refused:
                await admin.get_queue_runtime_properties("jobs")
    assert (str(peeked), str(taken), refused.value.status_code) == ("x", "x", 401)
