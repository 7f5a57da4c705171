"""The `kafka` scaler on a real broker: lag as Kafka's own tool counts it, every option, every missing thing."""

from __future__ import annotations

import asyncio
import datetime as dt
import re

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition  # type: ignore[import-untyped]

from tests.infra.choose import Unavailable, absent
from tests.infra.kafka import Kafka
from tests.infra.kafka_install import kafka_home, tool
from tests.scalers.kafka_kit import failing, opened, polled


def rule(kafka: Kafka, topic: str, **more: str) -> dict[str, str]:
    """Metadata of a rule whose group is named as its topic."""
    return {"bootstrapServers": kafka.bootstrap, "consumerGroup": topic, "topic": topic, **more}


async def filled(kafka: Kafka, topic: str, *counts: int, committed: bool = True) -> None:
    """Create a topic with so many messages in each partition; the group has committed each start."""
    await kafka.create(topic, partitions=len(counts))
    for partition, count in enumerate(counts):
        await kafka.publish(topic, [str(number) for number in range(count)], partition=partition)
    if committed:
        await kafka.commit(topic, topic, dict.fromkeys(range(len(counts)), 0))


def told(kafka: Kafka, group: str) -> float:
    """Ask Kafka's own tool for a group's lag."""
    return sum(told_of_each(kafka, group).values())


def told_of_each(kafka: Kafka, group: str) -> dict[str, float]:
    """Ask Kafka's own tool for a group's lag in each partition."""
    try:
        home = kafka_home()
    except Unavailable as exc:
        absent("kafka", f"its own tools are missing: {exc}")
    main = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
    printed = tool(home, main, "--bootstrap-server", kafka.bootstrap, "--describe", "--group", group)
    rows = [line.split() for line in printed.splitlines() if line.startswith(group)]
    assert rows, printed
    return {f"{row[1]}/{row[2]}": float(row[5]) for row in rows}


async def test_the_value_is_the_lag_that_kafkas_own_tool_tells(kafka: Kafka, queue_name: str) -> None:
    await filled(kafka, queue_name, 5, 7, 0)
    seen = []
    async with opened(rule(kafka, queue_name, allowIdleConsumers="true")) as scaler:
        for offsets in ({}, {0: 2}, {0: 5, 1: 6}, {1: 7}):
            if offsets:
                await kafka.commit(queue_name, queue_name, offsets)
            seen.append((await scaler.poll()).value)
            if offsets in ({}, {0: 5, 1: 6}):
                assert await asyncio.to_thread(told, kafka, queue_name) == seen[-1]
    assert seen == [12, 10, 1, 0]


async def test_each_partitions_share_is_what_kafkas_own_tool_tells_through_take_commit_and_expiry(
    kafka: Kafka, queue_name: str
) -> None:
    """Records that retention deleted behind the commit count there still, and not here: nobody can get them."""
    await filled(kafka, queue_name, 6, 3)
    metadata = rule(kafka, queue_name, assignPartitions="true", offsetResetPolicy="earliest")
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap,
        group_id=queue_name,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    place = TopicPartition(queue_name, 0)
    consumer.assign([place])
    seen: list[tuple[float, ...]] = []
    tool: list[tuple[float, ...]] = []
    async with opened(metadata) as scaler, consumer:

        async def look() -> None:
            shares = (await scaler.poll()).shares or ()
            found = await asyncio.to_thread(told_of_each, kafka, queue_name)
            seen.append(tuple(share.value for share in shares))
            tool.append(tuple(found[share.key] for share in shares))

        await look()
        taken = [await consumer.getone() for _ in range(2)]
        await look()
        await consumer.commit({place: taken[-1].offset + 1})
        await look()
        await kafka.delete_before(queue_name, 0, 1)
        await look()
        await kafka.delete_before(queue_name, 0, 5)
        await look()
        await consumer.commit({place: 5})
        await kafka.publish(queue_name, ["more"], partition=1)
        await look()
    assert seen == [(6, 3), (6, 3), (4, 3), (4, 3), (1, 3), (1, 4)]
    assert tool == [(6, 3), (6, 3), (4, 3), (4, 3), (4, 3), (1, 4)]


async def test_a_rule_that_hands_out_tells_every_partition_with_its_variables(
    kafka: Kafka, queue_name: str
) -> None:
    await filled(kafka, queue_name, 2, 0, 5, committed=False)
    metadata = rule(
        kafka, queue_name, assignPartitions="true", offsetResetPolicy="earliest", partitionLimitation="1-2"
    )
    async with opened(metadata) as scaler:
        sample = await scaler.poll()
    assert (sample.value, sample.active) == (5, True)
    assert [(share.key, share.value) for share in sample.shares or ()] == [
        (f"{queue_name}/1", 0),
        (f"{queue_name}/2", 5),
    ]
    assert dict((sample.shares or ())[1].env) == {
        "SCALER_KAFKA_TOPIC": queue_name,
        "SCALER_KAFKA_PARTITION": "2",
        "SCALER_KAFKA_GROUP": queue_name,
    }


