"""A unix socket in front of the engine's, which a test can cut, hold and count requests on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path


class CuttableSocket:
    """Passes bytes on to the engine's socket until it is cut."""

    def __init__(self, path: Path, engine: str) -> None:
        self.path = path
        self.requests: list[str] = []
        self._engine = engine.removeprefix("unix://")
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._open.set()

    @property
    def url(self) -> str:
        """Give the address for the executor's `host`."""
        return f"unix://{self.path}"

    async def listen(self) -> None:
        """Accept connections, also again after a cut."""
        self._server = await asyncio.start_unix_server(self._accept, self.path)

    async def cut(self) -> None:
        """End all connections and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.path.unlink(missing_ok=True)
        for writer in list(self._writers):
            writer.transport.abort()

    def hold(self) -> None:
        """Take requests and answer nothing, as an engine that hangs."""
        self._open.clear()

    def release(self) -> None:
        """Answer again."""
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(self._engine)
        self._writers |= {writer, far_writer}
        with suppress(ConnectionError, ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, far_writer, note=True))
                group.create_task(self._pass(far_reader, writer, note=False))
        for end in (writer, far_writer):
            self._writers.discard(end)
            end.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, note: bool) -> None:
        while piece := await reader.read(1 << 16):
            if note:
                self.requests += [
                    line.decode() for line in piece.split(b"\r\n") if line.endswith(b" HTTP/1.1")
                ]
            await self._open.wait()
            writer.write(piece)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()


@asynccontextmanager
async def cuttable_socket(path: Path, engine: str) -> AsyncIterator[CuttableSocket]:
    """Open one, and end it."""
    proxy = CuttableSocket(path, engine)
    await proxy.listen()
    try:
        yield proxy
    finally:
        proxy.release()
        await proxy.cut()
