"""Executions as ARM resources: list, read, stop."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from scaler.api.caller import caller
from scaler.api.errors import ApiError
from scaler.api.jobs import job_with_executions, scope
from scaler.api.keys import CONTROL, STORE
from scaler.api.query import json_object, next_link, statuses, whole_number
from scaler.errors import Conflict, NotFound
from scaler.model.execution import FINAL, ExecutionState, ExecutionStatus
from scaler.model.history import ExecutionQuery
from scaler.ports.store import Page
from scaler.wire.arm import arm_execution

PAGE_SIZE = 100
"""Executions on one page: az reads the first page only, and the service keeps 100 ended ones."""

_CURSOR = "$skipToken"
_UNFINISHED = frozenset(ExecutionStatus) - FINAL


def missing(job: str, execution: str) -> ApiError:
    """Build the 404 whose words az looks for: `Requested job execution` and `not found`."""
    text = f"Requested job execution '{execution}' of job '{job}' was not found."
    return ApiError(404, "JobExecutionNotFound", text, target=execution)


async def find_page(request: web.Request, query: ExecutionQuery, *, limit: int, cursor_name: str) -> Page:
    """Read the page that the request's cursor asks for.

    Raises:
        ApiError: 400, the cursor is not one of ours.
    """
    cursor = request.query.get(cursor_name) or None
    try:
        return await request.app[STORE].find(query, limit=limit, cursor=cursor)
    except ValueError as exc:
        text = f"{cursor_name} is not one that this server gave; begin without it"
        raise ApiError(400, "InvalidParameter", text, target=cursor_name) from exc


async def list_executions(request: web.Request) -> web.Response:
    """Answer with one page of a job's executions, newest first."""
    job = await job_with_executions(request)
    size = whole_number(request, "pageSize", default=PAGE_SIZE, low=1, high=PAGE_SIZE)
    wanted = statuses(request.query.get("$filter"))
    query = ExecutionQuery(job=job, statuses=wanted)
    page = await find_page(request, query, limit=size or PAGE_SIZE, cursor_name=_CURSOR)
    body: dict[str, Any] = {
        "value": [arm_execution_body(request, job, state) for state in page.items],
    }
    if page.cursor is not None:
        body["nextLink"] = next_link(request, _CURSOR, page.cursor)
    return web.json_response(body)


def arm_execution_body(request: web.Request, job: str, state: ExecutionState) -> dict[str, Any]:
    """Write one execution under the ids of this request."""
    return arm_execution(state, job_name=job, **scope(request))


async def find_execution(request: web.Request) -> ExecutionState:
    """Find the execution of the path.

    Raises:
        ApiError: 404 for the job or for the execution.
    """
    job, name = await job_with_executions(request), request.match_info["execution"]
    state = await request.app[STORE].execution(job, name)
    if state is None:
        raise missing(job, name)
    return state


async def get_execution(request: web.Request) -> web.Response:
    """Answer with one execution."""
    state = await find_execution(request)
    return web.json_response(arm_execution_body(request, state.execution.job, state))


async def stop_execution(request: web.Request) -> web.Response:
    """Ask one execution to stop; one that has ended is left as it is."""
    job, name = await job_with_executions(request), request.match_info["execution"]
    try:
        state = await request.app[CONTROL].stop(job, name, by=caller(request))
    except NotFound as exc:
        raise missing(job, name) from exc
    return web.json_response(arm_execution_body(request, job, state))


async def _unfinished(request: web.Request, job: str) -> list[str]:
    names: list[str] = []
    cursor: str | None = None
    while True:
        page = await request.app[STORE].executions(job, limit=PAGE_SIZE, cursor=cursor, statuses=_UNFINISHED)
        names += [state.execution.id for state in page.items]
        cursor = page.cursor
        if cursor is None:
            return names


def _named(body: dict[str, Any]) -> list[str]:
    """Read the list that older API versions may send along: `{"value": [{"name": ...}]}`."""
    entries = body.get("value")
    items = entries if isinstance(entries, list) else [None]
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    if not all(isinstance(name, str) and name for name in names):
        text = 'send no body to stop all, or {"value": [{"name": "<execution>"}]} to stop some'
        raise ApiError(400, "InvalidRequestContent", text, target="value")
    return [str(name) for name in names]


async def stop_all(request: web.Request) -> web.Response:
    """Ask all executions of a job to stop that have not ended, or those that the body names."""
    job = await job_with_executions(request)
    body = await json_object(request)
    named = body is not None
    names = _named(body) if body is not None else await _unfinished(request, job)
    stopped: list[dict[str, Any]] = []
    conflict: Conflict | None = None
    for name in names:
        try:
            state = await request.app[CONTROL].stop(job, name, by=caller(request))
        except NotFound as exc:
            if named:
                raise missing(job, name) from exc
            continue  # pruned since it was listed
        except Conflict as exc:  # of one that is being recovered; the others are asked all the same
            conflict = exc
            continue
        stopped.append(arm_execution_body(request, job, state))
    if conflict is not None:
        raise conflict
    return web.json_response({"value": stopped})
