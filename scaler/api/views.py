"""Turns what the engine says into the JSON of our own paths (camelCase, times as RFC 3339 UTC)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from scaler.model.audit import AuditEntry
from scaler.model.decision import Decision, RuleVerdict
from scaler.model.execution import ExecutionStatus
from scaler.model.job import EventTrigger, Job, ManualTrigger, ScheduleTrigger
from scaler.ports.control import Condition, EngineHealth, Inspection, JobView, Usage

Body = dict[str, Any]


def time_text(moment: datetime | None) -> str | None:
    """Write a moment with milliseconds, or None."""
    return None if moment is None else moment.isoformat(timespec="milliseconds")


def trigger_word(job: Job) -> str:
    """Name the trigger as the API does."""
    words = {ManualTrigger: "Manual", ScheduleTrigger: "Schedule", EventTrigger: "Event"}
    return words[type(job.trigger)]


def verdict_body(verdict: RuleVerdict) -> Body:
    """Write what one rule said."""
    return {
        "name": verdict.name,
        "type": verdict.type,
        "value": verdict.value,
        "taken": verdict.taken,
        "active": verdict.active,
        "target": verdict.target,
        "needed": verdict.needed,
        "error": verdict.error,
        "errorReason": verdict.error_reason,
        "shares": verdict.shares,
        "lowerBound": verdict.lower_bound,
    }


def decision_body(decision: Decision) -> Body:
    """Write one decision with everything it was made on."""
    return {
        "id": decision.id,
        "job": decision.job,
        "at": time_text(decision.at),
        "occasion": decision.occasion.value,
        "rules": [verdict_body(rule) for rule in decision.rules],
        "strategy": decision.strategy.value,
        "combine": decision.combine.value,
        "minExecutions": decision.min_executions,
        "maxExecutions": decision.max_executions,
        "running": decision.running,
        "pending": decision.pending,
        "endedSince": decision.ended_since,
        "wanted": decision.wanted,
        "waiting": decision.waiting,
        "launch": decision.launch,
        "bound": decision.bound.value,
        "reason": decision.reason.value,
        "formula": decision.formula,
        "message": decision.message,
        "handed": list(decision.handed),
        "held": list(decision.held),
    }


def _condition_body(condition: Condition) -> Body:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "since": time_text(condition.since),
    }


def _trigger_body(job: Job) -> Body:
    trigger = job.trigger
    if isinstance(trigger, ScheduleTrigger):
        return {
            "cronExpression": trigger.cron,
            "cronExpressions": list(trigger.also),
            "timeZone": trigger.time_zone,
            "overlap": trigger.overlap.value,
            "catchUp": trigger.catch_up.value,
            "catchUpWindow": trigger.catch_up_window.total_seconds(),
            "jitter": trigger.jitter.total_seconds(),
        }
    if isinstance(trigger, EventTrigger):
        return {
            "minExecutions": trigger.min_executions,
            "maxExecutions": trigger.max_executions,
            "pollingInterval": trigger.polling_interval.total_seconds(),
            "rules": [{"name": rule.name, "type": rule.type} for rule in trigger.rules],
        }
    return {}


def job_body(view: JobView) -> Body:
    """Write a job as it lives now."""
    last, hold = view.last_decision, view.suspended
    return {
        "name": view.job.name,
        "generation": view.job.generation,
        "triggerType": trigger_word(view.job),
        "trigger": _trigger_body(view.job),
        "executor": view.job.executor,
        "running": view.running,
        "pending": view.pending,
        "runningOther": view.running_other,
        "conditions": [_condition_body(condition) for condition in view.conditions],
        "lastDecision": None if last is None else decision_body(last),
        "fileFault": view.file_fault,
        "nextPoll": time_text(view.next_poll),
        "suspended": None if hold is None else {"by": hold.by, "at": time_text(hold.at)},
    }


def health_body(health: EngineHealth, *, version: str, now: datetime) -> Body:
    """Write how the engine is; lateness and uptime in seconds."""
    drain = health.draining
    return {
        "ok": health.ok,
        "version": version,
        "startedAt": time_text(health.started_at),
        "now": time_text(now),
        "uptimeSeconds": round((now - health.started_at).total_seconds(), 3),
        "executors": [{"name": n, "ok": h.ok, "message": h.message} for n, h in health.executors],
        "latenessSeconds": {
            "p50": health.lateness_p50_s,
            "p99": health.lateness_p99_s,
            "atMost": {f"{bound:g}": ticks for bound, ticks in health.lateness_at_most},
        },
        "ticks": health.ticks,
        "fileFaults": list(health.file_faults),
        "draining": None
        if drain is None
        else {"by": drain.by, "at": time_text(drain.at), "unfinished": drain.unfinished},
        "usage": _usage_body(health.usage),
    }


def _usage_body(usage: Usage) -> Body:
    used, limits = usage.used, usage.limits
    return {
        "executions": {"used": used.executions, "limit": limits.executions},
        "cpu": {"used": round(used.cpu, 3), "limit": limits.cpu},
        "memoryBytes": {"used": used.memory_bytes, "limit": limits.memory_bytes},
        "waiting": list(usage.waiting),
    }


def audit_body(entry: AuditEntry) -> Body:
    """Write one entry of the audit."""
    return {
        "id": entry.id,
        "at": time_text(entry.at),
        "by": entry.by,
        "action": entry.action.value,
        "job": entry.job,
        "execution": entry.execution,
        "detail": entry.detail,
    }


def counts_body(counts: dict[ExecutionStatus, int]) -> Body:
    """Write the number of kept executions by status; each status is there, also with 0."""
    by_status = {status.value: counts.get(status, 0) for status in ExecutionStatus}
    return {"counts": by_status, "total": sum(by_status.values())}


def dumps(body: object) -> str:
    """Write JSON that stays readable for people (no escapes for letters beyond ASCII)."""
    return json.dumps(body, ensure_ascii=False)


def inspection_body(found: Inspection) -> Body:
    """Show what a look at records and executors found."""
    return {
        "ok": not found.violations,
        "executions": found.executions,
        "decisions": found.decisions,
        "silentExecutors": list(found.silent),
        "violations": [
            {"promise": one.promise.value, "subject": one.subject, "message": one.message}
            for one in found.violations
        ],
    }
