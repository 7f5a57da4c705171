"""The Service Bus of the tests and its worker, before any story relies on them."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

import pytest
from azure.core.exceptions import ResourceNotFoundError

from tests.infra.launch import run_process
from tests.infra.results import collect, drain_service_bus
from tests.infra.service_bus import SUBSCRIPTION, ServiceBus, admin_of, start_service_bus


async def work(bus: ServiceBus, queue: str, workers: int, **more: str) -> list[int]:
    """Run workers at once; give their exit codes."""
    common = {"SERVICEBUS_CONNECTION_STRING": bus.connection_string, "QUEUE": queue, "WAIT": "2", **more}
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(
                run_process(
                    "service_bus_worker.py",
                    {**common, "CONTAINER_APP_JOB_EXECUTION_NAME": f"execution-{number}"},
                )
            )
            for number in range(workers)
        ]
    return [task.result() for task in tasks]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("is_topic", [False, True], ids=["queue", "subscription"])
async def test_each_service_bus_worker_takes_exactly_one_message(
    service_bus: ServiceBus, queue_name: str, is_topic: bool
) -> None:
    results = f"{queue_name[-50:].strip('-')}-r"
    subscription = SUBSCRIPTION if is_topic else None
    await (service_bus.create_topic(queue_name, SUBSCRIPTION) if is_topic else service_bus.create(queue_name))
    await service_bus.create(results)
    try:
        await service_bus.send(queue_name, ["a", "b"], is_topic=is_topic)
        more = {"SUBSCRIPTION": SUBSCRIPTION} if is_topic else {}
        codes = await work(service_bus, queue_name, 3, RESULT_QUEUE=results, **more)
        drain = partial(drain_service_bus, service_bus.connection_string, results)
        told = await collect(drain, reports=3, timeout_s=5)
        left = await service_bus.counts(queue_name, subscription)
    finally:
        await service_bus.delete(results, *([] if is_topic else [queue_name]), topics=[queue_name] * is_topic)
    assert codes == [0, 0, 0]
    assert (told.consumed, told.empty) == (Counter(["a", "b"]), 1)
    assert left.total_message_count == 0


@pytest.mark.timeout(60)
async def test_the_development_broker_forgets_all_when_stopped(
    monkeypatch: pytest.MonkeyPatch, queue_name: str
) -> None:
    for name in ("SERVICEBUS_CONNECTION_STRING", "SERVICEBUS_ADMIN_CONNECTION_STRING"):
        monkeypatch.delenv(name, raising=False)
    bus = await asyncio.to_thread(start_service_bus)
    try:
        await bus.create(queue_name)
        await asyncio.to_thread(bus.stop)
        await asyncio.to_thread(bus.start)
        with pytest.raises(ResourceNotFoundError):
            await bus.counts(queue_name)
    finally:
        await asyncio.to_thread(bus.close)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Endpoint=sb://localhost;A=b;UseDevelopmentEmulator=true;", "sb://localhost:5300;"),
        ("Endpoint=sb://localhost:5672;A=b;UseDevelopmentEmulator=true;", "sb://localhost:5300;"),
        ("Endpoint=sb://ns.servicebus.windows.net/;A=b", "sb://ns.servicebus.windows.net/;"),
    ],
)
def test_the_management_string_is_derived_for_an_emulator_only(given: str, expected: str) -> None:
    assert expected in admin_of(given)
