"""Writes the audit down and finds entries in it, a page at a time by one index."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from scaler.errors import StoreError
from scaler.model.audit import AuditAction, AuditEntry, AuditPage, AuditQuery
from scaler.store import rows

_INDEXES = (
    ("execution", "audit_of_execution"),
    ("job", "audit_of_job"),
    ("by", "audit_of_caller"),
    ("action", "audit_of_action"),
)
"""Columns that may be asked for and the index of each, those that leave fewest entries first."""


def entry_rows(entries: Iterable[AuditEntry]) -> list[rows.Row]:
    """Write entries down; the id is the row's."""
    return [
        {
            "at": rows.time_text(entry.at),
            "by": entry.by,
            "action": entry.action.value,
            "job": entry.job,
            "execution": entry.execution,
            "detail": entry.detail,
        }
        for entry in entries
    ]


def page_statement(query: AuditQuery, cursor: str | None, limit: int) -> tuple[str, dict[str, Any]]:
    """Write the statement that reads one page and, to know whether there is another, one entry more.

    Raises:
        ValueError: `cursor` is not one that this store gave.
        StoreError: `limit` is below 1.
    """
    if limit < 1:
        raise StoreError(f"a page of {limit} entries; ask for at least 1")
    asked: dict[str, Any] = {
        "execution": query.execution,
        "job": query.job,
        "by": query.by,
        "action": query.action and query.action.value,
    }
    index = next((name for column, name in _INDEXES if asked[column] is not None), "audit_newest")
    terms = [f"{column} = :{column}" for column, _name in _INDEXES if asked[column] is not None]
    after = rows.read_cursor(cursor)
    bounds = {"since": rows.time_text(query.since), "until": rows.time_text(query.until)}
    terms += ["at >= :since"] if query.since else []
    terms += ["at < :until"] if query.until else []
    terms += ["(at, id) < (:created_at, :seq)"] if cursor else []
    where = f"WHERE {' AND '.join(terms)}" if terms else ""
    # columns and the index come from the constants above, every value is a parameter
    sql = f"SELECT * FROM audit INDEXED BY {index} {where} ORDER BY at DESC, id DESC LIMIT :limit"  # noqa: S608
    return sql, asked | bounds | after | {"limit": limit + 1}


def read_page(found: list[sqlite3.Row], limit: int) -> AuditPage:
    """Read the rows of `page_statement`.

    Raises:
        StoreError: a row holds what no release has written.
    """
    items = tuple(_entry(row) for row in found[:limit])
    if len(found) <= limit:
        return AuditPage(items=items, cursor=None)
    last = found[limit - 1]
    return AuditPage(items=items, cursor=rows.cursor_behind(last["at"], last["id"]))


def _entry(row: sqlite3.Row) -> AuditEntry:
    try:
        return AuditEntry(
            id=row["id"],
            at=datetime.fromisoformat(row["at"]),
            by=row["by"],
            action=AuditAction(row["action"]),
            job=row["job"],
            execution=row["execution"],
            detail=row["detail"],
        )
    except ValueError as exc:
        raise StoreError(f"recorded audit entry {row['id']} cannot be read: {exc}") from exc
