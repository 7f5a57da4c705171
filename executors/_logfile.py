"""Reads a replica's log line by line, from its end and while it still grows.

It knows nothing of who writes the files. Reading happens in a thread and in pieces, so that a log of any
size costs neither the event loop nor memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

from executors._logparts import (
    CompressedPart,
    Part,
    cut_line,
    open_compressed,
    open_part,
    open_parts,
    to_tail,
)

_LOOK_S = 0.2
_LINE_BYTES = 1 << 20
"""A line that is longer comes in pieces of about this size: nobody has to hold all of it."""


class Lines:
    """Cuts a stream of bytes into lines of text; bytes that are not UTF-8 become U+FFFD."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[str]:
        """Give the lines that are complete now, without their ends."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) >= _LINE_BYTES:
            whole.append(self._rest)
            self._rest = b""
        return [_text(line) for line in whole]

    def flush(self) -> list[str]:
        """Give what came after the last line end, if anything."""
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest else []


async def read_log(
    path: Path, *, tail: int | None, follow: bool, ended: Callable[[], bool]
) -> AsyncIterator[str]:
    """Give the lines of a log, oldest first, without line ends; where bytes are missing, a line says how many.

    Args:
        path: its current file; one that is not there is empty, and with `follow` may appear later.
        tail: how many last lines to begin with; None gives all.
        follow: whether to go on as the log grows, looking every 0.2 s, until `ended`.
        ended: whether the writer is done; asked before each reading, so nothing written earlier is missed.
    """
    reader = _Reader(path)
    try:
        await asyncio.to_thread(reader.open, tail)
        while True:
            is_last = not follow or ended()
            lines, is_idle = await asyncio.to_thread(reader.read)
            for line in lines:
                yield line
            if not is_idle:
                continue
            if is_last:
                break
            await asyncio.sleep(_LOOK_S)
        for line in reader.flush():
            yield line
    finally:
        reader.close()


class _Reader:
    """Goes through the files of one log, also while they are turned over. Its methods block on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: list[Part] = []
        self._lines = Lines()
        self._position = 0

    def open(self, tail: int | None) -> None:
        """Open what is there and go to where reading begins."""
        self._parts = open_parts(self._path)
        if tail is not None and self._parts:
            number = len(self._parts)
            self._parts = to_tail(self._parts, tail)
            first = self._parts[0]
            if first.at > first.begin or len(self._parts) < number:
                self._position = first.position  # what is left out is not missing

    def read(self) -> tuple[list[str], bool]:
        """Give the next lines, and whether there was nothing to read."""
        if not self._parts:
            found = open_part(self._path)
            if found is None:
                return [], True
            self._parts = [found]
        missing = self._told()
        if data := self._parts[0].read():
            self._position = self._parts[0].position
            return missing + self._lines.feed(data), False
        if not self._go_on():
            return missing, not missing
        return missing, False

    def _told(self) -> list[str]:
        """Say what is missing before the part that is read now."""
        gap = self._parts[0].position - self._position
        if gap <= 0:
            return []
        self._position += gap
        return [*self._lines.flush(), cut_line(gap)]

    def _go_on(self) -> bool:
        """Go to the next file, if there is one and all of this one has been read."""
        now = self._parts[0]
        if len(self._parts) == 1:
            following = self._following(now)
            if following is not None:
                self._parts.append(following)
            return following is not None  # read once more what was written to this one until then
        now.file.close()
        del self._parts[0]
        return True

    def _following(self, now: Part) -> Part | None:
        """Open the file that this one was turned over for, or in which the log was compressed meanwhile."""
        found = open_part(self._path)
        if found is not None:
            if found.inode != now.inode:
                return found
            found.file.close()
        elif not isinstance(now, CompressedPart):
            with suppress(FileNotFoundError):
                kept = open_compressed(self._path)
                kept.at += max(0, now.position - kept.before)
                return kept
        return None

    def flush(self) -> list[str]:
        """Give what came after the last line end, if anything."""
        return self._lines.flush()

    def close(self) -> None:
        """Close all files."""
        for part in self._parts:
            part.file.close()


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", errors="replace")
