"""Samples of the daemon and of its folder. Blocks for a moment."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_BLOCK: Final = 512
_DB: Final = "scaler.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What a process takes: bytes of memory, descriptors, threads."""

    rss: int
    fds: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """What parts of a state directory take of the disk, bytes."""

    db: int = 0
    wal: int = 0
    logs: int = 0
    other: int = 0


def process(pid: int | None) -> Process | None:
    """Look at a process; None if it is gone."""
    if pid is None:
        return None
    place = Path("/proc") / str(pid)
    with suppress(OSError, KeyError):
        lines = (place / "status").read_text(encoding="utf-8", errors="replace").splitlines()
        told = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
        return Process(
            rss=int(told["VmRSS"][0]) * 1024,
            fds=len(os.listdir(place / "fd")),
            threads=int(told["Threads"][0]),
        )
    return None


def disk(state_dir: Path) -> Disk:
    """Add up the blocks of all files. One that goes meanwhile is not counted."""
    parts = {"db": 0, "wal": 0, "logs": 0, "other": 0}
    for folder, _folders, files in os.walk(state_dir):
        for name in files:
            path = Path(folder) / name
            with suppress(OSError):
                parts[_part(path.relative_to(state_dir))] += path.lstat().st_blocks * _BLOCK
    return Disk(**parts)


def _part(path: Path) -> str:
    if path.parts[0] == "logs":
        return "logs"
    return {_DB: "db", f"{_DB}-wal": "wal"}.get(path.name, "other")
