"""Proof that the services of the tests are real: what is sent arrives once, and restarts lose nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

import pytest

from tests.infra.azurite import Azurite
from tests.infra.engine import Engine
from tests.infra.host import revive
from tests.infra.launch import run_container, run_process
from tests.infra.rabbitmq import QueueCounts, RabbitMQ
from tests.infra.results import Results, collect, drain_azure_queue, drain_rabbitmq
from tests.infra.sampler import ContainerSampler


def rabbitmq_env(broker: RabbitMQ, queue: str, number: int, **more: str) -> dict[str, str]:
    """Environment of one RabbitMQ worker."""
    common = {"AMQP_URL": broker.amqp_url, "QUEUE": queue, "RESULT_QUEUE": f"{queue}-results"}
    return {**common, "CONTAINER_APP_JOB_EXECUTION_NAME": f"execution-{number}", **more}


def azure_env(service: Azurite, queue: str, number: int, **more: str) -> dict[str, str]:
    """Environment of one Azure queue worker."""
    common = {"AZURE_STORAGE_CONNECTION_STRING": service.connection_string, "QUEUE": queue}
    common["RESULT_QUEUE"] = f"{queue}-results"
    return {**common, "CONTAINER_APP_JOB_EXECUTION_NAME": f"execution-{number}", **more}


async def in_processes(script: str, environments: list[dict[str, str]]) -> list[int]:
    """Run one worker process for each environment, all at once; their exit codes."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run_process(script, env)) for env in environments]
    return [task.result() for task in tasks]


