"""What a replica has beside its containers: volumes, where they are mounted, and probes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class StorageType(StrEnum):
    """What a volume is made of; the service's two kinds of file shares cannot be had here."""

    EMPTY_DIR = "EmptyDir"
    SECRET = "Secret"  # noqa: S105


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFile:
    """One file of a `Secret` volume: the job's secret that it holds, and its path within the volume."""

    secret: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A folder that lives as long as the replica. `files` are those of a `Secret` volume."""

    name: str
    storage: StorageType = StorageType.EMPTY_DIR
    files: tuple[SecretFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeMount:
    """Where a container sees a volume, or with `sub_path` one folder of it."""

    volume: str
    path: str
    sub_path: str | None = None


class ProbeType(StrEnum):
    """What a failing probe means. Readiness is not here: nothing is routed to a job."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A question asked of a container again and again; `failure_threshold` failures in a row fail the replica.

    Attributes:
        path: what to GET, with 200 to 399 as success; None: a TCP connection is enough.
        grace: from TERM to KILL once it has failed; None: the executor's own.
    """

    type: ProbeType
    port: int
    path: str | None = None
    is_https: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    initial_delay: timedelta = timedelta()
    period: timedelta = timedelta(seconds=10)
    timeout: timedelta = timedelta(seconds=1)
    failure_threshold: int = 3
    grace: timedelta | None = None
