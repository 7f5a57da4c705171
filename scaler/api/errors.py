"""One shape for every error of the API, whatever raised it.

Source of the shape: the ARM error body, `{"error": {"code", "message", "target", "details"}}`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web

from scaler.errors import (
    ConfigError,
    Conflict,
    DaemonUnreachable,
    ExecutorUnavailable,
    LaunchError,
    NotFound,
    PollError,
    ScalerError,
    StoreError,
)

log = structlog.get_logger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

STATUS: dict[type[ScalerError], int] = {
    ConfigError: 400,
    NotFound: 404,
    Conflict: 409,
    LaunchError: 409,
    PollError: 502,
    ExecutorUnavailable: 503,
    DaemonUnreachable: 503,
    StoreError: 500,
    ScalerError: 500,
}
"""HTTP status of each class; a subclass that is not listed takes its nearest ancestor's."""

_READ_ONLY = "jobs are declared in files: edit the file, the daemon takes the change over by itself"


class ApiError(ScalerError):
    """A request that is answered with an error.

    Attributes:
        status: HTTP status.
        target: what the message is about (a parameter, a name), or None.
    """

    def __init__(self, status: int, code: str, message: str, *, target: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.target = target


def error_response(
    status: int, code: str, message: str, *, target: str | None = None, headers: dict[str, str] | None = None
) -> web.Response:
    """Build the one error body."""
    body: dict[str, Any] = {"error": {"code": code, "message": message, "target": target, "details": []}}
    return web.json_response(body, status=status, headers=headers)


def _of_ours(exc: ScalerError) -> web.Response:
    if isinstance(exc, ApiError):
        return error_response(exc.status, exc.code, str(exc), target=exc.target)
    status = next(STATUS[cls] for cls in type(exc).__mro__ if cls in STATUS)
    return error_response(status, exc.code, str(exc) or exc.code)


def _of_http(request: web.Request, exc: web.HTTPException) -> web.Response:
    if isinstance(exc, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(exc.allowed_methods))
        hint = f"; {_READ_ONLY}" if request.method in ("PUT", "PATCH", "DELETE") else ""
        text = f"{request.method} is not possible here (allowed: {allowed}){hint}"
        return error_response(405, "MethodNotAllowed", text, target=request.path, headers={"Allow": allowed})
    if exc.status == 404:
        text = f"nothing is served at '{request.path}'"
        return error_response(404, "NotFound", text, target=request.path)
    if exc.status == 413:
        text = f"the body is larger than {MAX_BODY} bytes"
        return error_response(413, "RequestEntityTooLarge", text)
    code = re.sub(r"[^A-Za-z]", "", exc.reason.title()) or "BadRequest"
    return error_response(exc.status, code, exc.reason)


MAX_BODY = 1 << 20
"""Bytes of a request body that are read at most."""


@web.middleware
async def errors_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into the one error shape.

    An unknown exception is logged with its traceback and answered without any of it.
    """
    try:
        return await handler(request)
    except web.HTTPException as exc:
        if exc.status < 400:
            raise
        return _of_http(request, exc)
    except ScalerError as exc:
        answer = _of_ours(exc)
        if answer.status >= 500:
            log.warning("api.refused", method=request.method, path=request.path, code=exc.code)
        return answer
    except Exception:
        log.exception("api.failed", method=request.method, path=request.path)
        text = "the daemon failed on this request; its log holds the reason"
        return error_response(500, "InternalError", text)
