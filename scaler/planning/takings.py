"""What falls of a ready count tell: messages that left it are in the hands of live executions.

A source that counts ready messages only may not see who holds the others (RabbitMQ over AMQP shows consumers,
but not a worker that uses basic.get or cancels its consumer while it works). Between two readings a fall by n
means that at least n were taken. Everything uncertain is taken off: ends, and rises, which may be messages
given back. Arrivals hide falls, so the figure is a lower bound, and a worker that is not seen only makes the
job slower. It takes the queue to be this job's own: what others take is ascribed to live executions, never to
more of them than run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from scaler.planning.counts import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Takings:
    """The last reading of one rule, how many executions were seen to hold a message, and the ends taken off."""

    ready: float
    as_of: datetime
    held: int = 0
    ended: int = 0


def observe(
    before: Takings | None, *, ready: float, target: float, as_of: datetime, counts: Counts
) -> Takings:
    """Take a reading of ready messages into account.

    An execution that ended after `as_of` is left for the next reading, because its taking may still be hidden
    from this one. Ends are counted, not looked up by their moment: an end becomes known only when it is
    recorded, and a reading may have come in between. `target` is messages an execution takes, > 0.
    """
    ended = counts.ended_until(as_of)
    if before is None or as_of <= before.as_of:
        return before or Takings(ready=ready, as_of=as_of, ended=ended)
    fall = math.floor(max(0.0, before.ready - ready) / target)
    rise = math.ceil(max(0.0, ready - before.ready) / target)
    started = counts.running - counts.elsewhere - counts.pending + counts.ended_since(as_of)
    held = max(0, min(started, before.held + fall - (ended - before.ended) - rise))
    return Takings(ready=ready, as_of=as_of, held=held, ended=ended)
