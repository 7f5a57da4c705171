"""The arithmetic of the `rabbitmq` scaler's modes."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.scalers._rabbitmq_counts import Measure, Mode, Operation, QueueCounts, measure, merge, read_counts
from tests.scalers.rabbitmq_kit import failing


def _queue(length: int = 0, publish: float = 0.0, deliver: float = 0.0, unacked: int = 0) -> QueueCounts:
    return QueueCounts(
        length=length,
        ready=length - unacked,
        unacknowledged=unacked,
        publish_rate=publish,
        deliver_rate=deliver,
    )


RATIO, TIME = Mode.PUBLISHED_TO_DELIVERED_RATIO, Mode.EXPECTED_QUEUE_CONSUMPTION_TIME


@pytest.mark.parametrize(
    ("mode", "queue", "activation", "expected"),
    [
        (Mode.QUEUE_LENGTH, _queue(5), 5, (5, False)),
        (Mode.QUEUE_LENGTH, _queue(6), 5, (6, True)),
        (Mode.QUEUE_LENGTH, _queue(0), -1, (0, True)),
        (Mode.MESSAGE_RATE, _queue(0, publish=1.23456), 1, (1.235, True)),
        (Mode.MESSAGE_RATE, _queue(3, publish=0), 2, (0, True)),
        (Mode.MESSAGE_RATE, _queue(2, publish=2), 2, (2, False)),
        (Mode.DELIVER_GET_RATE, _queue(9, deliver=2), 2, (2, False)),
        (Mode.DELIVER_GET_RATE, _queue(0, deliver=2.5), 2, (2.5, True)),
        (RATIO, _queue(9, publish=3, deliver=2), 1, (1.5, True)),
        (RATIO, _queue(9, publish=0, deliver=2), 0, (0, False)),
        (RATIO, _queue(9, publish=0, deliver=0), 0, (0, False)),
        (RATIO, _queue(9, publish=3, deliver=0), 7, (7, True)),
        (RATIO, _queue(9, publish=3, deliver=0), -7, (0, True)),
        (TIME, _queue(10, publish=4, deliver=2), 5, (6, True)),
        (TIME, _queue(10, publish=4, deliver=2), 6, (6, False)),
        (TIME, _queue(0, publish=4, deliver=2), 0, (0, False)),
        (TIME, _queue(10, publish=4, deliver=0), 6, (6, True)),
        (TIME, _queue(1, publish=0, deliver=4), 0, (0, False)),
    ],
)
def test_each_mode_gives_its_value_and_activity(
    mode: Mode, queue: QueueCounts, activation: float, expected: tuple[float, bool]
) -> None:
    measured = measure(mode, queue, activation=activation, ready_only=False)
    assert measured == Measure(value=expected[0], active=expected[1])


def test_ready_only_leaves_unacknowledged_messages_out() -> None:
    measured = measure(Mode.QUEUE_LENGTH, _queue(5, unacked=5), activation=0, ready_only=True)
    assert measured == Measure(value=0, active=False)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (Operation.SUM, (8, 6, 2, 3.0, 1.5)),
        (Operation.AVG, (2, 2, 0, 1.0, 0.5)),
        (Operation.MAX, (4, 4, 2, 2.0, 1.0)),
    ],
)
def test_queues_are_merged(operation: Operation, expected: tuple[float, ...]) -> None:
    queues = [_queue(4, 1.0, 0.5), _queue(3, 2.0, 1.0, unacked=2), _queue(1)]
    one = merge(queues, operation)
    assert (one.length, one.ready, one.unacknowledged, one.publish_rate, one.deliver_rate) == expected
    assert merge([], operation) == QueueCounts(length=0, ready=0, unacknowledged=0)


COUNTS = {"type": "classic", "messages": 3, "messages_ready": 2, "messages_unacknowledged": 1}


@pytest.mark.parametrize("key", ["messages", "messages_ready", "messages_unacknowledged"])
@pytest.mark.parametrize("value", [None, "absent", "3", True, -1, 1.5])
def test_a_count_that_is_absent_or_no_count_is_an_error(key: str, value: object) -> None:
    row: dict[str, Any] = {**COUNTS, key: value}
    if value == "absent":
        del row[key]
    with failing("CountMissing") as caught:
        read_counts(row, rates=False, where="there")
    assert str(caught.value).startswith(f"there: the answer lacks {key};")


def test_what_never_happened_has_rate_0_and_a_total_without_a_rate_is_an_error() -> None:
    idle = read_counts(COUNTS, rates=True, where="there")
    published = read_counts(
        {**COUNTS, "message_stats": {"publish": 7, "publish_details": {"rate": 1.5}}},
        rates=True,
        where="there",
    )
    assert [(c.publish_rate, c.deliver_rate) for c in (idle, published)] == [(0, 0), (1.5, 0)]
    with failing("CountMissing") as caught:
        read_counts({**COUNTS, "message_stats": {"publish": 7}}, rates=True, where="there")
    assert "message_stats.publish_details.rate" in str(caught.value)


def test_only_classic_queues_without_statistics_are_exact() -> None:
    rows = [COUNTS, {**COUNTS, "messages_details": {"rate": 0.0}}, {**COUNTS, "type": "quorum"}]
    assert [read_counts(row, rates=False, where="").is_exact for row in rows] == [True, False, False]
