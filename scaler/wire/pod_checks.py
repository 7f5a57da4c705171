"""What no single member of a template can show of several containers, their volumes and their probes."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

from scaler.wire.base import show
from scaler.wire.faults import Node, WireFault, check_reference, check_unique

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_NAME_MOST = 63
_NOT_HERE = {
    "azurefile": "AzureFile",
    "nfsazurefile": "NfsAzureFile",
}
_HOST_FOLDERS = "mount the share on the host and name it under x-scaler.docker.mounts"


def check_pod(template: Node, secrets: frozenset[str]) -> Iterator[WireFault]:
    """List the faults that lie between the containers, volumes and probes of a template."""
    containers, first = list(template["containers"]), list(template["initContainers"])
    yield from _check_names([*containers, *first])
    yield from _check_volumes(template["volumes"], secrets)
    kinds = {volume["name"].text: _kind(volume) for volume in template["volumes"] if volume["name"].text}
    for container in [*containers, *first]:
        yield from _check_mounts(container["volumeMounts"], kinds)
    yield from _check_whole_or_parts([*containers, *first], kinds)
    for container in containers:
        yield from _check_probes(container["probes"])


def check_sidecars(root: Node) -> Iterator[WireFault]:
    """List the faults of `x-scaler.sidecars`, which names containers of the template."""
    own = [container["name"].text for container in root["properties"]["template"]["containers"]]
    named = list(root["x-scaler"]["sidecars"])
    seen: set[str] = set()
    for node in named:
        if node.text and node.text in seen:
            yield node.fault(f"'{node.text}' is given twice; keep one")
        elif node.text and node.text not in own:
            there = ", ".join(name for name in own if name) or "none has a name"
            yield node.fault(f"no container '{node.text}' under containers (there: {there})")
        seen.add(node.text)
    if own and all(name in seen for name in own):
        yield root["x-scaler"]["sidecars"].fault(
            "names every container; leave out the one that does the work"
        )


def _check_names(containers: list[Node]) -> Iterator[WireFault]:
    if len(containers) < 2:
        return
    yield from check_unique(containers, "name")
    for container in containers:
        name = container["name"]
        if container.keys and not name.is_set:
            yield name.fault("missing; of several containers each needs a name")
        elif name.text and (not _NAME.fullmatch(name.text) or len(name.text) > _NAME_MOST):
            yield name.fault(
                f"got {show(name.text)}; use lower-case letters, digits and '-', a letter or digit first and last"
            )


def _kind(volume: Node) -> str:
    return (volume["storageType"].text or "EmptyDir").lower()


def _check_volumes(volumes: Node, secrets: frozenset[str]) -> Iterator[WireFault]:
    yield from check_unique(volumes, "name")
    for volume in volumes:
        name, kind = volume["name"], _kind(volume)
        if name.text and (not _NAME.fullmatch(name.text) or len(name.text) > _NAME_MOST):
            yield name.fault(
                f"got {show(name.text)}; use lower-case letters, digits and '-', a letter or digit first and last"
            )
        if kind in _NOT_HERE:
            yield volume["storageType"].fault(f"{_NOT_HERE[kind]} is not supported; {_HOST_FOLDERS}")
            continue
        for key in ("storageName", "mountOptions"):
            if volume[key].value:
                yield volume[key].fault("not supported: it belongs to file shares; remove it")
        if kind != "secret" and volume["secrets"].value:
            yield volume["secrets"].fault("belongs to storageType Secret; remove it or set that", at_key=True)
        yield from _check_files(volume["secrets"], secrets)


def _check_files(files: Node, secrets: frozenset[str]) -> Iterator[WireFault]:
    seen: set[str] = set()
    for file in files:
        yield from check_reference(file["secretRef"], secrets)
        at = file["path"] if file["path"].is_set else file["secretRef"]
        path = at.text
        if not path:
            continue
        if not _is_inside(path):
            yield at.fault(f"got {show(path)}; write a path within the volume, such as 'keys/token'")
        elif path in seen:
            yield at.fault(f"the file '{path}' is given twice; keep one")
        seen.add(path)


def _check_mounts(mounts: Node, kinds: dict[str, str]) -> Iterator[WireFault]:
    yield from check_unique(mounts, "mountPath")
    for mount in mounts:
        volume, path, part = mount["volumeName"], mount["mountPath"], mount["subPath"]
        if volume.text and volume.text not in kinds:
            there = ", ".join(sorted(kinds)) or "none"
            yield volume.fault(
                f"no volume '{volume.text}'; declare it under template.volumes (there: {there})"
            )
        if path.text and (not path.text.startswith("/") or posixpath.normpath(path.text) in ("/", "//")):
            yield path.fault(f"got {show(path.text)}; write an absolute path other than /")
        if part.text and not _is_inside(part.text):
            yield part.fault(f"got {show(part.text)}; write a folder within the volume, such as 'data/in'")
        elif part.text and kinds.get(volume.text) == "secret":
            yield part.fault("not supported for a volume of secrets; mount all of it, and read the one file")


def _check_whole_or_parts(containers: Iterable[Node], kinds: dict[str, str]) -> Iterator[WireFault]:
    """Refuse parts of a volume that overlap: each part is a volume of its own to the engine."""
    known: dict[str, list[str]] = {}
    for container in containers:
        for mount in container["volumeMounts"]:
            name, text = mount["volumeName"].text, mount["subPath"].text
            if kinds.get(name) != "emptydir" or (text and not _is_inside(text)):
                continue
            part = posixpath.normpath(text) if text else ""
            other = next((one for one in known.get(name, []) if _overlap(one, part)), None)
            if other is not None:
                what = f"subPath '{other}'" if other else "a mount of all"
                message = f"overlaps with {what} of volume '{name}'"
                at = mount["subPath"] if text else mount["volumeName"]
                yield at.fault(f"{message}; mount a volume whole everywhere, or by folders apart")
            known.setdefault(name, []).append(part)


def _overlap(one: str, other: str) -> bool:
    return one != other and (
        not one or not other or f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
    )


def _is_inside(path: str) -> bool:
    parts = path.split("/")
    return (
        not path.startswith("/")
        and ".." not in parts
        and posixpath.normpath(path) != "."
        and "\0" not in path
    )


def _check_probes(probes: Node) -> Iterator[WireFault]:
    yield from check_unique(probes, "type")
    for probe in probes:
        http, tcp = probe["httpGet"], probe["tcpSocket"]
        if http.is_set and tcp.is_set:
            yield tcp.fault("stands beside 'httpGet'; keep one of the two", at_key=True)
        elif probe.keys and not http.is_set and not tcp.is_set:
            yield probe.fault("neither 'httpGet' nor 'tcpSocket'; add one")
        for asked in (http, tcp):
            if asked["host"].value:
                yield asked["host"].fault("not supported: the replica itself is asked; remove it")
        if http["scheme"].text and http["scheme"].text.upper() not in ("HTTP", "HTTPS"):
            yield http["scheme"].fault(f"got {show(http['scheme'].text)}; write HTTP or HTTPS")
        if http["path"].text and not http["path"].text.startswith("/"):
            yield http["path"].fault(f"got {show(http['path'].text)}; write a path that begins with '/'")
        if probe["type"].text.lower() != "readiness" and str(probe["successThreshold"].value or 1) != "1":
            yield probe["successThreshold"].fault("must be 1 for this type; remove it")