async def test_a_message_counts_until_it_is_committed(kafka: Kafka, queue_name: str) -> None:
    await filled(kafka, queue_name, 2)
    consumer = AIOKafkaConsumer(
        queue_name,
        bootstrap_servers=kafka.bootstrap,
        group_id=queue_name,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    async with opened(rule(kafka, queue_name)) as scaler, consumer:
        message = await consumer.getone()
        taken = await scaler.poll()
        await consumer.commit({TopicPartition(queue_name, 0): message.offset + 1})
        done = await scaler.poll()
    assert [(s.value, s.active, s.includes_taken, s.taken) for s in (taken, done)] == [
        (2.0, True, True, None),
        (1.0, True, True, None),
    ]


async def test_the_figures_are_true_from_the_start_of_the_request(kafka: Kafka, queue_name: str) -> None:
    await filled(kafka, queue_name, 1)
    async with opened(rule(kafka, queue_name)) as scaler:
        before = dt.datetime.now(dt.UTC)
        sample = await scaler.poll()
    assert sample.as_of is not None
    assert before <= sample.as_of <= before + dt.timedelta(seconds=1)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, (3.0, True)),
        ({"allowIdleConsumers": "true"}, (9.0, True)),
        ({"limitToPartitionsWithLag": "true"}, (2.0, True)),
        ({"ensureEvenDistributionOfPartitions": "true"}, (3.0, True)),
        ({"lagThreshold": "4"}, (9.0, True)),
        ({"lagThreshold": "4", "limitToPartitionsWithLag": "true"}, (8.0, True)),
        ({"lagThreshold": "4", "ensureEvenDistributionOfPartitions": "true"}, (12.0, True)),
        ({"lagThreshold": "9", "ensureEvenDistributionOfPartitions": "true"}, (9.0, True)),
        ({"activationLagThreshold": "9", "lagThreshold": "4"}, (9.0, False)),
        ({"activationLagThreshold": "8", "lagThreshold": "4"}, (9.0, True)),
        ({"lagThreshold": "9", "partitionLimitation": "0"}, (4.0, True)),
        ({"lagThreshold": "9", "partitionLimitation": "1-2"}, (5.0, True)),
        ({"lagThreshold": "9", "partitionLimitation": "2,7"}, (5.0, True)),
        ({"lagThreshold": "9", "version": "3.9.0", "fullMetadata": "false"}, (9.0, True)),
    ],
)
async def test_each_option_counts_as_it_says(
    kafka: Kafka, queue_name: str, more: dict[str, str], expected: tuple[float, bool]
) -> None:
    await filled(kafka, queue_name, 4, 0, 5)
    assert await polled(rule(kafka, queue_name, lagThreshold="1") | more) == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, 2.0),
        ({"scaleToZeroOnInvalidOffset": "true"}, 0.0),
        ({"offsetResetPolicy": "earliest"}, 7.0),
        ({"offsetResetPolicy": "earliest", "scaleToZeroOnInvalidOffset": "true"}, 0.0),
    ],
)
async def test_nothing_committed_counts_by_the_reset_policy(
    kafka: Kafka, queue_name: str, more: dict[str, str], expected: float
) -> None:
    await filled(kafka, queue_name, 7, 0, committed=False)
    assert await polled(rule(kafka, queue_name, **more)) == (expected, expected > 0)


async def test_deleted_records_do_not_wait(kafka: Kafka, queue_name: str) -> None:
    await filled(kafka, queue_name, 10)
    await kafka.delete_before(queue_name, 0, 7)
    assert await polled(rule(kafka, queue_name)) == (3.0, True)
    fresh = rule(kafka, queue_name, offsetResetPolicy="earliest") | {"consumerGroup": f"{queue_name}-fresh"}
    assert await polled(fresh) == (3.0, True)
    await kafka.delete_before(queue_name, 0, 10)
    assert await polled(rule(kafka, queue_name)) == (0.0, False)
    assert await polled(fresh) == (0.0, False)


async def test_a_commit_past_the_end_counts_nothing_and_takes_from_no_other_partition(
    kafka: Kafka, queue_name: str
) -> None:
    await filled(kafka, queue_name, 3, 2)
    await kafka.commit(queue_name, queue_name, {0: 50})
    assert await polled(rule(kafka, queue_name)) == (2.0, True)


