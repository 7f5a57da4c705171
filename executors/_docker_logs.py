"""Reads a container's log from the engine, live or to keep it before the container is deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
from aiodocker import Docker, DockerError

from executors._docker_errors import engine_call
from executors._docker_rotation import Measure
from executors._docker_settings import Limits
from executors._logfile import Lines
from executors._logparts import compress, compressed, private
from scaler.errors import ExecutorUnavailable

_WRITE_BYTES = 1 << 18


async def live_lines(
    client: Docker,
    container: str,
    limits: Limits,
    *,
    tail: int | None,
    follow: bool,
    whole: int | None = None,
) -> AsyncIterator[str]:
    """Give lines of a container that the engine still has.

    If the engine may have dropped the beginning of all lines (`whole`, see `whole_below`), the last one says so.

    Raises:
        DockerError: status 404 if it has none of that name.
        ExecutorUnavailable: no answer, or the stream broke.
    """
    lines, measure = Lines(), Measure(whole if tail is None else None)
    async with _stream(client, container, limits, tail=tail, follow=follow) as pieces:
        async for piece in pieces:
            measure.add(piece)
            for line in lines.feed(piece):
                yield line
    for line in lines.flush():
        yield line
    if note := measure.note():
        yield note


async def timed_lines(client: Docker, container: str, limits: Limits) -> AsyncIterator[tuple[str, str]]:
    """Give all lines so far, each with the time of its first byte, which sorts as text.

    The engine writes a time before each piece, also before those that a long line is cut into.

    Raises:
        DockerError: status 404 if it has no such container.
        ExecutorUnavailable: no answer, or the stream broke.
    """
    lines, at = Lines(), ""
    async with _stream(client, container, limits, tail=None, follow=False, timed=True) as pieces:
        async for piece in pieces:
            stamp, _, rest = piece.partition(b" ")
            at = at or stamp.decode()
            for line in lines.feed(rest):
                yield at, line
            if rest.endswith(b"\n"):
                at = ""
    for line in lines.flush():
        yield at, line


async def keep_log(
    client: Docker, container: str, path: Path, limits: Limits, *, whole: int | None = None
) -> None:
    """Keep all that the engine has of a container's log; a half-written file never bears the name of a log.

    If the engine may have dropped its beginning (`whole`, see `whole_below`), its first line says so.

    Raises:
        DockerError: the engine cannot give this log.
        ExecutorUnavailable: the engine does not answer, or the disk does not take it: call again.
    """
    try:
        async with asyncio.timeout(limits.log_s):
            measure, file = Measure(whole), _Partial(path)
            await _copy(client, container, file, limits, measure)
            await asyncio.to_thread(file.finish, measure.note())
    except TimeoutError as exc:
        raise ExecutorUnavailable(f"docker: log of {container}: not read within {limits.log_s:g} s") from exc
    except OSError as exc:
        raise ExecutorUnavailable(f"docker: log of {container}: {path}: {exc.strerror or exc}") from exc


class _Partial:
    """A log that is being written under another name. Its methods block on the disk, but for `add`.

    A short log is held until its end, and written, named and compressed at once: each step in a thread of its own
    would cost a wait, and most logs are short.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}.part")
        self._waiting = bytearray()
        self._is_begun = False

    def add(self, piece: bytes) -> bool:
        """Take a piece; say whether it is time to write."""
        self._waiting += piece
        return len(self._waiting) >= _WRITE_BYTES

    def write(self) -> None:
        """Write what was taken so far."""
        if self._is_begun:
            with self._partial.open("ab") as file:
                file.write(self._waiting)
        else:
            self._partial.parent.mkdir(parents=True, exist_ok=True)
            with open(self._partial, "wb", opener=private) as file:  # whatever a former process left there
                file.write(self._waiting)
        self._is_begun = True
        self._waiting.clear()

    def finish(self, note: str | None) -> None:
        """Write the rest and give the log its name.

        Where there is no room to compress it stays as it is, unless a note belongs to it.
        """
        self.write()
        self._partial.replace(self._path)
        with suppress(*(() if note else (OSError,))):
            compress(self._path, head=note)


async def note_lost_log(path: Path, why: str) -> None:
    """Leave a note in place of a log that the engine cannot give; a log that was kept before stays.

    An engine gives no log of a container that it is removing: a former process may have kept it and died.
    """
    try:
        await asyncio.to_thread(_leave_note, path, f"[log not kept: {why}]\n")
    except OSError as exc:
        raise ExecutorUnavailable(f"docker: {path}: {exc.strerror or exc}") from exc


def _leave_note(path: Path, text: str) -> None:
    if compressed(path).exists():
        return
    with suppress(FileExistsError), open(path, "x", opener=private) as file:
        file.write(text)


async def _copy(client: Docker, container: str, file: _Partial, limits: Limits, measure: Measure) -> None:
    async with _stream(client, container, limits, tail=None, follow=False) as pieces:
        async for piece in pieces:
            measure.add(piece)
            if file.add(piece):
                await asyncio.to_thread(file.write)


@asynccontextmanager
async def _stream(
    client: Docker, container: str, limits: Limits, *, tail: int | None, follow: bool, timed: bool = False
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Open the log as pieces of stdout and stderr, in the order in which they were written.

    aiodocker's own reader takes a broken stream for a finished one, drops bytes that are not UTF-8, and
    leaves its connection open when the reader stops early; hence only its session is used.
    """
    last = "all" if tail is None else str(tail)
    params = {"stdout": "1", "stderr": "1", "follow": str(int(follow)), "tail": last}
    params["timestamps"] = str(int(timed))
    async with engine_call(f"log of {container}", limits.inspect_s):
        if client.api_version == "auto":
            await client.version()  # settles it
        url = f"{client.docker_host}/{client.api_version}/containers/{container}/logs"
        response = await client.session.get(url, params=params)
    async with response:
        if response.status != 200:
            raise DockerError(response.status, (await response.text()).strip())
        async with aclosing(_frames(response, container)) as frames:
            yield frames


async def _frames(response: aiohttp.ClientResponse, container: str) -> AsyncGenerator[bytes, None]:
    """Take the payloads out of the engine's framing: a byte for the stream, 3 unused, 4 for the length."""
    try:
        while not response.content.at_eof():
            header = await response.content.readexactly(8)
            yield await response.content.readexactly(int.from_bytes(header[4:], "big"))
    except asyncio.IncompleteReadError as exc:
        if exc.partial:
            raise ExecutorUnavailable(f"docker: log of {container}: the stream broke") from exc
    except (aiohttp.ClientError, ConnectionError) as exc:
        raise ExecutorUnavailable(f"docker: log of {container}: the stream broke: {exc}") from exc
