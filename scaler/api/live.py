"""Our own paths: health, jobs as they live, decisions and counts."""

from __future__ import annotations

from aiohttp import web

from scaler.api.caller import caller
from scaler.api.errors import ApiError
from scaler.api.jobs import job_view
from scaler.api.keys import CONTROL, NOW, STORE, VERSION
from scaler.api.query import json_object, whole_number
from scaler.api.views import counts_body, decision_body, dumps, health_body, inspection_body, job_body

DECISIONS_DEFAULT = 50
DECISIONS_MAX = 1000
DRAIN_MAX_S = 31_536_000


async def health(request: web.Request) -> web.Response:
    """Answer 200 while the engine works, 503 with the same body while it doesn't."""
    app = request.app
    state = await app[CONTROL].health()
    body = health_body(state, version=app[VERSION], now=app[NOW]())
    return web.json_response(body, status=200 if state.ok else 503, dumps=dumps)


async def inspection(request: web.Request) -> web.Response:
    """Answer with the promises that records and executors break now."""
    return web.json_response(inspection_body(await request.app[CONTROL].inspect()), dumps=dumps)


async def drain(request: web.Request) -> web.Response:
    """Begin to drain the daemon, and answer with how it is."""
    if await json_object(request) is not None:
        text = "no body is read here; write the seconds to wait at most into the query: /scaler/drain?timeout=600"
        raise ApiError(400, "InvalidRequestContent", text)
    timeout_s = whole_number(request, "timeout", default=None, low=1, high=DRAIN_MAX_S)
    await request.app[CONTROL].drain(by=caller(request), timeout_s=timeout_s)
    return await health(request)


async def list_live(request: web.Request) -> web.Response:
    """Answer with all jobs as they live now."""
    views = request.app[CONTROL].jobs()
    return web.json_response({"value": [job_body(view) for view in views]}, dumps=dumps)


async def get_live(request: web.Request) -> web.Response:
    """Answer with one job as it lives now."""
    return web.json_response(job_body(job_view(request)), dumps=dumps)


async def decisions(request: web.Request) -> web.Response:
    """Answer with a job's latest decisions, newest first."""
    job = job_view(request).job.name
    limit = whole_number(request, "limit", default=DECISIONS_DEFAULT, low=1, high=DECISIONS_MAX)
    found = await request.app[STORE].decisions(job, limit=limit or DECISIONS_DEFAULT)
    latest = job_view(request).last_decision
    if latest is not None and found and found[0].id == latest.id:  # it repeats itself, and is recorded once
        found = (latest, *found[1:])
    return web.json_response({"value": [decision_body(item) for item in found]}, dumps=dumps)


async def counts(request: web.Request) -> web.Response:
    """Answer with the number of a job's kept executions by status."""
    job = job_view(request).job.name
    return web.json_response(counts_body(await request.app[STORE].status_counts(job)))


async def reset(request: web.Request) -> web.Response:
    """Forget a job's failures, and answer with the job as it lives then."""
    name = job_view(request).job.name
    await request.app[CONTROL].reset(name, by=caller(request))
    return web.json_response(job_body(request.app[CONTROL].job(name)), dumps=dumps)
