"""Finds and reads job files: single ones as named, folders recursively, hidden ones left out."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scaler.config.faults import Fault
from scaler.config.source import MAX_BYTES

SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFile:
    """A file's bytes, or the fault that kept us from them."""

    name: str
    raw: bytes = b""
    fault: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a list of paths leads to: files by name, folders that cannot be used, folders without files."""

    files: tuple[str, ...]
    faults: tuple[Fault, ...]
    empty: tuple[str, ...]


def find_files(paths: Sequence[str]) -> Found:
    """List the job files that paths lead to; a file reached twice counts once."""
    names: dict[str, str] = {}
    faults: list[Fault] = []
    empty: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            inside, trouble = _walk(path)
            faults += trouble
            if not inside and not trouble:
                empty.append(path)
            for name in inside:
                names.setdefault(os.path.realpath(name), name)
        else:
            names.setdefault(os.path.realpath(path), path)
    return Found(files=tuple(names.values()), faults=tuple(faults), empty=tuple(empty))


def _walk(folder: str) -> tuple[list[str], list[Fault]]:
    found: list[str] = []
    faults: list[Fault] = []

    def note(exc: OSError) -> None:
        faults.append(Fault(file=str(exc.filename or folder), message=_trouble(exc)))

    for place, folders, files in os.walk(folder, onerror=note):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = [os.path.join(place, name) for name in sorted(files) if _is_job_file(name)]
        found += [name for name in names if not _is_pipe(name)]
    return found, faults


_DESCRIPTORS = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
"""What the caller has open already, as with `<(command)`: a pipe that has its writer."""


def _is_job_file(name: str) -> bool:
    return name.endswith(SUFFIXES) and not name.startswith(".")


def _is_pipe(name: str) -> bool:
    """Whether reading it would wait for a writer."""
    return Path(name).is_fifo()


def read_file(name: str) -> RawFile:
    """Read one file. Never raises, and never waits for somebody to open the other end of a pipe."""
    is_open = name.startswith(_DESCRIPTORS)
    try:
        with open(name, "rb", opener=None if is_open else _at_once) as file:
            if not is_open and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                kind = "is a pipe, a device or a folder, not a file; write the job to a file and name that"
                return RawFile(name=name, fault=Fault(file=name, message=kind))
            return RawFile(name=name, raw=file.read(MAX_BYTES + 1))
    except OSError as exc:
        return RawFile(name=name, fault=Fault(file=name, message=_trouble(exc)))


def _at_once(name: str, flags: int) -> int:
    """Open without waiting, as a pipe without a writer would have us do."""
    return os.open(name, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def read_files(names: Sequence[str]) -> Iterator[RawFile]:
    """Read files one after the other."""
    return (read_file(name) for name in names)


def _trouble(exc: OSError) -> str:
    if isinstance(exc, FileNotFoundError):
        return "no such file or folder; correct the path"
    if isinstance(exc, PermissionError):
        return "no permission to read it; allow it to the daemon's user"
    return f"cannot be read: {(exc.strerror or type(exc).__name__).lower()}"
