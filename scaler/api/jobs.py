"""Jobs as ARM resources: list, read, start."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from scaler.api.caller import caller
from scaler.api.errors import ApiError
from scaler.api.keys import CONTROL, STORE
from scaler.api.query import json_object
from scaler.errors import ConfigError, NotFound
from scaler.model.job import Job, Template
from scaler.ports.control import JobView
from scaler.wire.arm import arm_execution, arm_job
from scaler.wire.override import template_override

UNSCOPED_GROUP = "local"
"""Resource group in the ids of a list over the whole subscription: jobs here belong to every group."""


def scope(request: web.Request) -> dict[str, str]:
    """Give subscription and resource group as the caller wrote them; any will do."""
    group = request.match_info.get("group", UNSCOPED_GROUP)
    return {"subscription": request.match_info["subscription"], "resource_group": group}


def job_view(request: web.Request) -> JobView:
    """Find the job of the path.

    Raises:
        ApiError: 404 in ARM's words.
    """
    return _view_of(request, request.match_info["job"])


def _view_of(request: web.Request, name: str) -> JobView:
    try:
        return request.app[CONTROL].job(name)
    except NotFound as exc:
        group = request.match_info.get("group", UNSCOPED_GROUP)
        text = f"The Resource 'Microsoft.App/jobs/{name}' under resource group '{group}' was not found."
        raise ApiError(404, "ResourceNotFound", text, target=name) from exc


async def job_with_executions(request: web.Request) -> str:
    """Name the job of the path; one whose file was removed counts as long as executions of it are kept.

    They may still run: whoever removed the file must be able to see and to stop them.

    Raises:
        ApiError: 404 in ARM's words.
    """
    return await known_job(request, request.match_info["job"])


async def known_job(request: web.Request, name: str) -> str:
    """Name a job that there is, or of which executions are kept; see `job_with_executions`."""
    try:
        return _view_of(request, name).job.name
    except ApiError:
        if (await request.app[STORE].executions(name.lower(), limit=1)).items:
            return name.lower()
        raise


async def list_jobs(request: web.Request) -> web.Response:
    """Answer with all jobs on one page."""
    views = request.app[CONTROL].jobs()
    return web.json_response({"value": [_body(request, view) for view in views]})


async def get_job(request: web.Request) -> web.Response:
    """Answer with one job."""
    return web.json_response(_body(request, job_view(request)))


def _body(request: web.Request, view: JobView) -> dict[str, Any]:
    return arm_job(view.job, is_suspended=view.suspended is not None, **scope(request))


async def suspend_job(request: web.Request) -> web.Response:
    """Let nothing of a job start, and answer with the job."""
    await request.app[CONTROL].suspend(job_view(request).job.name, by=caller(request))
    return await get_job(request)


async def resume_job(request: web.Request) -> web.Response:
    """Let a job start executions again, and answer with the job."""
    await request.app[CONTROL].resume(job_view(request).job.name, by=caller(request))
    return await get_job(request)


def _override(body: dict[str, Any], job: Job) -> Template | None:
    try:
        return template_override(body, job)
    except (ConfigError, ValueError) as exc:
        raise ApiError(400, "InvalidRequestContent", str(exc), target="template") from exc


async def start_job(request: web.Request) -> web.Response:
    """Start one execution; the body, if any, is the template that replaces the job's."""
    job = job_view(request).job
    body = await json_object(request)
    template = None if body is None else _override(body, job)
    try:
        state = await request.app[CONTROL].start(job.name, template, by=caller(request))
    except ConfigError as exc:
        raise ApiError(400, "InvalidRequestContent", str(exc), target="template") from exc
    resource = arm_execution(state, job_name=job.name, **scope(request))
    return web.json_response({"id": resource["id"], "name": resource["name"]})
