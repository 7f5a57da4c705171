"""Streams the log of an execution as plain text, and notices when the reader has gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from scaler.api.executions import find_execution
from scaler.api.keys import CONTROL
from scaler.api.query import flag, whole_number
from scaler.errors import ScalerError

log = structlog.get_logger(__name__)

LOOK_S = 1.0
"""How often a quiet stream looks whether its reader is still there."""

TAIL_MAX = 1_000_000


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

    A failure before the first line is an ordinary error; a later one breaks the connection off, so that
    no reader takes half a log for a whole one.
    """
    state = await find_execution(request)
    tail = whole_number(request, "tail", default=None, low=0, high=TAIL_MAX)
    follow = flag(request, "follow")
    execution = state.execution
    lines = request.app[CONTROL].logs(execution.job, execution.id, tail=tail, follow=follow)
    first = None if follow else await anext(lines, None)
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        async with _watched(request):
            await _pump(first, lines, response)
        await response.write_eof()
    except* (_ReaderLeft, ConnectionError):
        log.debug("api.logs.reader_left", execution=execution.id)
    except* (ScalerError, OSError) as group:
        log.warning("api.logs.broken", execution=execution.id, error=str(group.exceptions[0]))
        if request.transport is not None:
            request.transport.abort()
    finally:
        await _close(lines)
    return response
