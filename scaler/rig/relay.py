"""Stands between a client and the Docker engine, passes every byte on as it is, and notes when launches pass.

A process of its own: `python -m scaler.rig.relay LISTEN ENGINE` (two unix sockets), so that noting disturbs neither
the daemon nor the bench. It writes a JSON line for each moment to its standard output.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from scaler.rig.daemon import RigError
from scaler.rig.lifeline import tied

_CREATE: Final = re.compile(rb"POST /\S*containers/create\?(?:\S*&)?name=([^&\s]+)\S* HTTP")
_START: Final = re.compile(rb"POST /\S*containers/([^/\s]+)/start\S* HTTP")
_ID: Final = re.compile(rb'"Id":\s*"([0-9a-f]+)"')
_PIECE: Final = 1 << 16
_UP_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """When the calls of one launch passed the relay, seconds since 1970."""

    create_sent: float
    create_answered: float
    start_sent: float
    start_answered: float


class Relay:
    """A running relay."""

    def __init__(self, socket: Path, notes: Path) -> None:
        self.address = f"unix://{socket}"
        self._notes = notes

    def launches(self) -> Mapping[str, Launch]:
        """Give what was noted so far of launches that came to their end, by the containers' names."""
        return launches_of(self._notes.read_text(encoding="ascii").splitlines())


def launches_of(lines: Iterable[str]) -> dict[str, Launch]:
    """Put together what was noted of each container. Pure."""
    moments: dict[str, dict[str, float]] = {}
    names: dict[str, str] = {}
    for line in lines:
        note: dict[str, Any] = json.loads(line)
        name = note["name"] if "id" not in note or "name" in note else names.get(note["id"], note["id"])
        if "id" in note:
            names[note["id"]] = name
        moments.setdefault(name, {})[note["what"]] = note["at"]
    wanted = set(Launch.__dataclass_fields__)
    return {name: Launch(**found) for name, found in moments.items() if found.keys() == wanted}


@contextmanager
def open_relay(folder: Path, engine: str) -> Iterator[Relay]:
    """Run a relay to the engine's socket.

    Raises:
        RigError: it cannot listen.
    """
    socket, notes = folder / "relay.sock", folder / "relay.jsonl"
    with notes.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - a program and arguments of our own
            [sys.executable, "-m", "scaler.rig.relay", str(socket), engine],
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, start_new_session=True,
            preexec_fn=tied(),  # noqa: PLW1509 - it takes no lock
        )  # fmt: skip
    try:
        deadline = time.monotonic() + _UP_S
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise RigError(f"no relay to the engine: {process.communicate()[1].decode()[-500:]}")
            time.sleep(0.02)
        yield Relay(socket, notes)
    finally:
        process.kill()
        process.communicate()


class _Noted:
    """What one connection is in the middle of: the client sends nothing new before it has the answer."""

    def __init__(self) -> None:
        self._waits: dict[str, str] | None = None

    def sent(self, piece: bytes) -> None:
        if found := _CREATE.match(piece):
            name = unquote(found[1].decode())
            _note("create_sent", name=name)
            self._waits = {"what": "create_answered", "name": name}
        elif found := _START.match(piece):
            container = found[1].decode()
            _note("start_sent", id=container)
            self._waits = {"what": "start_answered", "id": container}

    def answered(self, piece: bytes) -> None:
        if self._waits is None:
            return
        note, self._waits = self._waits, None
        if note["what"] == "create_answered" and (found := _ID.search(piece)):
            note["id"] = found[1].decode()
        _note(**note)


def _note(what: str, **fields: str) -> None:
    print(json.dumps({"at": time.time(), "what": what, **fields}), flush=True)  # noqa: T201


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Any) -> None:
    with suppress(OSError):
        while piece := await reader.read(_PIECE):
            note(piece)
            writer.write(piece)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        writer.write_eof()


async def _serve(listen: str, engine: str) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        noted = _Noted()
        try:
            there, onward = await asyncio.open_unix_connection(engine)
        except OSError:
            writer.close()
            return
        async with asyncio.TaskGroup() as ways:
            ways.create_task(_carry(reader, onward, noted.sent))
            ways.create_task(_carry(there, writer, noted.answered))
        for end in (writer, onward):
            end.close()

    server = await asyncio.start_unix_server(connected, listen)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2]))
