"""Derives what the engine shows of a job: its conditions."""

from __future__ import annotations

from datetime import datetime

from scaler.model.decision import Decision, Reason
from scaler.model.job import EventTrigger, Job
from scaler.model.suspension import Suspension
from scaler.planning.breaker import CLOSED, Breaker, Phase, explain
from scaler.ports.control import Condition

Since = dict[tuple[str, str], tuple[str, datetime]]
"""Per (job, condition type): the status and since when it has been so."""


def conditions(
    job: Job,
    decision: Decision | None,
    since: Since,
    now: datetime,
    breaker: Breaker = CLOSED,
    suspended: Suspension | None = None,
) -> tuple[Condition, ...]:
    """Derive `Ready` and `Active` (reasons as KEDA names them) and `Healthy`, and keep track of their changes."""
    if suspended is not None:
        found = [("Ready", "False", "Suspended", str(suspended))]
        if isinstance(job.trigger, EventTrigger):
            found.append(("Active", "Unknown", "Suspended", "no source is read"))
    elif not isinstance(job.trigger, EventTrigger):
        found = [("Ready", "True", "JobReady", "")]
    elif decision is None:
        found = [("Ready", "Unknown", "NotPolledYet", ""), ("Active", "Unknown", "NotPolledYet", "")]
    else:
        found = [_ready(decision), _active(decision)]
    if isinstance(job.trigger, EventTrigger):
        found.append(_healthy(breaker, now))
    return tuple(
        Condition(
            type=kind,
            status=status,
            reason=reason,
            message=message,
            since=_changed(since, job.name, kind, status, now),
        )
        for kind, status, reason, message in found
    )


def _ready(decision: Decision) -> tuple[str, str, str, str]:
    errors = [f"{r.name}: {r.error}" for r in decision.rules if r.error is not None]
    if decision.reason is Reason.LAUNCH_BACKOFF:
        return "Ready", "False", "LaunchBackoff", decision.message
    if not errors:
        return "Ready", "True", "JobReady", ""
    if len(errors) < len(decision.rules):
        return "Ready", "Unknown", "PartialTriggerError", "; ".join(errors)
    return "Ready", "False", "TriggerError", "; ".join(errors)


def _active(decision: Decision) -> tuple[str, str, str, str]:
    if any(r.active for r in decision.rules) or decision.min_executions > 0:
        return "Active", "True", "ScalerActive", ""
    if any(r.error is not None for r in decision.rules):
        return "Active", "Unknown", "TriggerError", ""
    return "Active", "False", "ScalerNotActive", ""


def _healthy(breaker: Breaker, now: datetime) -> tuple[str, str, str, str]:
    status = "True" if breaker.phase is Phase.CLOSED else "False"
    return "Healthy", status, breaker.phase.value, explain(breaker, now)


def _changed(since: Since, job: str, kind: str, status: str, now: datetime) -> datetime:
    known = since.get((job, kind))
    if known is None or known[0] != status:
        since[(job, kind)] = (status, now)
        return now
    return known[1]
