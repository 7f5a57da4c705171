"""Streams the log of an execution as plain text, and notices when the reader has gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from scaler.api.executions import find_execution
from scaler.api.history import read_query
from scaler.api.jobs import job_with_executions
from scaler.api.keys import CONTROL, STORE
from scaler.api.query import flag, whole_number
from scaler.api.search import found_lines, read_search, search_logs
from scaler.errors import ScalerError

log = structlog.get_logger(__name__)

LOOK_S = 1.0
"""How often a quiet stream looks whether its reader is still there."""

TAIL_MAX = 1_000_000
LINES_DEFAULT = 1000
"""Lines of a job's logs that are given unless more are asked for."""


class _ReaderLeft(Exception):
    """Ends the stream when nobody reads it any more."""


async def _watch(request: web.Request) -> None:
    while request.transport is not None and not request.transport.is_closing():
        await asyncio.sleep(LOOK_S)
    raise _ReaderLeft


async def _pump(first: str | None, lines: AsyncIterator[str], response: web.StreamResponse) -> None:
    if first is not None:
        await response.write(_encoded(first))
    async for line in lines:
        await response.write(_encoded(line))


def _encoded(line: str) -> bytes:
    return f"{line}\n".encode("utf-8", "replace")


@asynccontextmanager
async def _watched(request: web.Request) -> AsyncIterator[None]:
    """Cancel the block when the reader has gone; raises a group with `_ReaderLeft` in it then."""
    async with asyncio.TaskGroup() as group:
        watcher = group.create_task(_watch(request), name="api/logs/watch")
        yield
        watcher.cancel()


async def _close(lines: AsyncIterator[str]) -> None:
    if isinstance(lines, AsyncGenerator):
        await lines.aclose()


async def stream_logs(request: web.Request) -> web.StreamResponse:
    """Answer with the log lines of an execution's replicas; with `follow`, until it has ended.

    With `search` only those lines that hold it, and those that say what is missing.
    """
    state = await find_execution(request)
    tail = whole_number(request, "tail", default=None, low=0, high=TAIL_MAX)
    follow, fits = flag(request, "follow"), read_search(request)
    execution = state.execution
    lines = request.app[CONTROL].logs(
        execution.job,
        execution.id,
        tail=tail,
        follow=follow,
        replica=request.query.get("replica") or None,
    )
    found = lines if fits is None else found_lines(lines, fits)
    return await _respond(request, found, follow=follow, name=execution.id)


async def stream_job_logs(request: web.Request) -> web.StreamResponse:
    """Answer with lines of all kept logs of a job, newest execution first, each behind its execution's name."""
    query = read_query(request, await job_with_executions(request))
    most = whole_number(request, "limit", default=LINES_DEFAULT, low=1, high=TAIL_MAX) or LINES_DEFAULT
    lines = search_logs(request.app[CONTROL], request.app[STORE], query, read_search(request), most=most)
    return await _respond(request, lines, follow=False, name=query.job or "")


async def _respond(
    request: web.Request, lines: AsyncIterator[str], *, follow: bool, name: str
) -> web.StreamResponse:
    """Stream lines as plain text.

    A failure before the first line is an ordinary error; a later one breaks the connection off, so that
    no reader takes half a log for a whole one.
    """
    first = None if follow else await anext(lines, None)
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        async with _watched(request):
            await _pump(first, lines, response)
        await response.write_eof()
    except* (_ReaderLeft, ConnectionError):
        log.debug("api.logs.reader_left", of=name)
    except* (ScalerError, OSError) as group:
        log.warning("api.logs.broken", of=name, error=str(group.exceptions[0]))
        if request.transport is not None:
            request.transport.abort()
    finally:
        await _close(lines)
    return response
