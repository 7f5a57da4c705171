"""Reads a replica's log file line by line, from its end and while it still grows.

It knows nothing of who writes the file. Reading happens in a thread and in pieces, so that a log of any
size costs neither the event loop nor memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

_PIECE_BYTES = 1 << 16
_LOOK_S = 0.2


class Lines:
    """Cuts a stream of bytes into lines of text; bytes that are not UTF-8 become U+FFFD."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[str]:
        """Give the lines that are complete now, without their ends."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        return [_text(line) for line in whole]

    def flush(self) -> list[str]:
        """Give what came after the last line end, if anything."""
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest else []


async def read_log(
    path: Path, *, tail: int | None, follow: bool, ended: Callable[[], bool]
) -> AsyncIterator[str]:
    """Give the lines of `path`, oldest first, without line ends.

    Args:
        path: the file; one that is not there is empty, and with `follow` may appear later.
        tail: how many last lines to begin with; None gives all.
        follow: whether to go on as the file grows, looking every 0.2 s, until `ended`.
        ended: whether the writer is done; asked before each reading, so nothing written earlier is missed.
    """
    lines = Lines()
    position = 0 if tail is None else await asyncio.to_thread(_start_of_tail, path, tail)
    while True:
        is_last = not follow or ended()
        piece, position = await asyncio.to_thread(_read, path, position)
        for line in lines.feed(piece):
            yield line
        if piece:
            continue
        if is_last:
            break
        await asyncio.sleep(_LOOK_S)
    for line in lines.flush():
        yield line


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", errors="replace")


def _read(path: Path, position: int) -> tuple[bytes, int]:
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) < position:
                position = 0  # cut or replaced: what is there now is all new
            file.seek(position)
            piece = file.read(_PIECE_BYTES)
    except FileNotFoundError:
        return b"", position
    return piece, position + len(piece)


def _start_of_tail(path: Path, tail: int) -> int:
    """Give the offset at which the last `tail` lines begin."""
    try:
        with path.open("rb") as file:
            end = position = file.seek(0, 2)
            wanted = tail
            while position > 0:
                size = min(_PIECE_BYTES, position)
                position -= size
                file.seek(position)
                piece = file.read(size)
                at = len(piece)
                while (at := piece.rfind(b"\n", 0, at)) >= 0:
                    if position + at + 1 == end:
                        continue  # the last line's own end
                    if wanted <= 1:
                        return end if tail <= 0 else position + at + 1
                    wanted -= 1
            return end if tail <= 0 else 0
    except FileNotFoundError:
        return 0
