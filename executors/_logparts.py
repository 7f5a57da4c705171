"""The files that one log consists of: the current one, the part before it, or both compressed in one.

A log that outgrows its bound is turned over: the current file becomes the part before, and what that was is gone.
Each new file begins with a line that says how many bytes of the log came before it, so that a reader knows what is
missing, however often the file was turned over while nobody looked. Blocks on the disk; call it in a thread.
"""

from __future__ import annotations

import gzip
import os
import re
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

PIECE_BYTES = 1 << 16
PLAIN_BYTES = 4096
"""A log of one block of the disk is left as it is: compressing it would save nothing."""
NO_LOG = "no log of it is kept here; history.logBytes of the settings may have had it dropped"

_LEVEL = 3
_COUNT = re.compile(rb"\[scaler: ([0-9]{1,15}) bytes of this log were cut\]\n")
_COUNT_MOST = 64


def private(path: str, flags: int) -> int:
    """Open a file of a log, as `opener` of `open`: others on the host may not read a new one."""
    return os.open(path, flags | os.O_CLOEXEC, 0o640)


def cut_line(size: int) -> str:
    """Say in a line of the log that something is missing there."""
    return f"[scaler: {size} bytes of this log were cut]"


def compressed(path: Path) -> Path:
    """Name the file that keeps a log which is no longer written."""
    return path.with_name(f"{path.name}.gz")


def is_there(path: Path) -> bool:
    """Say whether anything of a log is kept."""
    return path.exists() or compressed(path).exists()


@dataclass(slots=True)
class Part:
    """One open file of a log.

    Attributes:
        before: how many bytes of the log came before its first one.
        begin: where in the file that first one is.
        at: where to read on.
    """

    file: IO[bytes]
    inode: int
    before: int
    begin: int
    at: int

    def read(self) -> bytes:
        """Read on; a file that is shorter than where we are was cut, and what it holds now is all new."""
        if os.fstat(self.file.fileno()).st_size < self.at:
            self.at = self.begin
        self.file.seek(self.at)
        data = self.file.read(PIECE_BYTES)
        self.at += len(data)
        return data

    @property
    def position(self) -> int:
        """Where in the whole log we are."""
        return self.before + self.at - self.begin


class CompressedPart(Part):
    """A part whose file does not grow, and is shorter on the disk than to a reader."""

    def read(self) -> bytes:
        """Read on."""
        self.file.seek(self.at)
        data = self.file.read(PIECE_BYTES)
        self.at += len(data)
        return data


def open_parts(path: Path) -> list[Part]:
    """Open what is kept of a log, oldest first; nothing if there is none."""
    for _ in range(2):  # it may be compressed between the two looks
        with suppress(FileNotFoundError):
            return [open_compressed(path)]
        if found := _open_plain(path):
            return found
    return []


def open_compressed(path: Path) -> Part:
    """Open a log that was compressed.

    Raises:
        FileNotFoundError: it was not.
    """
    return _part(cast("IO[bytes]", gzip.open(compressed(path), "rb")), CompressedPart)


def open_part(path: Path) -> Part | None:
    """Open the file that is written now, if there is one with anything in it.

    A new one that is empty is about to say how many bytes came before it, and must not be read without that.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    if not os.fstat(file.fileno()).st_size:
        file.close()
        return None
    return _part(file, Part)


def _open_plain(path: Path) -> list[Part]:
    """Open the current file first: what is turned over in between is then found under the other name too."""
    current = open_part(path)
    before = open_part(path.with_name(f"{path.name}.1"))
    if before is not None and current is not None and before.inode == current.inode:
        before.file.close()
        before = None
    return [part for part in (before, current) if part is not None]


def _part(file: IO[bytes], kind: type[Part]) -> Part:
    found = _COUNT.match(file.read(_COUNT_MOST))
    begin = found.end() if found else 0
    inode = os.fstat(file.fileno()).st_ino
    return kind(file=file, inode=inode, before=int(found[1]) if found else 0, begin=begin, at=begin)


def to_tail(parts: list[Part], tail: int) -> list[Part]:
    """Go to where the last `tail` lines begin; parts that hold none of them are closed and left out."""
    kept: list[Part] = []
    for part in reversed(parts):
        if tail <= 0 and kept:
            part.file.close()
            continue
        tail -= _seek_tail(part, tail)
        kept.insert(0, part)
    return kept


def _seek_tail(part: Part, tail: int) -> int:
    """Go to where the last `tail` lines of one file begin; give how many there are."""
    starts = _compressed_starts(part, tail) if isinstance(part, CompressedPart) else _starts(part, tail)
    number, part.at = starts
    return number


def _compressed_starts(part: Part, tail: int) -> tuple[int, int]:
    starts: deque[int] = deque(maxlen=max(tail, 1))
    at, start = part.begin, part.begin
    part.file.seek(at)
    while piece := part.file.read(PIECE_BYTES):
        found = -1
        while (found := piece.find(b"\n", found + 1)) >= 0:
            starts.append(start)
            start = at + found + 1
        at += len(piece)
    if start < at:
        starts.append(start)
    return (min(tail, len(starts)), starts[0]) if tail > 0 and starts else (0, at)


def _starts(part: Part, tail: int) -> tuple[int, int]:
    end = position = part.file.seek(0, 2)
    number = 0
    while position > part.begin and tail > 0:
        size = min(PIECE_BYTES, position - part.begin)
        position -= size
        part.file.seek(position)
        piece = part.file.read(size)
        at = len(piece)
        while (at := piece.rfind(b"\n", 0, at)) >= 0:
            if position + at + 1 == end:
                continue  # the last line's own end
            number += 1
            if number == tail:
                return number, position + at + 1
    return (number + 1, part.begin) if tail > 0 and end > part.begin else (0, end)


def compress(path: Path, *, head: str | None = None) -> None:
    """Keep a log that is no longer written in as little room as it needs. Harmless when it is done twice.

    `head` is a line to put before it, such as one that says what is missing.

    Raises:
        OSError: the disk does not take it; the log is kept as it was.
    """
    target = compressed(path)
    if not target.exists():
        with ExitStack() as stack:
            parts = _open_plain(path)
            for part in parts:
                stack.enter_context(part.file)
            if not head and sum(os.fstat(part.file.fileno()).st_size for part in parts) <= PLAIN_BYTES:
                return
            _write(parts, target, f"{head}\n".encode() if head else b"")
    for plain in (path.with_name(f"{path.name}.1"), path):
        plain.unlink(missing_ok=True)


def _write(parts: list[Part], target: Path, head: bytes) -> None:
    """Write all parts into one file, which bears its name only once it is whole."""
    partial, position = target.with_name(f"{target.name}.part"), 0
    try:
        partial.unlink(missing_ok=True)  # of a process that died over it, perhaps with other rights
        with open(partial, "wb", opener=private) as raw:
            with gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as file:
                file.write(head)
                for part in parts:
                    if part.before > position:
                        file.write(f"{cut_line(part.before - position)}\n".encode())
                    while piece := part.read():
                        file.write(piece)
                    position = part.position
            raw.flush()
            os.fsync(raw.fileno())
        partial.replace(target)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
