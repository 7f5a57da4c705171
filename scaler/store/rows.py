"""Turns records into rows and back: the only place that knows how a value is written down."""

from __future__ import annotations

import base64
import binascii
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from pydantic import TypeAdapter

from scaler.errors import StoreError
from scaler.model.decision import Decision
from scaler.model.execution import Cause, Execution, ExecutionState, ExecutionStatus, Trigger, Verdict
from scaler.model.job import Template
from scaler.model.replica import Fault, Replica, ReplicaHandle, ReplicaStatus, Usage
from scaler.model.share import Share

Row = dict[str, Any]
_TEMPLATE = TypeAdapter(Template)
_VERDICT = TypeAdapter(Verdict)
_DECISION = TypeAdapter(Decision)
_SHARE = TypeAdapter(Share)
_MICROSECOND = timedelta(microseconds=1)


def time_text(moment: datetime | None) -> str | None:
    """Write a moment as UTC text of one width, which sorts as time does; None stays None."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds")


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def execution_row(execution: Execution) -> Row:
    """Write an execution down, without its replicas."""
    verdict, share, trigger = execution.verdict, execution.share, execution.trigger
    return {
        "id": execution.id,
        "job": execution.job,
        "generation": execution.generation,
        "cause": execution.cause.value,
        "template": _TEMPLATE.dump_json(execution.template).decode(),
        "executor": execution.executor,
        "replica_timeout_us": execution.replica_timeout // _MICROSECOND,
        "replica_retry_limit": execution.replica_retry_limit,
        "parallelism": execution.parallelism,
        "replica_completion_count": execution.replica_completion_count,
        "created_at": time_text(execution.created_at),
        "status": execution.status.value,
        "started_at": time_text(execution.started_at),
        "ended_at": time_text(execution.ended_at),
        "verdict": None if verdict is None else _VERDICT.dump_json(verdict).decode(),
        "reason": execution.reason,
        "message": execution.message,
        "decision_id": execution.decision_id,
        "share": None if share is None else _SHARE.dump_json(share).decode(),
        "trigger_by": None if trigger is None else trigger.by,
        "trigger_reading": None if trigger is None else trigger.reading,
        "template_hash": execution.template_hash,
    }


def replica_rows(state: ExecutionState) -> list[Row]:
    """Write the replicas of an execution down, in their order."""
    return [_replica_row(replica, position) for position, replica in enumerate(state.replicas)]


def _replica_row(replica: Replica, position: int) -> Row:
    handle = replica.handle
    return {
        "id": replica.id,
        "execution_id": replica.execution_id,
        "position": position,
        "ordinal": replica.ordinal,
        "attempt": replica.attempt,
        "status": replica.status.value,
        "handle_executor": None if handle is None else handle.executor,
        "handle_token": None if handle is None else handle.token,
        "created_at": time_text(replica.created_at),
        "not_before": time_text(replica.not_before),
        "launched_at": time_text(replica.launched_at),
        "started_at": time_text(replica.started_at),
        "ended_at": time_text(replica.ended_at),
        "removed_at": time_text(replica.removed_at),
        "exit_code": replica.exit_code,
        "reason": replica.reason,
        "message": replica.message,
        "timed_out": replica.timed_out,
        "removed": replica.removed,
        "fault": None if replica.fault is None else replica.fault.value,
        "cpu_seconds": replica.usage.cpu_seconds,
        "peak_memory_bytes": replica.usage.peak_memory_bytes,
        "image_digest": replica.image_digest,
    }


def read_states(rows: Iterable[sqlite3.Row]) -> list[ExecutionState]:
    """Read executions joined with their replicas; rows of one execution stand together.

    Raises:
        StoreError: a row holds what no release has written.
    """
    try:
        groups = [list(group) for _, group in groupby(rows, key=lambda row: row["seq"])]
        return [_state(group) for group in groups]
    except ValueError as exc:
        raise StoreError(f"a recorded execution cannot be read: {exc}") from exc


def _state(group: list[sqlite3.Row]) -> ExecutionState:
    replicas = tuple(_replica(row) for row in group if row["r_id"] is not None)
    return ExecutionState(execution=_execution(group[0]), replicas=replicas)


def _execution(row: sqlite3.Row) -> Execution:
    return Execution(
        id=row["id"],
        job=row["job"],
        generation=row["generation"],
        cause=Cause(row["cause"]),
        template=_TEMPLATE.validate_json(row["template"]),
        executor=row["executor"],
        replica_timeout=row["replica_timeout_us"] * _MICROSECOND,
        replica_retry_limit=row["replica_retry_limit"],
        parallelism=row["parallelism"],
        replica_completion_count=row["replica_completion_count"],
        created_at=datetime.fromisoformat(row["created_at"]),
        status=ExecutionStatus(row["status"]),
        started_at=_time(row["started_at"]),
        ended_at=_time(row["ended_at"]),
        verdict=None if row["verdict"] is None else _VERDICT.validate_json(row["verdict"]),
        reason=row["reason"],
        message=row["message"],
        decision_id=row["decision_id"],
        share=None if row["share"] is None else _SHARE.validate_json(row["share"]),
        trigger=_trigger(row),
        template_hash=row["template_hash"],
    )


def _trigger(row: sqlite3.Row) -> Trigger | None:
    if row["trigger_by"] is None:
        return None
    return Trigger(kind=Cause(row["cause"]), by=row["trigger_by"], reading=row["trigger_reading"])


def _replica(row: sqlite3.Row) -> Replica:
    executor, token = row["r_handle_executor"], row["r_handle_token"]
    return Replica(
        id=row["r_id"],
        execution_id=row["r_execution_id"],
        ordinal=row["r_ordinal"],
        attempt=row["r_attempt"],
        status=ReplicaStatus(row["r_status"]),
        handle=None if executor is None else ReplicaHandle(executor=executor, token=token),
        created_at=_time(row["r_created_at"]),
        not_before=_time(row["r_not_before"]),
        launched_at=_time(row["r_launched_at"]),
        started_at=_time(row["r_started_at"]),
        ended_at=_time(row["r_ended_at"]),
        removed_at=_time(row["r_removed_at"]),
        exit_code=row["r_exit_code"],
        reason=row["r_reason"],
        message=row["r_message"],
        timed_out=bool(row["r_timed_out"]),
        removed=bool(row["r_removed"]),
        fault=None if row["r_fault"] is None else Fault(row["r_fault"]),
        usage=Usage(cpu_seconds=row["r_cpu_seconds"], peak_memory_bytes=row["r_peak_memory_bytes"]),
        image_digest=row["r_image_digest"],
    )


def decision_row(decision: Decision) -> Row:
    """Write a decision down; its id is the row's."""
    body = _DECISION.dump_json(replace(decision, id=None)).decode()
    return {"job": decision.job, "at": time_text(decision.at), "body": body}


def read_decision(row: sqlite3.Row) -> Decision:
    """Read a decision.

    Raises:
        StoreError: the row holds what no release has written.
    """
    try:
        return replace(_DECISION.validate_json(row["body"]), id=row["id"])
    except ValueError as exc:
        raise StoreError(f"recorded decision {row['id']} cannot be read: {exc}") from exc


def cursor_behind(moment: str, number: int) -> str:
    """Make the cursor that goes on behind a row, by its time and its number."""
    return base64.urlsafe_b64encode(f"{moment}|{number}".encode()).decode().rstrip("=")


def read_cursor(cursor: str | None) -> Row:
    """Read a cursor into parameters; both are None at the beginning.

    Raises:
        ValueError: it was not made by `cursor_behind`.
    """
    if cursor is None:
        return {"created_at": None, "seq": None}
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        created_at, _, seq = text.partition("|")
        datetime.fromisoformat(created_at)
        return {"created_at": created_at, "seq": int(seq)}
    except (ValueError, binascii.Error) as exc:
        raise ValueError(f"cursor {cursor!r}: not one of ours; begin again without a cursor") from exc
