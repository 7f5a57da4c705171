"""The lines of a trace: which there are, and how each is made and read.

`trace` begins a run of a daemon, `job` says what a job's trigger is from here on, `decision` holds what one decision
was made on and what came of it, `due` the same for a due time of a schedule, `end` tells of an execution, `arrival` is
for traces that people write. No line holds
metadata of rules, variables or secrets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from scaler.model.decision import Bound, Reason
from scaler.model.execution import Cause, ExecutionState, ExecutionStatus
from scaler.model.job import EventTrigger, ScaleRule
from scaler.model.sample import Sample
from scaler.planning.answer import Plan
from scaler.planning.decide import Inputs, trimmed
from scaler.planning.firing import Fired, FireInputs
from scaler.trace.codec import encode

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was decided; `handed` are keys of shares."""

    launch: int
    wanted: int
    waiting: int
    bound: Bound
    reason: Reason
    formula: str = ""
    handed: tuple[str, ...] = ()

    @classmethod
    def of(cls, plan: Plan) -> Outcome:
        """Take it from a plan."""
        return cls(
            launch=plan.launch,
            wanted=plan.wanted,
            waiting=plan.waiting,
            bound=plan.bound,
            reason=plan.reason,
            formula=plan.formula,
            handed=tuple(share.key for share in plan.handed),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """One decision: what it was made on and what came of it. `read_s`: seconds that reading the sources took."""

    inputs: Inputs
    outcome: Outcome
    decision_id: int
    read_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """One decision on a due time of a schedule."""

    inputs: FireInputs
    outcome: Fired
    decision_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How an execution went."""

    job: str
    execution: str
    cause: Cause
    status: ExecutionStatus
    created_at: datetime
    ended_at: datetime
    started_at: datetime | None = None
    reason: str = ""
    decision_id: int | None = None

    @classmethod
    def of(cls, state: ExecutionState) -> Ended:
        """Take it from a record."""
        execution = state.execution
        return cls(
            job=execution.job,
            execution=execution.id,
            cause=execution.cause,
            status=execution.status,
            created_at=execution.created_at,
            started_at=execution.started_at,
            ended_at=execution.ended_at or execution.created_at,
            reason=execution.reason,
            decision_id=execution.decision_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """So many messages come in at a moment. `rule` None: for every rule of the job."""

    job: str
    at: datetime
    count: int = 1
    rule: str | None = None


Entry = Decided | Due | Ended | Arrival


def begin_line(version: str, at: datetime) -> dict[str, Any]:
    """Begin a run, or a file."""
    return {"kind": "trace", "version": VERSION, "scaler": version, "at": at.isoformat()}


def job_line(inputs: Inputs | FireInputs) -> dict[str, Any]:
    """Say what the trigger is, without parameters of sources."""
    trigger = (
        {"trigger": encode(bare(inputs.trigger))}
        if isinstance(inputs, Inputs)
        else {"schedule": encode(inputs.trigger)}
    )
    return {"kind": "job", "job": inputs.job, "generation": inputs.generation, **trigger}


def bare(trigger: EventTrigger) -> EventTrigger:
    """Leave out what names or opens sources: it may hold secrets, and no decision looks at it."""
    return replace(trigger, rules=tuple(ScaleRule(name=r.name, type=r.type) for r in trigger.rules))


def decision_line(decided: Decided) -> dict[str, Any]:
    """Write a decision; its trigger stands in the latest `job` line of the job."""
    inputs = trimmed(decided.inputs)
    body = encode(replace(inputs, readings=tuple(_bare_reading(item) for item in inputs.readings)))
    body.pop("trigger")
    return {
        "kind": "decision",
        "decisionId": decided.decision_id,
        "readS": round(decided.read_s, 6),
        "inputs": body,
        "outcome": encode(decided.outcome),
    }


def _bare_reading(item: Any) -> Any:
    reading = item.reading
    if isinstance(reading, Sample) and reading.shares:
        reading = replace(reading, shares=tuple(replace(share, env=()) for share in reading.shares))
    return replace(item, rule=ScaleRule(name=item.rule.name, type=item.rule.type), reading=reading)


def due_line(due: Due) -> dict[str, Any]:
    """Write a decision on a due time; its trigger stands in the latest `job` line of the job."""
    body = encode(due.inputs)
    body.pop("trigger")
    return {"kind": "due", "decisionId": due.decision_id, "inputs": body, "outcome": encode(due.outcome)}


def end_line(ended: Ended) -> dict[str, Any]:
    """Write an end."""
    return {"kind": "end", **encode(ended)}
