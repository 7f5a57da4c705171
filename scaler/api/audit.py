"""The audit: who or what created, changed, started and stopped."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from scaler.api.errors import ApiError
from scaler.api.keys import NOW, STORE
from scaler.api.query import moment, next_link, whole_number, word
from scaler.api.views import audit_body, dumps
from scaler.model.audit import AuditAction, AuditQuery

PAGE_DEFAULT = 100
PAGE_MAX = 1000
_CURSOR = "cursor"


def _query(request: web.Request) -> AuditQuery:
    job = request.query.get("job")
    now = request.app[NOW]()
    return AuditQuery(
        job=job.lower() if job else None,
        execution=request.query.get("execution") or None,
        by=request.query.get("by") or None,
        action=word(request, "action", AuditAction),
        since=moment(request, "since", now),
        until=moment(request, "until", now),
    )


async def list_audit(request: web.Request) -> web.Response:
    """Answer with one page of what was done, newest first."""
    limit = whole_number(request, "limit", default=PAGE_DEFAULT, low=1, high=PAGE_MAX) or PAGE_DEFAULT
    cursor = request.query.get(_CURSOR) or None
    try:
        page = await request.app[STORE].audit(_query(request), limit=limit, cursor=cursor)
    except ValueError as exc:
        text = f"{_CURSOR} is not one that this server gave; begin without it"
        raise ApiError(400, "InvalidParameter", text, target=_CURSOR) from exc
    body: dict[str, Any] = {"value": [audit_body(entry) for entry in page.items]}
    if page.cursor is not None:
        body["nextLink"] = next_link(request, _CURSOR, page.cursor)
    return web.json_response(body, dumps=dumps)
