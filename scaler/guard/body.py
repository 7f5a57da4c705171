"""Judges what a container or a volume shall be made of.

Names are compared exactly and unknown ones are left out, or refused if they say anything: the engine reads names
without regard to case, and a later engine may know more of them. What is passed on is written anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scaler.guard.grants import Grants, Refused, Resolve
from scaler.guard.mounts import check_mounts
from scaler.model.names import LABEL_INSTANCE, LABEL_NETWORK, LABEL_PLAN

_Check = Callable[[str, Any, Grants], None]
_CONTAINER = "container:"
_OPEN_NETWORKS = frozenset({"", "default", "bridge", "none"})
_NO_NEW = frozenset({"no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"})
_HOLDS = frozenset({LABEL_PLAN, LABEL_NETWORK})
_NEVER = "no setting allows it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A body that may be passed on, if what it refers to is ours too.

    Attributes:
        body: what to send.
        joined: the container whose network it joins, or None.
        volumes: named volumes that must be ours, each with whether it would be made with our label if absent.
    """

    body: dict[str, Any]
    joined: str | None
    volumes: Mapping[str, bool]


def check_create(body: Any, grants: Grants, resolve: Resolve) -> Checked:
    """Judge the body of `POST /containers/create`.

    Raises:
        Refused: it asks for more than is granted.
    """
    top = _known(_mapping("body", body), _TOP, "", grants)
    _must_be_labelled("Labels", top.get("Labels"), grants)
    host = _known(_mapping("HostConfig", top.get("HostConfig")), _HOST, "HostConfig.", grants)
    if not _NO_NEW.intersection(host.get("SecurityOpt") or ()):
        raise Refused("HostConfig.SecurityOpt: must hold no-new-privileges; no setting allows less")
    mounts, volumes = check_mounts(host.get("Mounts"), grants, resolve)
    if mounts:
        host["Mounts"] = mounts
    top["HostConfig"] = host
    mode = str(host.get("NetworkMode") or "")
    joined = mode.removeprefix(_CONTAINER) if mode.startswith(_CONTAINER) else None
    return Checked(body=top, joined=joined, volumes=volumes)


def joining(body: Mapping[str, Any], container: str) -> dict[str, Any]:
    """Give the body with the container whose network is joined named by its full id."""
    return {**body, "HostConfig": {**body["HostConfig"], "NetworkMode": f"{_CONTAINER}{container}"}}


def must_be_own_holder(name: str, held: Mapping[str, str], labels: Mapping[str, str]) -> None:
    """Refuse to join a network but that of a container which only holds it, for the daemon that asks.

    Raises:
        Refused: it is a replica's, or another daemon's.
    """
    if held.get(LABEL_INSTANCE) != labels.get(LABEL_INSTANCE) or not _HOLDS.intersection(held):
        raise Refused(f"HostConfig.NetworkMode: '{name}' holds no network for this daemon; {_NEVER}")


def check_volume(body: Any, grants: Grants) -> dict[str, Any]:
    """Judge the body of `POST /volumes/create`: a plain one of the engine's own, with our label.

    Raises:
        Refused: it could show a folder of the host, or is not marked as ours.
    """
    known = _known(_mapping("body", body), _VOLUME, "", grants)
    _must_be_labelled("Labels", known.get("Labels"), grants)
    return known


def _known(
    given: Mapping[str, Any], checks: Mapping[str, _Check], where: str, grants: Grants
) -> dict[str, Any]:
    """Keep what is known and in order; drop unknown names that say nothing; refuse those that do."""
    kept = {}
    for name, value in given.items():
        check = checks.get(name)
        if check is not None:
            if value is not None:
                check(f"{where}{name}", value, grants)
                kept[name] = value
        elif value not in (None, False, 0, "", [], {}):
            raise Refused(f"{where}{name[:60]}: the docker executor does not set it; {_NEVER}")
    return kept


