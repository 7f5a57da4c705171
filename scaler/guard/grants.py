"""What the owner of the machine grants beyond the rules, and the one error of a request that goes beyond it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from scaler.errors import ScalerError
from scaler.model.names import LABEL_INSTANCE

Resolve = Callable[[str], str | None]
"""Gives a host path with all its links followed, or None if the guard cannot see it."""


HOLDERS = frozenset(
    {
        "5aa23e743b7b20a43328315074494958e7066c5d3b1e48057c2a0e8812950b7b",  # amd64
        "166e305745c437d716a08c77069cf1059c14eb2803c213422a0426833214ed63",  # arm64
    }
)
"""Digests of the archives that the executor loads as images: its holder of a replica's network and volumes."""


class Refused(ScalerError):
    """A request that the guard does not pass on. The text says what, and which setting would allow it."""

    code = "RefusedByGuard"


@dataclass(frozen=True, slots=True, kw_only=True)
class MountGrant:
    """A host folder that containers may see, with all below it; links in `path` are already followed."""

    path: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """What is allowed beside the fixed rules.

    Attributes:
        mounts: host folders for bind mounts.
        networks: names of networks that containers may join; `host` is one of them if it is named.
        volumes: named volumes that containers may mount besides their own; `*` and `?` stand for any text.
        holders: digests of the archives that may be loaded as images.
        instance: the only daemon whose containers may be touched; None: any daemon's.
        engine_paths: where the sockets of the engine are; no mount may hold one.
    """

    mounts: tuple[MountGrant, ...] = ()
    networks: frozenset[str] = frozenset()
    volumes: tuple[str, ...] = ()
    holders: frozenset[str] = HOLDERS
    instance: str | None = None
    engine_paths: tuple[str, ...] = ()

    def owns(self, labels: object) -> bool:
        """Say whether labels are those of something that a daemon of ours made."""
        if not isinstance(labels, Mapping):
            return False
        found: Any = labels.get(LABEL_INSTANCE)
        return bool(found) and isinstance(found, str) and self.instance in (None, found)

    def opens_volume(self, name: str) -> bool:
        """Say whether a volume may be mounted whoever made it."""
        return any(fnmatchcase(name, pattern) for pattern in self.volumes)

    @property
    def label_filter(self) -> str:
        """The engine's filter for what is ours."""
        return LABEL_INSTANCE if self.instance is None else f"{LABEL_INSTANCE}={self.instance}"
