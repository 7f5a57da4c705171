"""KEDA's four strategies, one arithmetic function each, to the letter of KEDA's ScaledJob.

Units are executions. `wanted` is what the queue asks for in all; `live` are event executions that have
not ended, less the minimum; `pending` those without a running replica; `room` is the cap for queue-driven
executions (maximum less minimum). Each function gives (effective, scale_to): KEDA creates
min(scale_to, max(effective, 0)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scaler.model.job import Strategy, StrategyName


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a KEDA strategy works on. `queue` is the raw queue length, rounded up."""

    wanted: int
    queue: int
    live: int
    pending: int
    room: int


def default(demand: Demand) -> tuple[int, int]:
    """Take off what is live: fits queues that still count a message in work."""
    return demand.wanted - demand.live, demand.queue


def custom(demand: Demand, *, deduction: int, percentage: float) -> tuple[int, int]:
    """Take off a fixed number and a share of what is live."""
    effective = demand.wanted - deduction - math.trunc(demand.live * percentage)
    return min(effective, demand.room), demand.queue


def accurate(demand: Demand) -> tuple[int, int]:
    """Take off only what is still starting: fits queues that drop a message once it is taken."""
    if demand.wanted + demand.live - demand.pending > demand.room:
        return demand.room - demand.live, demand.queue
    return demand.wanted - demand.pending, demand.queue


def eager(demand: Demand) -> tuple[int, int]:
    """Fill free slots at once. Takes pending off twice, as KEDA does (`live` holds it already)."""
    return min(demand.room - demand.live - demand.pending, demand.wanted), demand.room


def apply(strategy: Strategy, demand: Demand) -> tuple[int, int, str]:
    """Run the named strategy; the text is its formula with the numbers in it.

    `custom` without a readable percentage acts as `default`, as in KEDA.
    """
    d = demand
    if strategy.name is StrategyName.CUSTOM and strategy.running_percentage is not None:
        share = strategy.running_percentage
        effective, scale_to = custom(d, deduction=strategy.queue_length_deduction, percentage=share)
        text = f"min({d.wanted} - {strategy.queue_length_deduction} - trunc({d.live} x {share}), {d.room})"
    elif strategy.name is StrategyName.ACCURATE:
        effective, scale_to = accurate(d)
        over = d.wanted + d.live - d.pending > d.room
        text = f"room {d.room} - live {d.live}" if over else f"wanted {d.wanted} - pending {d.pending}"
    elif strategy.name is StrategyName.EAGER:
        effective, scale_to = eager(d)
        text = f"min(room {d.room} - live {d.live} - pending {d.pending}, wanted {d.wanted})"
    else:
        effective, scale_to = default(d)
        text = f"wanted {d.wanted} - live {d.live}"
    return effective, scale_to, f"min({scale_to}, max({text}, 0))"
