"""What the tests of the Azure scalers share: a rule from its texts, and servers that misbehave."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypeVar

from aiohttp import web

from scaler.errors import PollError
from scaler.plugins import SCALERS
from scaler.ports.scaler import NoteRequest, Scaler, ScalerContext, SessionPool, unnoted
from scaler.wire.metadata import ParameterFault, TriggerMetadata, validate

T = TypeVar("T")


def real_now() -> datetime:
    """Give the time."""
    return datetime.now(UTC)


def context(
    pool: SessionPool,
    *,
    identity: str | None = None,
    timeout_s: float = 10.0,
    note: NoteRequest = unnoted,
    now: Callable[[], datetime] = real_now,
) -> ScalerContext:
    """Make the context of a rule."""
    return ScalerContext(
        job="work",
        rule="queue",
        timeout_s=timeout_s,
        sessions=pool,
        now=now,
        identity=identity,
        note_request=note,
    )


def read(
    kind: str, metadata: Mapping[str, str], auth: Mapping[str, str] | None = None, **env: str
) -> tuple[TriggerMetadata | None, tuple[ParameterFault, ...]]:
    """Validate a rule's texts."""
    return validate(SCALERS.load(kind).metadata, metadata, auth or {}, env)


@asynccontextmanager
async def opened(
    kind: str,
    pool: SessionPool,
    metadata: Mapping[str, str],
    connection: str | None = None,
    *,
    identity: str | None = None,
    timeout_s: float = 10.0,
    note: NoteRequest = unnoted,
    now: Callable[[], datetime] = real_now,
) -> AsyncIterator[Scaler]:
    """Open a rule that must be without fault."""
    meta, faults = read(kind, metadata, {"connection": connection} if connection else {})
    assert (faults, meta is None) == ((), False)
    plugin = SCALERS.load(kind)
    assert plugin.check(meta, identity) == ()
    asking = context(pool, identity=identity, timeout_s=timeout_s, note=note, now=now)
    async with plugin.open(meta, asking) as scaler:
        yield scaler


async def fault_of(scaler: Scaler) -> PollError:
    """Poll and give the error it must end with."""
    try:
        sample = await scaler.poll()
    except PollError as exc:
        return exc
    raise AssertionError(f"no error but {sample}")


def all_text(error: PollError) -> str:
    """Give everything that a log could show of an error, its causes included."""
    return "".join(traceback.format_exception(error))


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """Take connections and requests, and never answer; gives the port."""
    release = asyncio.Event()

    async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        release.set()
        server.close()
        await server.wait_closed()


class ScriptedServer:
    """Answers every request by the same status, headers and body, and keeps the requests' headers."""

    def __init__(self, status: int, body: str = "", headers: Mapping[str, str] | None = None) -> None:
        self.status, self.body, self.headers = status, body, dict(headers or {})
        self.seen: list[tuple[str, Mapping[str, str]]] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        """Keep the request and give the answer."""
        self.seen.append((request.path_qs, dict(request.headers)))
        headers = {"Content-Type": "application/xml", **self.headers}
        return web.Response(status=self.status, body=self.body.encode(), headers=headers)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[ScriptedServer]:
        """Listen on a free port while the context is open."""
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port = int(runner.addresses[0][1])
            yield self
        finally:
            await runner.cleanup()


def noting(requests: list[T], what: T) -> NoteRequest:
    """Give a note that lists each request by a word."""

    async def note() -> None:
        requests.append(what)

    return note
