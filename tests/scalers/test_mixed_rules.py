"""Jobs with rules of three types on real brokers: all ways to combine them, and what one that fails does to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from scaler.api.views import decision_body
from scaler.cli.why import sentences
from scaler.model.decision import Decision, Reason
from scaler.model.job import AuthRef, Combine, EventTrigger, Job, ScaleRule
from scaler.model.secret import Secret
from tests.infra.azurite import Azurite
from tests.infra.kafka import Kafka
from tests.infra.rabbitmq import RabbitMQ
from tests.scalers.fault_kit import INTERVAL_S, Scene, job_of, scene

SUMS = {Combine.MAX: 6, Combine.MIN: 2, Combine.AVG: 4, Combine.SUM: 11}
"""Executions of 6 messages at 1, 4 at 2, and 3 at 1 each."""
WITHOUT_AZURE = {Combine.MAX: 6, Combine.MIN: None, Combine.AVG: None, Combine.SUM: 9}
"""The same with one unknown: the least and the mean of a set with an unknown member are unknown."""


def job(combine: Combine, queue: str, rabbitmq: RabbitMQ, azurite: Azurite, kafka: Kafka) -> Job:
    """Make a job that may launch nothing, so that the decision alone speaks."""
    rules = (
        ScaleRule(
            name="mails",
            type="rabbitmq",
            metadata={"queueName": queue, "queueLength": "1"},
            auth=(AuthRef(secret="host", parameter="host"),),
        ),
        ScaleRule(
            name="images",
            type="azure-queue",
            metadata={"queueName": queue, "queueLength": "2"},
            auth=(AuthRef(secret="connection", parameter="connection"),),
        ),
        ScaleRule(
            name="clicks",
            type="kafka",
            metadata={
                "bootstrapServers": kafka.bootstrap,
                "consumerGroup": queue,
                "topic": queue,
                "lagThreshold": "1",
            },
            auth=(),
        ),
    )
    made = job_of(f"mixed-{combine.value}", "rabbitmq", {}, {})
    trigger = EventTrigger(
        rules=rules, combine=combine, max_executions=0, polling_interval=timedelta(seconds=INTERVAL_S)
    )
    secrets = {"host": Secret(rabbitmq.amqp_url), "connection": Secret(azurite.connection_string)}
    return replace(made, trigger=trigger, secrets=secrets)


async def decided(live: Scene, jobs: dict[Combine, Job], last: Callable[[Decision], bool]) -> dict:
    """Wait until the latest decision of each job is such a one."""
    async with asyncio.timeout(15):
        while True:
            found = {combine: live.engine.job(job.name).last_decision for combine, job in jobs.items()}
            if all(each is not None and last(each) for each in found.values()):
                return found
            await asyncio.sleep(0.05)


async def test_rules_of_three_types_are_combined_in_executions_and_one_that_fails_is_left_out_by_name(
    rabbitmq: RabbitMQ, azurite: Azurite, kafka: Kafka, queue_name: str, tmp_path: Path
) -> None:
    await rabbitmq.declare(queue_name)
    await rabbitmq.publish(queue_name, "abcdef")
    await azurite.create(queue_name)
    await azurite.send(queue_name, "abcd")
    await kafka.create(queue_name, partitions=3)
    for partition in range(3):
        await kafka.publish(queue_name, ["a"], partition=partition)
    await kafka.commit(queue_name, queue_name, dict.fromkeys(range(3), 0))
    jobs = {combine: job(combine, queue_name, rabbitmq, azurite, kafka) for combine in Combine}

    async with scene(tmp_path, *jobs.values()) as live:
        whole = await decided(live, jobs, lambda d: all(rule.error is None for rule in d.rules))
        await azurite.delete(queue_name)
        partly = await decided(live, jobs, lambda d: any(rule.error for rule in d.rules))
        await azurite.create(queue_name)
        await azurite.send(queue_name, "abcd")
        again = await decided(live, jobs, lambda d: all(rule.value for rule in d.rules))

    assert {combine: decision.wanted for combine, decision in whole.items()} == SUMS
    assert {combine: decision.wanted for combine, decision in again.items()} == SUMS
    assert [(rule.name, rule.value) for rule in whole[Combine.SUM].rules] == [
        ("mails", 6),
        ("images", 4),
        ("clicks", 3),
    ]
    for combine, decision in partly.items():
        mails, images, clicks = decision.rules
        assert (mails.value, clicks.value) == (6, 3)
        assert (images.value, images.needed, images.error_reason) == (None, None, "EntityNotFound")
        told = list(sentences(decision_body(decision)))
        assert any(line.startswith("Rule 'images' (azure-queue) could not be read: ") for line in told)
        expected = WITHOUT_AZURE[combine]
        if expected is None:
            assert (decision.reason, decision.launch) == (Reason.UNKNOWN_COUNT, 0)
            assert decision.message.startswith("nothing is launched on an unknown count (images: ")
        else:
            assert decision.wanted == expected
            assert "; rule images left out: " in decision.message
