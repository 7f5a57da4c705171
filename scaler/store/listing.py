"""Writes the statements that read one page of the history, each along an index that is in the page's order.

The planner is not left to guess: without statistics it may take an index that needs a sort of everything it finds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scaler.model.execution import Cause, ExecutionStatus
from scaler.model.history import ExecutionQuery
from scaler.store import rows

_ORDER = "ORDER BY created_at DESC, seq DESC LIMIT :limit"
_WHOLE = """
SELECT e.*, r.* FROM ({keys}) AS k
CROSS JOIN executions AS e ON e.seq = k.seq
LEFT JOIN replica_rows AS r ON r.r_execution_id = e.id
ORDER BY e.created_at DESC, e.seq DESC, r.r_position
"""
_ORDINARY_REASON = "Completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filter:
    """One thing that is asked: its column, the values, and whether most executions are expected to fit."""

    column: str
    values: tuple[str, ...]
    is_ordinary: bool


def page_statement(query: ExecutionQuery, cursor: str | None, limit: int) -> tuple[str, dict[str, Any]]:
    """Write the statement that reads whole executions, one more than `limit`, with its parameters.

    Raises:
        ValueError: `cursor` is not one that this store gave.
    """
    keys, asked = keys_statement(query, cursor, limit)
    return _WHOLE.format(keys=keys), asked


def keys_statement(query: ExecutionQuery, cursor: str | None, limit: int) -> tuple[str, dict[str, Any]]:
    """Write the statement that finds which executions stand on a page."""
    filters = _filters(query)
    lead = min(filters, key=lambda one: one.is_ordinary, default=None)
    asked: dict[str, Any] = {"job": query.job, "limit": limit + 1} | rows.read_cursor(cursor)
    asked |= {"since": rows.time_text(query.since), "until": rows.time_text(query.until)}
    terms = ["job = :job"] if query.job is not None else []
    terms += ["created_at >= :since"] if query.since else []
    terms += ["created_at < :until"] if query.until else []
    terms += ["(created_at, seq) < (:created_at, :seq)"] if cursor else []
    for one in filters:
        names = [f"{one.column}{number}" for number in range(len(one.values))]
        asked |= dict(zip(names, one.values, strict=True))
        if one is not lead:
            terms.append(f"{one.column} IN ({', '.join(f':{name}' for name in names)})")
    index = _index(query, lead)
    leads = [f"{lead.column} = :{lead.column}{n}" for n in range(len(lead.values))] if lead else [""]
    arms = [_arm(index, [*terms, *filter(None, [one])]) for one in leads]
    return f"{' UNION ALL '.join(arms)} {_ORDER}", asked  # merged as they come: each arm is in this order


def _arm(index: str, terms: list[str]) -> str:
    """Read along one index. Columns and the index come from this module, every value is a parameter."""
    where = f"WHERE {' AND '.join(terms)}" if terms else ""
    return f"SELECT created_at, seq FROM executions INDEXED BY {index} {where}"  # noqa: S608


def _filters(query: ExecutionQuery) -> list[_Filter]:
    """Give what is asked beside job and time; those that leave fewest executions first."""
    found: list[_Filter] = []
    if query.by is not None:
        is_person = ":" in query.by
        found.append(_Filter(column="trigger_by", values=(query.by,), is_ordinary=not is_person))
    if query.reason is not None:
        is_ordinary = query.reason == _ORDINARY_REASON
        found.append(_Filter(column="reason", values=(query.reason,), is_ordinary=is_ordinary))
    if query.statuses is not None:
        values = tuple(sorted(status.value for status in query.statuses))
        is_ordinary = ExecutionStatus.SUCCEEDED in query.statuses
        found.append(_Filter(column="status", values=values, is_ordinary=is_ordinary))
    if query.cause is not None:
        is_ordinary = query.cause is Cause.EVENT
        found.append(_Filter(column="cause", values=(query.cause.value,), is_ordinary=is_ordinary))
    return found


_INDEXES = {
    "trigger_by": "executions_by",
    "reason": "executions_reason",
    "status": "executions_status",
    "cause": "executions_cause",
}


def _index(query: ExecutionQuery, lead: _Filter | None) -> str:
    if lead is None:
        return "executions_all" if query.job is None else "executions_newest"
    return _INDEXES[lead.column] + ("" if query.job is None else "_of_job")
