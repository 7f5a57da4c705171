"""The arithmetic of RabbitMQ's five modes: figures of queues in, value and activity out. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from scaler.errors import PollError


class Mode(StrEnum):
    """What is measured; `UNKNOWN` is the word for "not given"."""

    UNKNOWN = "Unknown"
    QUEUE_LENGTH = "QueueLength"
    MESSAGE_RATE = "MessageRate"
    DELIVER_GET_RATE = "DeliverGetRate"
    PUBLISHED_TO_DELIVERED_RATIO = "PublishedToDeliveredRatio"
    EXPECTED_QUEUE_CONSUMPTION_TIME = "ExpectedQueueConsumptionTime"


class Operation(StrEnum):
    """How the queues that match a pattern become one."""

    SUM = "sum"
    AVG = "avg"
    MAX = "max"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCounts:
    """Figures of one queue, or of several merged.

    Attributes:
        length: ready and unacknowledged messages.
        ready, unacknowledged: the two parts; they need not add up once merged.
        publish_rate, deliver_rate: messages per second.
        is_exact: whether the counts were true when they were asked for, not up to 5 s older.
    """

    length: int
    ready: int
    unacknowledged: int
    publish_rate: float = 0.0
    deliver_rate: float = 0.0
    is_exact: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What a mode makes of the figures."""

    value: float
    active: bool


def has_counts(row: Mapping[str, Any]) -> bool:
    """Tell whether a queue as the management API writes it has its three counts."""
    return all(_is_count(row.get(key)) for key in _COUNTS)


_COUNTS = ("messages", "messages_ready", "messages_unacknowledged")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def read_counts(row: Mapping[str, Any], *, rates: bool, where: str) -> QueueCounts:
    """Read a queue as the management API writes it; an absent count is an error, never 0.

    A classic queue without statistics in its row was counted just now; other types report to the API
    only every 5 s.

    Raises:
        PollError: `CountMissing`.
    """
    absent = [key for key in _COUNTS if not _is_count(row.get(key))]
    if absent:
        raise _missing(where, ", ".join(absent), "the broker has no statistics of the queue (yet)")
    return QueueCounts(
        length=row["messages"],
        ready=row["messages_ready"],
        unacknowledged=row["messages_unacknowledged"],
        publish_rate=_rate(row, "publish", where) if rates else 0.0,
        deliver_rate=_rate(row, "deliver_get", where) if rates else 0.0,
        is_exact="messages_details" not in row and row.get("type") == "classic",
    )


def _rate(row: Mapping[str, Any], kind: str, where: str) -> float:
    """Read a rate. The broker leaves out what never happened; a total without a rate means rates are off."""
    stats = row.get("message_stats")
    if not isinstance(stats, Mapping) or (kind not in stats and f"{kind}_details" not in stats):
        return 0.0
    details = stats.get(f"{kind}_details")
    rate = details.get("rate") if isinstance(details, Mapping) else None
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        field = f"message_stats.{kind}_details.rate"
        raise _missing(where, field, "set rates_mode of the management plugin to basic")
    return float(rate)


def _missing(where: str, what: str, hint: str) -> PollError:
    return PollError(f"{where}: the answer lacks {what}; {hint}", transient=True, reason="CountMissing")


def merge(queues: Sequence[QueueCounts], operation: Operation) -> QueueCounts:
    """Make one queue of many; none gives zeros. `avg` divides counts as whole numbers, as KEDA does."""
    if not queues:
        return QueueCounts(length=0, ready=0, unacknowledged=0)
    total: Callable[[Sequence[float]], float] = max if operation is Operation.MAX else sum
    parts = len(queues) if operation is Operation.AVG else 1
    return QueueCounts(
        length=int(total([q.length for q in queues])) // parts,
        ready=int(total([q.ready for q in queues])) // parts,
        unacknowledged=int(total([q.unacknowledged for q in queues])) // parts,
        publish_rate=total([q.publish_rate for q in queues]) / parts,
        deliver_rate=total([q.deliver_rate for q in queues]) / parts,
        is_exact=all(q.is_exact for q in queues),
    )


def measure(mode: Mode, queue: QueueCounts, *, activation: float, ready_only: bool) -> Measure:
    """Apply a mode. Values keep three decimals and are never negative."""
    length = queue.ready if ready_only else queue.length
    published, delivered = queue.publish_rate, queue.deliver_rate
    match mode:
        case Mode.MESSAGE_RATE:
            value, forced = published, length > activation
        case Mode.DELIVER_GET_RATE:
            value, forced = delivered, False
        case Mode.PUBLISHED_TO_DELIVERED_RATIO:
            forced = published > 0 and delivered == 0
            value = activation if forced else (published / delivered if published else 0.0)
        case Mode.EXPECTED_QUEUE_CONSUMPTION_TIME:
            forced = length > 0 and delivered == 0
            value = activation if forced else _consumption_time(length, published, delivered)
        case _:
            value, forced = float(length), False
    return Measure(value=max(0.0, round(value, 3)), active=forced or value > activation)


def _consumption_time(length: int, published: float, delivered: float) -> float:
    return (published - delivered) / delivered + length / delivered if length else 0.0