async def test_a_lag_that_stays_is_left_out_until_something_is_committed(
    kafka: Kafka, queue_name: str
) -> None:
    await filled(kafka, queue_name, 0, 0)
    seen = []
    async with opened(rule(kafka, queue_name, excludePersistentLag="true")) as scaler:

        async def look() -> None:
            sample = await scaler.poll()
            seen.append((sample.value, sample.active))

        await look()
        await kafka.publish(queue_name, ["a", "b", "c"])
        await look()  # new messages count, although the commit is where it was
        await look()
        await kafka.publish(queue_name, ["d"], partition=1)
        await look()
        await kafka.commit(queue_name, queue_name, {0: 1})
        await look()
    assert seen == [(0, False), (3, True), (0, True), (1, True), (2, True)]


async def test_several_topics_are_one_sum_and_one_bound(kafka: Kafka, queue_name: str) -> None:
    other = f"{queue_name}-2"
    await filled(kafka, queue_name, 5)
    await filled(kafka, other, 1, 1)
    await kafka.commit(queue_name, other, {0: 0, 1: 0})
    both = rule(kafka, queue_name) | {"topic": f"{queue_name}, {other}"}
    assert await polled(both) == (7.0, True)
    assert await polled(both | {"lagThreshold": "1"}) == (3.0, True)
    assert await polled(both | {"partitionLimitation": "1"}) == (1.0, True)


async def test_without_a_topic_all_topics_with_commits_count(kafka: Kafka, queue_name: str) -> None:
    other, deleted = f"{queue_name}-2", f"{queue_name}-3"
    await filled(kafka, queue_name, 5)
    await filled(kafka, other, 2, 4)
    await filled(kafka, deleted, 9)
    await kafka.commit(queue_name, other, {1: 1})
    await kafka.commit(queue_name, deleted, {0: 1})
    await kafka.delete(deleted)
    every = rule(kafka, queue_name, allowIdleConsumers="true") | {"topic": ""}
    # Partition 0 of the other topic has no commit: one message to begin with, by the policy `latest`.
    assert await polled(every) == (5.0 + 1 + 3, True)
    assert await polled(every | {"partitionLimitation": "0"}) == (9.0, True)
    assert await polled(every | {"offsetResetPolicy": "earliest"}) == (5.0 + 2 + 3, True)


async def test_a_group_without_commits_and_without_a_topic_is_an_error(kafka: Kafka, queue_name: str) -> None:
    async with opened({"bootstrapServers": kafka.bootstrap, "consumerGroup": queue_name}) as scaler:
        with failing("EntityNotFound") as caught:
            await scaler.poll()
    assert re.search("has committed nothing.*give topic", str(caught.value))
    assert not caught.value.transient


async def test_a_missing_topic_is_an_error_and_is_not_created(kafka: Kafka, queue_name: str) -> None:
    for more in ({}, {"fullMetadata": "false"}):
        async with opened(rule(kafka, queue_name, **more)) as scaler:
            for _ in range(2):
                with failing("EntityNotFound") as caught:
                    await scaler.poll()
            assert not caught.value.transient
    assert queue_name not in await kafka.topics()


async def test_a_topic_created_later_is_found_by_the_same_object(kafka: Kafka, queue_name: str) -> None:
    async with opened(rule(kafka, queue_name, offsetResetPolicy="earliest")) as scaler:
        with failing("EntityNotFound"):
            await scaler.poll()
        await kafka.create(queue_name, partitions=2)
        await kafka.publish(queue_name, ["a", "b"], partition=1)
        assert (await scaler.poll()).value == 2


async def test_a_partition_limitation_that_fits_none_is_an_error(kafka: Kafka, queue_name: str) -> None:
    await filled(kafka, queue_name, 1)
    async with opened(rule(kafka, queue_name, partitionLimitation="4,6-7")) as scaler:
        with failing("EntityNotFound") as caught:
            await scaler.poll()
    assert "no partition of 4, 6, 7; correct partitionLimitation" in str(caught.value)


async def test_polling_joins_no_group(kafka: Kafka, queue_name: str) -> None:
    await filled(kafka, queue_name, 1)
    consumer = AIOKafkaConsumer(queue_name, bootstrap_servers=kafka.bootstrap, group_id=queue_name)
    async with opened(rule(kafka, queue_name)) as scaler, consumer:
        await scaler.poll()
        assert consumer.assignment() == {TopicPartition(queue_name, 0)}


async def test_transaction_markers_count_until_they_are_committed_over(kafka: Kafka, queue_name: str) -> None:
    await kafka.create(queue_name)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=queue_name)
    async with producer:
        async with producer.transaction():
            await producer.send_and_wait(queue_name, b"a", partition=0)
    await kafka.commit(queue_name, queue_name, {0: 1})  # the message, not the marker behind it
    assert await polled(rule(kafka, queue_name)) == (1.0, True)
    await kafka.commit(queue_name, queue_name, {0: 2})
    assert await polled(rule(kafka, queue_name)) == (0.0, False)
