"""Volumes, mounts and probes, as `properties.template` writes them."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator

from scaler.model.pod import Probe, ProbeType, SecretFile, StorageType, Volume, VolumeMount
from scaler.wire.base import Text, WireModel, Word, bounded, whole_schema

MAX_PORT = 65_535

Port = Annotated[int, bounded(1, MAX_PORT), whole_schema(1)]
"""A TCP port."""
Delay = Annotated[int, bounded(0, 60), whole_schema(0)]
"""Whole seconds, 0 to 60."""
Period = Annotated[int, bounded(1, 240), whole_schema(1)]
"""Whole seconds, 1 to 240."""
Times = Annotated[int, bounded(1, 10), whole_schema(1)]
"""A number from 1 to 10."""
Grace = Annotated[int, bounded(0, 3600), whole_schema(0)]
"""Whole seconds, 0 to 3600."""


class StorageWire(StrEnum):
    """Where a volume's files are; the two kinds of file shares are refused with a hint."""

    EMPTY_DIR = "EmptyDir"
    SECRET = "Secret"  # noqa: S105
    AZURE_FILE = "AzureFile"
    NFS_AZURE_FILE = "NfsAzureFile"


def _read_storage(value: object) -> object:
    """Take any case, as the service does."""
    text = value if isinstance(value, str) else ""
    return next((one.value for one in StorageWire if one.lower() == text.lower()), value)


def _read_type(value: object) -> object:
    text = value if isinstance(value, str) else ""
    return next((one.value for one in ProbeTypeWire if one.lower() == text.lower()), value)


class SecretFileWire(WireModel):
    """One file of a volume of secrets."""

    secret_ref: Word
    """Name of one of the job's secrets."""
    path: Word | None = None
    """File within the volume; the secret's name when left out."""


class VolumeWire(WireModel):
    """A folder that the containers of a replica share; gone with the replica."""

    name: Word
    """Name of the volume, one of its kind."""
    storage_type: Annotated[StorageWire, BeforeValidator(_read_storage)] = StorageWire.EMPTY_DIR
    """`EmptyDir`: an empty folder. `Secret`: the job's secrets as files. Others cannot be had here."""
    secrets: tuple[SecretFileWire, ...] = ()
    """Files of a `Secret` volume; every secret of the job when left out."""
    storage_name: Text | None = None
    """Not supported: leave it out."""
    mount_options: Text | None = None
    """Not supported: leave it out."""

    def to_model(self) -> Volume:
        """Give the volume as the model has it."""
        files = tuple(
            SecretFile(secret=one.secret_ref, path=one.path or one.secret_ref) for one in self.secrets
        )
        return Volume(name=self.name, storage=StorageType(self.storage_type.value), files=files)


class VolumeMountWire(WireModel):
    """Where a container sees a volume."""

    volume_name: Word
    """Name of one of the template's volumes."""
    mount_path: Word
    """Absolute path in the container."""
    sub_path: Word | None = None
    """Folder of the volume to mount in place of all of it; only of an `EmptyDir`."""

    def to_model(self) -> VolumeMount:
        """Give the mount as the model has it."""
        return VolumeMount(volume=self.volume_name, path=self.mount_path, sub_path=self.sub_path)


class HeaderWire(WireModel):
    """A header of a probe's request."""

    name: Word
    """Name of the header."""
    value: Text = ""
    """Its text; visible in answers of the API."""


class HttpGetWire(WireModel):
    """A request whose answer must be 200 to 399."""

    port: Port
    """Port in the container."""
    path: Text = "/"
    """Path, with its query if there is one."""
    scheme: Text | None = None
    """`HTTP` or `HTTPS`, whose certificate is not checked; HTTP when left out."""
    host: Text | None = None
    """Not supported: leave it out; the replica itself is asked."""
    http_headers: tuple[HeaderWire, ...] = ()
    """Headers to send."""


class TcpSocketWire(WireModel):
    """A port that must accept a connection."""

    port: Port
    """Port in the container."""
    host: Text | None = None
    """Not supported: leave it out; the replica itself is asked."""


class ProbeTypeWire(StrEnum):
    """What a probe is for."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


class ProbeWire(WireModel):
    """A question asked of a container again and again; either `httpGet` or `tcpSocket`."""

    type: Annotated[ProbeTypeWire, BeforeValidator(_read_type)]
    """`Startup` until it succeeds once, then `Liveness`. `Readiness` is accepted and not used."""
    http_get: HttpGetWire | None = None
    """Ask by HTTP."""
    tcp_socket: TcpSocketWire | None = None
    """Ask by connecting."""
    initial_delay_seconds: Delay = 0
    """Seconds from the container's start to the first question, up to 60."""
    period_seconds: Period = 10
    """Seconds from question to question, up to 240."""
    timeout_seconds: Period = 1
    """Seconds that an answer may take, up to 240."""
    failure_threshold: Times = 3
    """Failures in a row, up to 10, that fail the replica."""
    success_threshold: Times = 1
    """1, since the first success counts."""
    termination_grace_period_seconds: Grace | None = None
    """Seconds from asking the failed container to end until it is killed, up to 3600."""

    def to_model(self) -> Probe | None:
        """Give the probe as the model has it; None for one that has no meaning in a job."""
        asked = self.http_get or self.tcp_socket
        if self.type is ProbeTypeWire.READINESS or asked is None:
            return None
        http, grace = self.http_get, self.termination_grace_period_seconds
        return Probe(
            type=ProbeType(self.type.value),
            port=asked.port,
            path=None if http is None else http.path,
            is_https=http is not None and (http.scheme or "").upper() == "HTTPS",
            headers=tuple((one.name, one.value) for one in http.http_headers) if http else (),
            initial_delay=timedelta(seconds=self.initial_delay_seconds),
            period=timedelta(seconds=self.period_seconds),
            timeout=timedelta(seconds=self.timeout_seconds),
            failure_threshold=self.failure_threshold,
            grace=None if grace is None else timedelta(seconds=grace),
        )
