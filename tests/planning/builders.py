"""Short ways to write readings, triggers and executions in tests of the deciders."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from scaler.model.execution import Cause, Execution, ExecutionState
from scaler.model.job import Combine, Container, EventTrigger, ScaleRule, Strategy, StrategyName, Template
from scaler.model.sample import PollFailure, Sample
from scaler.planning.plan import RuleReading

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def trigger(
    low: int = 0,
    high: int = 100,
    strategy: StrategyName = StrategyName.AUTO,
    combine: Combine = Combine.MAX,
) -> EventTrigger:
    return EventTrigger(
        rules=(),
        min_executions=low,
        max_executions=high,
        strategy=Strategy(name=strategy),
        combine=combine,
    )


def reading(
    value: float,
    *,
    target: float = 1,
    taken: float | None = None,
    includes_taken: bool = True,
    active: bool | None = None,
    as_of: datetime = NOW,
    name: str = "rule",
    lower_bound: str | None = None,
) -> RuleReading:
    sample = Sample(
        value=value,
        active=value > 0 if active is None else active,
        taken=taken,
        includes_taken=includes_taken,
        as_of=as_of,
        lower_bound=lower_bound,
    )
    return RuleReading(rule=ScaleRule(name=name, type="toy"), target=target, reading=sample)


def failure(name: str = "broken", reason: str = "Unreachable") -> RuleReading:
    rule = ScaleRule(name=name, type="toy")
    return RuleReading(rule=rule, target=1, reading=PollFailure(reason=reason, message="refused"))


def execution_state(
    *, parallelism: int = 1, completions: int = 1, retries: int = 0, timeout_s: float = 60
) -> ExecutionState:
    return ExecutionState(
        execution=Execution(
            id="job-abc",
            job="job",
            generation=1,
            cause=Cause.EVENT,
            template=Template(container=Container(name="main", image="x")),
            executor="docker",
            replica_timeout=timedelta(seconds=timeout_s),
            replica_retry_limit=retries,
            parallelism=parallelism,
            replica_completion_count=completions,
            created_at=NOW,
        )
    )
