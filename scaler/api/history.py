"""The history over all jobs, by what is asked of it: our own path, because the service has none."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from scaler.api.executions import find_page
from scaler.api.jobs import UNSCOPED_GROUP, known_job
from scaler.api.keys import NOW
from scaler.api.query import moment, next_link, whole_number, word, words
from scaler.api.views import dumps
from scaler.model.execution import Cause, ExecutionStatus
from scaler.model.history import ExecutionQuery
from scaler.wire.arm import arm_execution

PAGE_DEFAULT = 100
PAGE_MAX = 1000
_CURSOR = "cursor"
_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"


async def list_history(request: web.Request) -> web.Response:
    """Answer with one page of executions, of one job or of all, newest first, as Container Apps resources."""
    limit = whole_number(request, "limit", default=PAGE_DEFAULT, low=1, high=PAGE_MAX) or PAGE_DEFAULT
    job = request.query.get("job")
    query = read_query(request, await known_job(request, job) if job else None)
    page = await find_page(request, query, limit=limit, cursor_name=_CURSOR)
    body: dict[str, Any] = {
        "value": [
            arm_execution(
                state,
                job_name=state.execution.job,
                subscription=_SUBSCRIPTION,
                resource_group=UNSCOPED_GROUP,
            )
            for state in page.items
        ]
    }
    if page.cursor is not None:
        body["nextLink"] = next_link(request, _CURSOR, page.cursor)
    return web.json_response(body, dumps=dumps)


def read_query(request: web.Request, job: str | None) -> ExecutionQuery:
    """Read what is asked of the history, of one job or of all.

    Raises:
        ApiError: 400 `InvalidParameter`.
    """
    now = request.app[NOW]()
    return ExecutionQuery(
        job=job,
        statuses=words(request, "status", ExecutionStatus),
        cause=word(request, "trigger", Cause),
        by=request.query.get("by") or None,
        reason=request.query.get("reason") or None,
        since=moment(request, "since", now),
        until=moment(request, "until", now),
    )