def _mapping(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Refused(f"{where}: must be an object")
    return value


def _must_be_labelled(where: str, labels: Any, grants: Grants) -> None:
    if not grants.owns(labels):
        wanted = f"{LABEL_INSTANCE}={grants.instance or '…'}"
        raise Refused(f"{where}: must hold {wanted}, by which daemons know what is theirs")


# checks of one value


def _text(where: str, value: Any, _grants: Grants) -> None:
    if not isinstance(value, str):
        raise Refused(f"{where}: must be a text")


def _texts(where: str, value: Any, _grants: Grants) -> None:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Refused(f"{where}: must be a list of texts")


def _words(where: str, value: Any, grants: Grants) -> None:
    if not isinstance(value, str):
        _texts(where, value, grants)


def _flag(where: str, value: Any, _grants: Grants) -> None:
    if not isinstance(value, bool):
        raise Refused(f"{where}: must be true or false")


def _number(where: str, value: Any, _grants: Grants) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(f"{where}: must be a whole number")


def _labels(where: str, value: Any, _grants: Grants) -> None:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise Refused(f"{where}: must be an object of texts")


def _empties(where: str, value: Any, _grants: Grants) -> None:
    if not isinstance(value, dict) or any(value.values()):
        raise Refused(f"{where}: must be an object of empty objects")


def _object(where: str, value: Any, _grants: Grants) -> None:
    _mapping(where, value)


def _list(where: str, value: Any, _grants: Grants) -> None:
    if not isinstance(value, list):
        raise Refused(f"{where}: must be a list")


def _one_of(*allowed: str) -> _Check:
    def check(where: str, value: Any, _grants: Grants) -> None:
        if value not in allowed:
            raise Refused(f"{where}: got {str(value)[:60]!r}; {_NEVER}")

    return check


def _restart(where: str, value: Any, _grants: Grants) -> None:
    policy = _mapping(where, value)
    if set(policy) - {"Name", "MaximumRetryCount"} or policy.get("Name") not in (None, "", "no"):
        raise Refused(f"{where}: replicas are never restarted by the engine; {_NEVER}")


def _storage(where: str, value: Any, _grants: Grants) -> None:
    options = _mapping(where, value)
    if set(options) - {"size"} or not all(isinstance(one, str) for one in options.values()):
        raise Refused(f"{where}: only size is let through; {_NEVER}")


def _security(where: str, value: Any, grants: Grants) -> None:
    _texts(where, value, grants)
    for option in value:
        if option not in _NO_NEW:
            raise Refused(f"{where}: got {option[:60]!r}; only no-new-privileges is let through; {_NEVER}")


def _log(where: str, value: Any, _grants: Grants) -> None:
    config = _mapping(where, value)
    options = config.get("Config") or {}
    good = set(config) <= {"Type", "Config"} and config.get("Type") in ("", "json-file", "local", "none")
    if not good or set(_mapping(where, options)) - {"max-size", "max-file", "compress"}:
        raise Refused(
            f"{where}: only json-file, local and none with max-size, max-file and compress; {_NEVER}"
        )


def _network(where: str, value: Any, grants: Grants) -> None:
    _text(where, value, grants)
    if value.startswith(_CONTAINER):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value.removeprefix(_CONTAINER)):
            raise Refused(f"{where}: got {value[:80]!r}; name a container")
    elif value not in _OPEN_NETWORKS | grants.networks:
        shown = value[:80]
        raise Refused(f"{where}: network '{shown}' is not granted; allow it by --allow-network {shown}")


def _networking(where: str, value: Any, grants: Grants) -> None:
    config = _mapping(where, value)
    ends = _mapping(where, config.get("EndpointsConfig") or {})
    if set(config) - {"EndpointsConfig"}:
        raise Refused(f"{where}: only EndpointsConfig is let through; {_NEVER}")
    for name, end in ends.items():
        _network(f"{where}.EndpointsConfig", name, grants)
        if end is not None and set(_mapping(where, end)) - {"Aliases"}:
            raise Refused(f"{where}: of an end only Aliases are let through; {_NEVER}")


_TOP: Mapping[str, _Check] = {
    **dict.fromkeys(("Image", "User", "WorkingDir", "Hostname", "Domainname", "StopSignal"), _text),
    **dict.fromkeys(("Tty", "OpenStdin", "StdinOnce", "NetworkDisabled", "ArgsEscaped"), _flag),
    **dict.fromkeys(("AttachStdin", "AttachStdout", "AttachStderr"), _flag),
    **dict.fromkeys(("Cmd", "Entrypoint"), _words),
    **dict.fromkeys(("Volumes", "ExposedPorts"), _empties),
    "Env": _texts,
    "Labels": _labels,
    "StopTimeout": _number,
    "Healthcheck": _object,
    "HostConfig": _object,
    "NetworkingConfig": _networking,
}
_HOST: Mapping[str, _Check] = {
    **dict.fromkeys(("NanoCpus", "CpuShares", "CpuQuota", "CpuPeriod", "PidsLimit", "ShmSize"), _number),
    **dict.fromkeys(("Memory", "MemorySwap", "MemoryReservation"), _number),
    **dict.fromkeys(("AutoRemove", "ReadonlyRootfs", "Init"), _flag),
    "RestartPolicy": _restart,
    "SecurityOpt": _security,
    "CapDrop": _texts,
    "Mounts": _list,
    "StorageOpt": _storage,
    "LogConfig": _log,
    "NetworkMode": _network,
    "IpcMode": _one_of("", "private", "none"),
    "CgroupnsMode": _one_of("", "private"),
}
_VOLUME: Mapping[str, _Check] = {"Name": _text, "Driver": _one_of("", "local"), "Labels": _labels}
