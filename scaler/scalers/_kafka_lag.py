"""From offsets to the number of messages that wait, by KEDA's rules less their faults. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from scaler.model.share import Share
from scaler.scalers._kafka_round import PartitionState

Place = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LagRules:
    """The parameters that decide what counts."""

    threshold: int
    activation: int
    earliest: bool
    zero_on_invalid: bool
    idle_consumers: bool
    only_with_lag: bool
    even: bool
    exclude_persistent: bool
    assign: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """What is reported, and whether the full lag is above the activation threshold."""

    value: float
    active: bool


def partition_lag(state: PartitionState, rules: LagRules) -> int:
    """Count what waits in one partition; records that are deleted already do not wait."""
    if state.committed is None:
        if rules.zero_on_invalid:
            return 0
        return max((state.end or 0) - (state.start or 0), 0) if rules.earliest else 1
    if state.end is None:
        return 0
    return max(state.end - max(state.committed, state.start or 0), 0)


def bounded(lags: Iterable[int], rules: LagRules) -> int:
    """Apply what limits executions to the partitions they can work on."""
    known = list(lags)
    total, partitions = sum(known), len(known)
    if rules.assign:  # each partition has its own execution: nothing is to be bounded
        return total
    if rules.even and total:
        return rules.threshold * _even(total, partitions, rules.threshold)
    if rules.only_with_lag:
        return min(total, rules.threshold * sum(1 for lag in known if lag > 0))
    return total if rules.idle_consumers else min(total, rules.threshold * partitions)


def _even(total: int, partitions: int, threshold: int) -> int:
    """Give the smallest divisor of the partition count whose executions take the lag, or all."""
    divisors = (number for number in range(1, partitions) if partitions % number == 0)
    return next((number for number in divisors if number * threshold >= total), partitions)


class LagMeter:
    """Measures lag for one rule, and remembers commits from one reading to the next if that is asked for."""

    def __init__(self, rules: LagRules) -> None:
        self._rules = rules
        self._stuck_at: dict[Place, int] = {}

    def measure(self, states: tuple[PartitionState, ...]) -> Lag:
        """Measure. A persistent lag stays out of the value, not out of `active`."""
        full = [partition_lag(state, self._rules) for state in states]
        counted = full
        if self._rules.exclude_persistent:
            counted = [0 if self._is_stuck(state) else lag for state, lag in zip(states, full, strict=True)]
            self._stuck_at = {
                (state.topic, state.partition): state.committed
                for state, lag in zip(states, full, strict=True)
                if lag and state.committed is not None
            }
        value = bounded(counted, self._rules)
        return Lag(value=float(value), active=sum(full) > self._rules.activation)

    def shares(self, states: tuple[PartitionState, ...], group: str) -> tuple[Share, ...]:
        """Give each partition as a share of its own; its variables say what to assign, and where to commit."""
        return tuple(
            Share(
                key=f"{state.topic}/{state.partition}",
                value=float(partition_lag(state, self._rules)),
                env=(
                    ("SCALER_KAFKA_TOPIC", state.topic),
                    ("SCALER_KAFKA_PARTITION", str(state.partition)),
                    ("SCALER_KAFKA_GROUP", group),
                ),
            )
            for state in states
        )

    def _is_stuck(self, state: PartitionState) -> bool:
        """Tell whether messages waited here before, and nothing was committed since."""
        before = self._stuck_at.get((state.topic, state.partition))
        return before is not None and before == state.committed
