"""One reading of a source, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from scaler.model.share import Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One reading.

    Attributes:
        value: what KEDA would report, in messages (or lag), finite and >= 0.
        active: whether the source is above its activation threshold.
        includes_taken: whether `value` still counts messages that workers already hold (Azure queues,
            Service Bus, Kafka lag, RabbitMQ ready + unacknowledged) or leaves them out (RabbitMQ ready).
        taken: messages known to be held by workers now; part of `value` if `includes_taken`, else beside
            it. A source that sees only consumers reports consumers x target. None: it cannot tell.
        as_of: from which moment on the figures are true (start of the request, less the source's own
            lag). None: the start of the poll; the poller fills it in.
        target: messages one execution is expected to take, > 0, where only the source knows it. None: the
            target of the rule's parameters holds.
        shares: parts of the source that are handed out one by one, each to one execution at a time; keys are
            unique. None: an execution may take from all of it.
        lower_bound: why there may be more than `value`, for people; None: `value` is the number itself.
    """

    value: float
    active: bool
    includes_taken: bool = True
    taken: float | None = None
    as_of: datetime | None = None
    target: float | None = None
    shares: tuple[Share, ...] | None = None
    lower_bound: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PollFailure:
    """Why there is no reading. Never to be read as zero.

    Attributes:
        reason: stable CamelCase word (`Timeout`, `Unreachable`, `AuthenticationFailed`, `EntityNotFound` …).
        message: for people; holds no secret.
        transient: whether it may heal by itself.
    """

    reason: str
    message: str
    transient: bool = True


Reading = Sample | PollFailure
