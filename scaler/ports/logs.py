"""Where the logs of replicas are kept, for whoever has to bound them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from scaler.model.retention import KeptLog


class LogShelf(Protocol):
    """The kept logs. Each method blocks on the disk; whoever calls it does so in a thread."""

    def kept(self) -> tuple[KeptLog, ...]:
        """List what is kept; a log that cannot be looked at is left out."""
        ...

    def drop(self, replicas: Iterable[str]) -> None:
        """Delete the logs of replicas; "already gone" is success, and one that cannot be deleted stays."""
        ...
