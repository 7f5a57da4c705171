"""The query parameters of our own paths, all in one place; others are refused: an ignored filter misleads."""

from __future__ import annotations

import difflib

from aiohttp import web

from scaler.api.errors import ApiError, Handler
from scaler.api.guard import API_VERSION

OURS = "/scaler/"

_JOB = "/scaler/jobs/{job}"
_HISTORY = ("status", "trigger", "by", "reason", "since", "until")
_SEARCH = ("search", "regex", "ignoreCase")

PARAMETERS: dict[str, tuple[str, ...]] = {
    "/scaler/executions": ("job", *_HISTORY, "limit", "cursor"),
    "/scaler/health": (),
    "/scaler/drain": ("timeout",),
    "/scaler/inspection": (),
    "/scaler/audit": ("job", "execution", "by", "action", "since", "until", "limit", "cursor"),
    "/scaler/jobs": (),
    _JOB: (),
    f"{_JOB}/decisions": ("limit",),
    f"{_JOB}/counts": (),
    f"{_JOB}/reset": (),
    f"{_JOB}/logs": (*_HISTORY, *_SEARCH, "limit"),
    f"{_JOB}/executions/{{execution}}/logs": ("tail", "follow", "replica", *_SEARCH),
}
"""What each of our paths takes."""


def check_parameters(path: str, given: list[str]) -> None:
    """Refuse a parameter that one of our paths, written as in the table, does not take.

    An `api-version` is let through: clients of ARM send it along everywhere.

    Raises:
        ApiError: 400 `InvalidParameter`, with all that it takes and the nearest of them.
    """
    known = PARAMETERS[path]
    odd = next((name for name in given if name not in known and name.lower() != API_VERSION), None)
    if odd is None:
        return
    lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(odd.lower(), lower, n=1, cutoff=0.7)
    meant = f"did you mean '{lower[near[0]]}'? " if near else ""
    takes = f"known here: {', '.join(known)}" if known else "there are none here"
    raise ApiError(400, "InvalidParameter", f"unknown query parameter '{odd}'; {meant}{takes}", target=odd)


@web.middleware
async def parameters_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Check the query of requests for our own paths; those of ARM ignore what they don't know, as the service does."""
    resource = request.match_info.route.resource
    if resource is not None and resource.canonical.startswith(OURS):
        check_parameters(resource.canonical, list(request.query))
    return await handler(request)