async def in_containers(
    engine: Engine, image: str, script: str, label: str, environments: list[dict[str, str]]
) -> list[int]:
    """Run one worker container for each environment, all at once; their exit codes."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(asyncio.to_thread(run_container, engine, image, script, env, label=label))
            for env in environments
        ]
    return [task.result() for task in tasks]


@pytest.mark.parametrize("take", ["consume", "get", "ack-first"])
async def test_each_rabbitmq_worker_process_takes_exactly_one_message(
    rabbitmq: RabbitMQ, queue_name: str, take: str
) -> None:
    await rabbitmq.declare(queue_name, f"{queue_name}-results")
    await rabbitmq.publish(queue_name, ["a", "b", "c", "d"])
    environments = [rabbitmq_env(rabbitmq, queue_name, number, WORKER_TAKE=take) for number in range(3)]

    codes = await in_processes("rabbitmq_worker.py", environments)

    results = await collect(
        partial(drain_rabbitmq, rabbitmq.amqp_url, f"{queue_name}-results"), reports=3, timeout_s=5
    )
    assert codes == [0, 0, 0]
    assert results.consumed == Counter(["a", "b", "c"])
    assert sorted(results.by_execution) == ["execution-0", "execution-1", "execution-2"]
    assert await rabbitmq.counts(queue_name) == QueueCounts(ready=1, unacked=0)


async def test_a_working_rabbitmq_worker_holds_its_message_unacknowledged(
    rabbitmq: RabbitMQ, queue_name: str
) -> None:
    await rabbitmq.declare(queue_name, f"{queue_name}-results")
    await rabbitmq.publish(queue_name, ["a", "b"])
    env = rabbitmq_env(rabbitmq, queue_name, 0, WORK="1.5")

    worker = asyncio.create_task(run_process("rabbitmq_worker.py", env))
    async with asyncio.timeout(10):
        while (during := await rabbitmq.counts(queue_name)).unacked == 0:
            await asyncio.sleep(0.05)
    await worker

    assert during == QueueCounts(ready=1, unacked=1)
    assert await rabbitmq.counts(queue_name) == QueueCounts(ready=1, unacked=0)


async def test_a_rabbitmq_worker_without_a_message_says_so(rabbitmq: RabbitMQ, queue_name: str) -> None:
    await rabbitmq.declare(queue_name, f"{queue_name}-results")

    code = await run_process("rabbitmq_worker.py", rabbitmq_env(rabbitmq, queue_name, 7, WAIT="0.3"))

    results = await collect(
        partial(drain_rabbitmq, rabbitmq.amqp_url, f"{queue_name}-results"), reports=1, timeout_s=5
    )
    assert code == 0
    assert results == Results(empty=1, by_execution={"execution-7": []})


async def test_each_rabbitmq_worker_container_takes_exactly_one_message(
    rabbitmq: RabbitMQ, docker_engine: Engine, worker_image: str, queue_name: str
) -> None:
    await rabbitmq.declare(queue_name, f"{queue_name}-results")
    await rabbitmq.publish(queue_name, ["a", "b", "c"])
    environments = [rabbitmq_env(rabbitmq, queue_name, number, WORK="1") for number in range(3)]
    label = f"scaler-test.{queue_name}"

    with ContainerSampler(docker_engine, label) as sampler:
        codes = await in_containers(docker_engine, worker_image, "rabbitmq_worker.py", label, environments)

    results = await collect(
        partial(drain_rabbitmq, rabbitmq.amqp_url, f"{queue_name}-results"), reports=3, timeout_s=5
    )
    assert codes == [0, 0, 0]
    assert results.consumed == Counter(["a", "b", "c"])
    assert (sampler.peak, len(sampler.seen), sampler.failures) == (3, 3, 0)
    assert await rabbitmq.counts(queue_name) == QueueCounts(ready=0, unacked=0)


async def test_rabbitmq_keeps_its_messages_when_stopped_and_when_killed(
    rabbitmq: RabbitMQ, queue_name: str
) -> None:
    await rabbitmq.declare(queue_name)
    await rabbitmq.publish(queue_name, map(str, range(20)))

    await asyncio.to_thread(rabbitmq.stop)
    answered_while_stopped = await asyncio.to_thread(rabbitmq.answers)
    await asyncio.to_thread(rabbitmq.start)
    after_stop = await rabbitmq.counts(queue_name)
    await asyncio.to_thread(rabbitmq.kill)
    await asyncio.to_thread(rabbitmq.start)

    assert answered_while_stopped is False
    assert after_stop == QueueCounts(ready=20, unacked=0)
    assert await rabbitmq.counts(queue_name) == QueueCounts(ready=20, unacked=0)


async def test_purge_and_delete_empty_a_rabbitmq_queue(rabbitmq: RabbitMQ, queue_name: str) -> None:
    await rabbitmq.declare(queue_name)
    await rabbitmq.publish(queue_name, ["a", "b"])

    await rabbitmq.purge(queue_name)
    purged = await rabbitmq.counts(queue_name)
    await rabbitmq.delete(queue_name)

    assert purged == QueueCounts(ready=0, unacked=0)
    with pytest.raises(KeyError):
        await rabbitmq.counts(queue_name)


async def test_each_azure_queue_worker_process_takes_exactly_one_message(
    azurite: Azurite, queue_name: str
) -> None:
    await azurite.create(queue_name, f"{queue_name}-results")
    await azurite.send(queue_name, ["a", "b", "c"])
    environments = [azure_env(azurite, queue_name, number, WAIT="0") for number in range(4)]

    codes = await in_processes("azure_queue_worker.py", environments)

    drain = partial(drain_azure_queue, azurite.connection_string, f"{queue_name}-results")
    results = await collect(drain, reports=4, timeout_s=5)
    assert codes == [0, 0, 0, 0]
    assert results.consumed == Counter(["a", "b", "c"])
    assert results.empty == 1
    assert sorted(results.by_execution) == [f"execution-{number}" for number in range(4)]
    assert await azurite.count(queue_name) == 0


async def test_each_azure_queue_worker_container_takes_exactly_one_message(
    azurite: Azurite, docker_engine: Engine, worker_image: str, queue_name: str
) -> None:
    await azurite.create(queue_name, f"{queue_name}-results")
    await azurite.send(queue_name, ["a", "b"])
    environments = [azure_env(azurite, queue_name, number, START_DELAY="0.5") for number in range(2)]
    label = f"scaler-test.{queue_name}"

    codes = await in_containers(docker_engine, worker_image, "azure_queue_worker.py", label, environments)

    drain = partial(drain_azure_queue, azurite.connection_string, f"{queue_name}-results")
    results = await collect(drain, reports=2, timeout_s=5)
    assert codes == [0, 0]
    assert results.consumed == Counter(["a", "b"])
    assert await azurite.count(queue_name) == 0


async def test_azurite_keeps_its_messages_when_stopped(azurite: Azurite, queue_name: str) -> None:
    await azurite.create(queue_name)
    await azurite.send(queue_name, map(str, range(20)))

    await asyncio.to_thread(azurite.stop)
    answered_while_stopped = await asyncio.to_thread(azurite.answers)
    await asyncio.to_thread(azurite.start)

    assert answered_while_stopped is False
    assert await azurite.count(queue_name) == 20
    await azurite.clear(queue_name)
    assert await azurite.count(queue_name) == 0


async def test_a_service_left_stopped_is_up_again_for_the_next_test(
    azurite: Azurite, queue_name: str
) -> None:
    await azurite.create(queue_name)
    await azurite.send(queue_name, ["a"])
    await asyncio.to_thread(azurite.stop)

    await asyncio.to_thread(revive)

    assert await azurite.count(queue_name) == 1


@pytest.mark.parametrize("kill", [False, True])
async def test_the_spare_engine_restarts_without_harm_to_the_first(
    docker_engine: Engine, spare_engine: Engine, worker_image: str, queue_name: str, kill: bool
) -> None:
    def states(engine: Engine) -> list[str]:
        with engine.client() as client:
            rows = client.api.containers(all=True, filters={"label": queue_name})
        return [str(row["State"]) for row in rows]

    polite = ["sh", "-c", "trap 'exit 0' TERM; sleep 60 & wait"]
    for engine in (docker_engine, spare_engine):
        with engine.client() as client:
            client.containers.run(
                worker_image, polite, labels={queue_name: "x"}, network_mode="host", detach=True
            )
    try:
        await asyncio.to_thread(spare_engine.restart, kill=kill)

        assert states(docker_engine) == ["running"]
        assert states(spare_engine) == ["exited"]
    finally:
        for engine in (docker_engine, spare_engine):
            with engine.client() as client:
                for container in client.containers.list(all=True, filters={"label": queue_name}):
                    container.remove(force=True)
