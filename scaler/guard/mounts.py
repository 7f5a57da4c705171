"""Judges mounts: host folders against the grants, volumes by their name, memory as it is."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from scaler.guard.grants import Grants, Refused, Resolve

_VOLUME_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_MEMORY_OPTIONS = re.compile(r"size=[0-9]+m,mode=[0-7]{4}")
_KEYS = {
    "bind": {"Type", "Source", "Target", "ReadOnly"},
    "volume": {"Type", "Source", "Target", "ReadOnly", "VolumeOptions"},
    "tmpfs": {"Type", "Target", "ReadOnly", "TmpfsOptions"},
}
_EMPTY: tuple[Any, ...] = (None, False, "", {}, [])


def check_mounts(
    given: list[Any] | None, grants: Grants, resolve: Resolve
) -> tuple[list[dict[str, Any]], dict[str, bool]]:
    """Give the mounts to pass on, and the named volumes they take with whether they would be made as ours.

    Raises:
        Refused: one of them shows what is not granted.
    """
    kept: list[dict[str, Any]] = []
    volumes: dict[str, bool] = {}
    for number, mount in enumerate(given or ()):
        where = f"HostConfig.Mounts[{number}]"
        checked = _shaped(where, mount)
        if checked["Type"] == "bind":
            checked["Source"] = _bind_source(where, checked, grants, resolve)
        elif checked["Type"] == "volume":
            labels = _volume_labels(where, checked.get("VolumeOptions") or {})
            if checked.get("Source"):
                name = checked["Source"]
                volumes[name] = volumes.get(name, False) or grants.owns(labels)
        else:
            _sizes_only(where, checked.get("TmpfsOptions") or {})
        kept.append(checked)
    return kept, volumes


def _shaped(where: str, mount: Any) -> dict[str, Any]:
    kind = mount.get("Type") if isinstance(mount, dict) else None
    known = _KEYS.get(kind) if isinstance(kind, str) else None
    if not isinstance(mount, dict) or known is None:
        raise Refused(f"{where}: Type must be bind, volume or tmpfs; no setting allows others")
    kept = {key: value for key, value in mount.items() if key in known}
    said = [key for key, value in mount.items() if key not in known and value not in _EMPTY]
    if said:
        raise Refused(f"{where}.{said[0][:60]}: not let through; no setting allows it")
    if not isinstance(kept.get("ReadOnly", False), bool):
        raise Refused(f"{where}.ReadOnly: must be true or false")
    target, source = kept.get("Target"), kept.get("Source", "")
    if not isinstance(target, str) or not target.startswith("/") or posixpath.normpath(target) in ("/", "//"):
        raise Refused(f"{where}.Target: must be an absolute path, and not the root")
    if kind == "volume" and source and not (isinstance(source, str) and _VOLUME_NAME.fullmatch(source)):
        raise Refused(f"{where}.Source: {str(source)[:80]!r} is no name of a volume")
    return kept


def _bind_source(where: str, mount: Mapping[str, Any], grants: Grants, resolve: Resolve) -> str:
    """Give the source with links followed, so that what the engine mounts is what we looked at."""
    source = mount.get("Source")
    if not isinstance(source, str) or not source.startswith("/") or "\0" in source:
        raise Refused(f"{where}.Source: must be an absolute path")
    real = resolve(source)
    if real is None:
        raise Refused(
            f"{where}.Source: {source[:200]} cannot be seen by the guard, so nobody knows where its links lead; "
            "give the guard the folder at the same path, read-only"
        )
    if any(_is_below(path, real) for path in grants.engine_paths):
        raise Refused(f"{where}.Source: {real[:200]} holds the engine's own socket; no setting allows it")
    granted = [grant for grant in grants.mounts if _is_below(real, grant.path)]
    if not granted:
        raise Refused(f"{where}.Source: {real[:200]} is not granted; allow it by --allow-mount {real[:200]}")
    if not mount.get("ReadOnly") and max(granted, key=lambda grant: len(grant.path)).read_only:
        raise Refused(f"{where}: {real[:200]} is granted read-only; mount it so, or grant it without :ro")
    return real


def _volume_labels(where: str, options: Any) -> Any:
    if not isinstance(options, dict):
        raise Refused(f"{where}.VolumeOptions: must be an object")
    known = ("Labels", "NoCopy", *(("DriverConfig",) if _is_memory(options.get("DriverConfig")) else ()))
    for key, value in options.items():
        if key not in known and value not in _EMPTY:
            raise Refused(
                f"{where}.VolumeOptions.{key[:60]}: could show any folder of the host; never allowed"
            )
    for key in [key for key in options if key not in known]:
        del options[key]
    return options.get("Labels")


def _is_memory(driver: Any) -> bool:
    """Say whether a volume is nothing but memory of a bounded size, as secrets are kept in."""
    options = driver.get("Options") if isinstance(driver, dict) else None
    if not isinstance(options, dict) or set(driver) != {"Name", "Options"} or driver["Name"] != "local":
        return False
    if set(options) != {"type", "device", "o"} or (options["type"], options["device"]) != ("tmpfs", "tmpfs"):
        return False
    return isinstance(options["o"], str) and bool(_MEMORY_OPTIONS.fullmatch(options["o"]))


def _sizes_only(where: str, options: Any) -> None:
    good = isinstance(options, dict) and set(options) <= {"SizeBytes", "Mode"}
    if not good or not all(type(value) is int for value in options.values()):
        raise Refused(f"{where}.TmpfsOptions: only SizeBytes and Mode are let through")


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
