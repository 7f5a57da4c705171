"""The logs of replicas in one folder, as the executors leave them: `<replica id>.log`, and parts behind a dot."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from scaler.model.retention import KeptLog

_MARK = ".log"
PARTS = ("", ".1", ".gz", ".part", ".gz.part")
"""What follows the mark: the log itself, the part before it, both compressed, and half-written ones."""


class FolderOfLogs:
    """Implements `scaler.ports.logs.LogShelf`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def kept(self) -> tuple[KeptLog, ...]:
        """List what is kept, the files of one replica as one log."""
        found: dict[str, tuple[int, float]] = {}
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                replica, mark, _part = entry.name.rpartition(_MARK)
                if not mark:
                    continue
                with suppress(OSError):
                    looked = entry.stat(follow_symlinks=False)
                    size, at = found.get(replica, (0, 0.0))
                    found[replica] = (size + looked.st_blocks * 512, max(at, looked.st_mtime))
        return tuple(
            KeptLog(replica=replica, size_bytes=size, at=at) for replica, (size, at) in found.items()
        )

    def drop(self, replicas: Iterable[str]) -> None:
        """Delete all files of the replicas' logs."""
        for replica in replicas:
            for part in PARTS:
                with suppress(OSError):
                    (self._folder / f"{replica}{_MARK}{part}").unlink(missing_ok=True)
