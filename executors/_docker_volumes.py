"""Turns the volumes of a replica into the engine's: who mounts what, and what lies in them at the start.

An empty folder is a volume of the engine; each sub-path that is mounted is one of its own, which any engine can
do. Secrets lie in memory (tmpfs) and reach it through the container that holds it: never a disk, a label, a
variable or a command line.
"""

from __future__ import annotations

import hashlib
import io
import posixpath
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from scaler.model.pod import VolumeMount
from scaler.model.replica import PodSpec
from scaler.model.secret import Secret

_FOLDER = "/volumes"
_SECRETS_MOST = "16m"
_EVERYBODY = 0o777  # as in Kubernetes: the engine cannot know who will write
_OWNER_READS = 0o400


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineVolume:
    """One volume of the engine: its name there, where the holder has it, and its files (None: an empty folder)."""

    name: str
    held_at: str
    files: tuple[tuple[str, Secret], ...] | None = field(default=None, repr=False)


Key = tuple[str, str]


def engine_volumes(replica_id: str, pod: PodSpec) -> dict[Key, EngineVolume]:
    """Give the engine's volumes of a replica, by volume and sub-path ('' is all of it)."""
    parts: dict[str, set[str]] = {one.name: set() for one in pod.volumes}
    for mount in (mount for one in (*pod.init, *pod.containers) for mount in one.mounts):
        parts.setdefault(mount.volume, set()).add(_part(mount))
    found: dict[Key, EngineVolume] = {}
    for volume in pod.volumes:
        for part in sorted(parts[volume.name]):
            found[volume.name, part] = EngineVolume(
                name=_name(replica_id, volume.name, part),
                held_at=f"{_FOLDER}/{len(found)}",
                files=volume.files,
            )
    return found


def _part(mount: VolumeMount) -> str:
    return posixpath.normpath(mount.sub_path) if mount.sub_path else ""


def _name(replica_id: str, volume: str, part: str) -> str:
    tail = f".{hashlib.sha256(part.encode()).hexdigest()[:8]}" if part else ""
    return f"{replica_id}.{volume}{tail}"


def holder_mounts(volumes: Iterable[EngineVolume], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Give the mounts of the holder, which make the volumes and keep those in memory alive."""
    return [_holder_mount(one, labels) for one in volumes]


def _holder_mount(volume: EngineVolume, labels: Mapping[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {"NoCopy": True, "Labels": dict(labels)}
    if volume.files is not None:
        in_memory = {"type": "tmpfs", "device": "tmpfs", "o": f"size={_SECRETS_MOST},mode=0755"}
        options["DriverConfig"] = {"Name": "local", "Options": in_memory}
    return {"Type": "volume", "Source": volume.name, "Target": volume.held_at, "VolumeOptions": options}


def member_mounts(mounts: Iterable[VolumeMount], volumes: Mapping[Key, EngineVolume]) -> list[dict[str, Any]]:
    """Give the mounts of one container; secrets are read-only."""
    return [_member_mount(mount, volumes[mount.volume, _part(mount)]) for mount in mounts]


def _member_mount(mount: VolumeMount, volume: EngineVolume) -> dict[str, Any]:
    return {
        "Type": "volume",
        "Source": volume.name,
        "Target": mount.path,
        "ReadOnly": volume.files is not None,
        "VolumeOptions": {"NoCopy": True},
    }


def contents(volume: EngineVolume, owner: tuple[int, int]) -> bytes:
    """Give what to unpack into a volume: its files, or the permission to write into an empty one."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        if volume.files is None:
            archive.addfile(_folder("./", _EVERYBODY))
        else:
            for folder in sorted(set(_folders(path for path, _ in volume.files))):
                archive.addfile(_folder(folder, 0o755))
            for path, secret in volume.files:
                content = secret.reveal().encode()
                entry = tarfile.TarInfo(posixpath.normpath(path))
                entry.size, entry.mode, (entry.uid, entry.gid) = len(content), _OWNER_READS, owner
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _folder(name: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    return entry


def _folders(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        parts = posixpath.normpath(path).split("/")[:-1]
        yield from ("/".join(parts[: number + 1]) for number in range(len(parts)))


def secret_readers(pod: PodSpec) -> tuple[str, ...]:
    """Name the images of the containers that mount secrets; the first one's user owns the files."""
    secret = {one.name for one in pod.volumes if one.files is not None}
    every = (*pod.containers, *pod.init)
    return tuple(one.image for one in every if one.image and any(m.volume in secret for m in one.mounts))


def owner_of(user: str | None) -> tuple[int, int]:
    """Read `uid` or `uid:gid`; a name, or nothing, is root, whom the engine alone could look up."""
    uid, _, gid = (user or "").partition(":")
    return (int(uid), int(gid) if gid.isdecimal() else 0) if uid.isdecimal() else (0, 0)
