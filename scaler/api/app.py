"""Puts routes, middlewares and what the handlers need together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from scaler.api import audit, executions, history, jobs, keys, live, logs
from scaler.api.errors import MAX_BODY, errors_middleware
from scaler.api.guard import token_middleware, version_middleware
from scaler.api.parameters import parameters_middleware
from scaler.model.secret import Secret
from scaler.ports.control import JobControl
from scaler.ports.store import StoreReader


def _fixed(word: str, number: int) -> str:
    """Make a path segment that matches in any letter case."""
    escaped = word.replace(".", "[.]")
    return f"{{_{number}:(?i:{escaped})}}"


_SUBSCRIPTION = f"/{_fixed('subscriptions', 1)}/{{subscription}}"
_APP = f"{_fixed('providers', 3)}/{_fixed('Microsoft.App', 4)}/{_fixed('jobs', 5)}"
_JOBS = f"{_SUBSCRIPTION}/{_fixed('resourceGroups', 2)}/{{group}}/{_APP}"
_JOB = f"{_JOBS}/{{job}}"
_STOP = _fixed("stop", 6)
_EXECUTIONS = f"{_JOB}/{_fixed('executions', 7)}"
_OURS = "/scaler/jobs/{job}"

ROUTES = (
    web.get(f"{_SUBSCRIPTION}/{_APP}", jobs.list_jobs),
    web.get(_JOBS, jobs.list_jobs),
    web.get(_JOB, jobs.get_job),
    web.post(f"{_JOB}/{_fixed('start', 8)}", jobs.start_job),
    web.post(f"{_JOB}/{_fixed('suspend', 9)}", jobs.suspend_job),
    web.post(f"{_JOB}/{_fixed('resume', 9)}", jobs.resume_job),
    web.post(f"{_JOB}/{_STOP}", executions.stop_all),
    web.post(f"{_JOB}/{_STOP}/{{execution}}", executions.stop_execution),
    web.get(_EXECUTIONS, executions.list_executions),
    web.get(f"{_EXECUTIONS}/{{execution}}", executions.get_execution),
    web.post(f"{_EXECUTIONS}/{{execution}}/{_STOP}", executions.stop_execution),
    web.get("/scaler/executions", history.list_history),
    web.get("/scaler/health", live.health),
    web.post("/scaler/drain", live.drain),
    web.get("/scaler/inspection", live.inspection),
    web.get("/scaler/audit", audit.list_audit),
    web.get("/scaler/jobs", live.list_live),
    web.get(_OURS, live.get_live),
    web.get(f"{_OURS}/decisions", live.decisions),
    web.get(f"{_OURS}/counts", live.counts),
    web.post(f"{_OURS}/reset", live.reset),
    web.get(f"{_OURS}/logs", logs.stream_job_logs),
    web.get(f"{_OURS}/executions/{{execution}}/logs", logs.stream_logs),
)


def build_app(
    control: JobControl,
    store: StoreReader,
    *,
    clock_now: Callable[[], datetime],
    version: str,
    tokens: tuple[tuple[str, Secret], ...] = (),
) -> web.Application:
    """Build the API.

    Args:
        control: commands and the live view.
        store: records.
        clock_now: the clock, aware UTC.
        version: of the product, told by `/scaler/health`.
        tokens: names and texts of those of which requests by TCP must show one; the name may be empty. None of
            them: only local programs may use TCP.
    """
    middlewares = (errors_middleware, token_middleware, version_middleware, parameters_middleware)
    app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY)
    app[keys.CONTROL] = control
    app[keys.STORE] = store
    app[keys.NOW] = clock_now
    app[keys.VERSION] = version
    if tokens:
        app[keys.TOKENS] = tokens
    app.add_routes(ROUTES)
    return app
