"""What of a Service Bus namespace is counted, who asks, and what comes back. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from azure.servicebus.management import QueueRuntimeProperties, SubscriptionRuntimeProperties

from scaler.ports.scaler import NoteRequest, unnoted
from scaler.scalers._azure_errors import Subject

Row = QueueRuntimeProperties | SubscriptionRuntimeProperties

_NO_COUNTS = (
    "the answer holds no message counts; the namespace leaves them out when it is busy (then poll less "
    "often), or the name is that of another kind of entity"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A queue, or with `topic` a subscription. The service does not tell upper from lower case in names."""

    name: str
    topic: str | None = None

    @property
    def key(self) -> str:
        """The name as it is compared."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Who asks: what its messages call the entity, and whom to tell of each request."""

    subject: Subject
    note: NoteRequest = unnoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Active messages.

    Attributes:
        value: how many.
        asked_at: when the request that told it began, where another rule may have begun it.
        lower_bound: why there may be more; None: that is the number.
    """

    value: int
    asked_at: datetime | None = None
    lower_bound: str | None = None


def has_count(row: Row) -> bool:
    """Tell whether the management API's answer has the number of active messages."""
    return _active(row) is not None


def read_count(row: Row, subject: Subject) -> int:
    """Give the active messages; an answer without the number is a fault, not a zero.

    Raises:
        PollError: `CountMissing`.
    """
    count = _active(row)
    if count is None:
        raise subject.fault(_NO_COUNTS, reason="CountMissing", transient=True)
    return count


def _active(row: Row) -> int | None:
    try:
        count = row.active_message_count
    except AttributeError:  # of the SDK, where the answer has no CountDetails
        return None
    return None if count is None else int(count)
