"""What starts executions, as the three trigger objects of `properties.configuration` write it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from scaler.model.job import COMPLETIONS_MAX, PARALLELISM_MAX, AuthRef, ScaleRule
from scaler.wire.base import Count, Positive, Seconds, Text, WireModel, Word, bounded, whole_schema

Parallelism = Annotated[int, bounded(1, PARALLELISM_MAX), whole_schema(1, PARALLELISM_MAX)]
"""Replicas at once, of one execution."""
Completions = Annotated[int, bounded(1, COMPLETIONS_MAX), whole_schema(1, COMPLETIONS_MAX)]
"""Replicas that must succeed, of one execution."""


class ManualWire(WireModel):
    """How many replicas an execution has."""

    parallelism: Parallelism = 1
    """Replicas of one execution that may run at once; 1,000 at most."""
    replica_completion_count: Completions = 1
    """Replicas that must succeed for the execution to succeed; 10,000 at most."""


class ScheduleWire(ManualWire):
    """The same, and when executions start."""

    cron_expression: Word
    """Five fields in UTC: minute, hour, day of month, month, day of week."""


class AuthWire(WireModel):
    """One parameter of a scaler that comes from a secret."""

    secret_ref: Word
    """Name of one of the job's secrets."""
    trigger_parameter: Word
    """The scaler's parameter that it fills."""


class RuleWire(WireModel):
    """One event source."""

    name: Word
    """Name of the rule, one of its kind within the job."""
    type: Word
    """The scaler, such as `rabbitmq` or `azure-queue`."""
    metadata: dict[str, Text] = Field(default_factory=dict)
    """The scaler's parameters."""
    auth: tuple[AuthWire, ...] = ()
    """Parameters that come from secrets."""
    identity: Word | None = None
    """`system` or the id of a managed identity, for Azure sources."""

    def to_model(self) -> ScaleRule:
        """Give the rule as the model has it."""
        refs = tuple(AuthRef(parameter=a.trigger_parameter, secret=a.secret_ref) for a in self.auth)
        return ScaleRule(
            name=self.name, type=self.type, metadata=dict(self.metadata), auth=refs, identity=self.identity
        )


class ScaleWire(WireModel):
    """How many executions the sources ask for."""

    polling_interval: Seconds = 30
    """Seconds between two readings of the sources."""
    min_executions: Count = 0
    """Least number of executions."""
    max_executions: Positive = 100
    """Most executions at a time."""
    rules: tuple[RuleWire, ...]
    """The event sources; at least one."""

    @property
    def interval(self) -> timedelta:
        """The polling interval."""
        return timedelta(seconds=self.polling_interval)


class EventWire(ManualWire):
    """The same, and the sources whose events start executions."""

    scale: ScaleWire
    """The sources and the limits."""
